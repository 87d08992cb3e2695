"""Windows of texts that are longer than the model, and the assignment of entities to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hf_adner.data.records import EntitySpan
from hf_adner.model.windows_adner import Window, prediction_windows

OVERLAP = 64
"""Characters shared by neighbouring windows of a long text."""

Fits = Callable[[Sequence[str]], bool]


class TextWindow(NamedTuple):
    """A window of a text with the entities to read in it.

    Attributes:
        text: number of the text.
        window: its characters.
        entities: (index in the text's list, (start, end, label) in characters of the text).
    """

    text: int
    window: Window
    entities: tuple[tuple[int, EntitySpan], ...] = ()


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
