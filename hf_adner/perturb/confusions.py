"""Wrong characters as people and recognisers write them (P9): for tests of robustness only, never for training."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.confusion_groups import SHAPE, SOUND, SPEECH
from hf_adner.perturb.context import ContextEdit
from hf_adner.perturb.terms import Terms
from hf_adner.perturb.units import WORD, Unit

GROUPS = {"sound": SOUND, "shape": SHAPE, "speech": SPEECH}
"""Groups of characters that are confused, by the cause."""


class Confusions:
    """Proposes a character that is confused with one in a unit, or two letters exchanged; a source of replacements.

    Args:
        causes: those of `GROUPS` that are used.

    Raises:
        ValueError: no cause, or an unknown one.
    """

    lexicon: Lexicon | None = None

    def __init__(self, causes: Iterable[str] = ("sound", "shape", "speech")) -> None:
        causes = tuple(causes)
        if not causes or not set(causes) <= set(GROUPS):
            raise ValueError(f"causes are {causes}, expected some of {tuple(GROUPS)}")
        others: dict[str, set[str]] = {}
        for group in (group for cause in causes for group in GROUPS[cause].split()):
            for character in group:
                others.setdefault(character, set()).update(group.replace(character, ""))
        self._others = {character: tuple(sorted(found)) for character, found in others.items() if found}

    def __len__(self) -> int:
        """Characters that can be confused."""
        return len(self._others)

    def of(self, character: str) -> tuple[str, ...]:
        """The characters it is taken for, sorted."""
        return self._others.get(character, ())

    def covers(self, document: Document, unit: Unit) -> bool:
        """Units with a character in the groups, and words in which letters can be exchanged."""
        return self._misspelt(document.text[unit.start : unit.end], unit.kind, random.Random(0)) is not None

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """A wrong spelling of each unit with as many characters; see `Replacements`."""
        return [self._misspelt(document.text[unit.start : unit.end], unit.kind, rng) for unit in units]

    def _misspelt(self, word: str, kind: str, rng: random.Random) -> str | None:
        places = [place for place, character in enumerate(word) if character in self._others]
        if places:
            place = rng.choice(places)
            return word[:place] + rng.choice(self._others[word[place]]) + word[place + 1 :]
        return _letters_exchanged(word, rng) if kind == WORD else None


def _letters_exchanged(word: str, rng: random.Random) -> str | None:
    """Two neighbouring letters inside the word in the other order."""
    places = [place for place in range(1, len(word) - 2) if word[place] != word[place + 1]]
    if not places or not word.isalpha():
        return None
    place = rng.choice(places)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


class ConfusionEdit(ContextEdit):
    """P9: misspell characters and words of the context; test only.

    Args:
        share, bottom, terms: see `ContextEdit`.
        causes: see `Confusions`.
    """

    name = "p9"
    test_only = True

    def __init__(
        self,
        share: float = 0.1,
        causes: Iterable[str] = ("sound", "shape", "speech"),
        bottom: float = 0.5,
        terms: Terms | None = None,
    ) -> None:
        super().__init__([(1.0, Confusions(causes))], share=share, bottom=bottom, terms=terms)
