"""The global table as people read it: the units that matter most in each role."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hf_adner.explain.roles import ROLES


class TopUnit(NamedTuple):
    """A unit of the table in one role of one label.

    Attributes:
        unit: a character or a word.
        mean: its log attribution, shrunk towards the role's mean; 0 is the even share of a character of its text.
        count: observations, less where they decayed.
    """

    unit: str
    mean: float
    count: float


def tops_to_markdown(tops: Mapping[str, Mapping[str, Sequence[TopUnit]]]) -> str:
    """Markdown tables, one for each label: a column per role, best units first, each with its mean and count.

    Args:
        tops: by label and role.
    """
    return "\n".join(_section(label, columns) for label, columns in tops.items())


def _section(label: str, columns: Mapping[str, Sequence[TopUnit]]) -> str:
    rows = [[f"### {_readable(label)}", ""], ["|" + "|".join(f" {role} " for role in ROLES) + "|"]]
    rows.append(["|" + " --- |" * len(ROLES)])
    for place in range(max(map(len, columns.values()), default=0)):
        cells = [_cell(columns[role][place]) if place < len(columns[role]) else "" for role in ROLES]
        rows.append(["| " + " | ".join(cells) + " |"])
    return "\n".join(line for row in rows for line in row) + "\n"


def _cell(top: TopUnit) -> str:
    return f"{_readable(top.unit)} {top.mean:+.2f} ({top.count:.0f})"


def _readable(unit: str) -> str:
    """A unit that shows in a table cell: no signs of markdown or HTML, no invisible characters."""
    return "".join(map(_shown, unit))


def _shown(character: str) -> str:
    if unicodedata.category(character)[0] in "CZ":
        return f"U+{ord(character):04X}"
    if character.isascii() and not character.isalnum():
        return f"&#{ord(character)};"
    return character
