"""Minimal pairs: two documents with the same words but another cue, and therefore another label or boundary.

A contrast file holds blocks `[[kind]]` of templates. `⟦a‖b⟧` is the part that differs between the two sides.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SIDES = ("a", "b")
DIFFERENCE = re.compile(r"⟦([^⟦⟧‖]*)‖([^⟦⟧‖]*)⟧")


class PairTemplate(NamedTuple):
    """One template; `kind` says what the cue decides."""

    kind: str
    source: str

    def side(self, index: int) -> str:
        """The frame of side 0 or 1."""
        return DIFFERENCE.sub(lambda match: match[index + 1], self.source)


def read_pairs(text: str) -> list[PairTemplate]:
    """Parse a contrast file; ValueError for a template that has no difference."""
    pairs, kind = [], ""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[[") and line.endswith("]]"):
            kind = line[2:-2]
        elif line and not line.startswith("#"):
            if not DIFFERENCE.search(line):
                raise ValueError(f"no difference in the {kind} template {line[:20]!r}")
            pairs.append(PairTemplate(kind, line))
    return pairs
