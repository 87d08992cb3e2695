"""Overlapping spans as pieces that lie in one another or apart, as the elements of a page must."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol


class Spanned(Protocol):
    """Anything with characters `start` to `end` (exclusive), such as an `Entity`."""

    start: int
    end: int


class Piece(NamedTuple):
    """A span, or what is left of one that another cuts in two; `goes_on` says that more of it follows."""

    start: int
    end: int
    entity: Any
    goes_on: bool = False


def nested_pieces(entities: Iterable[Spanned]) -> list[Piece]:
    """The pieces of spans, sorted by start, each before those that lie in it.

    Args:
        entities: sorted by start, longer ones first, as a `Document` has them.
    """
    waiting = [Piece(entity.start, entity.end, entity) for entity in reversed(tuple(entities))]
    pieces: list[Piece] = []
    around: list[Piece] = []
    while waiting:
        piece = waiting.pop()
        while around and around[-1].end <= piece.start:
            around.pop()
        if around and piece.end > around[-1].end:
            rest = piece._replace(start=around[-1].end)
            piece = piece._replace(end=around[-1].end, goes_on=True)
            waiting.append(rest)
            waiting.sort(key=lambda one: (-one.start, one.end))
        pieces.append(piece)
        around.append(piece)
    return pieces
