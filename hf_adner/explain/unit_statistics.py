"""Statistics of attribution maps by unit (character or word), entity type and role.

Maps of different texts are averaged as log attributions. A role is the part of the text that a character belongs to,
as seen from the entity: its context, its edges or its middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_adner.explain.explanation import ROLES, role_ranges
from hf_adner.model.lexicon_adner import Lexicon, Match, leftmost_longest, lower_by_character, replace_surrogates
from hf_adner.model.script_adner import ScriptMap

ANY, UNSEEN, UNKNOWN_WORD = range(3)
"""Unit ids of all units together, of characters without a unit, and of words that were never added."""

FIRST_UNIT = 3
PRIOR_VARIANCE = 1.0
"""Variance of log attributions that is assumed without observations."""

MIN_COUNT = 1e-6
"""Smaller counts are rounding errors of 0."""

ROUNDED_TO = 0.1
"""Means and variances of published statistics are multiples of it."""

LOG_LIMIT = 5.0
"""Log attributions are clipped to [-LOG_LIMIT, LOG_LIMIT]."""


def character_roles(length: int, start: int, end: int) -> np.ndarray:
    """Return the role of every character of a text, (length,) int64 indices of `ROLES`; see `role_ranges`."""
    sizes = [after - first for first, after in role_ranges(length, start, end)]
    return np.repeat(np.arange(len(ROLES), dtype=np.int64), sizes)


class Units:
    """Ids of characters and lexicon words, as a tokenizer reads them; Latin letters are lower-cased.

    Args:
        lexicon: its words of two characters or more are units beside the characters; matches are leftmost-longest.
        script_map: of the tokenizer, so that both scripts have the same units.
    """

    def __init__(self, lexicon: Lexicon | None = None, script_map: ScriptMap | None = None):
        self.lexicon, self.script_map = lexicon, script_map
        self.names: list[str] = []
        self._words: dict[str, int] = {}
        self._characters = np.full(1 << 16, UNSEEN, dtype=np.int32)  # by code point

    def __len__(self) -> int:
        return len(self.names)

    def find(self, text: str) -> np.ndarray:
        """Return the units of each character, (3, length) ids: `ANY`, the character, the word (`UNSEEN` if none)."""
        return self._ids(*self._split(text))

    def add(self, text: str) -> np.ndarray:
        """As `find`, but give new units an id first."""
        text, codes, words = self._split(text)
        for name in dict.fromkeys([*text, *(text[start:end] for start, end in words)]):
            self.id_of(name)
        return self._ids(text, codes, words)

    def id_of(self, name: str) -> int:
        """Return the id of a unit; a new unit gets the next one."""
        known = self._words.get(name, UNSEEN) if len(name) > 1 else int(self._ids_up_to(ord(name))[ord(name)])
        if known != UNSEEN:
            return known
        number = len(self.names) + FIRST_UNIT
        self.names.append(name)
        if len(name) > 1:
            self._words[name] = number
        else:
            self._characters[ord(name)] = number
        return number

    def _ids_up_to(self, code: int) -> np.ndarray:
        """Return the ids by code point, grown to hold `code`."""
        missing = code + 1 - len(self._characters)
        if missing > 0:
            self._characters = np.pad(self._characters, (0, missing), constant_values=UNSEEN)
        return self._characters

    def _split(self, text: str) -> tuple[str, np.ndarray, list[tuple[int, int]]]:
        """Return the text as it is read, its code points, and the (start, end) of its words."""
        text = lower_by_character(replace_surrogates((self.script_map or str)(text)))
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        words = [] if self.lexicon is None else leftmost_longest(self._match(text))
        return text, codes, [(start, end) for _, start, end in words if end - start > 1]

    def _match(self, text: str) -> list[Match]:
        return self.lexicon.match(text, lower_case=True, script_map=self.script_map)

    def _ids(self, text: str, codes: np.ndarray, words: Sequence[tuple[int, int]]) -> np.ndarray:
        ids = np.full((3, len(text)), UNSEEN, dtype=np.int64)
        ids[0] = ANY
        ids[1] = self._ids_up_to(int(codes.max(initial=0)))[codes]
        for start, end in words:
            ids[2, start:end] = self._words.get(text[start:end], UNKNOWN_WORD)
        return ids


class UnitStatistics:
    """Weighted counts, sums and sums of squares ("moments") of log attributions, by label, unit and role."""

    def __init__(self) -> None:
        self._tables: dict[str, np.ndarray] = {}

    @property
    def labels(self) -> list[str]:
        """Labels with statistics, in the order in which they were added."""
        return list(self._tables)

    def table(self, label: str, units: int = 0) -> np.ndarray:
        """Return the moments of a label, (at least `units`, roles, 3), to be changed in place."""
        table = self._tables.get(label)
        size = 0 if table is None else len(table)
        if table is None or size < units:
            grown = np.zeros((max(units, 2 * size, FIRST_UNIT), len(ROLES), 3))
            grown[:size] = 0 if table is None else table
            self._tables[label] = table = grown
        return table

    def add(self, label: str, units: np.ndarray, roles: np.ndarray, moments: np.ndarray) -> None:
        """Add moments (..., 3) to those of units and roles (...)."""
        table = self.table(label, int(units.max(initial=0)) + 1)
        places = (units * len(ROLES) + roles)[..., None] * 3 + np.arange(3)
        np.add.at(table.reshape(-1), places.ravel(), moments.ravel())  # far faster than rows

    def read(self, label: str, units: np.ndarray, roles: np.ndarray) -> np.ndarray:
        """Return the moments (..., 3) of units and roles (...); zeros where there are none."""
        table = self._tables.get(label)
        if table is None:
            return np.zeros((*units.shape, 3))
        known = np.where(units < len(table), units, UNSEEN)  # UNSEEN has no statistics in any label
        return table.reshape(-1, 3)[known * len(ROLES) + roles]

    def scale(self, factor: float) -> None:
        """Multiply all moments by a factor."""
        for table in self._tables.values():
            table *= factor


def own_moments(keys: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Compute what each map contributed to the statistics that its own characters look up.

    Args:
        keys: (levels, length) number of the statistic per level and character; maps must not share numbers.
        moments: (length, 3) of each character.

    Returns:
        (levels, length, 3): for each character the sum over all characters with the same key.
    """
    _, inverse = np.unique(keys.ravel(), return_inverse=True)
    columns = [np.bincount(inverse, np.tile(column, len(keys))) for column in moments.T]
    return np.stack(columns, -1)[inverse].reshape(*keys.shape, 3)


def rounded(moments: np.ndarray, step: int) -> np.ndarray:
    """Round statistics, so that they tell less of single observations.

    Args:
        moments: (..., 3) count, sum and sum of squares, counts above 0.
        step: counts are rounded down to its multiples, but not to 0, and means and variances to multiples of
            `ROUNDED_TO`; 1 leaves all as it is.

    Returns:
        (..., 3).
    """
    if step == 1:
        return moments
    count, first, second = np.moveaxis(moments, -1, 0)
    mean = np.round(first / count / ROUNDED_TO) * ROUNDED_TO
    variance = np.round(np.maximum(second / count - (first / count) ** 2, 0.0) / ROUNDED_TO) * ROUNDED_TO
    count = np.maximum(np.floor(count / step), 1) * step
    return np.stack([count, mean * count, (variance + mean**2) * count], -1)


def shrink(moments: np.ndarray, kappa: float, has_word: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shrink each statistic towards the coarser level: words -> characters -> all units -> 0.

    The mean is (S1 + kappa m) / (n + kappa) with m the mean of the coarser level; the variance of an observation is
    pooled with that of the coarser level in the same way, and the variance of the mean is this over n + kappa. Without
    observations, a unit has the mean of the coarser level, and the variance of a single guess.

    Args:
        moments: (3, length, 3) count, sum and sum of squares of all units, the character, the word.
        kappa: number of observations that the coarser level counts for.
        has_word: (length,) bool; other characters have no level finer than their own.

    Returns:
        Mean, its variance, and number of observations at the finest level, (length,) each.
    """
    count, first, second = np.moveaxis(moments, -1, 0)  # (levels, length) each
    seen = count > MIN_COUNT
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


def log_attributions(scores: Tensor, mask: Tensor) -> Tensor:
    """Compute log(length |a| / sum |a|): the log of each character's share of the map relative to an even share.

    0 is the even share, log 2 twice of it. Signs are lost; values are clipped to [-5, 5].

    Args:
        scores: (..., length), an attribution map per row.
        mask: (..., length) bool, the characters that count; `length` in the formula is their number.

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose scores are all zero.
    """
    sizes = scores.float().abs() * mask
    totals = sizes.sum(-1, keepdim=True)
    ratios = sizes * mask.sum(-1, keepdim=True) / totals.clamp(min=torch.finfo(torch.float32).tiny)
    logs = ratios.log().clamp(-LOG_LIMIT, LOG_LIMIT)  # the log of 0 is clipped as well
    return torch.where(mask & (totals > 0), logs, 0.0)


def simplex(log_map: Tensor, mask: Tensor) -> Tensor:
    """Turn log attributions into shares that sum to 1 over the mask (softmax); inverts `log_attributions`.

    Args:
        log_map, mask: (..., length).

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose mask is empty. Clipped values of
        `log_attributions` do not come back.
    """
    lowest = torch.finfo(torch.float32).min
    return torch.where(mask, log_map.float().masked_fill(~mask, lowest).softmax(-1), 0.0)
