"""The smallest pieces that an edit may replace: one character of Chinese, one word of other scripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

HAN, WORD, SPACE, SYMBOL = "han", "word", "space", "symbol"
"""Kinds of units: a character of a script without spaces, a word, white space, punctuation and other signs."""

_MARK = "mark"
_SPACELESS = (
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3040, 0x30FF),
    (0x3105, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFD),
)
_APOSTROPHES = "'\u2019"


class Unit(NamedTuple):
    """A span of a text, end exclusive, and what it consists of."""

    start: int
    end: int
    kind: str = HAN


@lru_cache(maxsize=8192)
def character_kind(character: str) -> str:
    """`HAN`, `WORD`, `SPACE` or `SYMBOL`; a combining mark, which belongs to what precedes it, is ``"mark"``."""
    point = ord(character)
    if any(first <= point <= last for first, last in _SPACELESS):
        return HAN
    if character.isalnum():
        return WORD
    if character.isspace():
        return SPACE
    return _MARK if unicodedata.category(character)[0] == "M" else SYMBOL


def text_units(text: str) -> list[Unit]:
    """The units of a text, in order and without gaps.

    Runs of letters and digits are one unit (``IgE``, ``patient's``), and so are runs of white space; every Chinese
    or Japanese character and every sign is one of its own. Combining marks stay with their base.
    """
    return list(_units(text))


def _units(text: str) -> Iterator[Unit]:
    start = 0
    while start < len(text):
        kind = character_kind(text[start])
        end = start + 1
        while end < len(text) and _continues(text, end, kind):
            end += 1
        yield Unit(start, end, SYMBOL if kind == _MARK else kind)
        start = end


def _continues(text: str, place: int, kind: str) -> bool:
    following = character_kind(text[place])
    if following == _MARK:
        return kind != SPACE
    if kind == WORD and text[place] in _APOSTROPHES:
        return place + 1 < len(text) and character_kind(text[place + 1]) == WORD
    return following == kind and kind in (WORD, SPACE)
