"""The text that a Label Studio task shows, and the places of regions in it.

`<Text>` shows a column as it stands, `<HyperText>` the text of an HTML page, `<Paragraphs>` the turns of a dialogue,
which are read as a text with one turn per line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.reader import as_object, required, without

PLAIN, PARAGRAPHS = "labels", "paragraphlabels"
HYPERTEXT = ("hypertextlabels", "htmllabels")
KINDS = (PLAIN, *HYPERTEXT, PARAGRAPHS)
"""Types of regions that label text; the type is also the key of a region's labels."""
KEPT_COLUMNS = {"html": "an HTML page", "paragraphs": "a dialogue"}
"""Columns of `meta` that keep the page, or the fields of the turns but their texts, and what they are."""

_ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|/data/(?:upload|local-files)\b)\S*\s*", re.IGNORECASE)
_MARKUP = re.compile(r"<[a-zA-Z!/]|&#?\w+;")


class ShownText(NamedTuple):
    """The text of a task.

    Attributes:
        text: the text of the document.
        kept: columns of `KEPT_COLUMNS`.
        turns: start and end of each turn of a dialogue in the text; None if the task shows no dialogue.
    """

    text: str
    kept: dict[str, Any]
    turns: list[tuple[int, int]] | None = None


def shown_text(content: Any, as_html: bool) -> ShownText:
    """Return the text that a column of a task shows.

    Args:
        content: the column: a text, or the turns of a dialogue.
        as_html: whether it is shown by `<HyperText>`.

    Raises:
        DataFormatError: the column is neither, or holds the address of a text.
    """
    if isinstance(content, list):
        return _dialogue(content)
    if not isinstance(content, str):
        raise DataFormatError(
            f"the text of the task must be a string, or a list of paragraphs, found {type(content).__name__}"
        )
    if _ADDRESS.fullmatch(content):
        raise DataFormatError(
            f'the task holds the address of its text ({excerpt(content.strip(), 40)}), as with valueType="url", not '
            "the text; put the texts themselves into the tasks"
        )
    if as_html and has_markup(content):
        return ShownText(_text_of_html(content), {"html": content})
    return ShownText(content, {})


def has_markup(content: Any) -> bool:
    """Return whether a column holds HTML tags or character references."""
    return isinstance(content, str) and _MARKUP.search(content) is not None


def _dialogue(content: list[Any]) -> ShownText:
    turns, texts, end = [], [], -1
    for value in content:
        texts.append(required(as_object(value, "a paragraph"), "text", str, "the paragraph"))
        start, end = end + 1, end + 1 + len(texts[-1])
        turns.append((start, end))
    return ShownText("\n".join(texts), {"paragraphs": [without(value, "text") for value in content]}, turns)


def _text_of_html(content: str) -> str:
    parser = _TextOfHtml(convert_charrefs=True)
    parser.feed(content)
    parser.close()
    return "".join(parser.pieces)


class _TextOfHtml(HTMLParser):
    """Collect the text nodes of a page; Label Studio counts a line break tag as a character."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: Collection[Any]) -> None:
        self.pieces += ["\n"] * (tag == "br")


def kind_of(value: Mapping[str, Any], named: Any = None) -> str | None:
    """Return which of `KINDS` a region is, None for another result; `named` is its type, if the export says it."""
    return next((kind for kind in KINDS if (kind in value if named is None else kind == named)), None)


def region_offsets(value: Mapping[str, Any], kind: str, shown: ShownText) -> tuple[Any, Any]:
    """Return start and end of a region in the shown text, in the unit of the export.

    Raises:
        DataFormatError: the region does not say where it is in such a text.
    """
    if (kind == PARAGRAPHS) != (shown.turns is not None):
        expected = "a list of paragraphs" if kind == PARAGRAPHS else "a text"
        raise DataFormatError(f"a region of type {kind!r} needs {expected} in the task's data; is it another column's?")
    if shown.turns is not None:
        return _in_turn(value, "start", shown.turns), _in_turn(value, "end", shown.turns)
    if kind == PLAIN:
        return required(value, "start", int, "the region's value"), required(value, "end", int, "the region's value")
    if shown.kept and not isinstance(value.get("text"), str):
        raise DataFormatError(
            f"a region of type {kind!r} has no 'text', by which its place in the HTML could be checked"
        )
    if "globalOffsets" not in value:
        raise DataFormatError(
            f"a region of type {kind!r} has no 'globalOffsets', only places in the HTML; export the project with Label "
            "Studio 1.0 or later, or label it as text (<Text>, <Labels>)"
        )
    offsets = required(value, "globalOffsets", dict, "the region's value")
    return required(offsets, "start", int, "globalOffsets"), required(offsets, "end", int, "globalOffsets")


def _in_turn(value: Mapping[str, Any], side: str, turns: list[tuple[int, int]]) -> int:
    index = required(value, side, (int, str), "the region's value")
    offset = required(value, f"{side}Offset", int, "the region's value")
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
        index = int(index)
    if not isinstance(index, int) or not 0 <= index < len(turns):
        raise DataFormatError(f"a region lies in paragraph {excerpt(index)} of {len(turns)}")
    start, end = turns[index]
    if not 0 <= offset <= end - start:
        raise DataFormatError(f"a region reaches to character {offset} of a paragraph of {end - start}")
    return start + offset
