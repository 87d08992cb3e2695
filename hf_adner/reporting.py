"""Values, Markdown tables, JSON and figures of reports and model cards, and text that shows all its characters."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING = "–"
"""Stands for a missing value."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")
_LIST_START = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=])")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]+")
_OPEN_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_DIGITS = 6

_REPLACEMENT = "\ufffd"
_INVISIBLE = "\u200c"  # replaces the carriage return of a Windows line end
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}
_UNSAFE = (
    *range(0xD800, 0xE000),  # half surrogates
    *range(0x80, 0xA0),  # controls, some of which a terminal obeys
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # direction marks, which reorder a line
    *(0xAD, 0x180E, 0x200B, *range(0x2060, 0x2065), 0xFEFF),  # of no width, but not the joiners of emoji
)
_TABLE = {**_CONTROL_PICTURES, 0x7F: "\u2421", **dict.fromkeys(_UNSAFE, _REPLACEMENT)}


def visible(text: str) -> str:
    """Replace the characters that a browser drops, joins or reorders by, one for one, so that positions stay valid.

    Control characters become control pictures; half surrogates, direction marks and characters of no width U+FFFD; a
    carriage return a line feed or, before a line feed, an invisible character. Markup is not escaped. What is visible
    already stays as it is.
    """
    return re.sub(r"\r(?!\n)", "\n", text.translate(_TABLE)).replace("\r", _INVISIBLE)


def code_points(text: str) -> str:
    """Return a text for one line, with every character that does not print as its code point, such as U+202E.

    These are control characters, line breaks, direction marks, characters of no width and half surrogates; spaces stay.
    """
    return _escaped(text, lambda character: f"U+{ord(character):04X}")


def printable_json(line: str) -> str:
    """Return a line of JSON with every character that does not print (see `code_points`) as an escape; equal values."""
    return _escaped(line, lambda character: json.dumps(character)[1:-1])


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or unicodedata.category(character) == "Zs" else escape(character)
        for character in text
    )


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], align: str | None = None) -> str:
    """Return a Markdown table.

    Strings are taken as Markdown, with only the pipes escaped that would end the cell; use `escape_markdown` for
    untrusted text. Any other value is formatted by `cell`.

    Args:
        heads: column titles.
        rows: values of each line.
        align: one letter per column, `l` or `r`; by default the first column is left-aligned and the others right.
    """
    align = "l" + "r" * (len(heads) - 1) if align is None else align
    rules = ["---:" if side == "r" else "---" for side in align]
    lines = [heads, rules, *rows]
    return "\n".join(f"| {' | '.join(map(_in_table, line))} |" for line in lines)


def _in_table(value: Any) -> str:
    return _OPEN_PIPE.sub(r"\1\\|", value) if isinstance(value, str) else cell(value)


def cell(value: Any) -> str:
    """Format a value: integers with thousands separators, other numbers with four decimals, None and NaN as a dash.

    Booleans become "yes" or "no"; anything else is text, which is escaped (`escape_markdown`).
    """
    if value is None or isinstance(value, Real) and math.isnan(value):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    if isinstance(value, Real):
        return f"{value:.4f}"
    return escape_markdown(value) or NOTHING


def escape_markdown(value: Any) -> str:
    """Return a value as one line of plain text: every character that Markdown or HTML reads as markup is escaped.

    Characters that do not print are written as in `code_points`.
    """
    line = code_points(_BREAKS.sub(" ", str(value)).strip())
    line = _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;"))
    return _LIST_START.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], line)


def setting(value: Any) -> str:
    """Format a hyper-parameter: numbers as short as possible, anything else as `cell` does."""
    return f"{value:g}" if isinstance(value, float) else str(value) if type(value) is int else cell(value)


def literal(value: str) -> str:
    """Return a Python string literal on one line, without backticks, so that it cannot close a block of code."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(
        character if character.isprintable() and character != "`" else f"\\U{ord(character):08x}"
        for character in quoted
    )


def share(value: float) -> str:
    """Format a share in [0, 1] as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Format seconds as hours and minutes, or minutes and seconds, without parts that are zero."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    parts = [(hours, "h"), (minutes, "min"), (whole % 60 if not hours else 0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than 1 s"


def plain(value: Any) -> Any:
    """Convert to plain JSON values: numbers with six significant digits, None for non-finite ones, lists for arrays."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def count_finished(bar: Any, count: int = 1) -> None:
    """Count on a bar of tqdm what an earlier run has done, which is no part of the speed and the time that is left."""
    if not bar.disable:
        bar.initial += count
    bar.update(count)


def new_figure(width: float, height: float) -> Figure:
    """Return a matplotlib figure of a size in inches that is drawn without a display; `files.write_figure` saves it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
