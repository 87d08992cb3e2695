"""File formats: one module per format with its reader and writer, and the functions that select them."""

from hf_adner.data.formats.reading import READERS, DocumentStream, detect_format, read_documents
from hf_adner.data.formats.submission import check_submission
from hf_adner.data.formats.writing import WRITERS, check_written_path, keeps_meta, takes_labels, write_documents

__all__ = [
    "READERS",
    "WRITERS",
    "DocumentStream",
    "check_submission",
    "check_written_path",
    "detect_format",
    "keeps_meta",
    "read_documents",
    "takes_labels",
    "write_documents",
]
