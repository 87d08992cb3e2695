"""Batches of features, padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.model.tokenization_adner import LEXICON_KEYS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
