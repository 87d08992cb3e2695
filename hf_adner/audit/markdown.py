"""Tables of reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any


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
