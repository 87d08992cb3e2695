"""Documents as model inputs: windows of tokens with BIO label ids.

Batches of features, padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Document, EntitySpan, document_from_row, flatten
from hf_adner.model.labels_adner import OUTSIDE, UNOBSERVED
from hf_adner.model.tokenization_adner import LEXICON_KEYS, AdnerTokenizer
from hf_adner.model.windows_adner import Window, training_windows

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


ON_MISALIGNED = ("error", "expand")
_BATCH = 256


def encode_dataset(
    dataset: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    label2id: Mapping[str, int],
    *,
    max_length: int | None = None,
    overlap: int = 64,
    nested: str = "outermost",
    on_misaligned: str = "error",
    num_proc: int | None = None,
) -> datasets.Dataset:
    """Make training and evaluation features of a dataset of documents.

    A text longer than the model becomes several overlapping windows whose edges never cut a gold entity. Where
    entities overlap, a flat tagger is given the outermost ones.

    Args:
        dataset: columns of `load_ner_dataset`.
        tokenizer: an `AdnerTokenizer` (one token per character) or any fast tokenizer (labels go by its offsets: the
            first token of an entity is B-, the rest I-).
        label2id: ids of O, and of B-x and I-x for every entity type.
        max_length: tokens of a window, special tokens included; None takes the tokenizer's `model_max_length`.
        overlap: characters that neighbouring windows share.
        nested: which of overlapping entities are gold, `outermost` or `innermost`.
        on_misaligned: what to do where an entity begins or ends inside a token (sub-word tokenizers only): `error`, or
            `expand` the entity to whole tokens.
        num_proc: processes.

    Returns:
        One row per window: what the tokenizer gives, `labels` (-100 on special tokens), `document` (index in
        `dataset`), `window_start` and `window_end` (characters where the window begins, and behind its last one).

    Raises:
        DataFormatError: an entity of a type that `label2id` lacks, longer than a window, or not aligned with tokens.
        ValueError: a slow tokenizer, or a window too small for any character.
    """
    if on_misaligned not in ON_MISALIGNED:
        raise ValueError(f"on_misaligned must be one of {ON_MISALIGNED}, found {on_misaligned!r}")
    encoder = WindowEncoder(tokenizer, label2id, max_length, overlap, nested, on_misaligned)
    if not len(dataset):  # map would leave its columns out
        return type(dataset).from_dict({name: [] for name in encoder.features()}, encoder.features())
    return dataset.map(
        encoder,
        batched=True,
        batch_size=_BATCH,
        with_indices=True,
        remove_columns=dataset.column_names,
        features=encoder.features(),
        num_proc=num_proc,
        new_fingerprint=_fingerprint(dataset, encoder),
        desc="Encoding",
    )


def _fingerprint(dataset: datasets.Dataset, encoder: WindowEncoder) -> str:
    """What the result depends on, hashed; pickling a tokenizer with 100,000 words for that takes seconds."""
    tokenizer = encoder.tokenizer
    lexicon = getattr(tokenizer, "lexicon", None)
    parts = [dataset._fingerprint, type(tokenizer).__name__, tokenizer.backend_tokenizer.to_str()]
    parts += [lexicon.hash if lexicon is not None else "", repr(sorted(encoder.label2id.items()))]
    parts += [repr((encoder.max_length, encoder.overlap, encoder.nested, encoder.on_misaligned))]
    return sha256("\0".join(parts).encode("utf-8")).hexdigest()[:16]


class WindowEncoder:
    """Turns a batch of document rows into windows of features; see `encode_dataset` for its arguments."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        label2id: Mapping[str, int],
        max_length: int | None = None,
        overlap: int = 64,
        nested: str = "outermost",
        on_misaligned: str = "error",
    ):
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} gives no offsets; use a fast tokenizer")
        self.tokenizer, self.label2id = tokenizer, dict(label2id)
        self.overlap, self.nested, self.on_misaligned = overlap, nested, on_misaligned
        self.max_length = tokenizer.model_max_length if max_length is None else max_length
        self.size = self.max_length - tokenizer.num_special_tokens_to_add()
        if self.size < 1:
            raise ValueError(f"max_length {self.max_length} leaves no room for text beside the special tokens")

    def features(self) -> datasets.Features:
        """Column types of what a call returns."""
        from datasets import Features, List, Value

        lists = [*self.tokenizer(""), "labels"]
        columns = {name: List(Value("int32")) for name in lists}
        return Features({**columns, **dict.fromkeys(("document", "window_start", "window_end"), Value("int64"))})

    def __call__(self, rows: Mapping[str, list[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
        """Features of a batch of rows (columns of lists) that stand at `indices` of their dataset."""
        documents = [document_from_row(dict(zip(rows, values, strict=True))) for values in zip(*rows.values())]
        golds = [self.gold(document) for document in documents]
        places = [
            (place, window)
            for place, document in enumerate(documents)
            for window in self._windows(document, golds[place])
        ]
        texts = [documents[place].text[window.start : window.end] for place, window in places]
        encoded = self._encoded(texts)
        labels = []
        for number, (place, window) in enumerate(places):
            spans = _inside(golds[place], window)
            try:
                labels.append(self._labels(spans, encoded, number, len(texts[number])))
            except DataFormatError as error:
                raise error.located(record=documents[place].id) from None
        return {
            **{key: value for key, value in encoded.items() if key != "offset_mapping"},
            "labels": labels,
            "document": [indices[place] for place, _ in places],
            "window_start": [window.start for _, window in places],
            "window_end": [window.end for _, window in places],
        }

    def gold(self, document: Document) -> list[EntitySpan]:
        """The disjoint spans that the model is to learn, sorted.

        Raises:
            DataFormatError: a label that `label2id` lacks.
        """
        kept = flatten(document.entities, self.nested).kept if document.has_overlaps else document.entities
        for entity in kept:
            if f"B-{entity.label}" not in self.label2id or f"I-{entity.label}" not in self.label2id:
                raise DataFormatError(
                    f"entity {entity.start}-{entity.end} has label {excerpt(entity.label, 20)}, which the model "
                    "does not have (label2id lacks its B- and I- labels)",
                    record=document.id,
                )
        return [(entity.start, entity.end, entity.label) for entity in kept]

    def _encoded(self, texts: list[str]) -> dict[str, list[Any]]:
        wants_offsets = not isinstance(self.tokenizer, AdnerTokenizer)
        if not texts:
            return {key: [] for key in self.tokenizer("")}
        return dict(self.tokenizer(texts, return_offsets_mapping=wants_offsets))

    def _windows(self, document: Document, gold: list[EntitySpan]) -> list[Window]:
        length, size = len(document.text), self.size
        if isinstance(self.tokenizer, AdnerTokenizer):
            return self._cut(document, gold, size)
        while True:  # some tokenizers make several tokens of one character
            windows = self._cut(document, gold, size)
            texts = [document.text[window.start : window.end] for window in windows]
            longest = max(map(len, self.tokenizer(texts)["input_ids"]))
            if longest <= self.max_length or length == 0:
                return windows
            size = min(size, max(map(len, texts))) * self.size // (longest + 1)

    def _cut(self, document: Document, gold: list[EntitySpan], size: int) -> list[Window]:
        length = len(document.text)
        if length <= size:
            return [Window(0, length)]
        try:
            return training_windows(length, size, min(self.overlap, size - 1), gold, document.text)
        except ValueError as error:
            raise DataFormatError(str(error), record=document.id) from None

    def _labels(self, spans: list[EntitySpan], encoded: Mapping[str, list[Any]], number: int, length: int) -> list[int]:
        if isinstance(self.tokenizer, AdnerTokenizer):
            return [UNOBSERVED, *character_labels(spans, length, self.label2id), UNOBSERVED]
        token_offsets = encoded["offset_mapping"][number]
        special = self.tokenizer.get_special_tokens_mask(encoded["input_ids"][number], already_has_special_tokens=True)
        return token_labels(spans, token_offsets, special, self.label2id, self.on_misaligned == "expand")


def _inside(spans: list[EntitySpan], window: Window) -> list[EntitySpan]:
    """The spans that lie in a window, counted from its start."""
    return [
        (start - window.start, end - window.start, label)
        for start, end, label in spans
        if window.start <= start and end <= window.end
    ]


def character_labels(spans: Sequence[EntitySpan], length: int, label2id: Mapping[str, int]) -> list[int]:
    """One BIO label id per character; `spans` are disjoint."""
    labels = [label2id[OUTSIDE]] * length
    for start, end, label in spans:
        labels[start] = label2id[f"B-{label}"]
        labels[start + 1 : end] = [label2id[f"I-{label}"]] * (end - start - 1)
    return labels


def token_labels(
    spans: Sequence[EntitySpan],
    offsets: Sequence[tuple[int, int]],
    special: Sequence[int],
    label2id: Mapping[str, int],
    expand: bool = False,
) -> list[int]:
    """One BIO label id per token, from the characters it covers; -100 on special tokens and tokens without characters.

    Args:
        spans: disjoint (start, end, label), sorted.
        offsets: characters (start, end) of each token.
        special: 1 for special tokens.
        label2id: ids of the BIO labels.
        expand: give a token that an entity covers in part to the entity, instead of raising.

    Raises:
        DataFormatError: an entity boundary inside a token, or an entity that no token is left for.
    """
    labels: list[int] = []
    current, opened = 0, False
    for (start, end), is_special in zip(offsets, special, strict=True):
        if is_special or start == end:
            labels.append(UNOBSERVED)
            continue
        while current < len(spans) and spans[current][1] <= start:
            _check_opened(spans[current], opened)
            current, opened = current + 1, False
        if current == len(spans) or spans[current][0] >= end:
            labels.append(label2id[OUTSIDE])
            continue
        if not expand:
            _check_aligned(spans[current], start, end)
        labels.append(label2id[f"{'I' if opened else 'B'}-{spans[current][2]}"])
        opened = True
    for span in spans[current:]:
        _check_opened(span, opened)
        opened = False
    return labels


def _check_opened(span: EntitySpan, opened: bool) -> None:
    if not opened:
        raise DataFormatError(
            f"no token is left for entity {span[0]}-{span[1]} {excerpt(span[2], 20)}; one token per character "
            "(AdnerTokenizer) has no such limit"
        )


def _check_aligned(span: EntitySpan, start: int, end: int) -> None:
    for boundary, name in ((span[0], "begins"), (span[1], "ends")):
        if start < boundary < end:
            raise DataFormatError(
                f"entity {span[0]}-{span[1]} {excerpt(span[2], 20)} {name} inside the token of characters "
                f"{start}-{end}; use an AdnerTokenizer, or on_misaligned='expand'"
            )


@dataclass
class AdnerDataCollator:
    """Pads everything a batch holds, lexicon matches and labels included, into int64 tensors.

    Token columns become (batch, tokens), lexicon columns (batch, words) with at least one word, numbers (batch,).

    Args:
        tokenizer: says the padding side, and the ids that pad its own columns.
        pad_to_multiple_of: the number of tokens is rounded up to a multiple of this.

    Raises:
        ValueError: a column that is neither numbers nor lists of numbers, or a list of another length than `input_ids`.
    """

    tokenizer: PreTrainedTokenizerBase
    pad_to_multiple_of: int | None = None

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of a list of features that have the same keys."""
        columns = {key: [feature[key] for feature in features] for key in features[0]}
        lengths = [len(row) for row in columns["input_ids"]]
        width = self._rounded(max(lengths))
        left = self.tokenizer.padding_side == "left"
        shifts = [width - length if left else 0 for length in lengths]
        fills = self._fills()
        batch = {}
        for key, rows in columns.items():
            if key in LEXICON_KEYS:
                batch[key] = _padded(rows, 0, max(1, max(map(len, rows))), None)
            elif np.ndim(rows[0]) == 0:
                batch[key] = _numbers(key, rows)
            else:
                _check_lengths(key, rows, lengths)
                batch[key] = _padded(rows, fills.get(key, 0), width, shifts)
        if left and LEXICON_KEYS[0] in batch:
            _shift_words(batch, torch.tensor(shifts))
        return batch

    def _rounded(self, width: int) -> int:
        multiple = self.pad_to_multiple_of or 1
        return -(-width // multiple) * multiple

    def _fills(self) -> dict[str, int]:
        return {
            "input_ids": self.tokenizer.pad_token_id,
            "token_type_ids": self.tokenizer.pad_token_type_id,
            "special_tokens_mask": 1,
            "labels": UNOBSERVED,
        }


def _padded(rows: Sequence[Sequence[int]], fill: int, width: int, shifts: Sequence[int] | None) -> torch.Tensor:
    filled = np.full((len(rows), width), fill, dtype=np.int64)  # (batch, width)
    for number, row in enumerate(rows):
        shift = shifts[number] if shifts else 0
        filled[number, shift : shift + len(row)] = row
    return torch.from_numpy(filled)


def _numbers(key: str, values: Sequence[Any]) -> torch.Tensor:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"column {key!r} holds {type(values[0]).__name__}, which no tensor can; remove the column")
    return torch.from_numpy(array)


def _check_lengths(key: str, rows: Sequence[Sequence[int]], lengths: list[int]) -> None:
    found = [len(row) for row in rows]
    if found != lengths:
        raise ValueError(f"column {key!r} has rows of lengths {found}, but input_ids of lengths {lengths}")


def _shift_words(batch: dict[str, torch.Tensor], shifts: torch.Tensor) -> None:
    """Move the positions of lexicon words along with their tokens under left padding."""
    ids, starts, ends = (batch[key] for key in LEXICON_KEYS)
    moved = shifts[:, None] * (ids > 0)  # (batch, words)
    starts += moved
    ends += moved
