"""Views of texts that keep their labels, and what a local explainer says of their entities."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from hf_adner.data.records import Document
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.passages import Span
from hf_adner.explain.probing import as_document
from hf_adner.explain.stability import reading_masks, span_of
from hf_adner.perturb.context import ContextMasking
from hf_adner.perturb.neighbours import OuterNeighbourEdit
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.punctuation import PunctuationEdit

PERTURBATIONS = (ContextMasking(), PunctuationEdit(), OuterNeighbourEdit())
"""What makes views, in turns: some of the context is hidden, signs and spaces change, or an entity's neighbour."""

Explanations = Sequence[Sequence[Explanation]]


class MapView(NamedTuple):
    """The explanations of one text's entities in one view of it.

    Attributes:
        text: number of the text.
        kept: (place in the text, place in the view) of the characters that were not edited.
        explanations: one per entity of the text.
    """

    text: int
    kept: list[tuple[int, int]]
    explanations: Sequence[Explanation]


def explain_views(local: Any, explanations: Explanations, count: int, seed: int) -> list[MapView]:
    """Explain again in perturbed texts; protected words and entities are never edited.

    Args:
        local: the explainer that gave the explanations.
        explanations: per text those of its entities.
        count: views per text.
        seed: of the perturbations; the same text gets the same views.

    Returns:
        Views of the texts that have entities and something that may be edited.
    """
    made = [
        (number, view)
        for number, ones in enumerate(explanations)
        for view in _views(ones, count, seed)
        if _is_readable(local, view)
    ]
    if not made:
        return []
    reader = reading_masks(local, [view.masked for _, view in made])
    entities = [[_moved(one, view) for one in explanations[number]] for number, view in made]
    found = reader([view.document.text for _, view in made], entities)
    return [MapView(number, view.kept, ones) for (number, view), ones in zip(made, found, strict=True)]


def _views(explanations: Sequence[Explanation], count: int, seed: int) -> list[Perturbed]:
    document = as_document(explanations[0].text, list(map(span_of, explanations))) if explanations else None
    if document is None:
        return []
    rng = random.Random(f"map {seed} {document.text}")
    turns = rng.sample(PERTURBATIONS, len(PERTURBATIONS))
    views = []
    for number in range(count):
        later = turns[number % len(turns) :] + turns[: number % len(turns)]
        views.append(_first(document, later, rng))
    return [view for view in views if view is not None]


def _first(document: Document, perturbations: Sequence[Any], rng: random.Random) -> Perturbed | None:
    """What the first perturbation that finds something to edit makes."""
    views = (perturbation(document, rng) for perturbation in perturbations)
    return next((view for view in views if view is not None and not view.is_unchanged), None)


def _is_readable(local: Any, view: Perturbed) -> bool:
    """Whether entities begin and end with tokens: an edit beside one may join it to its context as a sub-word."""
    text = view.document.text
    spans = local.tagger.tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    inside = {place for start, end in spans for place in range(start + 1, end)}
    return not any({entity.start, entity.end} & inside for entity in view.document.entities)


def _moved(explanation: Explanation, view: Perturbed) -> Span:
    entity = view.entity(view.original.spans.index(span_of(explanation)))
    return entity.start, entity.end, entity.label
