"""Readers: one file per format, and the stream of documents that they deliver."""

from hf_adner.data.readers.formats import READERS, detect_format
from hf_adner.data.readers.stream import DocumentStream, read_documents

__all__ = ["READERS", "DocumentStream", "detect_format", "read_documents"]
