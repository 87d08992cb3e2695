"""Whether an edit would write a term of a lexicon into a text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.edits import Edit


class Terms:
    """The terms that an edit must not make: those of entities, or of a dictionary.

    Args:
        lexicon: the terms.
        lower_case: compare without regard to case.
    """

    def __init__(self, lexicon: Lexicon, lower_case: bool = False) -> None:
        self.lexicon = lexicon
        self.lower_case = lower_case

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.lexicon.words), default=0)

    def made_by(self, text: str, edit: Edit) -> bool:
        """Whether a term would stand in the edited text that has a new character in it."""
        return any(self._made(text, edit, merging=False))

    def merged_by(self, text: str, edit: Edit) -> bool:
        """Whether a term would stand in the edited text that joins new characters with their neighbours."""
        return any(self._made(text, edit, merging=True))

    def _made(self, text: str, edit: Edit, merging: bool) -> Iterator[bool]:
        left = text[max(0, edit.start - self._longest + 1) : edit.start]
        first, last = len(left), len(left) + len(edit.text)
        window = left + edit.text + text[edit.end : edit.end + max(0, self._longest - 1)]
        for _, start, end in self._match(window):
            yield start < last and first < end and (not merging or start < first or last < end)

    def _match(self, text: str) -> list[tuple[int, int, int]]:
        return self.lexicon.match(text, lower_case=self.lower_case)
