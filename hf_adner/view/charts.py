"""Building blocks of a page: charts with a column per character, and shades of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from hf_adner.reporting import visible

COLUMN_WIDTH = 22
BARS_WIDTH = 16
LEFT = 30
TOP = 8
HEIGHT = 84
LABELS = 30
CHART_REACH = 6
LONGEST_CHART = 40
"""Largest number of characters in a chart; of a longer range its two ends are shown."""

LEVELS = 8
"""Number of shades of each sign."""
WHOLE = 160
"""Largest text that is shown whole, in characters."""
REACH = 36
"""Characters shown on both sides of an entity in a longer text."""
STRONG = LEVELS // 2 - 1
"""Least shade of characters that are shown though they are far from the entity."""
STRONG_REACH = 8
SHORTEST_GAP = 12


# ---- characters -------------------------------------------------------------------------------------------------


def shortened(text: str, limit: int) -> str:
    """Return the text, its middle left out if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - limit // 2 - 1]}…{text[len(text) - limit // 2 :]}"


# ---- charts -----------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """A rectangle of a chart with its description; `series` counts from 0."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


class ChartCharacter(NamedTuple):
    """A character below a chart: x of its middle, whether it belongs to the entity, and its position in the text."""

    x: float
    character: str
    is_entity: bool
    place: int


class CharacterChart(NamedTuple):
    """A chart in pixels.

    Attributes:
        width, height: size.
        characters: from left to right.
        bars: in drawing order.
        lines: (y, label) of the scale.
        baseline, label_line: y of value 0, and of the characters.
        breaks: x of gaps where characters are left out.
        names: names of the series.
        shade: (x, width) of each visible range of the entity.
    """

    width: float
    height: float
    characters: tuple[ChartCharacter, ...]
    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, str], ...]
    baseline: float
    label_line: float
    breaks: tuple[float, ...]
    names: tuple[str, ...]
    shade: tuple[tuple[float, float], ...]


def grouped_chart(text: str, entity: tuple[int, int], series: Mapping[str, Sequence[float]]) -> CharacterChart:
    """Return a chart with a bar per series and character, side by side.

    Args:
        text, entity: the text, and start and end of the entity.
        series: name -> a number in [0, 1] per character of the text.
    """
    columns, breaks = _columns(text, entity)
    width = BARS_WIDTH / max(len(series), 1)
    bars = []
    for number, (name, values) in enumerate(series.items()):
        for column in columns:
            value = values[column.place]
            height = HEIGHT * min(max(value, 0.0), 1.0)
            x = column.x - BARS_WIDTH / 2 + number * width
            bars.append(_bar(x, width - 1, TOP + HEIGHT - height, height, number, _title(name, value, column)))
    return _chart(columns, breaks, bars, tuple(series))


def stacked_chart(text: str, entity: tuple[int, int], series: Mapping[str, Sequence[float]]) -> CharacterChart:
    """Return a chart of the share of each series in their sum, stacked; arguments as `grouped_chart`."""
    columns, breaks = _columns(text, entity)
    bars = []
    for column in columns:
        total = sum(abs(values[column.place]) for values in series.values())
        bottom = TOP + HEIGHT
        for number, (name, values) in enumerate(series.items()):
            value = values[column.place]
            height = HEIGHT * abs(value) / total if total else 0.0
            bottom -= height
            left = column.x - BARS_WIDTH / 2
            bars.append(_bar(left, BARS_WIDTH, bottom, height, number, _title(name, value, column)))
    return _chart(columns, breaks, bars, tuple(series))


def _title(name: str, value: float, column: ChartCharacter) -> str:
    return f"{name} {value:.3f} at {column.character} ({column.place})"


def _bar(x: float, width: float, y: float, height: float, number: int, title: str) -> Bar:
    return Bar(round(x, 2), round(y, 2), round(width, 2), round(height, 2), number, title)


def _chart(
    columns: Sequence[ChartCharacter], breaks: Sequence[float], bars: Sequence[Bar], names: tuple[str, ...]
) -> CharacterChart:
    right = columns[-1].x + COLUMN_WIDTH / 2 if columns else LEFT
    bottom = TOP + HEIGHT
    return CharacterChart(
        width=right + 4,
        height=bottom + LABELS,
        characters=tuple(columns),
        bars=tuple(bar for bar in bars if bar.height >= 0.2),
        lines=tuple((TOP + HEIGHT * (1 - value), label) for value, label in ((0, "0"), (0.5, "0.5"), (1, "1"))),
        baseline=bottom,
        label_line=bottom + 19,
        breaks=tuple(breaks),
        names=names,
        shade=_entity_ranges(columns),
    )


def _entity_ranges(columns: Sequence[ChartCharacter]) -> tuple[tuple[float, float], ...]:
    ranges: list[list[float]] = []
    for column in columns:
        left = column.x - COLUMN_WIDTH / 2
        if column.is_entity and ranges and ranges[-1][0] + ranges[-1][1] == left:
            ranges[-1][1] += COLUMN_WIDTH
        elif column.is_entity:
            ranges.append([left, COLUMN_WIDTH])
    return tuple((start, width) for start, width in ranges)


def _columns(text: str, entity: tuple[int, int]) -> tuple[list[ChartCharacter], list[float]]:
    """Return the characters of a chart, and the x of the breaks between them."""
    columns: list[ChartCharacter] = []
    breaks: list[float] = []
    x = float(LEFT)
    for start, end in _ranges(len(text), *entity):
        if columns:
            breaks.append(x + COLUMN_WIDTH / 2)
            x += COLUMN_WIDTH
        for place in range(start, end):
            is_entity = entity[0] <= place < entity[1]
            columns.append(ChartCharacter(x + COLUMN_WIDTH / 2, _label(text[place]), is_entity, place))
            x += COLUMN_WIDTH
    return columns, breaks


def _ranges(length: int, start: int, end: int) -> list[tuple[int, int]]:
    first, after = max(start - CHART_REACH, 0), min(end + CHART_REACH, length)
    if after - first <= LONGEST_CHART:
        return [(first, after)]
    half = LONGEST_CHART // 2
    return [(first, first + half), (after - half, after)]


def _label(character: str) -> str:
    return {"\n": "↵", "\r": "↵", "\t": "⇥", " ": "␣", "\u3000": "␣"}.get(character) or visible(character)


# ---- shades -----------------------------------------------------------------------------------------------------


class HeatRun(NamedTuple):
    """Neighbouring characters of one shade, or a range that is left out.

    Attributes:
        start, end: the characters.
        level: shade from -8 to 8; 0 has none.
        is_entity: whether they belong to the explained entity.
        is_gap: whether they are left out.
    """

    start: int
    end: int
    level: int
    is_entity: bool
    is_gap: bool = False


def heat_levels(scores: Sequence[float]) -> list[int]:
    """Return the shade of each score, -8 to 8: in 8 even steps up to the largest magnitude, rounded to the nearest."""
    largest = max(map(abs, scores), default=0.0)
    if not largest:
        return [0] * len(scores)
    return [_level(score / largest) for score in scores]


def _level(share: float) -> int:
    level = int(abs(share) * LEVELS + 0.5)
    return level if share > 0 else -level


def heat_runs(levels: Sequence[int], entity: tuple[int, int]) -> list[HeatRun]:
    """Split a text into runs of one shade, with gaps in long texts where all scores are small."""
    shown = _shown(levels, entity)
    runs, place = [], 0
    for (is_shown, level, inside), group in groupby(
        range(len(levels)), lambda position: _run_key(position, shown, levels, entity)
    ):
        end = place + sum(1 for _ in group)
        runs.append(HeatRun(place, end, level, inside, not is_shown))
        place = end
    return runs


def _run_key(
    place: int, shown: Sequence[bool], levels: Sequence[int], entity: tuple[int, int]
) -> tuple[bool, int, bool]:
    return shown[place], levels[place] if shown[place] else 0, entity[0] <= place < entity[1]


def _shown(levels: Sequence[int], entity: tuple[int, int]) -> list[bool]:
    """Return which characters to show: all of a short text, else those around the entity and around strong scores."""
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
    """Encode levels as a letter per character, ``a`` for -8 to ``q`` for 8, for the script of the page."""
    return "".join(chr(ord("a") + LEVELS + level) for level in levels)
