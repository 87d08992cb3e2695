"""Units that edits replace, a Chinese character or a word of another script, and how they are selected."""

from __future__ import annotations

import math
import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon, leftmost_longest
from hf_adner.perturb.protected import ClosedSpans
from hf_adner.perturb.reading import find_words

HAN, WORD, SPACE, SYMBOL = "han", "word", "space", "symbol"
"""Kinds of units: a character of a script without spaces, a word, white space, punctuation and other signs."""

NGRAM_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Shares of n-grams of 1, 2, 3 and 4 words in MacBERT's masking (Cui et al. 2020)."""

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
    """A span of a text, end exclusive, and its kind."""

    start: int
    end: int
    kind: str = HAN


@lru_cache(maxsize=8192)
def character_kind(character: str) -> str:
    """Return `HAN`, `WORD`, `SPACE` or `SYMBOL`; ``"mark"`` for a combining mark, which belongs to its predecessor."""
    point = ord(character)
    if any(first <= point <= last for first, last in _SPACELESS):
        return HAN
    if character.isalnum():
        return WORD
    if character.isspace():
        return SPACE
    return _MARK if unicodedata.category(character)[0] == "M" else SYMBOL


def text_units(text: str) -> list[Unit]:
    """Split a text into units, in order and without gaps.

    Runs of letters and digits are one unit (``IgE``, ``patient's``), and so are runs of white space; every Chinese
    or Japanese character and every sign is a unit of its own. Combining marks stay with their base.
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


def context_units(document: Document, lexicon: Lexicon | None = None) -> list[Unit]:
    """Return the words and Chinese characters outside entities and protected spans, in order.

    Args:
        document: the text and its entities.
        lexicon: its words of two or more characters, in either script and case, are single units, leftmost and longest
            first.
    """
    closed = ClosedSpans.of_context(document)
    units = text_units(document.text)
    if lexicon is not None:
        units = _joined(units, find_words(lexicon, document.text), closed)
    return [unit for unit in units if unit.kind in (HAN, WORD) and closed.is_open(unit.start, unit.end)]


def _joined(units: Sequence[Unit], matches: Iterable[tuple[int, int, int]], closed: ClosedSpans) -> list[Unit]:
    """Replace sequences of units by the lexicon words that consist of them."""
    first = {unit.start: index for index, unit in enumerate(units)}
    after = {unit.end: index + 1 for index, unit in enumerate(units)}
    words = [
        (word_id, start, end)
        for word_id, start, end in matches
        if start in first and end in after and after[end] - first[start] > 1 and closed.is_open(start, end)
    ]
    joined, position = [], 0
    for _, start, end in leftmost_longest(words):
        joined += [*units[position : first[start]], Unit(start, end, units[first[start]].kind)]
        position = after[end]
    return [*joined, *units[position:]]


def least_important(units: Sequence[Unit], scores: Sequence[float], share: float = 0.5) -> list[Unit]:
    """Return the share of the units with the lowest mean score, in the order of the text.

    Raises:
        ValueError: if a score is NaN.
    """

    def importance(unit: Unit) -> float:
        return math.fsum(scores[unit.start : unit.end]) / (unit.end - unit.start)

    ranked = sorted((importance(unit), unit) for unit in units)
    if any(math.isnan(mean) for mean, _ in ranked):
        raise ValueError("a score is not a number")
    return sorted(unit for _, unit in ranked[: math.ceil(share * len(ranked))])


def budget(units: Sequence[Unit], share: float) -> int:
    """Return the number of units in a share of them, at least 1 if there are any."""
    return min(len(units), max(1, round(share * len(units))))


def draw_units(units: Sequence[Unit], count: int, rng: random.Random) -> list[Unit]:
    """Draw up to `count` random units, in the order of the text."""
    return sorted(rng.sample(units, min(count, len(units))))


def draw_runs(
    units: Sequence[Unit], count: int, rng: random.Random, weights: Sequence[float] = NGRAM_SHARES
) -> list[Unit]:
    """Draw up to `count` random units in runs of adjacent units, as in MacBERT's n-gram masking.

    The number of units is exact; `pretraining.collator.choose_ngrams` keeps share and lengths unbiased instead.

    Args:
        units: candidates, in the order of the text.
        count: largest number of units.
        rng: random number generator.
        weights: relative frequency of runs of 1, 2, 3, ... units.
    """
    drawn: set[int] = set()
    for first in rng.sample(range(len(units)), len(units)):
        length = 1 + rng.choices(range(len(weights)), weights)[0]
        for place in range(first, min(first + length, len(units))):
            if len(drawn) == count or (place > first and units[place].start != units[place - 1].end):
                break
            drawn.add(place)
    return [units[place] for place in sorted(drawn)]
