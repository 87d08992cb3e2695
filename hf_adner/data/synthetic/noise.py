"""Noise of informal writing with exact offsets: typos, punctuation, character widths, units."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from hf_adner.data.synthetic.grammar import Cue, Draft
from hf_adner.data.synthetic.vocabulary import (
    data_text,
    read_replacements,
    regional_expression,
    regional_words,
)


class Edit(NamedTuple):
    """Replacement of characters `start` to `end` (exclusive) by `text`; an insertion if they are equal."""

    start: int
    end: int
    text: str


WIDE = str.maketrans("0123456789%()+-/:", "０１２３４５６７８９％（）＋－／：")
NARROW = str.maketrans("，。；：（）？！％", ",.;:()?!%")
UNIT_WRITINGS = {
    "mg": ("MG", "毫克", "Mg"),
    "ml": ("ML", "毫升", "mL"),
    "℃": ("度", "°C"),
    "kg": ("Kg", "公斤"),
    "cm": ("厘米", "CM"),
}


@lru_cache(maxsize=1)
def writing_slips() -> dict[str, tuple[str, ...]]:
    """Return the common misspellings of words and characters."""
    return read_replacements(data_text("slips.txt"))


def apply_edits(draft: Draft, edits: list[Edit]) -> Draft:
    """Apply `edits` from left to right, except edits that overlap another or cross the edge of a mention or cue."""
    edits = _compatible_edits(draft, edits)
    parts, position = [], 0
    for edit in edits:
        parts += [draft.text[position : edit.start], edit.text]
        position = edit.end
    text = "".join(parts) + draft.text[position:]
    starts, ends = _start_map(edits), _end_map(edits)
    marks = [replace(mark, start=starts(mark.start), end=ends(mark.end)) for mark in draft.marks]
    cues = [Cue(cue.mark, starts(cue.start), ends(cue.end), cue.kind) for cue in draft.cues]
    return Draft(text, marks, [cue for cue in cues if cue.start < cue.end])


def _compatible_edits(draft: Draft, edits: list[Edit]) -> list[Edit]:
    edges = {position for span in [*draft.marks, *draft.cues] for position in (span.start, span.end)}
    chosen: list[Edit] = []
    for edit in sorted(edits):
        is_free = not chosen or edit.start >= chosen[-1].end
        if is_free and not any(position in edges for position in range(edit.start + 1, edit.end)):
            chosen.append(edit)
    return chosen


def _start_map(edits: list[Edit]) -> Callable[[int], int]:
    """Return the function from an old to a new start; an insertion right before a mention is outside it."""
    return lambda start: start + sum(_growth(edit) for edit in edits if edit.end <= start)


def _end_map(edits: list[Edit]) -> Callable[[int], int]:
    """Return the function from an old to a new end; an insertion right after a mention is outside it."""
    return lambda end: end + sum(_growth(edit) for edit in edits if edit.start < end and edit.end <= end)


def _growth(edit: Edit) -> int:
    return len(edit.text) - (edit.end - edit.start)


def tidy(draft: Draft, rng: random.Random) -> Draft:
    """Remove doubled punctuation, and usually replace a comma at the end of the draft by a full stop."""
    edits = []
    for match in re.finditer(r"[，、；。,](?:\s*[，、；。,])+", draft.text):
        strongest = max(match[0].replace(" ", ""), key="、,，；。".index)
        edits.append(Edit(match.start(), match.end(), strongest))
    draft = apply_edits(draft, edits)
    if draft.text.endswith(("，", "、", "；")):
        ending = rng.choices(("。", "", draft.text[-1]), (8, 2, 0.5))[0]
        draft = apply_edits(draft, [Edit(len(draft.text) - 1, len(draft.text), ending)])
    return draft


def slips(text: str, rng: random.Random, rate: float) -> list[Edit]:
    """Return misspellings: of words at `rate`, of single characters at a sixth of it."""
    edits = []
    for word, variants in writing_slips().items():
        chance = rate if len(word) > 1 else rate / 6
        start = text.find(word)
        while start >= 0:
            if rng.random() < chance:
                edits.append(Edit(start, start + len(word), rng.choice(variants)))
            start = text.find(word, start + 1)
    return edits


def regional(text: str, rng: random.Random, profile: str) -> list[Edit]:
    """Return edits that say words as other regions do; none if the profile has no such words."""
    words = regional_words(profile)
    found = regional_expression(profile).finditer(text) if words else ()
    return [Edit(match.start(), match.end(), rng.choice(words[match[0]])) for match in found]


def lost_punctuation(text: str, rng: random.Random, rate: float) -> list[Edit]:
    """Return edits that drop commas and full stops or replace them by a space or another mark."""
    writings = {"，": ("", " ", ",", "。"), "、": ("", " ", ",", "，"), "。": ("", "，", " ", ".")}
    return [
        Edit(position, position + 1, rng.choice(writings[character]))
        for position, character in enumerate(text)
        if character in writings and rng.random() < rate
    ]


def widths(text: str, rng: random.Random) -> list[Edit]:
    """Return edits that make all digits full-width, or all punctuation half-width."""
    table = WIDE if rng.random() < 0.35 else NARROW
    return [
        Edit(position, position + 1, character.translate(table))
        for position, character in enumerate(text)
        if character.translate(table) != character
    ]


def units(text: str, rng: random.Random) -> list[Edit]:
    """Return edits that write half of the units after numbers in another way."""
    return [
        Edit(match.start(1), match.end(1), rng.choice(UNIT_WRITINGS[match[1]]))
        for match in re.finditer(r"(?<=\d)(mg|ml|℃|kg|cm)", text)
        if rng.random() < 0.5
    ]


def add_noise(draft: Draft, rng: random.Random, level: float) -> Draft:
    """Add noise of `level` 0 (none) to 1 (strong) to a draft."""
    if level <= 0:
        return draft
    draft = apply_edits(draft, slips(draft.text, rng, 0.12 * level))
    draft = apply_edits(draft, lost_punctuation(draft.text, rng, 0.15 * level))
    if rng.random() < 0.3 * level:
        draft = apply_edits(draft, units(draft.text, rng))
    if rng.random() < 0.35 * level:
        draft = apply_edits(draft, widths(draft.text, rng))
    if rng.random() < 0.3 * level:
        draft = apply_edits(draft, [Edit(len(draft.text.rstrip("。.")), len(draft.text), "")])
    return draft
