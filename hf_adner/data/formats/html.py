"""HTML page with the entities of documents highlighted; a single file without scripts.

A label has the colour of its place among the labels of the model, as on pages of explanations. Entities can be hidden
by what is asserted of them.

All content of documents is escaped, so that a note with `<script>` is displayed and not executed; the content security
policy of the page forbids scripts as well. Characters that would not be seen or would reorder a line are replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from hf_adner.data.assertion import ASSERTION, is_assertion
from hf_adner.data.records import Document, Entity, Piece, nested_parts
from hf_adner.highlighting import LINE_STYLE, TONES, line_class, tone_style, tones_of
from hf_adner.reporting import visible

_MAX_TIP_VALUE = 120
"""Number of characters of a `meta` value that a tooltip shows."""

AFFIRMED = "affirmed"
"""Shown for entities of which nothing else is asserted."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --page: #f5f6f8; --card: #fff; --line: #e2e5ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf0; --soft: #98a2b3; --page: #14171c; --card: #1d2127;
  --line: #30363f; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 0 1.25rem 3rem; background: var(--page); color: var(--ink); display: flex;
  flex-direction: column; align-items: center; line-height: 1.6; font-family: "PingFang SC", "Hiragino Sans GB",
  "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", system-ui,
  sans-serif; }
body > * { width: 100%; max-width: 62rem; }
h1 { order: -2; font-size: 1.35rem; font-weight: 600; margin: 1.75rem 0 .5rem; }
.legend { order: -1; position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; align-items: center;
  gap: .45rem .6rem; padding: .7rem 0; margin-bottom: .4rem; background: var(--page);
  border-bottom: 1px solid var(--line); }
.legend .total { color: var(--soft); font-size: .85rem; margin-right: .4rem; }
.legend .label { padding: .08rem .6rem; border-radius: 999px; font-size: .85rem; border: 1px solid var(--tone);
  background: var(--tint); }
.legend .label b { font-weight: 600; } .legend .label i { font-style: normal; color: var(--soft); margin-left: .35rem; }
.shown { font-size: .85rem; white-space: nowrap; } .shown i { font-style: normal; color: var(--soft); }
article { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: .85rem 1.25rem 1.1rem;
  margin-top: 1rem; }
article header { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; font-size: .8rem;
  color: var(--soft); margin-bottom: .35rem; overflow-wrap: anywhere; }
article header b { color: var(--ink); font-weight: 600; font-size: .9rem; }
.text { font-size: 1.08rem; line-height: 2.15; white-space: pre-wrap; overflow-wrap: anywhere; }
mark { color: inherit; position: relative; padding: .16em .18em; margin: 0 .06em; border-radius: .3em;
  background: var(--tint); border-bottom: 2px solid var(--tone); -webkit-box-decoration-break: clone;
  box-decoration-break: clone; }
mark mark { padding: .02em .12em; }
mark::after { content: "\\2060" attr(data-label); font-size: .62em; font-weight: 600; margin-left: .35em;
  padding: .1em .45em; border-radius: .9em; vertical-align: .12em; color: var(--on); background: var(--tone);
  white-space: nowrap; }
mark[data-asserted]::after { content: "\\2060" attr(data-label) " · " attr(data-asserted); }
mark[data-asserted] { border-bottom-style: dotted; }
mark.goes-on::after { content: none; }
mark.review { border-bottom-style: dashed; outline: 1px dashed var(--tone); outline-offset: 1px; }
mark::before { content: none; position: absolute; left: 0; bottom: calc(100% + .35em); z-index: 3; width: max-content;
  max-width: 24rem; padding: .4rem .65rem; border-radius: .45rem; background: var(--ink); color: var(--card);
  font-size: .8rem; line-height: 1.5; white-space: pre-line; box-shadow: 0 3px 14px rgb(0 0 0 / .22); }
mark:hover:not(:has(mark:hover))::before, mark:focus::before { content: attr(data-tip); }
.empty { color: var(--soft); font-style: italic; }
@media print { .legend { position: static; } article { break-inside: avoid; } mark { print-color-adjust: exact; } }
"""

_REPEATED = "{ border-bottom-style: double; border-bottom-width: 4px; }"
"""Style of entities of labels whose colour is used a second time."""


def html_text(documents: Iterable[Document], title: str = "Entities", labels: Sequence[str] = ()) -> Iterator[str]:
    """Yield the page document by document; the legend comes last and is moved to the top by the style sheet.

    Args:
        documents: shown in order. The tooltip of an entity shows the numbers and strings of its `meta`, such as
            `score`; what is asserted (`assertion`) stands beside its label; `needs_review` outlines it with dashes.
        title: heading of the page.
        labels: all labels of the model in its order, by which they are coloured; others follow sorted.
    """
    legend = _Legend(labels)
    number = 0
    yield _head(title)
    for document in documents:
        number += 1
        yield _article(document, legend)
    if not number:
        yield '<p class="empty">No documents.</p>\n'
    yield legend.html(number)
    yield "</body>\n</html>\n"


class _Legend:
    """Counts labels and what is asserted, and gives them style classes, numbered by first appearance.

    Their colours are known at the end, when all labels are.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = order
        self._classes: dict[str, str] = {}
        self.labels: Counter[str] = Counter()
        self.assertions: Counter[str] = Counter()

    def add(self, entities: Iterable[Entity]) -> None:
        """Count the entities of a document."""
        for entity in entities:
            self.labels[entity.label] += 1
            self.assertions.update(_asserted(entity))

    def style_class(self, kind: str, name: str) -> str:
        """Return the name of the style class of a label (kind ``c``) or of an attribute (kind ``a``)."""
        return self._classes.setdefault(f"{kind}{name}", f"{kind}{len(self._classes)}")

    def html(self, documents: int) -> str:
        """Return the style of labels and attributes, and the bar with counts and the choice of attributes."""
        total = sum(self.labels.values())
        tones = tones_of(self.labels, self._order)
        labels = "".join(
            f'<span class="label {self.style_class("c", label)}"><b>{_escaped(label)}</b><i>{count}</i></span>'
            for label, count in sorted(self.labels.items(), key=lambda item: tones[item[0]])
        )
        totals = f"{_quantity(documents, 'document', 'documents')} · {_quantity(total, 'entity', 'entities')}"
        shown = "".join(self._choice(name, count) for name, count in sorted(self.assertions.items()))
        rules = [self._tone(label, tones[label]) for label in self.labels]
        rules += [self._hidden(self.style_class("a", name)) for name in self.assertions]
        style = f"<style>{''.join(rules)}</style>\n" if rules else ""
        return f'{style}<div class="legend"><span class="total">{totals}</span>{labels}{shown}</div>\n'

    def _tone(self, label: str, number: int) -> str:
        style = self.style_class("c", label)
        repeated = (
            "" if number < len(TONES) else f".legend .{style} {{ border-style: dashed; }}\nmark.{style} {_REPEATED}\n"
        )
        return f"{tone_style(f'.{style}', number)}{repeated}"

    def _choice(self, name: str, count: int) -> str:
        style = self.style_class("a", name)
        box = f'<input type="checkbox" id="{style}" checked>'
        return f'<label class="shown">{box} {_escaped(name)} <i>{count}</i></label>'

    def _hidden(self, style: str) -> str:
        """Return rules that hide entities of an attribute while its box is not checked; the text keeps its lines."""
        off = f"body:has(#{style}:not(:checked)) mark.{style}"
        return (
            f"{off} {{ background: none; border-bottom-color: transparent; outline: none; }}\n"
            f"{off}::after {{ visibility: hidden; }}\n"
        )


def _asserted(entity: Entity) -> list[str]:
    """Return what is asserted of an entity, `AFFIRMED` if nothing else is; an empty list if there is no statement."""
    value = entity.meta.get(ASSERTION)
    return value if is_assertion(value) else [AFFIRMED] if value == [] else []


def _head(title: str) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escaped(title)}</title>\n<style>{_STYLE}{LINE_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{_escaped(title)}</h1>\n"
    )


def _quantity(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _article(document: Document, legend: _Legend) -> str:
    legend.add(document.entities)
    meta = "".join(f"<span>{_escaped(key)}: {_escaped(value)}</span>" for key, value in _plain_values(document.meta))
    body = "".join(_highlighted(document, legend)) or '<span class="empty">(no text)</span>'
    total = _quantity(len(document.entities), "entity", "entities")
    return (
        f"<article><header><b>{_escaped(document.id)}</b><span>{total}</span>{meta}</header>"
        f'<div class="text">{body}</div></article>\n'
    )


def _highlighted(document: Document, legend: _Legend) -> Iterator[str]:
    text = visible(document.text)
    for kind, part, piece in nested_parts(text, document.entities):
        if kind == "open":
            yield _opening_tag(piece, legend)
        else:
            yield "</mark>" if kind == "close" else escape(part)


def _opening_tag(piece: Piece, legend: _Legend) -> str:
    entity = piece.entity
    classes = [legend.style_class("c", entity.label), *(legend.style_class("a", name) for name in _asserted(entity))]
    asserted = " ".join(name for name in _asserted(entity) if name != AFFIRMED)
    shown = f"{entity.label} · {asserted}" if asserted else entity.label
    classes += filter(None, [line_class(visible(entity.text or ""), visible(shown))])
    classes += ["goes-on"] if piece.goes_on else []
    classes += ["review"] if entity.meta.get("needs_review") is True else []
    tip = _escaped(_tip(entity))
    rest = "" if piece.start == entity.start else '<i class="rest"></i>'
    names = f'data-label="{_escaped(entity.label)}"' + (f' data-asserted="{asserted}"' if asserted else "")
    return f'<mark class="{" ".join(classes)}" {names} data-tip="{tip}" tabindex="0">{rest}'


def _tip(entity: Entity) -> str:
    values = [f"{key}: {value}" for key, value in _plain_values(entity.meta)]
    return "\n".join([f"{entity.label}  {entity.start}–{entity.end}", *values])


def _plain_values(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the numbers, strings, lists of strings, booleans and nulls of `meta` as text."""
    for key, value in meta.items():
        if isinstance(value, bool) or value is None:
            yield key, {True: "yes", False: "no", None: "–"}[value]
        elif isinstance(value, float):
            yield key, f"{value:.3g}"
        elif isinstance(value, (int, str)):
            yield key, str(value)[:_MAX_TIP_VALUE]
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            yield key, ", ".join(value)[:_MAX_TIP_VALUE]


def _escaped(value: str) -> str:
    return escape(visible(value))
