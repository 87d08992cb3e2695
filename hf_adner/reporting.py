"""Values as Markdown that stays one cell, one line or one literal, whatever characters they hold.

Tables of reports.

Numbers of reports as JSON has them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOTHING = "–"
"""Stands for a value that is not there."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")
_LIST_START = re.compile(r"^(\d+)([.)])(?=\s|$)|^([-+=])")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f\x85\u2028\u2029]+")


def text(value: Any) -> str:
    """One line of plain text, every character that Markdown or HTML would read as markup escaped."""
    line = _SPECIAL.sub(r"\\\1", _BREAKS.sub(" ", str(value)).strip().replace("&", "&amp;"))
    return _LIST_START.sub(lambda found: found[0][:-1] + "\\" + found[0][-1], line)


def cell(value: Any) -> str:
    """A value in a table: integers with thousands separators, other numbers with four decimals, None and NaN a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return text(value) or NOTHING


def setting(value: Any) -> str:
    """A hyper-parameter in a table: numbers as short as they can be written."""
    return f"{value:g}" if isinstance(value, float) else str(value) if type(value) is int else cell(value)


def literal(value: str) -> str:
    """A Python string literal on one line; no backtick in it can close a block of code."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() and one != "`" else f"\\U{ord(one):08x}" for one in quoted)


def share(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, whichever of them say something."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    parts = [(hours, "h"), (minutes, "min"), (whole % 60 if not hours else 0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than 1 s"


def table(rows: Iterable[Sequence[Any]], heads: Sequence[str], align: str = "") -> str:
    """A Markdown table whose cells are already Markdown.

    Args:
        rows: the cells of each line.
        heads: the titles.
        align: a letter per column, `l` or `r`; columns without one are left-aligned.
    """
    rules = ["---:" if side == "r" else "---" for side in align.ljust(len(heads), "l")]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in [heads, rules, *rows])


def report_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, the first column to the left and the others to the right; see `report_cell`."""
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += [f"| {' | '.join(map(report_cell, row))} |" for row in rows]
    return "\n".join(lines)


def report_cell(value: Any) -> str:
    """Text as it is, whole numbers with thousands apart, others with four digits, ``-`` for None and NaN."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return "-"
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


_DIGITS = 6


def plain(value: Any) -> Any:
    """Plain JSON values: numbers rounded to six digits, None for what is not finite, lists for sequences."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
