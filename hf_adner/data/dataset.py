"""`load_ner_dataset`: any corpus this package can read, as a `datasets.DatasetDict`.

Which files of a path belong to which split.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.reader import ReadReport
from hf_adner.data.records import Document, document_from_row, row_from_document
from hf_adner.data.silver import labelled_words_from_file, project_words

if TYPE_CHECKING:
    import datasets


SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "devel": "validation",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
    "contrast": "contrast",
}
"""Words in a file's or folder's name, and the split they stand for."""

SUFFIXES = {
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".xlsx", ".xlsm"),
    *(".txt", ".conll", ".bio", ".iob", ".bmes", ".bioes"),
}
"""Suffixes of data files; a folder's other files (a README) are passed by."""

PathLike = str | Path
Paths = PathLike | Iterable[PathLike]


def files_by_split(path: Paths | Mapping[str, Paths]) -> dict[str, list[Path]]:
    """Files (brat: folders) of each split, in a fixed order.

    A mapping says it all; several files, a folder or a glob pattern are told apart by words in their names (`train`,
    `dev`, `test`, …; `dev` is called `validation`); a single file, or files of which none has such a word, are `train`.

    Raises:
        FileNotFoundError: nothing is there.
        DataFormatError: some files say their split and others do not.
    """
    if isinstance(path, Mapping):
        return {split: _all_files(part) for split, part in path.items()}
    files = _all_files(path)
    return {"train": files} if len(files) == 1 else _told_apart(files)


def _all_files(path: Paths) -> list[Path]:
    paths = [path] if isinstance(path, (str, Path)) else path
    return [file for one in paths for file in _expanded(one)]


def _expanded(path: PathLike) -> list[Path]:
    path = Path(path)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _of_folder(path)
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    found = [one for one in found if one.is_dir() or one.suffix.lower() in SUFFIXES or path.suffix]
    if not found:
        raise FileNotFoundError(f"there is no file, folder or match of the pattern {path}")
    return found


def _of_folder(folder: Path) -> list[Path]:
    if next(folder.glob("*.ann"), None):
        return [folder]
    brat = [one for one in sorted(folder.iterdir()) if one.is_dir() and next(one.glob("*.ann"), None)]
    files = [one for one in sorted(folder.iterdir()) if one.is_file() and one.suffix.lower() in SUFFIXES]
    if not brat and not files:
        raise FileNotFoundError(f"folder {folder} holds no data files (known suffixes: {', '.join(sorted(SUFFIXES))})")
    return brat or files


def _told_apart(files: list[Path]) -> dict[str, list[Path]]:
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of_name(file.name) or "", []).append(file)
    unnamed = by_split.pop("", [])
    if unnamed and by_split:
        raise DataFormatError(
            f"the name says no split, where others do ({', '.join(by_split)}); "
            'name the files of each split: {"train": ..., "validation": ...}',
            path=unnamed[0],
        )
    order = [*dict.fromkeys(SPLIT_WORDS.values()), *by_split]
    found = {split: by_split[split] for split in order if split in by_split}
    return found or {"train": unnamed}


def split_of_name(name: str) -> str | None:
    """The split that a file name speaks of; None where it speaks of none or of several."""
    name = name.lower()
    if "test_unseen" in name or "test-unseen" in name:
        return "test_unseen"
    found = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


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
