"""Documents, the formats they come in and go out, splits, and what a model reads of them."""

from importlib import import_module

_HOMES = {
    "AdnerDataCollator": "collator",
    "DataFormatError": "errors",
    "Document": "records",
    "Entity": "records",
    "MacBertCollator": "macbert_collator",
    "OverlapReport": "overlap",
    "ReadReport": "reports",
    "SkippedRecord": "reports",
    "TextBlocks": "text_blocks",
    "dataset_from_documents": "loading",
    "detect_format": "readers",
    "document_from_row": "rows",
    "documents_from_dataset": "loading",
    "encode_dataset": "encoding",
    "entity_labels": "loading",
    "flatten": "records",
    "k_folds": "splits",
    "labelled_words": "projection",
    "load_ner_dataset": "loading",
    "near_duplicates": "overlap",
    "project_words": "projection",
    "read_documents": "readers",
    "row_from_document": "rows",
    "split_dataset": "splits",
    "split_documents": "splits",
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
