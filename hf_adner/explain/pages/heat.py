"""Scores as shades, and which stretches of a long text are worth showing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

LEVELS = 8
"""Shades of each sign."""
WHOLE = 160
"""Texts up to this many characters are shown whole."""
REACH = 36
"""Characters that are shown on both sides of an entity."""
STRONG = LEVELS // 2 - 1
"""From this shade on, characters far from the entity are shown as well."""
STRONG_REACH = 8
SHORTEST_GAP = 12


class HeatRun(NamedTuple):
    """Neighbouring characters of one shade, or a stretch that is left out.

    Attributes:
        start, end: the characters.
        level: -8..8, the shade by sign; 0 has none.
        is_entity: whether they belong to the explained entity.
        is_gap: whether they are left out.
    """

    start: int
    end: int
    level: int
    is_entity: bool
    is_gap: bool = False


def heat_levels(scores: Sequence[float]) -> list[int]:
    """The shade of each score, -8..8: 8 even steps to the score that is furthest from 0, rounded to the nearest."""
    largest = max(map(abs, scores), default=0.0)
    if not largest:
        return [0] * len(scores)
    return [_level(score / largest) for score in scores]


def _level(share: float) -> int:
    level = int(abs(share) * LEVELS + 0.5)
    return level if share > 0 else -level


def heat_runs(levels: Sequence[int], entity: tuple[int, int]) -> list[HeatRun]:
    """A text as runs of one shade, with gaps where it is long and little happens."""
    shown = _shown(levels, entity)
    runs, place = [], 0
    for (is_shown, level, inside), group in groupby(range(len(levels)), lambda one: _kind(one, shown, levels, entity)):
        end = place + sum(1 for _ in group)
        runs.append(HeatRun(place, end, level, inside, not is_shown))
        place = end
    return runs


def _kind(place: int, shown: Sequence[bool], levels: Sequence[int], entity: tuple[int, int]) -> tuple[bool, int, bool]:
    return shown[place], levels[place] if shown[place] else 0, entity[0] <= place < entity[1]


def _shown(levels: Sequence[int], entity: tuple[int, int]) -> list[bool]:
    """Which characters to show: all of a short text, else the entity's surroundings and strong places with theirs."""
    length = len(levels)
    if length <= WHOLE:
        return [True] * length
    shown = [False] * length
    spans = [(entity[0] - REACH, entity[1] + REACH)]
    strong = (place for place, level in enumerate(levels) if abs(level) >= STRONG)
    spans += [(place - STRONG_REACH, place + 1 + STRONG_REACH) for place in strong]
    for start, end in spans:
        first, after = max(start, 0), min(end, length)
        shown[first:after] = [True] * (after - first)
    return _without_short_gaps(shown)


def _without_short_gaps(shown: Sequence[bool]) -> list[bool]:
    filled: list[bool] = []
    for is_shown, group in groupby(shown):
        size = len(list(group))
        filled += [is_shown or size < SHORTEST_GAP] * size
    return filled


def encode_levels(levels: Sequence[int]) -> str:
    """One letter per character, ``a`` for -8 to ``q`` for 8: what the page's script paints the note with."""
    return "".join(chr(ord("a") + LEVELS + level) for level in levels)
