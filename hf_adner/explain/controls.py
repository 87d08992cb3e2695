"""Control explainers that ignore the model; a measure of explanations must not reward them.

Each is called like every explainer, `explainer(texts, entities)`.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar
from zlib import crc32

from hf_adner.data.records import Entity, EntitySpan
from hf_adner.explain.explanation import Explanation


class ControlExplainer(ABC):
    """Base of explainers without a model; the target of their explanations is ``nothing``, its value 0."""

    name: ClassVar[str]

    def __call__(
        self, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan | Entity]] | None = None
    ) -> list[list[Explanation]]:
        """Explain entities.

        Args:
            texts: any number of texts.
            entities: per text a list of (start, end, label) or `Entity`; required, as no model predicts them.

        Raises:
            ValueError: no entities, not one list of entities per text, or an entity outside its text.
        """
        if entities is None or len(entities) != len(texts):
            given = "none" if entities is None else f"{len(entities)} lists for {len(texts)} texts"
            raise ValueError(f"{self.name!r} needs one list of entities per text, found {given}")
        return [
            [self._explain(text, _as_entity(entity)) for entity in text_entities]
            for text, text_entities in zip(texts, entities)
        ]

    def _explain(self, text: str, entity: Entity) -> Explanation:
        return Explanation(text, entity, tuple(self._scores(text, entity)), self.name, "nothing", 0.0)

    @abstractmethod
    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        """Return one score per character."""


class ConstantExplainer(ControlExplainer):
    """Every character scores 1: perfectly stable (Yeh et al. 2019) and useless."""

    name = "constant"

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        return [1.0] * len(text)


class PositionalTemplate(ControlExplainer):
    """The entity's characters score 1, those outside 1 / (1 + distance): a map that fits every entity."""

    name = "template"

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        return [1.0 / (1 + max(entity.start - place, place - entity.end + 1, 0)) for place in range(len(text))]


class RandomExplainer(ControlExplainer):
    """Uniform scores in [0, 1), a function of text, entity and seed.

    Args:
        seed: of the scores.
    """

    name = "random"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        rng = random.Random(f"{self.seed} {entity.start} {entity.end} {entity.label} {text}")
        return [rng.random() for _ in text]


class HashExplainer(ControlExplainer):
    """The cube of a hash of each character (CRC-32 of its UTF-8 form, scaled to [0, 1)).

    A character has the same score in every text: the map is stable, and different for every entity. The cube gives it a
    few high values, as attributions have.
    """

    name = "hash"

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        return [(crc32(character.encode("utf-8", "surrogatepass")) / 2**32) ** 3 for character in text]


CONTROL_EXPLAINERS: dict[str, type[ControlExplainer]] = {
    "constant": ConstantExplainer,
    "template": PositionalTemplate,
    "hash": HashExplainer,
    "random": RandomExplainer,
}
"""Control explainers by name."""


def _as_entity(entity: EntitySpan | Entity) -> Entity:
    return entity if isinstance(entity, Entity) else Entity(*entity)
