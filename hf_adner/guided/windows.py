"""Training windows as documents of their own: text, tokens and gold entities.

`TokenMap` converts between characters and tokens; `aligned_tokens` aligns the tokens of a text with those of its view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document, Entity, EntitySpan, document_from_row
from hf_adner.model.labels_adner import UNOBSERVED, tags_to_spans
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.perturbation import Perturbed

NO_TOKEN = -1
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
    spans: tuple[EntitySpan, ...]
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
            f"train_documents are not those of train_dataset: characters {start}-{end} of {excerpt(name, 40)} make "
            f"{len(tokens)} tokens, its row has {len(row['input_ids'])}"
        )
    spans = token_spans(row["labels"], labels)
    entities = [
        Entity(int(tokens.offsets[first, 0]), int(tokens.offsets[last - 1, 1]), label) for first, last, label in spans
    ]
    document = Document(f"{name}#{start}" if is_part else name, text[start:end], tuple(entities))
    return TrainingWindow(document, tokens, tuple(spans), name)


def token_spans(labels: Sequence[int], names: Sequence[str]) -> list[EntitySpan]:
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


class TokenMap:
    """Characters that each token of a text covers.

    Args:
        offsets: (tokens, 2) characters (start, end) of each token; start = end for those that stand for no text.
        length: characters of the text.
    """

    def __init__(self, offsets: np.ndarray | Sequence[Sequence[int]], length: int):
        self.offsets = np.asarray(offsets, dtype=np.int32).reshape(-1, 2)
        self.length = length

    def __len__(self) -> int:
        """Tokens."""
        return len(self.offsets)

    @cached_property
    def is_text(self) -> np.ndarray:
        """(tokens,) bool: the token stands for characters."""
        return self.offsets[:, 0] < self.offsets[:, 1]

    @cached_property
    def owners(self) -> np.ndarray:
        """(length,) token of each character, -1 where it has none."""
        owners = np.full(self.length, NO_TOKEN, dtype=np.int64)
        sizes = self.offsets[:, 1] - self.offsets[:, 0]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        owners[np.repeat(self.offsets[:, 0], sizes) + within] = np.repeat(np.arange(len(self)), sizes)
        return owners

    def to_characters(self, logs: np.ndarray) -> np.ndarray:
        """Log attributions of tokens (tokens,) as those of characters (length,), NaN where a character has no token.

        A token's share is split equally over its characters, and log attributions tell shares against even ones.
        """
        owners = self.owners
        covered = owners != NO_TOKEN
        sizes = np.bincount(owners[covered], minlength=len(self))
        even = np.log(max(covered.sum(), 1) / max((sizes > 0).sum(), 1))
        spread = np.asarray(logs, dtype=np.float64) - np.log(np.maximum(sizes, 1)) + even
        return np.where(covered, spread[owners], np.nan)

    def to_tokens(self, logs: np.ndarray) -> np.ndarray:
        """Log attributions of characters (length,) as those of tokens (tokens,): shares of a token's characters add up.

        0 for tokens that stand for no text.
        """
        owners = self.owners
        covered = owners != NO_TOKEN
        sizes = np.bincount(owners[covered], minlength=len(self))
        sums = np.bincount(owners[covered], np.exp(logs[covered]), minlength=len(self))
        even = np.log(max((sizes > 0).sum(), 1) / max(covered.sum(), 1))
        return np.where(sizes > 0, np.log(np.maximum(sums, 1e-30)) + even, 0.0)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean over each token's characters of values (length,) -> (tokens,), 0 for tokens that stand for no text."""
        owners = self.owners
        covered = owners != NO_TOKEN
        sizes = np.bincount(owners[covered], minlength=len(self))
        return np.bincount(owners[covered], values[covered], minlength=len(self)) / np.maximum(sizes, 1)

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Tokens (start, end) that cover exactly these characters, white space aside; None if none do."""
        own = self.owners[start:end]
        own = own[own != NO_TOKEN]
        if not len(own) or self.offsets[own[0], 0] < start or self.offsets[own[-1], 1] > end:
            return None
        return int(own[0]), int(own[-1]) + 1


def aligned_tokens(text: TokenMap, view: TokenMap, perturbed: Perturbed) -> np.ndarray:
    """Token of the view for each token of the text, (tokens,) int64; -1 for those edited, gone, or split otherwise.

    Args:
        text, view: tokens of the original and of the perturbed text.
        perturbed: what was done.
    """
    places = np.full(text.length, NO_TOKEN, dtype=np.int64)  # (characters,) where an unedited one is now
    for start, place in perturbed.kept:
        places[start] = place
    breaks = np.cumsum(np.diff(places, prepend=NO_TOKEN) != 1)  # grows where a character does not follow the one before
    found = np.flatnonzero(text.is_text)
    first, last = text.offsets[found, 0], text.offsets[found, 1] - 1
    whole = (places[first] != NO_TOKEN) & (breaks[first] == breaks[last])
    found, first, last = found[whole], places[first[whole]], places[last[whole]]
    there = view.owners[first]
    same = (there != NO_TOKEN) & (view.offsets[there, 0] == first) & (view.offsets[there, 1] == last + 1)
    aligned = np.full(len(text), NO_TOKEN, dtype=np.int64)
    aligned[found[same]] = there[same]
    return aligned
