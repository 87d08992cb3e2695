"""The windows a run trains on, as documents of their own: their text, tokens and gold entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_adner.data.records import Document, Entity
from hf_adner.data.rows import document_from_row
from hf_adner.model.labels_adner import UNOBSERVED, tags_to_spans
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.token_maps import TokenMap

Span = tuple[int, int, str]
_BATCH = 256
COLUMNS = ("input_ids", "labels", "document", "window_start", "window_end")


@dataclass(frozen=True, eq=False)
class TrainingWindow:
    """One row of the training dataset.

    Attributes:
        document: its text and gold entities; the id is the source document's, with the window's start where the
            document has several.
        tokens: characters of each token.
        spans: tokens (start, end, label) of each entity.
        source: id of the document that the window is of.
    """

    document: Document
    tokens: TokenMap
    spans: tuple[Span, ...]
    source: str

    def text_span(self, number: int) -> tuple[int, int]:
        """Tokens (start, end) of an entity, counted among those that stand for text."""
        start, end, _ = self.spans[number]
        before = np.cumsum(self.tokens.is_text)
        return int(before[start]) - 1, int(before[end - 1])


def training_windows(
    features: Any, documents: Iterable[Any], tokenizer: Any, labels: Sequence[str]
) -> list[TrainingWindow]:
    """The windows of an encoded training dataset, with the texts that its rows no longer hold.

    Args:
        features: what `encode_dataset` made of the documents.
        documents: those documents, in their order, or the dataset of them.
        tokenizer: the tokenizer of `features`.
        labels: BIO labels in id order.

    Raises:
        ValueError: columns that `encode_dataset` writes are missing, or the documents are not those of the rows.
    """
    missing = [name for name in COLUMNS if name not in features.column_names]
    if missing:
        raise ValueError(f"train_dataset has no columns {missing}; make it with hf_adner.data.encode_dataset")
    texts = [_named_text(one) for one in documents]
    rows = features.select_columns(list(COLUMNS))
    counts = np.bincount(rows["document"], minlength=len(texts)) if len(rows) else np.zeros(len(texts))
    if len(counts) > len(texts):
        raise ValueError(f"train_dataset is of {len(counts)} documents, train_documents are {len(texts)}")
    found = []
    for first in tqdm(range(0, len(rows), _BATCH), desc="Reading windows", disable=None, leave=False):
        batch = [rows[number] for number in range(first, min(first + _BATCH, len(rows)))]
        named = [(row, *texts[row["document"]]) for row in batch]
        tokens = tokenize(tokenizer, [text[row["window_start"] : row["window_end"]] for row, _, text in named])
        found += [_window(*one, counts[one[0]["document"]] > 1, own, labels) for one, (_, own) in zip(named, tokens)]
    return found


def _named_text(document: Document | Mapping[str, Any]) -> tuple[str, str]:
    if not isinstance(document, Document):
        document = document_from_row({**document, "entities": []})
    return document.id, document.text


def _window(
    row: Mapping[str, Any], name: str, text: str, is_part: bool, tokens: TokenMap, labels: Sequence[str]
) -> TrainingWindow:
    start, end = row["window_start"], row["window_end"]
    if end > len(text) or len(tokens) != len(row["input_ids"]):
        raise ValueError(
            f"train_documents are not those of train_dataset: characters {start}-{end} of {name!r} make {len(tokens)} "
            f"tokens, its row has {len(row['input_ids'])}"
        )
    spans = token_spans(row["labels"], labels)
    entities = [
        Entity(int(tokens.offsets[first, 0]), int(tokens.offsets[last - 1, 1]), label) for first, last, label in spans
    ]
    document = Document(f"{name}#{start}" if is_part else name, text[start:end], tuple(entities))
    return TrainingWindow(document, tokens, tuple(spans), name)


def token_spans(labels: Sequence[int], names: Sequence[str]) -> list[Span]:
    """Tokens (start, end, label) of the entities that label ids spell; tokens without a label belong to none."""
    kept = [token for token, label in enumerate(labels) if label != UNOBSERVED]
    spans = tags_to_spans([names[labels[token]] for token in kept])
    return [(kept[start], kept[end - 1] + 1, label) for start, end, label in spans]


def tokenize(tokenizer: Any, texts: Sequence[str]) -> list[tuple[dict[str, list[int]], TokenMap]]:
    """Model inputs of texts, and the characters of each of their tokens."""
    if not texts:
        return []
    if isinstance(tokenizer, AdnerTokenizer):
        encoded = tokenizer(list(texts))
        maps = [_one_per_character(len(text)) for text in texts]
    else:
        encoded = tokenizer(list(texts), return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")
        maps = [_inside(encoded.sequence_ids(row), *pair) for row, pair in enumerate(zip(offsets, map(len, texts)))]
    columns = {name: encoded[name] for name in encoded}
    return [({name: column[row] for name, column in columns.items()}, one) for row, one in enumerate(maps)]


def _one_per_character(length: int) -> TokenMap:
    places = np.arange(length, dtype=np.int32)
    return TokenMap(np.pad(np.stack([places, places + 1], 1), ((1, 1), (0, 0))), length)


def _inside(sequences: Sequence[int | None], offsets: Sequence[tuple[int, int]], length: int) -> TokenMap:
    return TokenMap([(0, 0) if own is None else span for own, span in zip(sequences, offsets)], length)
