"""The parts of a long text that are read: windows as long as the model takes, crops and tiles around entities.

Which crop an entity is read in depends on the text, the entity and the context alone, not on the other entities that
are asked for; neighbouring entities share a crop because its edges lie on a grid. A crop is a part of the window that
the entity is predicted in, its home, and its tokens keep the positions that they have there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hf_adner.data.records import EntitySpan
from hf_adner.model.windows_adner import Window, prediction_windows

OVERLAP = 64
"""Characters shared by neighbouring windows of a long text."""

DEFAULT_CONTEXT = 64
"""Characters on both sides of an entity that are read at least in its crop."""

GRID = 32
"""Edges of crops are its multiples."""

CELL = 16
"""Characters that are hidden in the same tile."""

EDGE = 8
"""Characters between an entity and the edge of its tile, at least."""

Fits = Callable[[Sequence[str]], bool]


class TextWindow(NamedTuple):
    """A window of a text with the entities to read in it.

    Attributes:
        text: number of the text.
        window: its characters.
        entities: (index in the text's list, (start, end, label) in characters of the text).
        home: the window that this is a part of, in which its tokens have their positions; None: this one.
    """

    text: int
    window: Window
    entities: tuple[tuple[int, EntitySpan], ...] = ()
    home: Window | None = None


class TextTile(NamedTuple):
    """A window of a text in which some characters are hidden one after the other.

    Attributes:
        window: what is read, with the entities that are scored in it.
        hidden: the characters to hide.
        context: characters on both sides of an entity in which hidden characters count for it; None: all.
    """

    window: TextWindow
    hidden: Window
    context: int | None = None

    def reach(self, entity: EntitySpan) -> Window:
        """Return the characters of the tile's window that count for an entity."""
        start, end = self.window.window
        if self.context is None:
            return self.window.window
        return Window(max(start, entity[0] - self.context), min(end, entity[1] + self.context))

    def word_reach(self, entity: EntitySpan) -> Window:
        """Return the characters where matched words begin that count for an entity; fewer than those of `reach`."""
        start, end = self.window.window
        if self.context is None:
            return self.window.window
        return Window(max(start, entity[0] - EDGE), min(end, entity[1] + EDGE))


def cover_text(text: str, size: int | None, fits: Fits) -> tuple[list[Window], int]:
    """Return overlapping windows over a text that fit the model, and their maximum number of characters.

    Args:
        text: to be covered.
        size: characters to try first; None if the model has no length limit.
        fits: whether the model takes these pieces of text without truncation.

    Raises:
        ValueError: not even one character fits.
    """
    if size is None or not text:
        return [Window(0, len(text))] if text else [], max(len(text), 1)
    while size > 0:
        windows = prediction_windows(len(text), size, min(OVERLAP, size // 2))
        if fits([text[start:end] for start, end in windows]):
            return windows, size
        size = min(size, len(text)) * 4 // 5
    raise ValueError("the model's length limit leaves no room for text beside the special tokens")


def place_entities(
    number: int, text: str, entities: Sequence[EntitySpan], size: int | None, fits: Fits
) -> list[TextWindow]:
    """Assign each entity to the window in which it has most context.

    An entity that no window contains gets a window of its own, centred on it.

    Args:
        number: of the text.
        text: of the entities.
        entities: (start, end, label), inside the text.
        size, fits: as for `cover_text`.

    Raises:
        ValueError: an entity longer than the model's maximum length.
    """
    windows, size = cover_text(text, size, fits)
    by_window: dict[Window, list[tuple[int, EntitySpan]]] = {}
    for index, entity in enumerate(entities):
        window = _most_context(entity, windows, len(text)) or _own_window(entity, text, size, fits)
        by_window.setdefault(window, []).append((index, entity))
    return [TextWindow(number, window, tuple(by_window[window])) for window in sorted(by_window)]


def _most_context(entity: EntitySpan, windows: Sequence[Window], length: int) -> Window | None:
    holding = [window for window in windows if window.start <= entity[0] and entity[1] <= window.end]
    return max(holding, key=lambda window: _context(entity, window, length), default=None)


def _context(entity: EntitySpan, window: Window, length: int) -> int:
    """Return the characters to the nearer edge of the window; edges of the text do not count as edges."""
    left = entity[0] - window.start if window.start else length
    right = window.end - entity[1] if window.end < length else length
    return min(left, right)


def _own_window(entity: EntitySpan, text: str, size: int, fits: Fits) -> Window:
    start, end, _ = entity
    while size >= end - start:
        first = min(max((start + end - size) // 2, 0), max(len(text) - size, 0))
        window = Window(first, min(first + size, len(text)))
        if fits([text[window.start : window.end]]):
            return window
        size = size * 4 // 5
    raise ValueError(f"entity {start}-{end} has {end - start} characters, more than the model takes at once")


def reads_whole(text: str, context: int | None) -> bool:
    """Return whether a text is so short that it is read as a whole, whatever its entities."""
    return context is None or len(text) <= 2 * context + 3 * GRID


def crop_entities(
    number: int, text: str, entities: Sequence[EntitySpan], context: int | None, size: int | None, fits: Fits
) -> list[TextWindow]:
    """Assign each entity to its crop: `context` characters on both sides, outwards to the next edge of the grid.

    A crop ends where the window ends that `place_entities` assigns the entity to. A text of at most twice the context
    and three cells of the grid is read as a whole.

    Args:
        number, text, entities, size, fits: as for `place_entities`.
        context: characters on both sides, 0 or more; None: as many as the model takes.

    Raises:
        ValueError: as `place_entities`.
    """
    homes = place_entities(number, text, entities, size, fits)
    if reads_whole(text, context):
        return homes
    by_crop: dict[tuple[Window, Window], list[tuple[int, EntitySpan]]] = {}
    for home in homes:
        crops = [_crop(entity, home.window, context) for _, entity in home.entities]
        readable = _readable(text, set(crops), fits)
        for member, crop in zip(home.entities, crops):
            by_crop.setdefault((crop if crop in readable else home.window, home.window), []).append(member)
    return [TextWindow(number, crop, tuple(by_crop[crop, home]), home) for crop, home in sorted(by_crop)]


def tile_entities(
    number: int, text: str, entities: Sequence[EntitySpan], context: int | None, size: int | None, fits: Fits
) -> list[TextTile]:
    """Plan to hide every character within `context` of an entity once, and to score all entities in reach of it.

    The characters of a cell of 16 are hidden in one tile: the cell, and around it room for the entities in reach,
    within the window that `place_entities` assigns the entity to. Where crops would be whole texts (see
    `crop_entities`), all characters of the window are hidden in it.

    Args:
        number, text, entities, context, size, fits: as for `crop_entities`.

    Raises:
        ValueError: as `place_entities`.
    """
    homes = place_entities(number, text, entities, size, fits)
    if reads_whole(text, context):
        return [TextTile(home, home.window) for home in homes]
    return [tile for home in homes for tile in _tiles_of(home, text, context, fits)]


def _crop(entity: EntitySpan, home: Window, context: int) -> Window:
    first, after = (entity[0] - context) // GRID * GRID, -(-(entity[1] + context) // GRID) * GRID
    return Window(max(first, home.start), min(after, home.end))


def _tiles_of(home: TextWindow, text: str, context: int, fits: Fits) -> list[TextTile]:
    """Return the tiles of the entities of a window, by cell and size; the whole window where a tile does not fit."""
    plans = [_cells(entity, home.window, context) for _, entity in home.entities]
    readable = _readable(text, {tile for plan in plans for _, tile in plan}, fits)
    hidden: dict[tuple[int, Window], Window] = {}
    members: dict[tuple[int, Window], list[tuple[int, EntitySpan]]] = {}
    for member, plan in zip(home.entities, plans):
        for (edge, tile), (first, after) in plan.items():
            key = edge, tile if tile in readable else home.window
            known = hidden.get(key, Window(first, after))
            hidden[key] = Window(min(first, known.start), max(after, known.end))
            members.setdefault(key, []).append(member)
    return [
        TextTile(TextWindow(home.text, key[1], tuple(members[key]), home.window), hidden[key], context)
        for key in sorted(hidden)
    ]


def _cells(entity: EntitySpan, home: Window, context: int) -> dict[tuple[int, Window], Window]:
    """Return the characters to hide around an entity, by the first character of their cell and its tile."""
    start, end, _ = entity
    margin = context + -(-(end - start + EDGE) // CELL) * CELL  # beside a cell: room for an entity at full distance
    first, after = max(start - context, home.start), min(end + context, home.end)
    cells = {}
    for edge in range(first // CELL * CELL, after, CELL):
        tile = Window(max(edge - margin, home.start), min(edge + CELL + margin, home.end))
        cells[edge, tile] = Window(max(edge, first), min(edge + CELL, after))
    return cells


def _readable(text: str, windows: set[Window], fits: Fits) -> set[Window]:
    """Return the windows that the model takes at once: a sub-word tokenizer may split a part more finely."""
    if fits([text[start:end] for start, end in windows]):
        return windows
    return {window for window in windows if fits([text[window.start : window.end]])}
