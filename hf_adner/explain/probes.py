"""Probes (the posterior of an entity in perturbed texts) and cues (what a global table knows of its characters)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.explanation import ROLES, Cue, Explanation, Probe, as_ranges
from hf_adner.explain.global_table import GlobalTable, TableEntry
from hf_adner.explain.stability import Explanations, MaskedTagger, View, as_document, entity_places
from hf_adner.explain.tagger import Tagger, entity_posteriors
from hf_adner.explain.unit_statistics import character_roles
from hf_adner.perturb.perturbation import Perturbed
from hf_adner.perturb.registry import make_perturbation

WHOLE_TEXT = ("context-masking", "punctuation", "clause-shuffle", "confusions")
"""Perturbations that change a text once for all its entities."""

BESIDE_ENTITY = ("outer-neighbour", "start-edit", "end-edit", "interior-edit")
"""Perturbations that change the text at one entity."""

DEFAULT_PROBES = WHOLE_TEXT + BESIDE_ENTITY

DEFAULT_CUES = 8
MIN_OBSERVATIONS = 1.0
"""Observations that a cue needs, so that its score does not come from back-off alone."""


def probe_explanations(
    tagger: Tagger,
    explanations: Explanations,
    perturbations: Sequence[str] = DEFAULT_PROBES,
    *,
    seed: int = 0,
    batch_size: int = 16,
    context: int | None = None,
) -> list[list[Explanation]]:
    """Add to explanations the posterior of their entities, and its value in perturbed texts.

    Args:
        tagger: model and tokenizer.
        explanations: per text those of its entities, as returned by an explainer.
        perturbations: names from `WHOLE_TEXT` and `BESIDE_ENTITY`; one that cannot change a text makes no probe.
        seed: of the perturbations.
        batch_size: windows per forward pass.
        context: characters on both sides of an entity that are read, see `crop_entities`; default: as many as the model
            takes, as for the posterior of the pipeline.

    Returns:
        The same explanations with `probes`, and with the `posterior` in that context if they had none. A text that a
        document cannot hold (with lone surrogates) gets posteriors only.

    Raises:
        ValueError: an unknown perturbation, or explanations of different texts in one list.
    """
    check_probes(perturbations)
    texts = [_text_of(group) for group in explanations]
    spans = [[explanation.span for explanation in group] for group in explanations]
    before = entity_posteriors(tagger, texts, spans, batch_size, context)
    probes: list[list[list[Probe]]] = [[[] for _ in group] for group in explanations]
    views = [view.on_token_boundaries(tagger.tokenizer) for view in _views(texts, spans, perturbations, seed)]
    after = entity_posteriors(
        MaskedTagger(tagger, [view.perturbed.masked for view in views]),
        [view.perturbed.document.text for view in views],
        [view.spans for view in views],
        batch_size,
        context,
    )
    for view, values in zip(views, after):
        for (index, place), value in zip(view.entities, values):
            probes[view.text][index].append(_probe(view.perturbed, place, before[view.text][index], value))
    return [
        [
            replace(
                explanation,
                posterior=posterior if explanation.posterior is None else explanation.posterior,
                probes=tuple(entity_probes),
            )
            for explanation, posterior, entity_probes in zip(explanations[text], before[text], probes[text])
        ]
        for text in range(len(texts))
    ]


def check_probes(perturbations: Sequence[str]) -> None:
    """Check that perturbations can be used as probes.

    Raises:
        ValueError: a name that is not in `DEFAULT_PROBES`.
    """
    unknown = sorted(set(perturbations) - set(DEFAULT_PROBES))
    if unknown:
        raise ValueError(f"unknown probe {unknown[0][:30]!r}; expected one of {', '.join(DEFAULT_PROBES)}")


def _text_of(explanations: Sequence[Explanation]) -> str:
    texts = {explanation.text for explanation in explanations}
    if len(texts) > 1:
        raise ValueError(f"a list of explanations is about {len(texts)} texts, expected one")
    return texts.pop() if texts else ""


def _views(
    texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]], perturbations: Sequence[str], seed: int
) -> Iterator[View]:
    for number, (text, text_spans) in enumerate(zip(texts, spans)):
        document = as_document(text, text_spans)
        if document is None:
            continue
        places = entity_places(document, text_spans)
        for name in perturbations:
            for entities in [places] if name in WHOLE_TEXT else [[place] for place in places]:
                perturbed = _perturb(document, name, entities, seed)
                if perturbed is not None:
                    yield View(number, perturbed, entities)


def _perturb(document: Document, name: str, entities: Sequence[tuple[int, int]], seed: int) -> Perturbed | None:
    if not entities:
        return None
    focus = None if name in WHOLE_TEXT else entities[0][1]
    perturbed = make_perturbation(name)(document, f"probe {seed} {name} {focus}", entity=focus)
    return None if perturbed is None or perturbed.is_unchanged else perturbed


def _probe(perturbed: Perturbed, place: int, before: float, after: float) -> Probe:
    edited = set(perturbed.edited)
    origins = enumerate(perturbed.alignment.backward)
    changed = as_ranges(new for new, old in origins if old is None or old in edited)
    name, text = perturbed.families[0], perturbed.document.text
    return Probe(name, perturbed.kind, text, perturbed.entity(place), changed, before, after)


def add_cues(table: GlobalTable, explanations: Explanations, most: int = DEFAULT_CUES) -> list[list[Explanation]]:
    """Add to explanations the characters of their text that usually matter most for their label in that role.

    Args:
        table: of the explained model.
        explanations: per text those of its entities.
        most: maximum number of cues per entity.

    Returns:
        The same explanations with `cues`, the strongest first; none for characters that the table never saw in the
        role, or that matter less than an average character.
    """
    flat = [explanation for group in explanations for explanation in group]
    texts, spans = [explanation.text for explanation in flat], [explanation.span for explanation in flat]
    entries = iter(table.lookup_many(texts, spans))
    return [
        [replace(explanation, cues=_cues(explanation, next(entries), most)) for explanation in group]
        for group in explanations
    ]


def _cues(explanation: Explanation, entry: TableEntry, most: int) -> tuple[Cue, ...]:
    roles = character_roles(len(explanation.text), explanation.entity.start, explanation.entity.end)
    known = np.where(entry.count >= MIN_OBSERVATIONS, entry.mean, -np.inf)  # (length,)
    best = [int(place) for place in np.argsort(-known, kind="stable")[:most] if known[place] > 0]
    return tuple(Cue(place, place + 1, ROLES[roles[place]], float(entry.mean[place])) for place in best)
