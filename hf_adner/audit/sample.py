"""The entities whose explanations are measured: gold entities that the model finds.

Perturbed views of documents, in which the same entities are explained again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hf_adner.audit.prediction import ScoredSpan, scored_spans
from hf_adner.data.records import Document, EntitySpan
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.perturbed import Perturbed


class AuditedEntity(NamedTuple):
    """One entity of the population.

    Attributes:
        document: index of its document in the population.
        entity: index among the document's gold entities.
        span: (start, end, label).
    """

    document: int
    entity: int
    span: EntitySpan


@dataclass(frozen=True)
class EntitySample:
    """Entities that are explained, in random order, with their documents.

    Attributes:
        documents: all that the entities were drawn from.
        predicted: per document what the model finds in it.
        subjects: the entities; a beginning of them is a random sample too (of documents, with their entities).
        gold: gold entities of all documents.
        found: how many of them the model finds, start, end and label right.
    """

    documents: tuple[Document, ...]
    predicted: tuple[tuple[ScoredSpan, ...], ...]
    subjects: tuple[AuditedEntity, ...]
    gold: int
    found: int

    @property
    def coverage(self) -> float:
        """Share of the gold entities that the model finds, in [0, 1], NaN without gold entities."""
        return self.found / self.gold if self.gold else float("nan")

    def by_document(self, count: int | None = None) -> dict[int, list[int]]:
        """Document -> numbers of its subjects, of the first `count` subjects (default: all)."""
        owners: dict[int, list[int]] = {}
        for number, subject in enumerate(self.subjects[:count]):
            owners.setdefault(subject.document, []).append(number)
        return owners

    def text_of(self, number: int) -> str:
        """The text of subject `number`."""
        return self.documents[self.subjects[number].document].text


def draw_sample(
    model: Any,
    tokenizer: Any,
    documents: Iterable[Document],
    max_entities: int,
    entities_per_document: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> EntitySample:
    """Find entities in documents and draw from those that are gold entities too.

    Args:
        model, tokenizer: as `scored_spans` takes them.
        documents: with gold entities; of nested ones the model can find but one.
        max_entities: how many.
        entities_per_document: at most so many of each document.
        seed: of the draw.
        batch_size: windows per forward pass.

    Raises:
        ValueError: the model finds none of the gold entities.
    """
    documents = tuple(documents)
    predicted = scored_spans(model, tokenizer, [document.text for document in documents], batch_size)
    right = [_right(number, document, found) for number, (document, found) in enumerate(zip(documents, predicted))]
    found = sum(map(len, right))
    gold = sum(len(document.entities) for document in documents)
    if not found:
        raise ValueError(f"the model finds none of the {gold} gold entities of {len(documents)} documents")
    rng = random.Random(f"population {seed}")
    drawn = list(_drawn(right, entities_per_document, rng))[:max_entities]
    return EntitySample(documents, tuple(map(tuple, predicted)), tuple(drawn), gold, found)


def _right(number: int, document: Document, found: Sequence[ScoredSpan]) -> list[AuditedEntity]:
    known = {one.span for one in found}
    return [AuditedEntity(number, index, span) for index, span in enumerate(document.spans) if span in known]


def _drawn(right: Sequence[list[AuditedEntity]], most: int | None, rng: random.Random) -> Iterator[AuditedEntity]:
    """Documents in random order, of each some of its entities."""
    for subjects in rng.sample(right, len(right)):
        yield from rng.sample(subjects, len(subjects))[:most]


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
    kept: dict[int, EntitySpan]
    subjects: tuple[int, ...]


def make_views(
    model: Any,
    tokenizer: Any,
    population: EntitySample,
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
    population: EntitySample, document: int, family: str, perturbation: Perturbation, views: int, seed: int
) -> list[Perturbed]:
    original = population.documents[document]
    drawn = [perturbation(original, f"view {seed} {family} {number} {original.id}") for number in range(views)]
    return [one for one in drawn if one is not None and not one.is_unchanged]


def _view(
    population: EntitySample,
    family: str,
    document: int,
    perturbed: Perturbed,
    found: set[EntitySpan],
    owners: Sequence[int],
) -> View:
    kept = {}
    for number in owners:
        entity = perturbed.entity(population.subjects[number].entity)
        span = (entity.start, entity.end, entity.label)
        if span in found:
            kept[number] = span
    return View(family, document, perturbed, kept, tuple(owners))
