"""Small charts with one cell per character: where an entity begins and ends, and which part of a fusion spoke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hf_adner.explain.pages.visible_text import visible

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
