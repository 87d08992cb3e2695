"""Clauses in another order (P6)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.alignment import CharacterAlignment
from hf_adner.perturb.edits import entity_places
from hf_adner.perturb.perturbation import Focus, Perturbation
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.protected import keeps_protected
from hf_adner.perturb.territory import Territory

COMMAS = "，；,;"
STOPS = "。！？!?.\n"

TEMPORAL = (
    "后 前 随 继 遂 再 又 仍 次日 当日 同时 目前 现 曾 此 其 该 首 末 最 "
    "then after before subsequently later since until following previously prior now when while first finally"
).split()
"""Words that tie a clause to its place in a story: a sentence with one keeps its order."""

_NEGATIONS = ("否认", "无", "未", "没", "不", "非", "除外", "排除", " no ", " not ", "denie", "deny", "without", "n't")

Span = tuple[int, int]


class ClauseShuffle(Perturbation):
    """P6: exchange clauses within sentences; the signs between them stay where they are.

    A clause that denies keeps all that follows it in its sentence (``否认发热，咳嗽``), so that the negation reaches
    as far as before. Sentences that tell a story, by their words, stay as they are. Not for narratives.
    """

    name = "p6"

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        closed = Territory.of_context(document)
        order: list[Span] = []
        for clauses in _sentences(document.text, closed):
            order += _shuffled(document.text, clauses, closed, rng)
        perturbed = rearranged(document, order, family=self.name)
        if perturbed.is_unchanged or not keeps_protected(document.text, perturbed.document.text):
            return None
        return perturbed


def _shuffled(text: str, clauses: Sequence[Span], closed: Territory, rng: random.Random) -> list[Span]:
    """A sentence's clauses in their new order, and all that stands between and around them in its place."""
    start, end = clauses[0][0], clauses[-1][1]
    blocks = _blocks(text, clauses, closed)
    told = text[start:end].lower()
    order = list(blocks)
    if len(blocks) > 1 and not any(word in told for word in TEMPORAL):
        for _ in range(4):  # four draws leave two clauses alone once in sixteen times
            if order == blocks:
                rng.shuffle(order)
    edges = [start, *(edge for block in blocks for edge in block), end]
    gaps = list(zip(edges[::2], edges[1::2]))
    return [gaps[0], *(piece for pair in zip(order, gaps[1:]) for piece in pair)]


def rearranged(document: Document, order: Sequence[Span], *, family: str) -> Perturbed:
    """The document with its pieces in another order.

    Args:
        document: what is cut up.
        order: spans that cover the text once, in the new order; none may cut an entity.
        family: name of the perturbation.

    Raises:
        ValueError: the spans do not cover the text once, or cut an entity.
    """
    backward = [place for start, end in order for place in range(start, end)]
    if sorted(backward) != list(range(len(document.text))):
        raise ValueError(f"{len(order)} pieces do not cover the text of {len(document.text)} characters once")
    alignment = CharacterAlignment.from_backward(backward, len(document.text))
    entities = [_moved(one, alignment) for one in document.entities]
    text = "".join(document.text[start:end] for start, end in order)
    new = replace(document, text=text, entities=tuple(entities))
    return Perturbed(document, new, alignment, entity_places(entities, new), families=(family,))


def _moved(entity: Entity, alignment: CharacterAlignment) -> Entity:
    span = alignment.map_span(entity.start, entity.end)
    if span is None:
        raise ValueError(f"the pieces cut the entity {entity.start}-{entity.end}")
    return Entity(*span, entity.label, entity.text, entity.meta)


def _sentences(text: str, closed: Territory) -> list[list[Span]]:
    """Per sentence its clauses without the signs between them; full stops count as sentences."""
    sentences: list[list[Span]] = [[]]
    start = 0
    for place, character in enumerate(text):
        if character not in COMMAS and character not in STOPS:
            continue
        if not closed.is_open(place, place + 1) or _is_inside_word(text, place):
            continue
        sentences[-1].append((start, place))
        start = place + 1
        if character in STOPS:
            sentences += ([(place, start)], [])
    sentences[-1].append((start, len(text)))
    return sentences


def _is_inside_word(text: str, place: int) -> bool:
    """A half-width sign without a space behind it, as in ``2.5`` or ``a,b``."""
    following = text[place + 1 : place + 2]
    return text[place] in ",;.!?" and following.isascii() and bool(following.strip())


def _blocks(text: str, clauses: Sequence[Span], closed: Territory) -> list[Span]:
    """Clauses that may move: trimmed of white space, and in one piece from the first that denies."""
    blocks: list[Span] = []
    for start, end in clauses:
        denies = any(word in f" {text[start:end].lower()} " for word in _NEGATIONS)
        blocks.append(_trimmed(text, start, clauses[-1][1] if denies else end, closed))
        if denies:
            break
    return [block for block in blocks if block[0] < block[1]]


def _trimmed(text: str, start: int, end: int, closed: Territory) -> Span:
    """Without the white space at its ends, unless that belongs to an entity."""
    while start < end and text[start].isspace() and closed.is_open(start, start + 1):
        start += 1
    while start < end and text[end - 1].isspace() and closed.is_open(end - 1, end):
        end -= 1
    return start, end
