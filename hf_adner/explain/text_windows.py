"""The windows of a text in which its entities are explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hf_adner.data.records import EntitySpan
from hf_adner.model.windows_adner import Window, prediction_windows

OVERLAP = 64
"""Characters that neighbouring windows of a long text share."""

Fits = Callable[[Sequence[str]], bool]


class TextWindow(NamedTuple):
    """A window of a text with the entities that are explained in it.

    Attributes:
        text: number of the text.
        window: its characters.
        entities: (number in the text's list, (start, end, label) in characters of the text).
    """

    text: int
    window: Window
    entities: tuple[tuple[int, EntitySpan], ...] = ()


def cover_text(text: str, size: int | None, fits: Fits) -> tuple[list[Window], int]:
    """Windows over a text that all fit the model, and how many characters a window has at most.

    Args:
        size: characters to try first; None if the model takes any length.
        fits: whether the model takes these pieces of text whole.

    Raises:
        ValueError: the model does not even take one character.
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
    """Give each entity the window in which it has most context.

    An entity that no window holds whole gets a window of its own, with the entity in its middle.

    Args:
        number: of the text.
        entities: (start, end, label), inside the text.
        size, fits: as for `cover_text`.

    Raises:
        ValueError: an entity longer than the model.
    """
    windows, size = cover_text(text, size, fits)
    homes: dict[Window, list[tuple[int, EntitySpan]]] = {}
    for index, entity in enumerate(entities):
        window = _most_context(entity, windows, len(text)) or _own_window(entity, text, size, fits)
        homes.setdefault(window, []).append((index, entity))
    return [TextWindow(number, window, tuple(homes[window])) for window in sorted(homes)]


def _most_context(entity: EntitySpan, windows: Sequence[Window], length: int) -> Window | None:
    holding = [window for window in windows if window.start <= entity[0] and entity[1] <= window.end]
    return max(holding, key=lambda window: _context(entity, window, length), default=None)


def _context(entity: EntitySpan, window: Window, length: int) -> int:
    """Characters between the entity and the nearer edge of the window; edges of the text take nothing away."""
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
