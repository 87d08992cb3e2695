"""`load_ner_dataset`: load a corpus in any supported format as a `datasets.DatasetDict`.

Texts without annotation can be given silver entities: occurrences of labelled words. These entities and their documents
have `silver: True` in their `meta`.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.reader import ReadReport, check_options
from hf_adner.data.formats.source import TextSource, regular_file
from hf_adner.data.input_files import Paths, files_by_split
from hf_adner.data.records import Document, Entity, document_from_row, row_from_document
from hf_adner.model.lexicon_adner import Lexicon, leftmost_longest

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

SYNTHETIC = "ad-synthetic"
SILVER = "silver"
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
    """Load a corpus with its splits; all entities are kept as annotated, including nested entities.

    Args:
        path_or_name: a file (split `train`), a folder or glob pattern (splits by file name), a saved `DatasetDict` or
            the name `owner/name` of a dataset on the Hub (its own splits), a mapping of splits to any of these, or
            `"ad-synthetic"`.
        format: name of the format; None detects it for each file.
        labels: allowed labels; None allows any.
        skip_invalid: skip and list invalid records, instead of raising for the first.
        encoding: encoding of the files; None detects it.
        silver_words: label of each word, or a file of lines `word<tab>label`, for texts without entities such as
            CHIP-STS; occurrences of the words become silver entities (see `project_words`).
        reports: receives a report per split of what was read, repaired and skipped. Its warnings are logged as well;
            they include the number of nested entities that flattening will drop.
        options: further options of `read_documents` (`overlaps`, `require_entities`, options of the format), or of the
            synthetic corpus (`seed`, `sizes`).

    Returns:
        Splits with columns `id`, `text`, `entities` (list of start, end, label, text, meta) and `meta`; see
        `hf_adner.data.records`.

    Raises:
        DataFormatError: invalid data, with file, line and reason; a split without any valid document.
        FileNotFoundError: a file does not exist.
        ValueError: unknown format, encoding or value of an option.
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
        _log_warnings(split, stream.report, silver=words is not None)
        if not len(splits[split]):
            raise DataFormatError(f"split {split!r} has no valid document", path=files[0])
    return datasets.DatasetDict(splits)


def _synthetic(labels: list[str] | None, **options: Any) -> datasets.DatasetDict:
    import datasets

    from hf_adner.data.synthetic import generate_corpus

    check_options(SYNTHETIC, options, generate_corpus)
    corpus = generate_corpus(**options)
    loaded = datasets.DatasetDict({split: dataset_from_documents(documents) for split, documents in corpus.items()})
    unknown = sorted(set(entity_labels(loaded)) - set(labels)) if labels is not None else []
    if unknown:
        raise DataFormatError(f"{SYNTHETIC} has labels {', '.join(unknown)}; expected only {', '.join(labels)}")
    return loaded


def _log_warnings(split: str, report: ReadReport, silver: bool) -> None:
    lines = report.warnings() + ["its entities are silver: words of a list, not gold annotations"] * silver
    if lines:
        logger.warning("while reading split %r:\n  %s", split, "\n  ".join(lines))


def dataset_features() -> datasets.Features:
    """Return the column types of a dataset of documents."""
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
    """Return the documents as an Arrow dataset in memory, without a cache on disk."""
    import datasets
    import pyarrow

    features = dataset_features()
    schema = features.arrow_schema
    rows = map(row_from_document, documents)
    batches = iter(lambda: list(islice(rows, _BATCH)), [])
    arrow = (pyarrow.RecordBatch.from_pylist(batch, schema=schema) for batch in batches)
    return datasets.Dataset(pyarrow.Table.from_batches(arrow, schema=schema))


def documents_from_dataset(dataset: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    """Yield the documents of a split, one at a time."""
    return (document_from_row(row) for row in dataset)


def entity_labels(dataset: datasets.Dataset | datasets.DatasetDict) -> list[str]:
    """Return the sorted labels of the entities of a dataset or of all its splits."""
    splits = dataset.values() if isinstance(dataset, dict) else [dataset]
    return sorted({label for split in splits for label in _labels_of(split)})


def _labels_of(dataset: datasets.Dataset) -> set[str]:
    labels: set[str] = set()
    for batch in dataset.select_columns("entities").with_format("arrow").iter(_BATCH):
        entities = batch.column("entities").combine_chunks().flatten()
        labels.update(entities.field("label").unique().to_pylist())
    return labels


def labelled_words(documents: Iterable[Document], min_count: int = 1, min_length: int = 2) -> dict[str, str]:
    """Collect labelled words from annotated documents: each entity text with its most frequent label.

    Args:
        documents: annotated documents (of the train split only, if the words are used in an evaluation).
        min_count: minimum number of annotations of a word.
        min_length: minimum number of characters; single characters are mostly parts of other words.

    Returns:
        Label of each word; of equally frequent labels the first in sorted order.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        for entity in document.entities:
            counts[entity.text.strip()][entity.label] += 1
    return {
        word: min(labels, key=lambda label: (-labels[label], label))
        for word, labels in sorted(counts.items())
        if len(word) >= min_length and labels.total() >= min_count and not set(word) & set("\t\r\n")
    }


def labelled_words_from_file(path: str | Path, encoding: str | None = None) -> dict[str, str]:
    """Read labelled words from lines `word<tab>label`.

    Raises:
        DataFormatError: a line without word or label, or a word with two labels.
    """
    words: dict[str, str] = {}
    with regular_file(Path(path)) as file:
        for number, line in TextSource(file, encoding).lines():
            word, _, label = (part.strip() for part in line.partition("\t"))
            if not line.strip():
                continue
            if not word or not label or "\t" in label:
                raise DataFormatError("expected a word, a tab and a label", path=path, line=number)
            if words.setdefault(word, label) != label:
                raise DataFormatError("the word has another label on an earlier line", path=path, line=number)
    return words


def project_words(documents: Iterable[Document], words: Mapping[str, str]) -> Iterator[Document]:
    """Annotate documents with silver entities: the leftmost-longest occurrences of labelled words.

    Args:
        documents: documents without entities.
        words: label of each word, for example from `labelled_words`.

    Yields:
        Each document with disjoint entities, and with `silver: True` in its `meta` and in theirs.

    Raises:
        DataFormatError: a document has entities; silver annotations must not be mixed with gold annotations.
    """
    lexicon = Lexicon(words)
    labels = [words[word] for word in lexicon.words]
    for document in documents:
        if document.entities:
            raise DataFormatError("the document has entities; expected a text without annotation", record=document.id)
        entities = tuple(
            Entity(start, end, labels[word_id - 1], meta={SILVER: True})
            for word_id, start, end in leftmost_longest(lexicon.match(document.text))
        )
        yield replace(document, entities=entities, meta={**document.meta, SILVER: True})
