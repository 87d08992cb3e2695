"""Writers: one file per format, and `write_documents`."""

from hf_adner.data.writers.formats import WRITERS, write_documents

__all__ = ["WRITERS", "write_documents"]
