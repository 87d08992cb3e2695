"""A page of texts with two annotations beside each other: what differs is framed and listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from hf_adner.data.differences import Difference
from hf_adner.data.records import EntitySpan, nested_parts
from hf_adner.highlighting import line_class
from hf_adner.reporting import visible
from hf_adner.view.charts import shortened
from hf_adner.view.page import content_policy, page_environment, page_style, tone_classes

SURFACE = 40


class ComparedNote(NamedTuple):
    """A text with two annotations, what differs between them, and a remark per difference, or none."""

    name: str
    text: str
    first: Sequence[EntitySpan]
    second: Sequence[EntitySpan]
    differences: Sequence[Difference]
    remarks: Sequence[str] = ()


class _Spanned(NamedTuple):
    start: int
    end: int
    label: str


class Mark(NamedTuple):
    """Markup of a text: characters (``text``), or the start (``open``) or end (``close``) of a piece of an entity."""

    kind: str
    text: str = ""
    label: str = ""
    style: str = ""
    is_last: bool = True


class Row(NamedTuple):
    """A difference in words."""

    kind: str
    first: tuple[str, str] | None
    second: tuple[str, str] | None
    place: str
    remark: str


def compared_page(
    notes: Iterable[ComparedNote],
    names: tuple[str, str],
    *,
    title: str,
    labels: Iterable[str] = (),
) -> Iterator[str]:
    """Yield a self-contained page without scripts; all content is escaped.

    Args:
        notes: shown in order.
        names: of the annotations.
        title: heading of the page.
        labels: in the order that gives them their colours; others follow sorted.
    """
    notes = list(notes)
    shown = {span[2] for note in notes for spans in (note.first, note.second) for span in spans}
    style = page_style("differences.css")
    kinds = Counter(difference.kind for note in notes for difference in note.differences)
    return (
        page_environment()
        .get_template("differences.html")
        .generate(
            title=visible(title),
            names=tuple(map(visible, names)),
            kinds=sorted(kinds.items()),
            tones=tone_classes(shown, labels),
            notes=[_note(note) for note in notes],
            style=Markup(style),
            policy=content_policy(style),
        )
    )


def _note(note: ComparedNote) -> dict:
    different = [{getattr(one, side) for one in note.differences} for side in ("first", "second")]
    sides = [
        list(_marks(visible(note.text), spans, framed)) for spans, framed in zip((note.first, note.second), different)
    ]
    remarks = list(note.remarks) or [""] * len(note.differences)
    rows = [_row(visible(note.text), one, remark) for one, remark in zip(note.differences, remarks, strict=True)]
    return {"name": visible(note.name), "sides": sides, "rows": rows, "has_remarks": any(remarks)}


def _row(text: str, difference: Difference, remark: str) -> Row:
    sides = [
        None if span is None else (shortened(text[span[0] : span[1]], SURFACE), visible(span[2]))
        for span in (difference.first, difference.second)
    ]
    start, end = difference.place
    return Row(difference.kind, *sides, f"{start}–{end}", visible(remark))


def _marks(text: str, spans: Iterable[EntitySpan], framed: set[EntitySpan | None]) -> Iterator[Mark]:
    spans = sorted(spans, key=lambda span: (span[0], -span[1], span[2]))
    for kind, part, piece in nested_parts(text, [_Spanned(*span) for span in spans]):
        if kind == "open":
            entity = piece.entity
            style = [line_class(text[entity.start : entity.end], visible(entity.label))]
            style += ["rest"] * (piece.start != entity.start) + ["differs"] * (tuple(entity) in framed)
            yield Mark("open", label=visible(entity.label), style=" ".join(filter(None, style)))
        elif kind == "close":
            yield Mark("close", label=visible(piece.entity.label), is_last=not piece.goes_on)
        else:
            yield Mark("text", part)
