"""Small charts with one cell per character: where an entity begins and ends, and which part of a fusion spoke.

Characters as a page can show them, one for one, so that places in a text are places on the page.

Scores as shades, and which stretches of a long text are worth showing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

_REPLACEMENT = "\ufffd"
_INVISIBLE = "\u200b"  # stands for the first half of a Windows line end
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}
# halves of surrogate pairs, C1 controls, and what turns the direction of writing and could reorder a line
_UNSAFE = [*range(0xD800, 0xE000), *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_TABLE = {**_CONTROL_PICTURES, 0x7F: "\u2421", **dict.fromkeys(_UNSAFE, _REPLACEMENT)}


def visible(text: str) -> str:
    """The text with as many characters, none of which an HTML parser drops, joins or reads as something else.

    Control characters become their pictures, halves of surrogate pairs and direction overrides U+FFFD, a carriage
    return a line end or, before a line end, nothing that is seen. Markup is not escaped here.
    """
    return re.sub(r"\r(?!\n)", "\n", text).replace("\r", _INVISIBLE).translate(_TABLE)


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it has more than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most - most // 2 - 1]}…{text[len(text) - most // 2 :]}"


CELL = 22
LEFT = 30
TOP = 8
HEIGHT = 84
LABELS = 30
STRIP_REACH = 6
LONGEST = 40
"""Characters that a strip shows in one piece; of a longer entity its two ends."""


class Bar(NamedTuple):
    """A rectangle of a chart, with what it stands for in words; `series` counts from 0."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


class Cell(NamedTuple):
    """A character under the chart: middle of its cell, whether it is the entity's, and its place in the text."""

    x: float
    character: str
    is_entity: bool
    place: int


class Strip(NamedTuple):
    """A chart in pixels.

    Attributes:
        width, height: of all of it.
        cells: its characters, from left to right.
        bars: in drawing order.
        lines: (y, label) of the scale.
        baseline, label_line: y of value 0, and of the characters.
        breaks: x of places where characters are left out.
        names: of the series.
        shade: (x, width) of each stretch of the entity.
    """

    width: float
    height: float
    cells: tuple[Cell, ...]
    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, str], ...]
    baseline: float
    label_line: float
    breaks: tuple[float, ...]
    names: tuple[str, ...]
    shade: tuple[tuple[float, float], ...]


def grouped_strip(text: str, entity: tuple[int, int], series: Mapping[str, Sequence[float]]) -> Strip:
    """Bars side by side, one per series and character.

    Args:
        text, entity: the text, and start and end of the entity.
        series: name -> one number in [0, 1] per character of the text.
    """
    cells, breaks = _cells(text, entity)
    wide = (CELL - 6) / max(len(series), 1)
    bars = []
    for number, (name, values) in enumerate(series.items()):
        for cell in cells:
            height = HEIGHT * min(max(values[cell.place], 0.0), 1.0)
            x = cell.x - CELL / 2 + 3 + number * wide
            bars.append(_bar(x, wide - 1, TOP + HEIGHT - height, height, number, name, values, cell))
    return _strip(cells, breaks, bars, tuple(series))


def stacked_strip(text: str, entity: tuple[int, int], series: Mapping[str, Sequence[float]]) -> Strip:
    """Bars on each other that fill the cell: the share of each series in their sum; arguments as `grouped_strip`."""
    cells, breaks = _cells(text, entity)
    bars = []
    for cell in cells:
        total = sum(abs(values[cell.place]) for values in series.values())
        bottom = TOP + HEIGHT
        for number, (name, values) in enumerate(series.items()):
            height = HEIGHT * abs(values[cell.place]) / total if total else 0.0
            bottom -= height
            bars.append(_bar(cell.x - CELL / 2 + 3, CELL - 6, bottom, height, number, name, values, cell))
    return _strip(cells, breaks, bars, tuple(series))


def _bar(
    x: float, width: float, y: float, height: float, number: int, name: str, values: Sequence[float], cell: Cell
) -> Bar:
    title = f"{name} {values[cell.place]:.3f} at {cell.character} ({cell.place})"
    return Bar(round(x, 2), round(y, 2), round(width, 2), round(height, 2), number, title)


def _strip(cells: Sequence[Cell], breaks: Sequence[float], bars: Sequence[Bar], names: tuple[str, ...]) -> Strip:
    lines = tuple((TOP + HEIGHT * (1 - value), label) for value, label in ((0, "0"), (0.5, "0.5"), (1, "1")))
    right = cells[-1].x + CELL / 2 if cells else LEFT
    bottom = TOP + HEIGHT
    visible_bars = tuple(bar for bar in bars if bar.height >= 0.2)
    shade = _shade(cells)
    return Strip(
        right + 4, bottom + LABELS, tuple(cells), visible_bars, lines, bottom, bottom + 19, tuple(breaks), names, shade
    )


def _shade(cells: Sequence[Cell]) -> tuple[tuple[float, float], ...]:
    stretches: list[list[float]] = []
    for cell in cells:
        left = cell.x - CELL / 2
        if cell.is_entity and stretches and stretches[-1][0] + stretches[-1][1] == left:
            stretches[-1][1] += CELL
        elif cell.is_entity:
            stretches.append([left, CELL])
    return tuple((start, width) for start, width in stretches)


def _cells(text: str, entity: tuple[int, int]) -> tuple[list[Cell], list[float]]:
    cells: list[Cell] = []
    breaks: list[float] = []
    x = float(LEFT)
    for start, end in _ranges(len(text), *entity):
        if cells:
            breaks.append(x + CELL / 2)
            x += CELL
        for place in range(start, end):
            inside = entity[0] <= place < entity[1]
            cells.append(Cell(x + CELL / 2, _label(text[place]), inside, place))
            x += CELL
    return cells, breaks


def _ranges(length: int, start: int, end: int) -> list[tuple[int, int]]:
    first, after = max(start - STRIP_REACH, 0), min(end + STRIP_REACH, length)
    if after - first <= LONGEST:
        return [(first, after)]
    half = LONGEST // 2
    return [(first, first + half), (after - half, after)]


def _label(character: str) -> str:
    return {"\n": "↵", "\r": "↵", "\t": "⇥", " ": "␣", "\u3000": "␣"}.get(character) or visible(character)


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
