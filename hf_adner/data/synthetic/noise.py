"""Surface noise of hurried writing: typing errors, lost or changed punctuation, widths, units; offsets follow."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from hf_adner.data.synthetic.grammar import Cue, Draft, Mark
from hf_adner.data.synthetic.vocabulary import data_text


class Edit(NamedTuple):
    """Replace characters `start` to `end` (exclusive) by `text`; start == end inserts."""

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
    """Words and characters with their usual slips."""
    lines = (line.partition("=") for line in data_text("slips.txt").splitlines() if "=" in line)
    return {word.strip(): tuple(wrong.split()) for word, _, wrong in lines if not word.startswith("#")}


def apply_edits(draft: Draft, edits: list[Edit]) -> Draft:
    """The draft after `edits`, left to right; an edit that overlaps another or crosses a mention's edge is skipped."""
    chosen = _compatible(draft, edits)
    parts, position = [], 0
    for edit in chosen:
        parts += [draft.text[position : edit.start], edit.text]
        position = edit.end
    text = "".join(parts) + draft.text[position:]
    starts, ends = _start_map(chosen), _end_map(chosen)
    marks = [Mark(starts(m.start), ends(m.end), m.label) for m in draft.marks]
    cues = [Cue(c.mark, starts(c.start), ends(c.end), c.kind) for c in draft.cues]
    return Draft(text, marks, [c for c in cues if c.start < c.end])


def _compatible(draft: Draft, edits: list[Edit]) -> list[Edit]:
    borders = {p for m in [*draft.marks, *draft.cues] for p in (m.start, m.end)}
    chosen: list[Edit] = []
    for edit in sorted(edits):
        free = not chosen or edit.start >= chosen[-1].end
        if free and not any(p in borders for p in range(edit.start + 1, edit.end)):
            chosen.append(edit)
    return chosen


def _start_map(edits: list[Edit]) -> Callable[[int], int]:
    return lambda p: p + sum(len(e.text) - (e.end - e.start) for e in edits if e.end <= p)


def _end_map(edits: list[Edit]) -> Callable[[int], int]:
    # What is inserted right behind a mention does not belong to it.
    return lambda p: p + sum(len(e.text) - (e.end - e.start) for e in edits if e.end <= p and e.start < p)


def tidy(draft: Draft, rng: random.Random) -> Draft:
    """The draft without doubled punctuation, and mostly with a full stop where it ends in a comma."""
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
    """Writing slips: known words at `rate`, single characters at a sixth of it."""
    edits = []
    for word, wrongs in writing_slips().items():
        chance = rate if len(word) > 1 else rate / 6
        start = text.find(word)
        while start >= 0:
            if rng.random() < chance:
                edits.append(Edit(start, start + len(word), rng.choice(wrongs)))
            start = text.find(word, start + 1)
    return edits


def lost_punctuation(text: str, rng: random.Random, rate: float) -> list[Edit]:
    """Commas, list commas and full stops left out or replaced by a blank or another mark."""
    writings = {"，": ("", " ", ",", "。"), "、": ("", " ", ",", "，"), "。": ("", "，", " ", ".")}
    return [
        Edit(position, position + 1, rng.choice(writings[character]))
        for position, character in enumerate(text)
        if character in writings and rng.random() < rate
    ]


def widths(text: str, rng: random.Random) -> list[Edit]:
    """The whole text's digits full-width, or its punctuation half-width."""
    table = WIDE if rng.random() < 0.35 else NARROW
    return [Edit(i, i + 1, c.translate(table)) for i, c in enumerate(text) if c.translate(table) != c]


def units(text: str, rng: random.Random) -> list[Edit]:
    """Another way to write each unit behind a number."""
    return [
        Edit(match.start(1), match.end(1), rng.choice(UNIT_WRITINGS[match[1]]))
        for match in re.finditer(r"(?<=\d)(mg|ml|℃|kg|cm)", text)
        if rng.random() < 0.5
    ]


def add_noise(draft: Draft, rng: random.Random, level: float) -> Draft:
    """The draft with noise of `level` 0 (clean) to 1 (careless)."""
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
