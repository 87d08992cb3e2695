"""A text under construction: characters, entities and the spans that decide them, with exact offsets."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD, NAME, CONTEXT, BOUNDARY = "head", "name", "context", "boundary"
CUE_KINDS = (HEAD, NAME, CONTEXT, BOUNDARY)
"""What a cue decides: `head` (last morpheme of the entity), `name` (the whole surface), `context` (words outside
that fix the type) and `boundary` (a neighbour that stays outside, or a word that closes the entity)."""


@dataclass
class Mark:
    """One mention: characters `start` to `end` (exclusive); `label` None marks a mention that is no entity here."""

    start: int
    end: int
    label: str | None


@dataclass
class Cue:
    """Characters `start` to `end` decide the mention `mark` (an index into `Draft.marks`)."""

    mark: int
    start: int
    end: int
    kind: str


@dataclass
class Draft:
    """Collects text left to right; every mention and cue is written once, with its final offsets."""

    text: str = ""
    marks: list[Mark] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    waiting: list[tuple[int, int, str]] = field(default_factory=list)
    latest: list[int] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Append plain characters."""
        self.text += text

    def mention(self, surface: str, label: str | None) -> int:
        """Append `surface` as a mention and return its index."""
        self.marks.append(Mark(len(self.text), len(self.text) + len(surface), label))
        self.text += surface
        return len(self.marks) - 1

    def settle(self, first: int) -> None:
        """Tie the cues that were waiting for a mention to all mentions from index `first` on."""
        self.latest = list(range(first, len(self.marks)))
        for start, end, kind in self.waiting:
            self._tie(self.latest, start, end, kind)
        if self.latest:
            self.waiting = []

    def cue(self, start: int, kind: str, forward: bool) -> None:
        """Make the characters from `start` to here a cue of the next mentions (`forward`) or of the last ones."""
        if start == len(self.text):
            return
        if forward:
            self.waiting.append((start, len(self.text), kind))
        else:
            self._tie(self.latest, start, len(self.text), kind)

    def _tie(self, marks: list[int], start: int, end: int, kind: str) -> None:
        # A boundary cue speaks only for the mention that touches it.
        chosen = marks[:1] if kind == BOUNDARY else marks
        self.cues.extend(Cue(index, start, end, kind) for index in chosen)
