"""The units of a text that explainers hide: characters, lexicon words, or words between spaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

UNITS = ("characters", "lexicon-words", "words")
"""What is hidden at once: a character; the longest lexicon word, from left to right; what stands between spaces."""

Range = tuple[int, int]


def split_into_units(text: str, units: str, tokenizer: Any) -> list[Range]:
    """Ranges of characters that follow each other without a gap; what is no word is single characters.

    Raises:
        ValueError: another name of units, or lexicon words without a lexicon.
    """
    check_units(units, tokenizer)
    if units == "characters":
        words: Iterable[Range] = ()
    elif units == "words":
        words = (match.span() for match in re.finditer(r"\S+", text))
    else:
        words = longest_matches(tokenizer.lexicon.match(text, lower_case=getattr(tokenizer, "do_lower_case", True)))
    return _with_single_characters(words, len(text))


def check_units(units: str, tokenizer: Any) -> None:
    """Raise the `ValueError` of `split_into_units` before there is a text."""
    if units not in UNITS:
        raise ValueError(f"units must be one of {UNITS}, found {units!r}")
    if units == "lexicon-words" and getattr(tokenizer, "lexicon", None) is None:
        raise ValueError("units='lexicon-words' needs a tokenizer with a lexicon; use 'characters' or 'words'")


def longest_matches(matches: Sequence[tuple[int, int, int]]) -> list[Range]:
    """From left to right the longest match at each place, none overlapping."""
    chosen: list[Range] = []
    for start, end in sorted(((start, end) for _, start, end in matches), key=lambda one: (one[0], -one[1])):
        if not chosen or start >= chosen[-1][1]:
            chosen.append((start, end))
    return chosen


def _with_single_characters(words: Iterable[Range], length: int) -> list[Range]:
    ranges: list[Range] = []
    place = 0
    for start, end in [*words, (length, length)]:
        ranges += [(one, one + 1) for one in range(place, start)]
        ranges += [(start, end)] if end > start else []
        place = end
    return ranges
