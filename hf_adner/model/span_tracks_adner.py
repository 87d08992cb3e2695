"""The states of a chain given what is certain about some of its spans.

That a span is an entity fixes the states of its positions. That it is none cannot be said by states alone: they do not
know where the entity around them began. An entity that begins where a forbidden one does runs on a track, copies of its
states that are open from there to the end of the forbidden span: it may end before that end, or go on after it, but not
end there. Every path of labels is exactly one path through the states and tracks, unless it breaks a condition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .labels_adner import OUTSIDE, split_tag, state_names

FREE = -1
"""Track of the states that are not copies."""


class SpanCondition(NamedTuple):
    """What is certain about a span of a row: that it is an entity of a label (`forced`), or that it is none of it."""

    start: int
    end: int
    label: str
    forced: bool


class ChainState(NamedTuple):
    """A state of a chain with tracks.

    Attributes:
        role: ``O``, ``B``, ``I``, ``E`` or ``S``; ``P`` is the ``I`` of a track at the end of its forbidden span.
        label: entity type, empty for ``O``.
        track: number of the track of its label, or `FREE`.
    """

    role: str
    label: str
    track: int = FREE

    @property
    def opens(self) -> bool:
        """Whether an entity begins here."""
        return self.role in "BS"

    @property
    def closes(self) -> bool:
        """Whether an entity ends here."""
        return self.role in "ES"

    @property
    def tag(self) -> str:
        """The BIOES tag that the state stands for."""
        return f"{'I' if self.role == 'P' else self.role}-{self.label}" if self.label else OUTSIDE

    def may_follow(self, before: ChainState) -> bool:
        """Return whether this state may follow another."""
        if before.role not in "BIP":
            return self.opens or self.role == "O"
        track = FREE if before.role == "P" else before.track
        return self.role in "IEP" and (self.label, self.track) == (before.label, track)


class Track(NamedTuple):
    """The forbidden spans of a label that begin at one position, each of two positions or more.

    Attributes:
        start: where they begin.
        ends: where they end, exclusive.
        label: of the spans.
        number: of the track; tracks of a label that share positions have different numbers.
    """

    start: int
    ends: frozenset[int]
    label: str
    number: int

    def role_at(self, position: int) -> str | None:
        """Return the role of a state inside the entity at a position after its start; None: behind the track."""
        last = max(self.ends) - 1
        return None if position > last else "P" if position == last else "I"


class RowTracks:
    """The conditions of one row.

    Args:
        conditions: forced spans must be disjoint; forbidden ones that overlap them hold anyway and are passed over.

    Raises:
        ValueError: two forced spans overlap, or a span is forced and forbidden.
    """

    def __init__(self, conditions: Iterable[SpanCondition]) -> None:
        conditions = list(conditions)
        self.forced = sorted(one for one in conditions if one.forced)
        for left, right in zip(self.forced, self.forced[1:]):
            if right.start < left.end and left != right:
                raise ValueError(f"{left} and {right} overlap: a row cannot have both")
        self.forbidden = [one for one in conditions if not one.forced and not self._is_ruled_out(one)]
        self.tracks = {(track.label, track.start): track for track in _tracks(self.forbidden)}

    def _is_ruled_out(self, condition: SpanCondition) -> bool:
        for one in self.forced:
            if one[:3] == condition[:3]:
                raise ValueError(f"{condition[:3]} is both forced and forbidden")
            if one.start < condition.end and condition.start < one.end:
                return True
        return False

    def states_of(self, start: int, end: int, label: str) -> list[ChainState]:
        """Return the states of an entity, the only ones that it can have."""
        if end == start + 1:
            return [ChainState("S", label)]
        track = self.tracks.get((label, start))
        if track is None:
            return [ChainState(role, label) for role in "B" + "I" * (end - start - 2) + "E"]
        states = [ChainState("B", label, track.number)]
        for position in range(start + 1, end):
            role = track.role_at(position)
            if position == end - 1:
                states.append(ChainState("E", label, FREE if role is None else track.number))
            else:
                states.append(ChainState("I", label) if role is None else ChainState(role, label, track.number))
        return states

    def closed(self) -> dict[int, set[ChainState]]:
        """Return by position the states that are not copies and impossible there, forced spans aside."""
        closed = defaultdict(set)
        for one in self.forbidden:
            role = "S" if one.end == one.start + 1 else "B"  # an entity that begins here runs on its track
            closed[one.start].add(ChainState(role, one.label))
        return closed

    def opened(self) -> dict[int, set[ChainState]]:
        """Return by position the copies that are possible there."""
        opened = defaultdict(set)
        for track in self.tracks.values():
            opened[track.start].add(ChainState("B", track.label, track.number))
            for position in range(track.start + 1, max(track.ends)):
                opened[position].add(ChainState(track.role_at(position), track.label, track.number))
                if position + 1 not in track.ends:
                    opened[position].add(ChainState("E", track.label, track.number))
        return opened


def _tracks(forbidden: Iterable[SpanCondition]) -> list[Track]:
    ends: dict[tuple[str, int], set[int]] = defaultdict(set)
    for one in forbidden:
        if one.end > one.start + 1:
            ends[one.label, one.start].add(one.end)
    tracks, free_from = [], defaultdict(list)  # label -> per track the position from which it is free
    for (label, start), own in sorted(ends.items(), key=lambda item: item[0][1]):
        places = free_from[label]
        number = next((index for index, position in enumerate(places) if position <= start), len(places))
        places[number : number + 1] = [max(own)]
        tracks.append(Track(start, frozenset(own), label, number))
    return tracks


def chain_states(labels: Sequence[str], rows: Iterable[RowTracks]) -> list[ChainState]:
    """Return the BIOES states of the entity types, then those of the tracks of some rows."""
    states = [ChainState(*split_tag(tag)) for tag in state_names(labels, "bioes")]
    used = sorted({(track.label, track.number) for row in rows for track in row.tracks.values()})
    return states + [ChainState(role, label, number) for label, number in used for role in "BIPE"]
