"""Where two annotations of one text differ, and pairs of documents of two files of annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Document, EntitySpan

MISSING, SUPERFLUOUS, LABEL, BOUNDARY, BOTH = KINDS = (
    "missing",
    "superfluous",
    "label",
    "boundary",
    "label and boundary",
)
"""What the first annotation has against the second: an entity less, one more, or one with another label, other
boundaries, or both."""


class Difference(NamedTuple):
    """One difference: of `first` and `second` the entity of each annotation, or None."""

    kind: str
    first: EntitySpan | None
    second: EntitySpan | None

    @property
    def place(self) -> tuple[int, int]:
        """Start and end of the characters concerned."""
        spans = [span for span in (self.first, self.second) if span is not None]
        return min(span[0] for span in spans), max(span[1] for span in spans)


def differences(first: Iterable[EntitySpan], second: Iterable[EntitySpan]) -> list[Difference]:
    """Pair the entities that two annotations do not share, and return what differs, by place.

    Pairs are made in turns: same boundaries; same label and a common character; a common character; each with the
    largest overlap first. Entities without a pair are missing or superfluous.
    """
    one, other = _without(first, second), _without(second, first)
    found: list[Difference] = []
    for kind in (LABEL, BOUNDARY, BOTH):
        for pair in sorted(_candidates(one, other, kind), key=_by_overlap):
            if pair[0] in one and pair[1] in other:
                found.append(Difference(kind, *pair))
                one.remove(pair[0])
                other.remove(pair[1])
    found += [Difference(SUPERFLUOUS, span, None) for span in one]
    found += [Difference(MISSING, None, span) for span in other]
    return sorted(found, key=lambda difference: (*difference.place, difference.kind))


def _without(spans: Iterable[EntitySpan], others: Iterable[EntitySpan]) -> list[EntitySpan]:
    rest = list(others)
    left = []
    for span in spans:
        if span in rest:
            rest.remove(span)
        else:
            left.append(span)
    return left


def _candidates(
    one: Sequence[EntitySpan], other: Sequence[EntitySpan], kind: str
) -> Iterator[tuple[EntitySpan, EntitySpan]]:
    for first in one:
        for second in other:
            same_place, same_label = first[:2] == second[:2], first[2] == second[2]
            if first[0] < second[1] and second[0] < first[1]:
                if (kind == LABEL and same_place) or (kind == BOUNDARY and same_label) or kind == BOTH:
                    yield first, second


def _by_overlap(pair: tuple[EntitySpan, EntitySpan]) -> tuple[int, Any]:
    (start, end, _), (begin, after, _) = pair
    return max(start, begin) - min(end, after), pair


def paired(
    first: Iterable[Document], second: Iterable[Document], names: tuple[str, str] = ("first", "second")
) -> list[tuple[Document, Document]]:
    """Return the documents of two annotations with the same id, in the order of the first.

    Args:
        first, second: documents with ids of their own.
        names: of the annotations, for errors.

    Raises:
        DataFormatError: an id that occurs twice or in one annotation alone, or texts that differ; names the document.
    """
    one, other = (_by_id(documents, name) for documents, name in zip((first, second), names))
    for ours, theirs, name in ((one, other, names[1]), (other, one, names[0])):
        if alone := [key for key in ours if key not in theirs]:
            shown = ", ".join(excerpt(key, 40) for key in alone[:5])
            raise DataFormatError(f"{len(alone)} documents are not in it, beginning with {shown}", path=name)
    for key, document in one.items():
        if document.text != other[key].text:
            place = _first_difference(document.text, other[key].text)
            raise DataFormatError(
                f"the texts differ from character {place} on ({len(document.text)} characters in {names[0]}, "
                f"{len(other[key].text)} here); annotations are compared on the same text",
                path=names[1],
                record=key,
            )
    return [(document, other[key]) for key, document in one.items()]


def _by_id(documents: Iterable[Document], name: str) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for document in documents:
        if document.id in found:
            raise DataFormatError("the id occurs twice; documents are paired by it", path=name, record=document.id)
        found[document.id] = document
    return found


def _first_difference(one: str, other: str) -> int:
    return next((place for place, pair in enumerate(zip(one, other)) if pair[0] != pair[1]), min(len(one), len(other)))
