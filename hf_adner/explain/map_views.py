"""Views of texts in which parts of the context are hidden, and what a local explainer says of their entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hf_adner.explain.explanation import Explanation
from hf_adner.explain.passages import Span
from hf_adner.explain.probing import as_document
from hf_adner.explain.stability import reading_masks
from hf_adner.perturb.context import ContextMasking

Explanations = Sequence[Sequence[Explanation]]


class MapView(NamedTuple):
    """The explanations of one text's entities in one view of it.

    Attributes:
        text: number of the text.
        kept: (place in the text, place in the view) of the characters that are not hidden.
        explanations: one per entity of the text.
    """

    text: int
    kept: list[tuple[int, int]]
    explanations: Sequence[Explanation]


def explain_views(local: Any, explanations: Explanations, count: int, seed: int) -> list[MapView]:
    """Explain again with an eighth of the context hidden; protected words and entities are never hidden.

    Args:
        local: the explainer that gave the explanations.
        explanations: per text those of its entities.
        count: views per text.
        seed: of the choice of characters; the same text gets the same views.

    Returns:
        Views of the texts that have entities and a context.
    """
    mask, made = ContextMasking(), []
    for number, ones in enumerate(explanations):
        document = as_document(ones[0].text, list(map(_span, ones))) if ones else None
        if document is not None:
            chances = [f"map {seed} {view} {document.text}" for view in range(count)]
            made += [(number, view) for view in (mask(document, chance) for chance in chances) if view is not None]
    if not made:
        return []
    reader = reading_masks(local, [view.masked for _, view in made])
    # masks stand in the place of what they hide, so entities keep their places
    entities = [list(map(_span, explanations[number])) for number, _ in made]
    found = reader([view.document.text for _, view in made], entities)
    return [MapView(number, view.kept, ones) for (number, view), ones in zip(made, found, strict=True)]


def _span(explanation: Explanation) -> Span:
    entity = explanation.entity
    return entity.start, entity.end, entity.label
