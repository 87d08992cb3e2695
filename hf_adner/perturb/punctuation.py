"""Another hand's typing (P5): the width of signs and figures, signs exchanged or left out, spaces more or less."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from hf_adner.data.records import Document
from hf_adner.perturb.edits import Edit, apply_guarded
from hf_adner.perturb.perturbation import Focus, Perturbation
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.territory import Territory
from hf_adner.perturb.units import HAN, SPACE, SYMBOL, WORD, character_kind

OPERATIONS = ("width", "exchange", "delete", "insert")
"""Change the width of a sign, letter or figure; exchange a sign; delete a sign or space; insert a space."""

_HALF = ",;:?!()[]<>%+-=/~" + "".join(map(chr, (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))))
_WIDTHS = {half: chr(ord(half) + 0xFEE0) for half in _HALF}
_WIDTHS |= {full: half for half, full in _WIDTHS.items()}
_EXCHANGES = {"，": "、；", "、": "，", "；": "，。", "。": "；", "：": "，", ",": ";", ";": ",", ".": ";"}
_DELETED = "，、；：,;"


class PunctuationEdit(Perturbation):
    """P5: change signs and spaces outside entities.

    Args:
        share: of the places where something could be changed, at least one.
        operations: those of `OPERATIONS` that are used.

    Raises:
        ValueError: a share outside 0..1, no operation, or an unknown one.
    """

    name = "p5"

    def __init__(self, share: float = 0.05, operations: tuple[str, ...] = OPERATIONS) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}, expected 0..1, above 0")
        if not operations or not set(operations) <= set(OPERATIONS):
            raise ValueError(f"operations are {operations}, expected some of {OPERATIONS}")
        self.share = share
        self.operations = operations

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        closed = Territory.of_context(document)
        piles = {
            operation: [edit for edit in _FINDERS[operation](document) if closed.is_open(edit.start, edit.end)]
            for operation in self.operations
        }
        count = max(1, round(self.share * len({edit.start for pile in piles.values() for edit in pile})))
        edits = _drawn(piles, count, rng)
        return apply_guarded(document, edits, family=self.name, kind=self.kind)


def _drawn(piles: Mapping[str, list[Edit]], count: int, rng: random.Random) -> list[Edit]:
    """Edits of as many places, every operation as often as the others while it has some."""
    for pile in piles.values():
        rng.shuffle(pile)
    chosen: dict[int, Edit] = {}
    while len(chosen) < count and (left := [pile for pile in piles.values() if pile]):
        edit = rng.choice(left).pop()
        chosen.setdefault(edit.start, edit)
    return list(chosen.values())


def _widths(document: Document) -> Iterator[Edit]:
    for place, character in enumerate(document.text):
        if character in _WIDTHS:
            yield Edit(place, place + 1, _WIDTHS[character])


def _exchanges(document: Document) -> Iterator[Edit]:
    text = document.text
    for place, character in enumerate(text):
        if character == "." and text[place + 1 : place + 2].strip():
            continue  # a decimal point, an abbreviation or an address
        for other in _EXCHANGES.get(character, ""):
            yield Edit(place, place + 1, other)


def _deletions(document: Document) -> Iterator[Edit]:
    """Signs that part no two entities, words or figures, and spaces that part no two words."""
    text = document.text
    starts = {one.start for one in document.entities}
    ends = {one.end for one in document.entities}
    for place, character in enumerate(text):
        parts_entities = place in ends and place + 1 in starts
        around = {_kind(text, place - 1), _kind(text, place + 1)}
        is_free = character in _DELETED or (character in " \t\u3000" and (HAN in around or SPACE in around))
        if is_free and not parts_entities and around != {WORD}:
            yield Edit(place, place + 1, "")


def _insertions(document: Document) -> Iterator[Edit]:
    """Spaces beside Chinese characters and signs, or beside another space."""
    text = document.text
    for place in range(1, len(text)):
        around = {_kind(text, place - 1), _kind(text, place)}
        if SPACE in around or around in ({HAN}, {HAN, WORD}, {HAN, SYMBOL}):
            yield Edit(place, place, " ")


def _kind(text: str, place: int) -> str:
    return character_kind(text[place]) if 0 <= place < len(text) else ""


_FINDERS = {"width": _widths, "exchange": _exchanges, "delete": _deletions, "insert": _insertions}
