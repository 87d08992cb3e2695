"""Note types: which sections of frames a document of each type is made of.

A plan file has one line per note type: name, weight, kind of topic (derm, general or any), noise level, then sections,
each with an optional `?` (half of the time), `*` (0 to 2 times) or `+` (1 to 2 times).
"""

from __future__ import annotations

import random
from typing import NamedTuple

from hf_adner.data.synthetic.vocabulary import VocabularyError

REPEATS = {"?": (0, 1), "*": (0, 2), "+": (1, 2)}


class Plan(NamedTuple):
    """`steps` are (section, fewest, most) in order."""

    note_type: str
    weight: float
    kind: str
    noise: float
    steps: tuple[tuple[str, int, int], ...]

    def sections(self, rng: random.Random) -> list[str]:
        """The sections of one document."""
        return [name for name, low, high in self.steps for _ in range(rng.randint(low, high))]


def read_plans(text: str) -> list[Plan]:
    """Parse a plan file."""
    plans = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 5:
            raise VocabularyError(f"plans:{number}: expected a name, a weight, a kind, a noise level and sections")
        steps = tuple((w.rstrip("?*+"), *REPEATS.get(w[-1], (1, 1))) for w in words[4:])
        plans.append(Plan(words[0], float(words[1]), words[2], float(words[3]), steps))
    return plans


def read_sections(text: str, source: str = "frames") -> dict[str, list[str]]:
    """Frames by section: `[section]` lines, then one frame a line."""
    sections: dict[str, list[str]] = {}
    frames: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[[") and line.endswith("]]"):
            frames = sections.setdefault(line[2:-2].strip(), [])
        elif frames is None:
            raise VocabularyError(f"{source}:{number}: a frame before the first [[section]]")
        else:
            frames.append(line)
    return sections
