"""Explanations of perturbed texts ("views"), and how stable explanations are across them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_adner.data.records import Document, Entity, EntitySpan
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.lexicon_adner import replace_surrogates
from hf_adner.model.pipeline_adner import check_count
from hf_adner.perturb.boundary import OuterNeighbourEdit
from hf_adner.perturb.context import ContextMasking
from hf_adner.perturb.perturbation import Perturbed, masked_tokens
from hf_adner.perturb.surface import PunctuationEdit

DEFAULT_VIEWS = 4
HIDDEN_SHARE = 0.3
"""Share of the less important half of the context that `StabilityMeter` hides in a view."""

PERTURBATIONS = (ContextMasking(), PunctuationEdit(), OuterNeighbourEdit())
"""Perturbations of `explain_views`, used in turns."""

Explanations = Sequence[Sequence[Explanation]]


class StabilityMeter:
    """An explainer that adds `Explanation.stability` to the explanations of another: the only one that sets it.

    Each view of a text hides context characters that are least important to all of its entities. Stability, in [0, 1],
    is the mean over the views of the cosine between the scores before and after, over the characters that were not
    hidden, negative cosines counted as 0 (after Alvarez-Melis and Jaakkola 2018, who move the input instead). Each view
    costs as much as explaining the text. Stability does not show whether an entity is right: the explanation of a
    confident mistake may be as stable as that of a correct prediction.

    Args:
        explainer: as returned by `make_explainer`.
        views: views per text, 1 or more.
        seed: of the choice of hidden characters.

    Raises:
        ValueError: fewer than one view.
    """

    def __init__(self, explainer: Any, views: int = DEFAULT_VIEWS, seed: int = 0):
        check_count(views, "views")
        self.explainer, self.views, self.seed = explainer, views, seed

    def __call__(self, texts: Sequence[str], entities: Sequence[Any] | None = None) -> list[list[Explanation]]:
        """Explain as the explainer does; `stability` is None where no character may be hidden.

        Raises:
            TypeError, ValueError: as the explainer.
        """
        return self.measure(self.explainer(texts, entities))

    def measure(self, explanations: Explanations) -> list[list[Explanation]]:
        """Add `stability` to explanations of this explainer."""
        views = [view for text, group in enumerate(explanations) for view in self._views(text, group)]
        cosines = mean_over_views(explanations, _explain(self.explainer, views), map_cosine)
        return [
            [replace(explanation, stability=cosine) for explanation, cosine in zip(group, group_cosines)]
            for group, group_cosines in zip(explanations, cosines)
        ]

    def _views(self, text: int, explanations: Sequence[Explanation]) -> list[View]:
        document = _document_of(explanations)
        if document is None:
            return []
        importance = np.max([explanation.shares for explanation in explanations], axis=0)  # (length,)
        mask = ContextMasking(HIDDEN_SHARE)
        views = [mask(document, f"stability {self.seed} {view}", scores=importance) for view in range(self.views)]
        places = entity_places(document, [explanation.span for explanation in explanations])
        return [View(text, perturbed, places) for perturbed in views if perturbed is not None]


class View(NamedTuple):
    """A perturbed text, and the entities that are read in it.

    Attributes:
        text: number of the original text.
        perturbed: the perturbed document beside the original.
        entities: (index in the text's list, index in the original document) of each entity.
    """

    text: int
    perturbed: Perturbed
    entities: Sequence[tuple[int, int]]

    @property
    def spans(self) -> list[EntitySpan]:
        """The entities in characters of the perturbed text."""
        entities = (self.perturbed.entity(place) for _, place in self.entities)
        return [(entity.start, entity.end, entity.label) for entity in entities]

    def on_token_boundaries(self, tokenizer: Any) -> View:
        """Return the view without entities that begin or end inside a token.

        An edit beside an entity may join it with its context to one sub-word.

        Args:
            tokenizer: a fast tokenizer.
        """
        offsets = tokenizer(self.perturbed.document.text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        inside = {place for start, end in offsets for place in range(start + 1, end)}
        pairs = zip(self.entities, self.spans)
        return self._replace(entities=[entity for entity, span in pairs if not {*span[:2]} & inside])


class MaskedTagger(Tagger):
    """The same model and tokenizer; tokens of masked characters become the mask token.

    Args:
        tagger: reads the texts without masks.
        masked: per text, the positions of its masked characters (`Perturbed.masked`).

    Raises:
        ValueError: the tokenizer has no token to hide text with.
    """

    def __init__(self, tagger: Tagger, masked: Sequence[Sequence[int]]):
        vars(self).update(vars(tagger))
        self.masked = masked
        if any(masked):
            self._hidden_id = self.mask_id

    def encode(self, texts: Sequence[str], windows: Sequence[TextWindow]) -> TokenBatch:
        """As `Tagger.encode`, for the texts of `masked`."""
        batch = super().encode(texts, windows)
        rows = [masked_tokens(spans, self.masked[window.text]) for spans, window in zip(batch.offsets, windows)]
        hidden = torch.tensor(rows, device=batch.is_text.device).view_as(batch.is_text) & batch.is_text
        if not hidden.any():
            return batch
        ids = batch.inputs["input_ids"].masked_fill(hidden, self._hidden_id)  # (batch, tokens)
        return replace(batch, inputs={**batch.inputs, "input_ids": ids})


class ExplainedView(NamedTuple):
    """Explanations of the entities of a text in one view of it.

    Attributes:
        text: number of the text.
        kept: (place in the text, place in the view) of the characters that were not edited.
        explanations: one per entity of the text.
    """

    text: int
    kept: list[tuple[int, int]]
    explanations: Sequence[Explanation]


def as_document(text: str, spans: Sequence[EntitySpan]) -> Document | None:
    """Return a document with each span once; None for texts that a document cannot hold (empty, lone surrogates)."""
    if not text or replace_surrogates(text) != text:
        return None
    return Document("text", text, tuple(Entity(*span) for span in dict.fromkeys(spans)))


def entity_places(document: Document, spans: Sequence[EntitySpan]) -> list[tuple[int, int]]:
    """Return (index in `spans`, index in the document) of each span, as in `View.entities`."""
    return [(index, document.spans.index(span)) for index, span in enumerate(spans)]


def reading_masks(explainer: Any, masked: Sequence[Sequence[int]]) -> Any:
    """Return a copy of an explainer that reads masked characters as hidden; `masked` as for `MaskedTagger`."""
    reader = copy.copy(explainer)
    reader.tagger = MaskedTagger(explainer.tagger, masked)
    return reader


def explain_views(explainer: Any, explanations: Explanations, count: int, seed: int) -> list[ExplainedView]:
    """Explain entities again in perturbed texts; protected words and entities are never edited.

    Args:
        explainer: the explainer of `explanations`.
        explanations: per text those of its entities.
        count: views per text.
        seed: of the perturbations; the same text gets the same views.

    Returns:
        Views of the texts with entities and something to edit; none in which an entity has its boundary inside a token.
    """
    views = [view for text, group in enumerate(explanations) for view in _perturbed_views(text, group, count, seed)]
    tokenizer = explainer.tagger.tokenizer
    readable = [view for view in views if view.on_token_boundaries(tokenizer).entities == view.entities]
    return _explain(explainer, readable)


def mean_over_views(
    explanations: Explanations,
    views: Sequence[ExplainedView],
    measure: Callable[[Explanation, Explanation, Sequence[tuple[int, int]]], float | None],
) -> list[list[float | None]]:
    """Average a measure of each explanation over the views of its text.

    Args:
        explanations: per text those of its entities.
        views: views of these texts.
        measure: explanation of the original, of the view, and kept characters -> value; None is left out of the mean.

    Returns:
        Per text and entity the mean, None without any value.
    """
    values: list[list[list[float]]] = [[[] for _ in group] for group in explanations]
    for view in views:
        for entity_values, before, after in zip(
            values[view.text], explanations[view.text], view.explanations, strict=True
        ):
            value = measure(before, after, view.kept)
            entity_values += [] if value is None else [value]
    return [[float(np.mean(entity)) if entity else None for entity in group] for group in values]


def map_cosine(before: Explanation, after: Explanation, kept: Sequence[tuple[int, int]]) -> float:
    """Compute the cosine of two score maps over the kept characters, in [0, 1].

    Negative cosines, and those of a map that is all 0, are 0.
    """
    pairs = np.array([(before.scores[old], after.scores[new]) for old, new in kept]).reshape(-1, 2)
    norms = np.linalg.norm(pairs, axis=0).prod()
    return float(np.clip(pairs[:, 0] @ pairs[:, 1] / norms, 0, 1)) if norms else 0.0


def _explain(explainer: Any, views: Sequence[View]) -> list[ExplainedView]:
    if not views:
        return []
    reader = reading_masks(explainer, [view.perturbed.masked for view in views])
    explanations = reader([view.perturbed.document.text for view in views], [view.spans for view in views])
    return [
        ExplainedView(view.text, view.perturbed.kept, group) for view, group in zip(views, explanations, strict=True)
    ]


def _perturbed_views(text: int, explanations: Sequence[Explanation], count: int, seed: int) -> list[View]:
    document = _document_of(explanations)
    if document is None:
        return []
    rng = random.Random(f"map {seed} {document.text}")
    turns = rng.sample(PERTURBATIONS, len(PERTURBATIONS))
    views = []
    for number in range(count):
        perturbations = turns[number % len(turns) :] + turns[: number % len(turns)]
        views.append(_first_edit(document, perturbations, rng))
    places = entity_places(document, [explanation.span for explanation in explanations])
    return [View(text, perturbed, places) for perturbed in views if perturbed is not None]


def _document_of(explanations: Sequence[Explanation]) -> Document | None:
    spans = [explanation.span for explanation in explanations]
    return as_document(explanations[0].text, spans) if explanations else None


def _first_edit(document: Document, perturbations: Sequence[Any], rng: random.Random) -> Perturbed | None:
    """Apply the first perturbation that changes the document."""
    views = (perturbation(document, rng) for perturbation in perturbations)
    return next((view for view in views if view is not None and not view.is_unchanged), None)
