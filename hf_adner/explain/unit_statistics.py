"""The cells of the global table: counts, sums and sums of squares by unit, label and role.

The part that each character plays for an entity.

Attribution maps on a scale on which maps of different texts can be averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_adner.explain.removal import longest_matches
from hf_adner.model.lexicon_adner import Lexicon, lower_by_character, replace_surrogates

ROLES = ("left-context", "left-edge", "middle", "right-edge", "right-context")
"""Before the entity, its first character, between, its last character, behind it."""

LEFT_CONTEXT, LEFT_EDGE, MIDDLE, RIGHT_EDGE, RIGHT_CONTEXT = range(len(ROLES))


def character_roles(length: int, start: int, end: int) -> np.ndarray:
    """Roles of all characters of a text.

    Args:
        length: characters of the text.
        start, end: the entity, end exclusive. Of an entity of one character, that is the left edge.

    Returns:
        (length,) int64, indices of `ROLES`.

    Raises:
        ValueError: an entity that is empty or outside the text.
    """
    if not 0 <= start < end <= length:
        raise ValueError(f"entity {start}-{end} is empty or outside the text of {length} characters")
    roles = np.full(length, MIDDLE, dtype=np.int64)
    roles[:start] = LEFT_CONTEXT
    roles[end:] = RIGHT_CONTEXT
    roles[end - 1] = RIGHT_EDGE
    roles[start] = LEFT_EDGE
    return roles


ANY, UNSEEN, UNKNOWN_WORD = range(3)
"""Unit ids of all units together, of what is no unit, and of words that were never added."""

FIRST_UNIT = 3
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
        self.names: list[str] = []
        self._words: dict[str, int] = {}
        self._characters = np.full(1 << 16, UNSEEN, dtype=np.int32)  # by code point

    def __len__(self) -> int:
        return len(self.names)

    def find(self, text: str) -> np.ndarray:
        """Units of each character, (3, length) ids: `ANY`, the character, the word, `UNSEEN` if it has none."""
        return self._ids(*self._split(text))

    def enter(self, text: str) -> np.ndarray:
        """As `find`, but what has no id yet gets one."""
        text, codes, words = self._split(text)
        for name in dict.fromkeys([*text, *(text[start:end] for start, end in words)]):
            self.id_of(name)
        return self._ids(text, codes, words)

    def id_of(self, name: str) -> int:
        """The id of a unit, a new one if it has none."""
        known = self._words.get(name, UNSEEN) if len(name) > 1 else int(self._characters_to(ord(name))[ord(name)])
        if known != UNSEEN:
            return known
        number = len(self.names) + FIRST_UNIT
        self.names.append(name)
        if len(name) > 1:
            self._words[name] = number
        else:
            self._characters[ord(name)] = number
        return number

    def _characters_to(self, code: int) -> np.ndarray:
        """Ids by code point, up to one at least."""
        missing = code + 1 - len(self._characters)
        if missing > 0:
            self._characters = np.pad(self._characters, (0, missing), constant_values=UNSEEN)
        return self._characters

    def _split(self, text: str) -> tuple[str, np.ndarray, list[tuple[int, int]]]:
        """The text in lower case, its code points, and the (start, end) of its words."""
        text = lower_by_character(replace_surrogates(text))
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        words = [] if self.lexicon is None else longest_matches(self.lexicon.match(text, lower_case=True))
        return text, codes, [(start, end) for start, end in words if end - start > 1]

    def _ids(self, text: str, codes: np.ndarray, words: Sequence[tuple[int, int]]) -> np.ndarray:
        ids = np.full((3, len(text)), UNSEEN, dtype=np.int64)
        ids[0] = ANY
        ids[1] = self._characters_to(int(codes.max(initial=0)))[codes]
        for start, end in words:
            ids[2, start:end] = self._words.get(text[start:end], UNKNOWN_WORD)
        return ids


class UnitStatistics:
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
        """Add moments (..., 3) to the cells of units and roles (...)."""
        table = self.table(label, int(units.max(initial=0)) + 1)
        places = (units * len(ROLES) + roles)[..., None] * 3 + np.arange(3)
        np.add.at(table.reshape(-1), places.ravel(), moments.ravel())  # far faster than rows

    def read(self, label: str, units: np.ndarray, roles: np.ndarray) -> np.ndarray:
        """Moments (..., 3) of the cells of units and roles (...); zeros where there are none."""
        table = self._tables.get(label)
        if table is None:
            return np.zeros((*units.shape, 3))
        known = np.where(units < len(table), units, UNSEEN)  # of which no label has cells
        return table.reshape(-1, 3)[known * len(ROLES) + roles]

    def scale(self, factor: float) -> None:
        """Multiply all moments."""
        for table in self._tables.values():
            table *= factor


def own_moments(keys: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """What instances put into the cells that their characters look up.

    Args:
        keys: (levels, length) cells, those of different instances kept apart.
        moments: (length, 3) of each character.

    Returns:
        (levels, length, 3): for each character the sum over all characters that share its cell.
    """
    _, cells = np.unique(keys.ravel(), return_inverse=True)
    columns = [np.bincount(cells, np.tile(column, len(keys))) for column in moments.T]
    return np.stack(columns, -1)[cells].reshape(*keys.shape, 3)


def shrink(moments: np.ndarray, kappa: float, has_word: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shrink each cell towards the coarser one: words -> characters -> all units -> 0.

    The mean is (S1 + kappa m) / (n + kappa), m being the coarser cell's mean; the variance of an observation is pooled
    with the coarser cell's in the same way, and that of the mean is it over n + kappa. So a cell without observations
    has its parent's mean, and the variance of a guess.

    Args:
        moments: (3, length, 3) count, sum and sum of squares of all units, the character, the word.
        kappa: observations that the coarser cell counts for.
        has_word: (length,) bool; other characters have no cell finer than their own.

    Returns:
        Mean, its variance, and observations in the finest cell, (length,) each.
    """
    count, first, second = np.moveaxis(moments, -1, 0)  # (levels, length) each
    seen = count > NOTHING
    squares = np.maximum(second - first**2 / np.where(seen, count, 1.0), 0.0) * seen
    count, first = count * seen, first * seen
    mean, spread = 0.0, PRIOR_VARIANCE
    for level in range(2):
        weight = 1.0 / (count[level] + kappa)
        mean, spread = (first[level] + kappa * mean) * weight, (squares[level] + kappa * spread) * weight
    word = 1.0 / (count[2] + kappa)
    mean = np.where(has_word, (first[2] + kappa * mean) * word, mean)
    spread = np.where(has_word, (squares[2] + kappa * spread) * word, spread)
    count = np.where(has_word, count[2], count[1])
    return mean, spread / (count + kappa), count


LIMIT = 5.0
"""Log attributions lie in [-LIMIT, LIMIT]."""


def log_attributions(scores: Tensor, mask: Tensor) -> Tensor:
    """How many times its even share each character has, as a logarithm: log(length |a| / sum |a|).

    0 is the even share, log 2 twice of it. Signs are lost; values are clipped to [-5, 5].

    Args:
        scores: (..., length), an attribution map per row.
        mask: (..., length) bool, the characters that count; `length` above is their number.

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose scores are all zero.
    """
    sizes = scores.float().abs() * mask
    totals = sizes.sum(-1, keepdim=True)
    ratios = sizes * mask.sum(-1, keepdim=True) / totals.clamp(min=torch.finfo(torch.float32).tiny)
    logs = ratios.log().clamp(-LIMIT, LIMIT)  # the log of 0 is clipped as well
    return torch.where(mask & (totals > 0), logs, 0.0)


def simplex(log_map: Tensor, mask: Tensor) -> Tensor:
    """The map as shares that sum to 1 over the mask: softmax; the inverse of `log_attributions` but for clipping.

    Args:
        log_map, mask: (..., length).

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose mask is empty.
    """
    lowest = torch.finfo(torch.float32).min
    return torch.where(mask, log_map.float().masked_fill(~mask, lowest).softmax(-1), 0.0)
