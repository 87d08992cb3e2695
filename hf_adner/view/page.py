"""Pages that show notes with their entities and, for each entity, why the model found it.

A page needs nothing beside itself: style and script are part of it, and its content policy lets nothing else run or
load. All that comes from notes, models and files is escaped; without a script the explanations stand below each other.

A note on the page: its text with marked entities, and the sections of those entities.
"""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hf_adner.data.records import nested_pieces
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.files import write_file
from hf_adner.model.pipeline_adner import REVIEW_THRESHOLD, STABILITY_THRESHOLD
from hf_adner.view.charts import LEVELS, visible
from hf_adner.view.section import ROLES, Section, make_section, number, percent

if TYPE_CHECKING:
    from hf_adner.explain.global_table import GlobalTable


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
class NoteLayout:
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


def make_note_view(key: str, note: ExplainedNote, thresholds: tuple[float, float]) -> NoteLayout:
    """A note with its sections, sorted by place, longer entities first.

    Args:
        key: id of the note, unique on the page.
        thresholds: posterior and stability below which a person should look.
    """
    ordered = sorted(note.explanations, key=lambda one: (one.entity.start, -one.entity.end, one.entity.label))
    sections = [make_section(f"{key}-e{index}", one, *thresholds) for index, one in enumerate(ordered, 1)]
    return NoteLayout(key, visible(note.name), list(_tokens(visible(note.text), sections)), sections)


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


def summarise(notes: Iterable[NoteLayout]) -> list[LabelSummary]:
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


TITLE = "Why the model found these entities"
TONES = 10
"""Colours of labels; further labels take them again with another line."""
TABLE_UNITS = 8
"""Units of the global table that the page shows per label and role."""


def explanations_to_html(
    explanations: Iterable[Explanation | Sequence[Explanation]],
    path: str | Path,
    *,
    title: str = TITLE,
    table: GlobalTable | None = None,
    review_threshold: float = REVIEW_THRESHOLD,
    stability_threshold: float = STABILITY_THRESHOLD,
) -> None:
    """Write a page for one note or several.

    Args:
        explanations: of the entities of a note, or lists of them as explainers return; those of one text make one
            note. What they hold is shown: with `posterior`, `probes` and `cues` (see `explain_documents`) more than
            without.
        path: of the file; it appears whole or not at all.
        title: heading of the page.
        table: a global table whose strongest units the page shows for each label. A raw one shows what is private.
        review_threshold, stability_threshold: posterior and stability below which the page asks a person to look.
    """
    notes = notes_of(explanations)
    notes_to_html(
        notes,
        path,
        title=title,
        table=table,
        review_threshold=review_threshold,
        stability_threshold=stability_threshold,
    )


def notes_to_html(notes: Iterable[ExplainedNote], path: str | Path, **options: Any) -> None:
    """Write a page for notes with names, those without entities as well; `options` as for `explanations_to_html`."""
    write_file(Path(path), page_text(notes, **options), "utf-8")


def notes_of(explanations: Iterable[Explanation | Sequence[Explanation]]) -> list[ExplainedNote]:
    """Explanations by their texts, in the order in which these first appear."""
    by_text: dict[str, list[Explanation]] = {}
    for item in explanations:
        for one in [item] if isinstance(item, Explanation) else item:
            by_text.setdefault(one.text, []).append(one)
    return [ExplainedNote(f"Note {index}", text, tuple(ones)) for index, (text, ones) in enumerate(by_text.items(), 1)]


def page_text(
    notes: Iterable[ExplainedNote],
    *,
    title: str = TITLE,
    table: GlobalTable | None = None,
    review_threshold: float = REVIEW_THRESHOLD,
    stability_threshold: float = STABILITY_THRESHOLD,
) -> Iterator[str]:
    """The page in pieces; arguments as for `explanations_to_html`."""
    thresholds = (review_threshold, stability_threshold)
    views = [make_note_view(f"n{index}", note, thresholds) for index, note in enumerate(notes, 1)]
    summary = summarise(views)
    style, script = _asset("page.css"), _asset("page.js")
    return (
        _environment()
        .get_template("page.html")
        .generate(
            title=visible(title),
            notes=views,
            summary=summary,
            tones={row.label: index for index, row in enumerate(summary)},
            tables=_tables(table, [row.label for row in summary]),
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
        )
    )


def _policy(style: str, script: str) -> str:
    """Only this style and this script, and nothing from anywhere."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


@cache
def _asset(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.globals.update(LEVELS=LEVELS, ROLES=ROLES, TONES=TONES)
    return environment


def _tables(table: GlobalTable | None, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Of each label on the page the table's strongest units by role."""
    if table is None:
        return []
    known = {visible(label): label for label in table.labels}
    return [
        {"label": label, "roles": [(name, _units(table, known[label], role)) for role, name in ROLES.items()]}
        for label in labels
        if label in known
    ]


def _units(table: GlobalTable, label: str, role: str) -> list[tuple[str, str]]:
    found = table.top(label, role, TABLE_UNITS)
    return [(visible(unit.unit), number(unit.mean)) for unit in found if unit.mean > 0]
