"""A note on the page: its text with marked entities, and the sections of those entities."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hf_adner.data.nesting import nested_pieces
from hf_adner.explain.explanation import ExplainedNote
from hf_adner.explain.pages.section import Section, make_section
from hf_adner.explain.pages.visible_text import visible


class Token(NamedTuple):
    """A step through a note's text: characters, the start of an entity's piece, or its end.

    Attributes:
        kind: ``text``, ``open`` or ``close``.
        text: the characters.
        section: the entity's section, of ``open`` and ``close``.
        is_last: of ``close``: no piece of the entity follows.
    """

    kind: str
    text: str = ""
    section: Section | None = None
    is_last: bool = True


@dataclass(frozen=True)
class NoteView:
    """A note ready to be laid out."""

    key: str
    name: str
    tokens: list[Token]
    sections: list[Section]

    @property
    def to_check(self) -> int:
        """How many of its entities a person should look at."""
        return sum(bool(section.checks) for section in self.sections)


class _Placed(NamedTuple):
    start: int
    end: int
    section: Section


def make_note_view(key: str, note: ExplainedNote, thresholds: tuple[float, float]) -> NoteView:
    """A note with its sections, sorted by place, longer entities first.

    Args:
        key: id of the note, unique on the page.
        thresholds: posterior and stability below which a person should look.
    """
    ordered = sorted(note.explanations, key=lambda one: (one.entity.start, -one.entity.end, one.entity.label))
    sections = [make_section(f"{key}-e{index}", one, *thresholds) for index, one in enumerate(ordered, 1)]
    return NoteView(key, visible(note.name), list(_tokens(visible(note.text), sections)), sections)


def _tokens(text: str, sections: Sequence[Section]) -> Iterable[Token]:
    position, around = 0, []
    for piece in nested_pieces([_Placed(one.entity.start, one.entity.end, one) for one in sections]):
        while around and around[-1].end <= piece.start:
            yield from _closing(text, position, around[-1])
            position = around.pop().end
        yield Token("text", text[position : piece.start])
        yield Token("open", section=piece.entity.section)
        position = piece.start
        around.append(piece)
    for piece in reversed(around):
        yield from _closing(text, position, piece)
        position = piece.end
    yield Token("text", text[position:])


def _closing(text: str, position: int, piece) -> Iterable[Token]:
    yield Token("text", text[position : piece.end])
    yield Token("close", section=piece.entity.section, is_last=not piece.goes_on)


class LabelSummary(NamedTuple):
    """All entities of one label on the page: how many, and what their explanations have in common.

    Attributes:
        posterior, stability: medians, None where no explanation has one.
        inside: mean share of the weight that lies on the entity's own characters, in [0, 1].
    """

    label: str
    entities: int
    to_check: int
    posterior: float | None
    stability: float | None
    inside: float


def summarise(notes: Iterable[NoteView]) -> list[LabelSummary]:
    """One row per label, the most frequent first."""
    groups: dict[str, list[Section]] = {}
    for section in (section for note in notes for section in note.sections):
        groups.setdefault(section.label, []).append(section)
    rows = [_summary(label, sections) for label, sections in groups.items()]
    return sorted(rows, key=lambda row: (-row.entities, row.label))


def _summary(label: str, sections: Sequence[Section]) -> LabelSummary:
    shares = [sum(role.percent for role in one.roles if "context" not in role.role) / 100 for one in sections]
    return LabelSummary(
        label,
        len(sections),
        sum(bool(one.checks) for one in sections),
        _median(one.explanation.posterior for one in sections),
        _median(one.explanation.stability for one in sections),
        statistics.fmean(shares),
    )


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None
