"""Model inputs: `encode_dataset` makes windows with BIO label ids, `AdnerDataCollator` pads them to batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.records import Document, EntitySpan, document_from_row, flatten, flatten_by_label
from hf_adner.model.labels_adner import OUTSIDE, TAGGINGS, UNOBSERVED, entity_types
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
    tagging: str = "flat",
    num_proc: int | None = None,
) -> datasets.Dataset:
    """Encode a dataset of documents as features for training and evaluation.

    A text that exceeds `max_length` becomes several overlapping windows whose edges do not cut gold entities.

    Args:
        dataset: dataset with the columns of `load_ner_dataset`.
        tokenizer: an `AdnerTokenizer` (one token per character), or any fast tokenizer (labels are aligned by its
            offsets: the first token of an entity is B-, the others I-).
        label2id: ids of O, and of B-x and I-x for each entity type.
        max_length: maximum tokens of a window, including special tokens; None takes the tokenizer's
            `model_max_length`, without which a text is one window.
        overlap: number of characters that neighbouring windows share.
        nested: which of overlapping entities are gold, `outermost` or `innermost`; per-label, of those of one label.
        on_misaligned: for an entity that begins or ends inside a token (sub-word tokenizers only): `error`, or `expand`
            the entity to whole tokens.
        tagging: that of the model, `flat` or `per-label` (`AdnerConfig.tagging`). Per-label, `labels` has a column for
            each entity type, in the order of `label2id`, and entities of different labels may overlap.
        num_proc: number of processes.

    Returns:
        One row per window: the output of the tokenizer, `labels` (-100 on special tokens), `document` (index in
        `dataset`), `window_start` and `window_end` (characters, end exclusive).

    Raises:
        DataFormatError: the type of an entity is not in `label2id`, or an entity is longer than a window or not aligned
            with tokens.
        ValueError: the tokenizer is slow, `max_length` leaves no room for a character or exceeds `model_max_length`,
            or an unknown choice.
    """
    if on_misaligned not in ON_MISALIGNED:
        raise ValueError(f"on_misaligned must be one of {ON_MISALIGNED}, found {on_misaligned!r}")
    encoder = WindowEncoder(tokenizer, label2id, max_length, overlap, nested, on_misaligned, tagging)
    if not len(dataset):  # map would drop its columns
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
    """Hash everything that the result depends on; the default pickles the tokenizer, which may take seconds."""
    tokenizer = encoder.tokenizer
    lexicon = getattr(tokenizer, "lexicon", None)
    parts = [dataset._fingerprint, type(tokenizer).__name__, tokenizer.backend_tokenizer.to_str()]
    parts += [str(getattr(tokenizer, "script_hash", None))]
    parts += [lexicon.hash if lexicon is not None else "", repr(sorted(encoder.label2id.items()))]
    parts += [repr((encoder.max_length, encoder.overlap, encoder.nested, encoder.on_misaligned, encoder.columns))]
    return sha256("\0".join(parts).encode("utf-8")).hexdigest()[:16]


class WindowEncoder:
    """Encodes a batch of document rows as windows; see `encode_dataset` for the arguments."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        label2id: Mapping[str, int],
        max_length: int | None = None,
        overlap: int = 64,
        nested: str = "outermost",
        on_misaligned: str = "error",
        tagging: str = "flat",
    ):
        if tagging not in TAGGINGS:
            raise ValueError(f"tagging must be one of {TAGGINGS}, found {tagging!r}")
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} has no offsets; use a fast tokenizer")
        self.tokenizer, self.label2id = tokenizer, dict(label2id)
        self.columns = entity_types(sorted(label2id, key=label2id.__getitem__)) if tagging == "per-label" else None
        if overlap < 0:
            raise ValueError(f"overlap (window_overlap, --window-overlap) is {overlap}, expected 0 or more")
        self.overlap, self.nested, self.on_misaligned = overlap, nested, on_misaligned
        self.max_length = tokenizer.model_max_length if max_length is None else max_length
        if self.max_length > tokenizer.model_max_length:
            raise ValueError(
                f"max_length (--max-length) is {self.max_length} tokens, but tokenizer and model take at most "
                f"{tokenizer.model_max_length} (model_max_length of the tokenizer)"
            )
        self.size = self.max_length - tokenizer.num_special_tokens_to_add()
        if self.size < 1:
            raise ValueError(f"max_length {self.max_length} leaves no room for text beside the special tokens")

    def features(self) -> datasets.Features:
        """Return the column types of the result of a call."""
        from datasets import Features, List, Value

        columns = {name: List(Value("int32")) for name in (*self.tokenizer(""), "labels")}
        if self.columns is not None:
            columns["labels"] = List(List(Value("int32")))
        return Features({**columns, **dict.fromkeys(("document", "window_start", "window_end"), Value("int64"))})

    def __call__(self, rows: Mapping[str, list[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
        """Encode a batch of rows, given as columns, with their `indices` in the dataset."""
        documents = [document_from_row(dict(zip(rows, values, strict=True))) for values in zip(*rows.values())]
        golds = [self.gold(document) for document in documents]
        windows = [
            (row, window) for row, document in enumerate(documents) for window in self._windows(document, golds[row])
        ]
        texts = [documents[row].text[window.start : window.end] for row, window in windows]
        encoded = self._tokenized(texts)
        labels = []
        for number, (row, window) in enumerate(windows):
            spans = _spans_in_window(golds[row], window)
            with error_location(record=documents[row].id):
                labels.append(self._labels(spans, encoded, number, len(texts[number])))
        return {
            **{key: value for key, value in encoded.items() if key != "offset_mapping"},
            "labels": labels,
            "document": [indices[row] for row, _ in windows],
            "window_start": [window.start for _, window in windows],
            "window_end": [window.end for _, window in windows],
        }

    def gold(self, document: Document) -> list[EntitySpan]:
        """Return the sorted gold spans of a document, disjoint (per-label: those of each label are).

        Raises:
            DataFormatError: a label is not in `label2id`.
        """
        entities = document.entities
        if document.has_overlaps:
            entities = (flatten if self.columns is None else flatten_by_label)(entities, self.nested).kept
        for entity in entities:
            if f"B-{entity.label}" not in self.label2id or f"I-{entity.label}" not in self.label2id:
                raise DataFormatError(
                    f"entity {entity.start}-{entity.end} has label {excerpt(entity.label, 20)}, which the model "
                    "does not have (label2id lacks its B- and I- labels)",
                    record=document.id,
                )
        return [(entity.start, entity.end, entity.label) for entity in entities]

    def _tokenized(self, texts: list[str]) -> dict[str, list[Any]]:
        if not texts:
            return {key: [] for key in self.tokenizer("")}
        needs_offsets = not isinstance(self.tokenizer, AdnerTokenizer)
        return dict(self.tokenizer(texts, return_offsets_mapping=needs_offsets))

    def _windows(self, document: Document, gold: list[EntitySpan]) -> list[Window]:
        length, size = len(document.text), self.size
        if isinstance(self.tokenizer, AdnerTokenizer):
            return self._cut(document, gold, size)
        while True:  # some tokenizers have several tokens per character
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
            advice = "raise max_length (--max-length) as far as the model allows, or remove the entity"
            raise DataFormatError(f"{error}; {advice}", record=document.id) from None

    def _labels(self, spans: list[EntitySpan], encoded: Mapping[str, list[Any]], number: int, length: int) -> list[Any]:
        if self.columns is None:
            return self._label_sequence(spans, encoded, number, length)
        own = ([span for span in spans if span[2] == label] for label in self.columns)
        return [list(row) for row in zip(*(self._label_sequence(one, encoded, number, length) for one in own))]

    def _label_sequence(
        self, spans: list[EntitySpan], encoded: Mapping[str, list[Any]], number: int, length: int
    ) -> list[int]:
        if isinstance(self.tokenizer, AdnerTokenizer):
            return [UNOBSERVED, *character_labels(spans, length, self.label2id), UNOBSERVED]
        token_offsets = encoded["offset_mapping"][number]
        special = self.tokenizer.get_special_tokens_mask(encoded["input_ids"][number], already_has_special_tokens=True)
        return token_labels(spans, token_offsets, special, self.label2id, self.on_misaligned == "expand")


def _spans_in_window(spans: list[EntitySpan], window: Window) -> list[EntitySpan]:
    """Return the spans inside a window, relative to its start."""
    return [
        (start - window.start, end - window.start, label)
        for start, end, label in spans
        if window.start <= start and end <= window.end
    ]


def character_labels(spans: Sequence[EntitySpan], length: int, label2id: Mapping[str, int]) -> list[int]:
    """Return one BIO label id per character of a text of `length` characters; `spans` are disjoint."""
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
    """Return one BIO label id per token; -100 on special tokens and tokens without characters.

    Args:
        spans: disjoint (start, end, label), sorted.
        offsets: characters (start, end) of each token.
        special: 1 for special tokens.
        label2id: ids of the BIO labels.
        expand: expand entities to whole tokens, instead of raising.

    Raises:
        DataFormatError: an entity begins or ends inside a token, or no token remains for an entity.
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
            f"no token is left for entity {span[0]}-{span[1]} {excerpt(span[2], 20)}; "
            "an AdnerTokenizer has one token per character"
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
    """Pad all columns of a batch, including lexicon matches and labels, to int64 tensors.

    Token columns become (batch, tokens), per-label `labels` (batch, tokens, types), lexicon columns (batch, words) with
    at least one word, numbers (batch,).

    Args:
        tokenizer: provides the padding side and the padding ids of its columns.
        pad_to_multiple_of: round the number of tokens up to a multiple of this.

    Raises:
        ValueError: a column has neither numbers nor lists of numbers, or a list that is not as long as `input_ids`.
    """

    tokenizer: PreTrainedTokenizerBase
    pad_to_multiple_of: int | None = None

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch of a list of features with the same keys."""
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
    filled = np.full((len(rows), width, *np.shape(rows[0])[1:]), fill, dtype=np.int64)  # (batch, width, ...)
    for number, row in enumerate(rows):
        shift = shifts[number] if shifts else 0
        filled[number, shift : shift + len(row)] = row
    return torch.from_numpy(filled)


def _numbers(key: str, values: Sequence[Any]) -> torch.Tensor:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"column {key!r} has values of type {type(values[0]).__name__}, expected numbers; remove it")
    return torch.from_numpy(array)


def _check_lengths(key: str, rows: Sequence[Sequence[int]], lengths: list[int]) -> None:
    row_lengths = [len(row) for row in rows]
    if row_lengths != lengths:
        raise ValueError(f"column {key!r} has rows of lengths {row_lengths}, but input_ids of lengths {lengths}")


def _shift_words(batch: dict[str, torch.Tensor], shifts: torch.Tensor) -> None:
    """Shift the positions of lexicon words by the left padding of their tokens."""
    ids, starts, ends = (batch[key] for key in LEXICON_KEYS)
    word_shifts = shifts[:, None] * (ids > 0)  # (batch, words)
    starts += word_shifts
    ends += word_shifts
