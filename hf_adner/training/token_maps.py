"""Between characters and tokens, and between the tokens of a text and those of its view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from hf_adner.perturb.perturbed import Perturbed

NO_TOKEN = -1


class TokenMap:
    """Which characters each token of a text covers.

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
