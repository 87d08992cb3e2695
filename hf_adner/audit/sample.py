"""The entities whose explanations are measured, gold entities that the model predicts, and their perturbed views."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hf_adner.audit.prediction import scored_spans
from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.tagger import ScoredSpan
from hf_adner.perturb.perturbation import Perturbation, Perturbed


class AuditedEntity(NamedTuple):
    """One entity of a sample.

    Attributes:
        document: index of its document in the sample.
        entity: index among the document's gold entities.
        span: (start, end, label).
    """

    document: int
    entity: int
    span: EntitySpan


@dataclass(frozen=True)
class EntitySample:
    """Entities to explain, in random order, with their documents.

    Attributes:
        documents: all documents that the entities were drawn from.
        predicted: predicted entities per document.
        entities: the entities; the first n of them are a random sample too (of documents, with their entities).
        gold: number of gold entities of all documents.
        found: number of gold entities that the model predicts with the right start, end and label.
    """

    documents: tuple[Document, ...]
    predicted: tuple[tuple[ScoredSpan, ...], ...]
    entities: tuple[AuditedEntity, ...]
    gold: int
    found: int

    @property
    def coverage(self) -> float:
        """Share of the gold entities that the model predicts, in [0, 1], NaN without gold entities."""
        return self.found / self.gold if self.gold else float("nan")

    def by_document(self, count: int | None = None) -> dict[int, list[int]]:
        """Return document -> numbers of its entities, of the first `count` entities (default: all)."""
        numbers: dict[int, list[int]] = {}
        for number, audited in enumerate(self.entities[:count]):
            numbers.setdefault(audited.document, []).append(number)
        return numbers

    def text_of(self, number: int) -> str:
        """Return the text of entity `number`."""
        return self.documents[self.entities[number].document].text


def draw_sample(
    model: Any,
    tokenizer: Any,
    documents: Iterable[Document],
    max_entities: int,
    entities_per_document: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> EntitySample:
    """Predict the entities of documents and draw from those that are gold entities too.

    Args:
        model, tokenizer: as for `scored_spans`.
        documents: with gold entities; of nested ones a flat model can predict only one.
        max_entities: size of the sample.
        entities_per_document: largest number of entities of one document; None: no limit.
        seed: of the draw.
        batch_size: windows per forward pass.

    Raises:
        ValueError: the model predicts none of the gold entities.
    """
    documents = tuple(documents)
    predicted = scored_spans(model, tokenizer, [document.text for document in documents], batch_size)
    correct = [_correct(number, document, spans) for number, (document, spans) in enumerate(zip(documents, predicted))]
    found = sum(map(len, correct))
    gold = sum(len(document.entities) for document in documents)
    if not found:
        raise ValueError(f"the model finds none of the {gold} gold entities of {len(documents)} documents")
    rng = random.Random(f"population {seed}")
    entities = list(_draw(correct, entities_per_document, rng))[:max_entities]
    return EntitySample(documents, tuple(map(tuple, predicted)), tuple(entities), gold, found)


def _correct(number: int, document: Document, predicted: Sequence[ScoredSpan]) -> list[AuditedEntity]:
    spans = {prediction.span for prediction in predicted}
    return [AuditedEntity(number, index, span) for index, span in enumerate(document.spans) if span in spans]


def _draw(correct: Sequence[list[AuditedEntity]], limit: int | None, rng: random.Random) -> Iterator[AuditedEntity]:
    """Yield entities of each document, documents in random order."""
    for entities in rng.sample(correct, len(correct)):
        yield from rng.sample(entities, len(entities))[:limit]


class View(NamedTuple):
    """One perturbed text.

    Attributes:
        family: name of the perturbation.
        document: index of the document in the sample.
        perturbed: the text with its alignment.
        kept: number of an entity -> its span in the perturbed text, for entities that the model predicts there with
            their label.
        entities: numbers of all sampled entities of the document.
    """

    family: str
    document: int
    perturbed: Perturbed
    kept: dict[int, EntitySpan]
    entities: tuple[int, ...]


def make_views(
    model: Any,
    tokenizer: Any,
    sample: EntitySample,
    families: Mapping[str, Perturbation],
    views: int,
    seed: int = 0,
    batch_size: int = 16,
) -> list[View]:
    """Make `views` perturbed texts per family of every sampled document, fewer where a family has nothing to edit.

    A view depends only on the seed, the family, its number and the document's id.
    """
    numbers = sample.by_document()
    drawn = [
        (family, document, perturbed)
        for document in numbers
        for family, perturbation in families.items()
        for perturbed in _perturb(sample.documents[document], family, perturbation, views, seed)
    ]
    predicted = scored_spans(model, tokenizer, [perturbed.document.text for _, _, perturbed in drawn], batch_size)
    return [
        _view(sample, family, document, perturbed, {prediction.span for prediction in spans}, numbers[document])
        for (family, document, perturbed), spans in zip(drawn, predicted)
    ]


def _perturb(document: Document, family: str, perturbation: Perturbation, views: int, seed: int) -> list[Perturbed]:
    drawn = [perturbation(document, f"view {seed} {family} {number} {document.id}") for number in range(views)]
    return [perturbed for perturbed in drawn if perturbed is not None and not perturbed.is_unchanged]


def _view(
    sample: EntitySample,
    family: str,
    document: int,
    perturbed: Perturbed,
    predicted: set[EntitySpan],
    numbers: Sequence[int],
) -> View:
    kept = {}
    for number in numbers:
        entity = perturbed.entity(sample.entities[number].entity)
        span = (entity.start, entity.end, entity.label)
        if span in predicted:
            kept[number] = span
    return View(family, document, perturbed, kept, tuple(numbers))
