"""The cells of the global table: counts, sums and sums of squares by unit, label and role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hf_adner.explain.roles import ROLES
from hf_adner.explain.units import longest_matches
from hf_adner.model.lexicon_adner import Lexicon, lower_by_character, replace_surrogates

ANY, UNSEEN = 0, 1
"""Unit ids of all units together, and of units without a cell."""

FIRST_UNIT = 2
PRIOR_VARIANCE = 1.0
"""Variance of log attributions that is assumed where nothing was seen."""

NOTHING = 1e-6
"""Observations below this are what rounding leaves of none."""


class Units:
    """Characters and lexicon words with their ids; Latin letters count in lower case.

    Args:
        lexicon: its longest words, from left to right and of two characters or more, are units beside the characters.
    """

    def __init__(self, lexicon: Lexicon | None = None):
        self.lexicon = lexicon
        self.ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def names(self, text: str) -> tuple[str, list[tuple[int, int]]]:
        """The text in lower case, character by character, and the (start, end) of the words in it."""
        text = lower_by_character(replace_surrogates(text))
        if self.lexicon is None:
            return text, []
        words = longest_matches(self.lexicon.match(text, lower_case=True))
        return text, [(start, end) for start, end in words if end - start > 1]

    def find(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Units of each character.

        Returns:
            (3, length) ids: `ANY`, the character, the word; and (length,) bool, whether a word covers the character.
        """
        text, words = self.names(text)
        return self._table(text, words, lambda name: self.ids.get(name, UNSEEN))

    def enter(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """As `find`, but what has no id yet gets one."""
        text, words = self.names(text)
        return self._table(text, words, self.id_of)

    def id_of(self, name: str) -> int:
        """The id of a unit, a new one if it has none."""
        return self.ids.setdefault(name, len(self.ids) + FIRST_UNIT)

    def _table(self, text: str, words: Sequence[tuple[int, int]], id_of) -> tuple[np.ndarray, np.ndarray]:
        table = np.full((3, len(text)), UNSEEN, dtype=np.int64)
        table[0] = ANY
        table[1] = [id_of(character) for character in text]
        covered = np.zeros(len(text), dtype=bool)
        for start, end in words:
            table[2, start:end] = id_of(text[start:end])
            covered[start:end] = True
        return table, covered


class Cells:
    """Weighted counts, sums and sums of squares of log attributions, by label, unit and role."""

    def __init__(self) -> None:
        self._tables: dict[str, np.ndarray] = {}

    @property
    def labels(self) -> list[str]:
        """Labels with cells, in the order in which they came."""
        return list(self._tables)

    def table(self, label: str, units: int = 0) -> np.ndarray:
        """The cells of a label, (units or more, roles, 3), to be changed in place."""
        table = self._tables.get(label)
        have = 0 if table is None else len(table)
        if table is None or have < units:
            grown = np.zeros((max(units, 2 * have, FIRST_UNIT), len(ROLES), 3))
            grown[:have] = 0 if table is None else table
            self._tables[label] = table = grown
        return table

    def add(self, label: str, units: np.ndarray, roles: np.ndarray, moments: np.ndarray) -> None:
        """Add moments (..., 3) to the cells of units and roles (...); `UNSEEN` units take none."""
        table = self.table(label, int(units.max(initial=0)) + 1)
        seen = units != UNSEEN
        np.add.at(table, (units[seen], roles[seen]), moments[seen])

    def read(self, label: str, units: np.ndarray, roles: np.ndarray) -> np.ndarray:
        """Moments (..., 3) of the cells of units and roles (...); zeros where there are none."""
        table = self._tables.get(label)
        if table is None:
            return np.zeros((*units.shape, 3))
        return table[np.where(units < len(table), units, UNSEEN), roles]

    def scale(self, factor: float) -> None:
        """Multiply all moments."""
        for table in self._tables.values():
            table *= factor


def own_moments(units: np.ndarray, roles: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """What one instance put into the cells that its characters look up.

    Args:
        units, roles: (levels, length).
        moments: (length, 3) of each character.

    Returns:
        (levels, length, 3): for each character the sum over all characters that share its cell; 0 for unseen units.
    """
    keys = units * len(ROLES) + roles
    _, cells = np.unique(keys, return_inverse=True)
    cells = cells.reshape(keys.shape)
    levels = len(keys)
    sums = [np.bincount(cells.ravel(), np.tile(column, levels))[cells] for column in moments.T]
    return np.stack(sums, -1) * (units != UNSEEN)[..., None]


class Shrunk(NamedTuple):
    """Means and their variances after back-off.

    Attributes:
        mean, variance: (length,).
        count: (length,) observations in the finest cell.
    """

    mean: np.ndarray
    variance: np.ndarray
    count: np.ndarray


def shrink(moments: np.ndarray, kappa: float) -> list[Shrunk]:
    """Shrink each level's cells towards the coarser level's, the coarsest towards 0.

    The mean is (S1 + kappa m) / (n + kappa), m being the mean one level up; the variance of an observation is pooled
    with the coarser level's in the same way, and that of the mean is it over n + kappa. So a cell without observations
    has its parent's mean, and the variance of a guess.

    Args:
        moments: (levels, length, 3), coarsest level first.
        kappa: observations that the coarser level counts for.

    Returns:
        For each level.
    """
    counts = moments[..., 0]
    moments = np.where((counts > NOTHING)[..., None], moments, 0.0)
    mean, spread, found = np.zeros(moments.shape[1]), np.full(moments.shape[1], PRIOR_VARIANCE), []
    for n, first, second in np.moveaxis(moments, -1, 1):
        squares = np.maximum(second - first**2 / np.maximum(n, NOTHING), 0.0)
        mean = (first + kappa * mean) / (n + kappa)
        spread = (squares + kappa * spread) / (n + kappa)
        found.append(Shrunk(mean, spread / (n + kappa), n))
    return found
