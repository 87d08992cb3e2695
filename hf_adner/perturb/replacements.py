"""Where the words come from that an edit writes in the place of others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.edits import Edit
from hf_adner.perturb.perturbed import MASK
from hf_adner.perturb.units import Unit


@runtime_checkable
class Replacements(Protocol):
    """Proposes words for units of a text.

    Attributes:
        lexicon: words that are units as a whole for this source, or None.
    """

    lexicon: Lexicon | None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Whether it may have something for the unit; it need not when asked."""
        ...

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """For each unit another string to put in its place, None where there is no good one."""
        ...


def edits_of(units: Sequence[Unit], proposals: Sequence[str | None]) -> list[Edit]:
    """The edits that put proposals in the place of units; those without a proposal stay."""
    pairs = zip(units, proposals, strict=True)
    return [Edit(unit.start, unit.end, text, text == MASK * len(text)) for unit, text in pairs if text is not None]


class Masks:
    """Proposes a mask for every character."""

    lexicon: Lexicon | None = None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Everything."""
        return True

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """See `Replacements`."""
        return [MASK * (unit.end - unit.start) for unit in units]
