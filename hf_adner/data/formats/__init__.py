"""File formats, one file each with its reader and its writer, and the functions that choose among them."""

from hf_adner.data.formats.reading import READERS, DocumentStream, detect_format, read_documents
from hf_adner.data.formats.writing import WRITERS, write_documents

__all__ = ["READERS", "WRITERS", "DocumentStream", "detect_format", "read_documents", "write_documents"]
