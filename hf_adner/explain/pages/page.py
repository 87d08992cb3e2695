"""Pages that show notes with their entities and, for each entity, why the model found it.

A page needs nothing beside itself: style and script are part of it, and its content policy lets nothing else run or
load. All that comes from notes, models and files is escaped; without a script the explanations stand below each other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hf_adner.data.writers.atomic import write_file
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.explain.pages.heat import LEVELS
from hf_adner.explain.pages.note import make_note_view, summarise
from hf_adner.explain.pages.section import number, percent
from hf_adner.explain.pages.visible_text import visible
from hf_adner.explain.pages.wording import ROLES
from hf_adner.model.pipeline_adner import REVIEW_THRESHOLD, STABILITY_THRESHOLD

if TYPE_CHECKING:
    from hf_adner.explain.global_table import GlobalTable

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
