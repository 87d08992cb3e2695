"""How stable explanations are: how little they move when unimportant characters of the text are hidden.

Views of texts that keep their labels, and what a local explainer says of their entities.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.probes import as_document
from hf_adner.explain.tagger import MaskedTagger
from hf_adner.model.pipeline_adner import check_count
from hf_adner.perturb.boundary import OuterNeighbourEdit
from hf_adner.perturb.context import ContextMasking
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.surface import PunctuationEdit

DEFAULT_VIEWS = 4
HIDDEN_SHARE = 0.3
"""Share of the unimportant half of the context that a view hides."""

Explainer = Callable[..., Sequence[Sequence[Explanation]]]


class _View(NamedTuple):
    text: int
    perturbed: Perturbed


class StabilityMeter:
    """An explainer whose explanations tell how stable they are.

    Of each text some views are made in which characters of the context are hidden that mattered least to all of the
    text's entities. Stability is the mean over the views of the cosine between the scores before and after, over the
    characters that were not hidden, negative cosines counted as 0 (after Alvarez-Melis and Jaakkola 2018, who hide
    nothing but move the input). It costs as much again as explaining each view. It does not tell whether the entity is
    right: a confident mistake may be explained as stably as a hit.

    Args:
        explainer: one that `make_explainer` gave.
        views: how many views of each text, 1 or more.
        seed: of the choice of hidden characters.

    Raises:
        ValueError: fewer than one view.
    """

    def __init__(self, explainer: Any, views: int = DEFAULT_VIEWS, seed: int = 0):
        check_count(views, "views")
        self.explainer, self.views, self.seed = explainer, views, seed

    def __call__(self, texts: Sequence[str], entities: Sequence[Any] | None = None) -> list[list[Explanation]]:
        """As the explainer's own call; `stability` is None where no character may be hidden.

        Raises:
            TypeError, ValueError: as the explainer.
        """
        return self.measure(self.explainer(texts, entities))

    def measure(self, explanations: Sequence[Sequence[Explanation]]) -> list[list[Explanation]]:
        """Explanations that this explainer gave, with their `stability`."""
        views = [view for number, ones in enumerate(explanations) for view in self._views(number, ones)]
        found: list[list[list[float]]] = [[[] for _ in ones] for ones in explanations]
        for view, others in zip(views, self._explain(views, explanations)):
            for values, one, other in zip(found[view.text], explanations[view.text], others, strict=True):
                values.append(_cosine(one, other, view.perturbed.kept))
        return [
            [replace(one, stability=float(np.mean(values)) if values else None) for one, values in zip(ones, lists)]
            for ones, lists in zip(explanations, found)
        ]

    def _views(self, number: int, explanations: Sequence[Explanation]) -> list[_View]:
        document = as_document(explanations[0].text, list(map(span_of, explanations))) if explanations else None
        if document is None:
            return []
        importance = np.max([one.shares for one in explanations], axis=0)  # (length,)
        mask = ContextMasking(HIDDEN_SHARE)
        made = [mask(document, f"stability {self.seed} {view}", scores=importance) for view in range(self.views)]
        return [_View(number, perturbed) for perturbed in made if perturbed is not None]

    def _explain(self, views: Sequence[_View], explanations: Sequence[Sequence[Explanation]]) -> Any:
        if not views:
            return []
        reader = reading_masks(self.explainer, [view.perturbed.masked for view in views])
        # masks stand in the place of what they hide, so entities keep their places
        entities = [list(map(span_of, explanations[view.text])) for view in views]
        return reader([view.perturbed.document.text for view in views], entities)


def reading_masks(explainer: Any, masked: Sequence[Sequence[int]]) -> Any:
    """The explainer for texts with masked characters; `masked` as for `MaskedTagger`."""
    reader = copy.copy(explainer)
    reader.tagger = MaskedTagger(explainer.tagger, masked)
    return reader


def span_of(explanation: Explanation) -> EntitySpan:
    return explanation.entity.start, explanation.entity.end, explanation.entity.label


def _cosine(one: Explanation, other: Explanation, kept: Sequence[tuple[int, int]]) -> float:
    """In [0, 1]; 0 where one of the maps is."""
    pairs = np.array([(one.scores[old], other.scores[new]) for old, new in kept]).reshape(-1, 2)
    norms = np.linalg.norm(pairs, axis=0).prod()
    return float(np.clip(pairs[:, 0] @ pairs[:, 1] / norms, 0, 1)) if norms else 0.0


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


def _moved(explanation: Explanation, view: Perturbed) -> EntitySpan:
    entity = view.entity(view.original.spans.index(span_of(explanation)))
    return entity.start, entity.end, entity.label
