"""Perturbed views of documents, in which the same entities are explained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hf_adner.audit.population import Population, Span
from hf_adner.audit.scored_spans import scored_spans
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.perturbed import Perturbed


class View(NamedTuple):
    """One perturbed text.

    Attributes:
        family: name of the perturbation.
        document: index of the document in the population.
        perturbed: the text with its alignment.
        kept: number of the subject -> its span in the perturbed text, for those that the model finds there again with
            their label.
        subjects: numbers of all subjects of the document.
    """

    family: str
    document: int
    perturbed: Perturbed
    kept: dict[int, Span]
    subjects: tuple[int, ...]


def make_views(
    model: Any,
    tokenizer: Any,
    population: Population,
    families: Mapping[str, Perturbation],
    views: int,
    seed: int = 0,
    batch_size: int = 16,
) -> list[View]:
    """`views` perturbed texts per family of every document that has a subject; a family may have nothing to edit.

    A view depends on the seed, the family, its number and the document's id alone.
    """
    owners = population.by_document()
    made = [
        (family, document, perturbed)
        for document in owners
        for family, perturbation in families.items()
        for perturbed in _perturbed(population, document, family, perturbation, views, seed)
    ]
    found = scored_spans(model, tokenizer, [perturbed.document.text for _, _, perturbed in made], batch_size)
    return [
        _view(population, family, document, perturbed, {one.span for one in spans}, owners[document])
        for (family, document, perturbed), spans in zip(made, found)
    ]


def _perturbed(
    population: Population, document: int, family: str, perturbation: Perturbation, views: int, seed: int
) -> list[Perturbed]:
    original = population.documents[document]
    drawn = [perturbation(original, f"view {seed} {family} {number} {original.id}") for number in range(views)]
    return [one for one in drawn if one is not None and not one.is_unchanged]


def _view(
    population: Population, family: str, document: int, perturbed: Perturbed, found: set[Span], owners: Sequence[int]
) -> View:
    kept = {}
    for number in owners:
        entity = perturbed.entity(population.subjects[number].entity)
        span = (entity.start, entity.end, entity.label)
        if span in found:
            kept[number] = span
    return View(family, document, perturbed, kept, tuple(owners))
