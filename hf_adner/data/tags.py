"""Entities as character tags and back: BIO, BMES, BIOES and BILOU.

Tags of any of these are read by one automaton; faults that leave no doubt about the entity (an inside tag without its
beginning) are mended and counted, never passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Entity, first_overlap
from hf_adner.model.labels_adner import OUTSIDE, bio_to_bioes, spans_to_bio

SCHEMES: Mapping[str, frozenset[str]] = {
    "bio": frozenset("BIO"),
    "bmes": frozenset("BMESO"),
    "bioes": frozenset("BIOES"),
    "bilou": frozenset("BILOU"),
}
"""Prefixes of each scheme, the simplest first: a file that fits several is read as the first of them."""

WITHOUT_BEGINNING = "inside tag without its beginning (opens an entity)"
WITHOUT_END = "entity without its end tag (closed where it stops)"

_BIOES = {"M": "I", "L": "E", "U": "S"}


def parse_tag(tag: str) -> tuple[str, str]:
    """`"B-Drug"` -> `("B", "Drug")`, `"O"` -> `("O", "")`; prefixes as written.

    Raises:
        DataFormatError: not a tag of any scheme.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if not hyphen or not label or len(prefix) != 1 or prefix not in "BIMELSU":
        raise DataFormatError(f"tag {excerpt(tag, 12)} is neither 'O' nor of the form 'B-Type' (B, I, M, E, L, S, U)")
    return prefix, label


def fitting_scheme(prefixes: Iterable[str]) -> str | None:
    """The simplest scheme that has all of `prefixes`, None when they mix schemes."""
    found = set(prefixes)
    return next((name for name, allowed in SCHEMES.items() if found <= allowed), None)


def check_scheme(scheme: str) -> str:
    """`scheme` in lower case.

    Raises:
        ValueError: unknown scheme.
    """
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"tag scheme {scheme!r} is unknown; expected one of {', '.join(SCHEMES)}")
    return scheme.lower()


def spans_of_tags(parts: Sequence[tuple[str, str]], scheme: str) -> tuple[list[tuple[int, int, str]], Counter[str]]:
    """Spans (start, end, label) of parsed tags, and how often each kind of fault was mended."""
    closes_by_tag = scheme != "bio"
    spans: list[tuple[int, int, str]] = []
    repaired: Counter[str] = Counter()
    start, label = -1, ""  # the open entity; start -1: none

    for position, (prefix, name) in enumerate([*parts, (OUTSIDE, "")]):
        if prefix == OUTSIDE and start < 0:
            continue
        prefix = _BIOES.get(prefix, prefix)
        continues = start >= 0 and prefix in "IE" and name == label
        if not continues:
            if start >= 0:
                spans.append((start, position, label))
                repaired[WITHOUT_END] += closes_by_tag
            if prefix in "IE":
                repaired[WITHOUT_BEGINNING] += 1
            start, label = (position, name) if prefix != OUTSIDE else (-1, "")
        if prefix in "ES":
            spans.append((start, position + 1, label))
            start, label = -1, ""
    return spans, +repaired


def tags_of_entities(entities: Sequence[Entity], length: int, scheme: str = "bio") -> list[str]:
    """One tag per character of a text of `length` characters.

    Raises:
        DataFormatError: entities that overlap: tags cannot say so; flatten the document first.
        ValueError: unknown scheme.
    """
    scheme = check_scheme(scheme)
    overlap = first_overlap(entities, crossing=False)
    if overlap:
        raise DataFormatError(
            f"entities {overlap[0].start}-{overlap[0].end} and {overlap[1].start}-{overlap[1].end} overlap, "
            "which tags cannot express; flatten the document first"
        )
    tags = spans_to_bio([(one.start, one.end, one.label) for one in entities], length)
    if scheme == "bio":
        return tags
    renamed = {"bioes": {}, "bmes": {"I": "M"}, "bilou": {"E": "L", "S": "U"}}[scheme]
    return [renamed.get(tag[0], tag[0]) + tag[1:] for tag in bio_to_bioes(tags)]
