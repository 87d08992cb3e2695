"""HTML pages that show notes with their entities and the explanation of each entity.

A page is a single file: style and script are part of it, and its content policy forbids anything else to run or load.
All content from notes, models and files is escaped. Without JavaScript all explanations are shown below each other.
"""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hf_adner.data.records import nested_parts
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.files import write_file
from hf_adner.highlighting import LINE_STYLE, TONES, tone_style, tones_of
from hf_adner.model.calibration_adner import REVIEW_THRESHOLD
from hf_adner.reporting import visible
from hf_adner.view.charts import LEVELS
from hf_adner.view.section import ROLES, Section, make_section, number, percent

if TYPE_CHECKING:
    from hf_adner.explain.global_table import GlobalTable


TITLE = "Why the model found these entities"
TABLE_UNITS = 8
"""Units of the global table shown per label and role."""


def explanations_to_html(
    explanations: Iterable[Explanation | Sequence[Explanation]],
    path: str | Path,
    *,
    title: str = TITLE,
    table: GlobalTable | None = None,
    review_threshold: float = REVIEW_THRESHOLD,
) -> None:
    """Write a page with one or several notes; labels are coloured by their place among those of the model.

    Args:
        explanations: explanations, or lists of them as explainers return; those of one text form a note. Optional
            fields such as `posterior`, `probes` and `cues` (see `explain_documents`) are shown if present.
        path: the file, written atomically.
        title: heading of the page.
        table: global table whose strongest units are shown for each label; an unpublished table is private.
        review_threshold: score below which the page asks for a check.
    """
    notes_to_html(notes_of(explanations), path, title=title, table=table, review_threshold=review_threshold)


def notes_to_html(notes: Iterable[ExplainedNote], path: str | Path, **options: Any) -> None:
    """Write a page with named notes, including those without entities; `options` as for `explanations_to_html`."""
    write_file(Path(path), page_text(notes, **options), "utf-8")


def notes_of(explanations: Iterable[Explanation | Sequence[Explanation]]) -> list[ExplainedNote]:
    """Group explanations by text, in order of first appearance."""
    by_text: dict[str, list[Explanation]] = {}
    for item in explanations:
        for explanation in [item] if isinstance(item, Explanation) else item:
            by_text.setdefault(explanation.text, []).append(explanation)
    return [
        ExplainedNote(f"Note {index}", text, tuple(group)) for index, (text, group) in enumerate(by_text.items(), 1)
    ]


def page_text(
    notes: Iterable[ExplainedNote],
    *,
    title: str = TITLE,
    table: GlobalTable | None = None,
    review_threshold: float = REVIEW_THRESHOLD,
) -> Iterator[str]:
    """Yield the page in pieces; arguments as for `explanations_to_html`."""
    views = [make_note_view(f"n{index}", note, review_threshold) for index, note in enumerate(notes, 1)]
    summary, tones = summarise(views), _tones(views)
    style, script = page_style(), _asset("page.js")
    return (
        page_environment()
        .get_template("page.html")
        .generate(
            title=visible(title),
            notes=views,
            summary=summary,
            assertions=count_assertions(views),
            legend=sorted(summary, key=lambda row: list(tones).index(row.label)),
            tones=tones,
            tables=_tables(table, [row.label for row in summary]),
            style=Markup(style),
            script=Markup(script),
            policy=content_policy(style, script),
        )
    )


def _tones(notes: Iterable[NoteLayout]) -> dict[str, str]:
    """Return the style classes of the colour of each label, in the order of the models that were explained."""
    explanations = [section.explanation for note in notes for section in note.sections]
    order = (label for explanation in explanations for label in explanation.labels)
    return tone_classes((explanation.entity.label for explanation in explanations), order)


def tone_classes(labels: Iterable[str], order: Iterable[str] = ()) -> dict[str, str]:
    """Return the style classes of the colour of each label (as it is shown), of `page_style`.

    Args:
        labels, order: as for `hf_adner.highlighting.tones_of`.
    """
    tones = tones_of(map(visible, labels), map(visible, order))
    return {label: f"t{one % len(TONES)}{' again' if one >= len(TONES) else ''}" for label, one in tones.items()}


def page_style(*others: str) -> str:
    """Return the style of all pages of this room, with that of further files."""
    tones = "".join(tone_style(f".t{number}", number, dark=False) for number in range(len(TONES)))
    return tones + LINE_STYLE + "".join(map(_asset, ("page.css", *others)))


class TextPart(NamedTuple):
    """A part of a note's markup: characters, or the start or end of a piece of an entity.

    Attributes:
        kind: ``text``, ``open`` or ``close``.
        text: the characters.
        section: the entity's section, for ``open`` and ``close``.
        is_first: for ``open``: whether this is the first piece of the entity.
        is_last: for ``close``: whether this is the last piece of the entity.
    """

    kind: str
    text: str = ""
    section: Section | None = None
    is_first: bool = True
    is_last: bool = True


@dataclass(frozen=True)
class NoteLayout:
    """A note, ready for the template."""

    key: str
    name: str
    tokens: list[TextPart]
    sections: list[Section]
    remark: str = ""

    @property
    def has_assertion(self) -> bool:
        """Whether any explanation says what is asserted of its entity."""
        return any(section.assertion is not None for section in self.sections)

    @property
    def to_check(self) -> int:
        """Number of entities that a person should check."""
        return sum(bool(section.checks) for section in self.sections)


class _Placed(NamedTuple):
    start: int
    end: int
    section: Section


def make_note_view(key: str, note: ExplainedNote, review_threshold: float) -> NoteLayout:
    """Create the layout of a note, sections sorted by position, longer entities first.

    Args:
        key: id of the note, unique on the page.
        note: the note.
        review_threshold: score below which the page asks for a check.
    """
    explanations = sorted(note.explanations, key=_position)
    sections = [
        make_section(f"{key}-e{index}", explanation, review_threshold)
        for index, explanation in enumerate(explanations, 1)
    ]
    parts = list(_text_parts(visible(note.text), sections))
    return NoteLayout(key, visible(note.name), parts, sections, visible(note.remark))


def _position(explanation: Explanation) -> tuple[int, int, str]:
    entity = explanation.entity
    return entity.start, -entity.end, entity.label


def _text_parts(text: str, sections: Sequence[Section]) -> Iterable[TextPart]:
    placed = [_Placed(section.entity.start, section.entity.end, section) for section in sections]
    for kind, part, piece in nested_parts(text, placed):
        if kind == "open":
            yield TextPart("open", section=piece.entity.section, is_first=piece.start == piece.entity.start)
        elif kind == "close":
            yield TextPart("close", section=piece.entity.section, is_last=not piece.goes_on)
        else:
            yield TextPart("text", part)


class LabelSummary(NamedTuple):
    """Summary of the entities of one label on the page.

    Attributes:
        score: median, None if no explanation has one.
        inside: mean share of the weight on the entity's own characters, in [0, 1].
    """

    label: str
    entities: int
    to_check: int
    score: float | None
    inside: float


def summarise(notes: Iterable[NoteLayout]) -> list[LabelSummary]:
    """Return a row per label, the most frequent first."""
    groups: dict[str, list[Section]] = {}
    for section in (section for note in notes for section in note.sections):
        groups.setdefault(section.label, []).append(section)
    rows = [_summary(label, sections) for label, sections in groups.items()]
    return sorted(rows, key=lambda row: (-row.entities, row.label))


def count_assertions(notes: Iterable[NoteLayout]) -> list[tuple[str, int]]:
    """Return each attribute of entities, and ``affirmed`` for those without any, with the number of its entities."""
    counts = Counter(
        name
        for section in (section for note in notes for section in note.sections)
        if section.assertion is not None
        for name in [one.attribute for one in section.assertion] or ["affirmed"]
    )
    return sorted(counts.items())


def _summary(label: str, sections: Sequence[Section]) -> LabelSummary:
    shares = [sum(role.percent for role in section.roles if "context" not in role.role) / 100 for section in sections]
    return LabelSummary(
        label,
        len(sections),
        sum(bool(section.checks) for section in sections),
        _median(section.confidence for section in sections),
        statistics.fmean(shares),
    )


def _median(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def content_policy(style: str, script: str = "") -> str:
    """Return a content policy that allows only this style and this script, or none."""
    scripts = f" script-src {_hash(script)};" if script else ""
    return f"default-src 'none'; style-src {_hash(style)};{scripts} base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


@cache
def _asset(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


@cache
def page_environment() -> Environment:
    """Return the environment of the templates; what is no markup is escaped and made visible."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # markup is a subclass of str
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.globals.update(LEVELS=LEVELS, ROLES=ROLES)
    return environment


def _tables(table: GlobalTable | None, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the table's strongest units by role for each label on the page."""
    if table is None:
        return []
    known = {visible(label): label for label in table.labels}
    return [
        {"label": label, "roles": [(name, _units(table, known[label], role)) for role, name in ROLES.items()]}
        for label in labels
        if label in known
    ]


def _units(table: GlobalTable, label: str, role: str) -> list[tuple[str, str]]:
    units = table.top(label, role, TABLE_UNITS)
    return [(visible(unit.unit), number(unit.mean)) for unit in units if unit.mean > 0]
