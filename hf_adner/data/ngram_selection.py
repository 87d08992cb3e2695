"""Which words of a text are masked: n-grams of words, together a fixed share of the words (Cui et al. 2020, sec. 3)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

import numpy as np

NGRAM_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Shares of n-grams of 1, 2, 3 and 4 words."""


def choose_ngrams(
    free: np.ndarray, share: float, shares: Sequence[float], rng: np.random.Generator, at_least: int = 0
) -> list[tuple[int, int]]:
    """Draw n-grams of words that do not overlap.

    Their number of words is `share` of the free ones and their lengths are distributed like `shares`, both exactly so
    on average. Where no place is left for an n-gram it is taken apart.

    Args:
        free: (words,) bool, the words that may be chosen; n-grams never span one that may not.
        share: of the free words, 0 to 1.
        shares: of n-grams of 1, 2, ... words; they add up to 1.
        rng: of the chance.
        at_least: smallest number of n-grams, as far as there are free words.

    Returns:
        (first word, number of words) of each, in no order.
    """
    free, chosen = free.copy(), []
    pending = sorted(ngram_lengths(share * int(free.sum()), shares, rng))
    pending += [1] * (at_least - len(pending))
    while pending:
        length = pending.pop()
        starts = _places(free, length)
        if len(starts):
            start = int(starts[rng.integers(len(starts))])
            free[start : start + length] = False
            chosen.append((start, length))
        elif length > 1:
            insort(pending, 1)
            insort(pending, length - 1)
    return chosen


def ngram_lengths(words: float, shares: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Lengths of n-grams that have `words` words on average and are distributed like `shares`.

    They are the steps of a stationary renewal process that begin before `words`: with a first step drawn from the
    equilibrium distribution, neither the number of words nor the distribution is biased by where the counting ends.
    """
    total = int(words) + int(rng.random() < words % 1)
    if not total:
        return []
    longer = np.cumsum(shares[::-1])[::-1]  # (lengths,) probability of more than 0, 1, ... words
    place = int(rng.choice(len(longer), p=longer / longer.sum()))
    drawn = rng.choice(len(shares), size=total, p=shares) + 1
    lengths = []
    for length in drawn.tolist():
        if place >= total:
            break
        lengths.append(length)
        place += length
    return lengths


def _places(free: np.ndarray, length: int) -> np.ndarray:
    """First words of all runs of `length` free words."""
    counts = np.concatenate([[0], np.cumsum(free)])  # (words + 1,)
    return np.flatnonzero(counts[length:] - counts[:-length] == length)
