"""Documents, the formats they come in and go out, splits, and what a model reads of them."""

from importlib import import_module

_HOMES = {
    "AdnerDataCollator": "collator",
    "DataFormatError": "errors",
    "Document": "records",
    "Entity": "records",
    "ReadReport": "reports",
    "SkippedRecord": "reports",
    "detect_format": "readers",
    "document_from_row": "rows",
    "encode_dataset": "encoding",
    "flatten": "records",
    "load_ner_dataset": "loading",
    "read_documents": "readers",
    "row_from_document": "rows",
    "write_documents": "writers",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
