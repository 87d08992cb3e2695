"""What becomes of an entity when its text is worded a little differently.

What a global table knows of the characters around an entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hf_adner.data.records import Document, Entity, EntitySpan
from hf_adner.explain.explanation import Cue, Explanation, Probe, as_ranges
from hf_adner.explain.global_table import GlobalTable, TableEntry
from hf_adner.explain.tagger import MaskedTagger, Tagger, entity_posteriors
from hf_adner.explain.unit_statistics import ROLES, character_roles
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.registry import make_perturbation

WHOLE_TEXT = ("context-masking", "punctuation", "clause-shuffle", "confusions")
"""Perturbations that change a text once for all its entities."""
BESIDE_ENTITY = ("outer-neighbour", "start-edit", "end-edit", "interior-edit")
"""Perturbations that change the text at one entity."""
DEFAULT_PROBES = WHOLE_TEXT + BESIDE_ENTITY

Explanations = Sequence[Sequence[Explanation]]


class _View(NamedTuple):
    """A changed text, and which entities of which original text are asked about in it.

    `entities` are (index in the text's list, index in the original document).
    """

    text: int
    perturbation: str
    perturbed: Perturbed
    entities: Sequence[tuple[int, int]]


def probe_explanations(
    tagger: Tagger,
    explanations: Explanations,
    perturbations: Sequence[str] = DEFAULT_PROBES,
    *,
    seed: int = 0,
    batch_size: int = 16,
) -> list[list[Explanation]]:
    """Give explanations the posterior of their entities, and how it changes under perturbations of the text.

    Args:
        tagger: model and tokenizer.
        explanations: per text those of its entities, as an explainer returns them.
        perturbations: names from `WHOLE_TEXT` and `BESIDE_ENTITY`; where one cannot change a text, there is no probe.
        seed: of the perturbations.
        batch_size: windows per forward pass.

    Returns:
        The same explanations with `posterior` and `probes`. A text whose characters no document can hold (halves of
        surrogate pairs) gets posteriors only.

    Raises:
        ValueError: an unknown perturbation, or explanations of different texts in one list.
    """
    check_probes(perturbations)
    texts = [_text_of(ones) for ones in explanations]
    spans = [[_span(one.entity) for one in ones] for ones in explanations]
    before = entity_posteriors(tagger, texts, spans, batch_size)
    probes: list[list[list[Probe]]] = [[[] for _ in ones] for ones in explanations]
    views = [_readable(tagger, view) for view in _views(texts, spans, perturbations, seed)]
    for view, after in zip(views, _posteriors(tagger, views, batch_size)):
        for (index, place), value in zip(view.entities, after):
            probes[view.text][index].append(_probe(view, place, before[view.text][index], value))
    return [
        [
            replace(one, posterior=value, probes=tuple(found))
            for one, value, found in zip(explanations[number], before[number], probes[number])
        ]
        for number in range(len(texts))
    ]


def check_probes(perturbations: Sequence[str]) -> None:
    """Make sure that perturbations can be used as probes.

    Raises:
        ValueError: a name that is not in `DEFAULT_PROBES`.
    """
    unknown = sorted(set(perturbations) - set(DEFAULT_PROBES))
    if unknown:
        raise ValueError(f"no probe {unknown[0][:30]!r}; there are {', '.join(DEFAULT_PROBES)}")


def as_document(text: str, spans: Sequence[EntitySpan]) -> Document | None:
    """A document with each span once; None where the text is none (empty, or with halves of surrogate pairs)."""
    if not text or any("\ud800" <= one <= "\udfff" for one in text):
        return None
    return Document("text", text, tuple(Entity(*span) for span in dict.fromkeys(spans)))


def _text_of(explanations: Sequence[Explanation]) -> str:
    texts = {one.text for one in explanations}
    if len(texts) > 1:
        raise ValueError(f"a list of explanations is about {len(texts)} texts, expected one")
    return texts.pop() if texts else ""


def _span(entity: Entity) -> EntitySpan:
    return entity.start, entity.end, entity.label


def _views(
    texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]], perturbations: Sequence[str], seed: int
) -> Iterator[_View]:
    for number, (text, ones) in enumerate(zip(texts, spans)):
        document = as_document(text, ones)
        if document is None:
            continue
        places = [(index, document.spans.index(span)) for index, span in enumerate(ones)]
        for name in perturbations:
            for entities in [places] if name in WHOLE_TEXT else [[place] for place in places]:
                perturbed = _perturbed(document, name, entities, seed)
                if perturbed is not None:
                    yield _View(number, name, perturbed, entities)


def _perturbed(document: Document, name: str, entities: Sequence[tuple[int, int]], seed: int) -> Perturbed | None:
    if not entities:
        return None
    focus = None if name in WHOLE_TEXT else entities[0][1]
    perturbed = make_perturbation(name)(document, f"probe {seed} {name} {focus}", entity=focus)
    return None if perturbed is None or perturbed.is_unchanged else perturbed


def _readable(tagger: Tagger, view: _View) -> _View:
    """The view without entities that begin or end inside a token now, as they may with sub-words."""
    spans = tagger.tokenizer(view.perturbed.document.text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    inside = {place for start, end in spans for place in range(start + 1, end)}
    kept = [pair for pair in view.entities if not {*_span(view.perturbed.entity(pair[1]))[:2]} & inside]
    return view._replace(entities=kept)


def _posteriors(tagger: Tagger, views: Sequence[_View], batch_size: int) -> list[list[float]]:
    return entity_posteriors(
        MaskedTagger(tagger, [view.perturbed.masked for view in views]),
        [view.perturbed.document.text for view in views],
        [[_span(view.perturbed.entity(place)) for _, place in view.entities] for view in views],
        batch_size,
    )


def _probe(view: _View, place: int, before: float, after: float) -> Probe:
    perturbed = view.perturbed
    edited = set(perturbed.edited)
    origins = enumerate(perturbed.alignment.backward)
    changed = as_ranges(new for new, old in origins if old is None or old in edited)
    text = perturbed.document.text
    return Probe(view.perturbation, perturbed.kind, text, perturbed.entity(place), changed, before, after)


DEFAULT_CUES = 8
OBSERVED = 1.0
"""Observations from which on the table itself speaks, and not what it backs off to."""


def add_cues(
    table: GlobalTable, explanations: Sequence[Sequence[Explanation]], most: int = DEFAULT_CUES
) -> list[list[Explanation]]:
    """Give explanations the characters of their text that usually matter most for their label in that role.

    Args:
        table: of the model that is explained.
        explanations: per text those of its entities.
        most: cues of an entity at most.

    Returns:
        The same explanations with `cues`, the strongest first; none for characters that the table never saw in the
        role, or that matter less than an average character.
    """
    flat = [one for ones in explanations for one in ones]
    spans = [(one.entity.start, one.entity.end, one.entity.label) for one in flat]
    entries = iter(table.lookup_many([one.text for one in flat], spans))
    return [[replace(one, cues=_cues(one, next(entries), most)) for one in ones] for ones in explanations]


def _cues(explanation: Explanation, entry: TableEntry, most: int) -> tuple[Cue, ...]:
    roles = character_roles(len(explanation.text), explanation.entity.start, explanation.entity.end)
    known = np.where(entry.count >= OBSERVED, entry.mean, -np.inf)  # (length,)
    best = [int(place) for place in np.argsort(-known, kind="stable")[:most] if known[place] > 0]
    return tuple(Cue(place, place + 1, ROLES[roles[place]], float(entry.mean[place])) for place in best)
