"""Texts as perturbations compare them: in Simplified letters of half width, whatever script they are written in.

A checkpoint reads both scripts alike, so what an edit must not touch or make, and what it replaces, is found in both.
The map is one to one: spans found in the text as it is read are spans of the text.
"""

from __future__ import annotations

from functools import cache

from hf_adner.model.lexicon_adner import Lexicon, Match, as_read
from hf_adner.model.script_adner import ScriptMap


@cache
def _letters() -> ScriptMap:
    """Return the standard map without signs: read as one of half width, a comma would join two numbers."""
    return ScriptMap({written: read for written, read in ScriptMap.standard().forms.items() if read.isalnum()})


def simplified(text: str) -> str:
    """Return a text, of the same length, in Simplified characters, letters and digits of half width."""
    return _letters()(text)


def as_compared(text: str) -> str:
    """Return a text in Simplified characters and lower case, of the same length."""
    return as_read(text, True, _letters())


def find_words(lexicon: Lexicon, text: str, lower_case: bool = True) -> list[Match]:
    """Return the words of a lexicon in a text, in either script; see `Lexicon.match`."""
    return lexicon.match(text, lower_case=lower_case, script_map=_letters())
