"""A page that shows documents with their entities in colour. It needs nothing beside itself and runs no script.

Everything that comes from a document is escaped: a note with `<script>` in it is shown, not run (and the page's content
policy forbids scripts anyway).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from hf_adner.data.records import Document, Entity, Piece, nested_pieces

_HUES = (212, 4, 140, 36, 276, 178, 330, 88, 250, 18, 195, 305)
_TIP_VALUES = 120  # characters of a meta value that a tooltip shows

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --page: #f5f6f8; --card: #fff; --line: #e2e5ea;
  --fill: 92%; --edge: 62%; --chip: 34%; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf0; --soft: #98a2b3; --page: #14171c; --card: #1d2127;
  --line: #30363f; --fill: 24%; --edge: 52%; --chip: 78%; } }
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
  padding: .1em .45em; border-radius: .9em; vertical-align: .12em; color: var(--card); background: var(--strong);
  white-space: nowrap; }
mark.goes-on::after { content: none; }
mark.review { border-bottom-style: dashed; outline: 1px dashed var(--tone); outline-offset: 1px; }
mark::before { content: none; position: absolute; left: 0; bottom: calc(100% + .35em); z-index: 3; width: max-content;
  max-width: 24rem; padding: .4rem .65rem; border-radius: .45rem; background: var(--ink); color: var(--card);
  font-size: .8rem; line-height: 1.5; white-space: pre-line; box-shadow: 0 3px 14px rgb(0 0 0 / .22); }
mark:hover:not(:has(mark:hover))::before, mark:focus::before { content: attr(data-tip); }
.empty { color: var(--soft); font-style: italic; }
@media print { .legend { position: static; } article { break-inside: avoid; } mark { print-color-adjust: exact; } }
"""


def html_text(documents: Iterable[Document], title: str = "Entities") -> Iterator[str]:
    """The page, document by document; the legend, known last, is put on top by the style.

    Args:
        documents: shown in their order. Of an entity's `meta`, `score`, `start_score`, `end_score` and other plain
            values appear when the pointer rests on it; `needs_review` draws it dashed.
        title: heading of the page.
    """
    colours = _Colours()
    number = 0
    yield _head(title)
    for document in documents:
        number += 1
        yield _article(document, colours)
    if not number:
        yield '<p class="empty">No documents.</p>\n'
    yield _legend(number, colours)
    yield "</body>\n</html>\n"


class _Colours:
    """A class name per label, in the order of their first appearance, and how often each was seen."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.counts: Counter[str] = Counter()

    def of(self, label: str) -> str:
        """Name of the style class of a label."""
        return f"c{self._numbers.setdefault(label, len(self._numbers)) % len(_HUES)}"


def _head(title: str) -> str:
    tones = "\n".join(
        f".c{index} {{ --tone: hsl({hue} 62% var(--edge)); --tint: hsl({hue} 78% var(--fill)); "
        f"--strong: hsl({hue} 58% var(--chip)); }}"
        for index, hue in enumerate(_HUES)
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{tones}\n</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
    )


def _legend(documents: int, colours: _Colours) -> str:
    total = sum(colours.counts.values())
    labels = "".join(
        f'<span class="label {colours.of(label)}"><b>{escape(label)}</b><i>{count}</i></span>'
        for label, count in colours.counts.most_common()
    )
    totals = f"{_counted(documents, 'document', 'documents')} · {_counted(total, 'entity', 'entities')}"
    return f'<div class="legend"><span class="total">{totals}</span>{labels}</div>\n'


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _article(document: Document, colours: _Colours) -> str:
    colours.counts.update(entity.label for entity in document.entities)
    facts = "".join(f"<span>{escape(key)}: {escape(value)}</span>" for key, value in _plain_values(document.meta))
    body = "".join(_marked(document, colours)) or '<span class="empty">(no text)</span>'
    total = _counted(len(document.entities), "entity", "entities")
    return (
        f"<article><header><b>{escape(document.id)}</b><span>{total}</span>{facts}</header>"
        f'<div class="text">{body}</div></article>\n'
    )


def _marked(document: Document, colours: _Colours) -> Iterator[str]:
    position, open_pieces = 0, []
    for piece in nested_pieces(document.entities):
        while open_pieces and open_pieces[-1].end <= piece.start:
            yield escape(document.text[position : open_pieces[-1].end]) + "</mark>"
            position = open_pieces.pop().end
        yield escape(document.text[position : piece.start]) + _opening(piece, colours)
        position = piece.start
        open_pieces.append(piece)
    for piece in reversed(open_pieces):
        yield escape(document.text[position : piece.end]) + "</mark>"
        position = piece.end
    yield escape(document.text[position:])


def _opening(piece: Piece, colours: _Colours) -> str:
    entity = piece.entity
    classes = [colours.of(entity.label)]
    classes += ["goes-on"] if piece.goes_on else []
    classes += ["review"] if entity.meta.get("needs_review") is True else []
    tip = escape(_tip(entity))
    return f'<mark class="{" ".join(classes)}" data-label="{escape(entity.label)}" data-tip="{tip}" tabindex="0">'


def _tip(entity: Entity) -> str:
    facts = [f"{key}: {value}" for key, value in _plain_values(entity.meta)]
    return "\n".join([f"{entity.label}  {entity.start}–{entity.end}", *facts])


def _plain_values(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values that can be shown in a word or a number."""
    for key, value in meta.items():
        if isinstance(value, bool) or value is None:
            yield key, {True: "yes", False: "no", None: "–"}[value]
        elif isinstance(value, float):
            yield key, f"{value:.3g}"
        elif isinstance(value, (int, str)):
            yield key, str(value)[:_TIP_VALUES]
