"""`load_ner_dataset`: any corpus this package can read, as a `datasets.DatasetDict`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.projection import labelled_words_from_file, project_words
from hf_adner.data.readers import read_documents
from hf_adner.data.records import Document
from hf_adner.data.reports import ReadReport
from hf_adner.data.rows import document_from_row, row_from_document
from hf_adner.data.split_files import Paths, files_by_split

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

SYNTHETIC = "ad-synthetic"
_BATCH = 1000


def load_ner_dataset(
    path_or_name: Paths | Mapping[str, Paths],
    format: str | None = None,
    *,
    labels: Iterable[str] | None = None,
    skip_invalid: bool = False,
    encoding: str | None = None,
    silver_words: Mapping[str, str] | str | Path | None = None,
    reports: dict[str, ReadReport] | None = None,
    **options: Any,
) -> datasets.DatasetDict:
    """Load a corpus with its splits; all entities, nested ones too, are kept as they are annotated.

    Args:
        path_or_name: a file (split `train`), a folder or glob pattern (splits by the files' names), a mapping of
            splits to files, or `"ad-synthetic"`.
        format: name of the format; None finds it out per file.
        labels: the only labels allowed; None allows any.
        skip_invalid: leave broken records out and list them, where else the first one raises.
        encoding: of the files; None finds out.
        silver_words: label of each word (or a file of lines `word<tab>label`) to mark in texts that have no entities,
            such as CHIP-STS; what is marked is no gold and says so in its `meta` (`projection`).
        reports: filled with what was read, repaired and skipped per split. It is logged as a warning too, where there
            is anything to know: among it how many entities a flat tagger will leave out because they are nested.
        options: more options of `read_documents` (`overlaps`, `require_entities`, a format's own), or of the
            synthetic corpus (`seed`, `sizes`).

    Returns:
        Splits with columns `id`, `text`, `entities` (list of start, end, label, text, meta), `meta` (see `rows`).

    Raises:
        DataFormatError: broken data, with file, line and reason; a split without any valid document.
        FileNotFoundError: there is no such file.
        ValueError: unknown format, encoding or option value.
    """
    import datasets

    labels = None if labels is None else list(labels)
    if path_or_name == SYNTHETIC:
        return _synthetic(labels, **options)
    options |= {"labels": labels, "skip_invalid": skip_invalid, "encoding": encoding}
    words = labelled_words_from_file(silver_words) if isinstance(silver_words, (str, Path)) else silver_words
    splits = {}
    for split, files in files_by_split(path_or_name).items():
        stream = read_documents(files, format, **options)
        splits[split] = dataset_from_documents(stream if words is None else project_words(stream, words))
        if reports is not None:
            reports[split] = stream.report
        _warn(split, stream.report, silver=words is not None)
        if not len(splits[split]):
            raise DataFormatError(f"split {split!r} has no valid document", path=files[0])
    return datasets.DatasetDict(splits)


def _synthetic(labels: list[str] | None, **options: Any) -> datasets.DatasetDict:
    import datasets

    from hf_adner.data.synthetic import generate_corpus

    corpus = generate_corpus(**options)
    loaded = datasets.DatasetDict({split: dataset_from_documents(documents) for split, documents in corpus.items()})
    unknown = sorted(set(entity_labels(loaded)) - set(labels)) if labels is not None else []
    if unknown:
        raise DataFormatError(f"{SYNTHETIC} has labels {', '.join(unknown)}; expected only {', '.join(labels)}")
    return loaded


def _warn(split: str, report: ReadReport, silver: bool) -> None:
    lines = report.warnings() + ["its entities are silver: words of a list, no gold"] * silver
    if lines:
        logger.warning("while reading split %r:\n  %s", split, "\n  ".join(lines))


def dataset_features() -> datasets.Features:
    """Column types of a dataset of documents."""
    from datasets import Features, List, Value

    entity = {
        "start": Value("int64"),
        "end": Value("int64"),
        "label": Value("string"),
        "text": Value("string"),
        "meta": Value("string"),
    }
    return Features({"id": Value("string"), "text": Value("string"), "entities": List(entity), "meta": Value("string")})


def dataset_from_documents(documents: Iterable[Document]) -> datasets.Dataset:
    """The documents as a dataset in memory (Arrow, not Python objects; nothing is written to a cache on disk)."""
    import datasets
    import pyarrow

    features = dataset_features()
    schema = features.arrow_schema
    rows = map(row_from_document, documents)
    batches = iter(lambda: list(islice(rows, _BATCH)), [])
    arrow = (pyarrow.RecordBatch.from_pylist(batch, schema=schema) for batch in batches)
    return datasets.Dataset(pyarrow.Table.from_batches(arrow, schema=schema))


def documents_from_dataset(dataset: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    """The documents of a split, one at a time."""
    return (document_from_row(row) for row in dataset)


def entity_labels(dataset: datasets.Dataset | datasets.DatasetDict) -> list[str]:
    """The labels that occur in a dataset or any of its splits, sorted."""
    splits = dataset.values() if isinstance(dataset, dict) else [dataset]
    return sorted({label for split in splits for label in _labels_of(split)})


def _labels_of(dataset: datasets.Dataset) -> set[str]:
    labels: set[str] = set()
    for batch in dataset.select_columns("entities").with_format("arrow").iter(_BATCH):
        entities = batch.column("entities").combine_chunks().flatten()
        labels.update(entities.field("label").unique().to_pylist())
    return labels
