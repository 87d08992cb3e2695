"""Explanations that explain nothing: what a number about explanations must not reward.

Each is called as every explainer is, `explainer(texts, entities)`, and asks no model. A constant one says that every
character matters alike, a template that only the distance to the entity matters, a random one draws its scores.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from hf_adner.data.records import Entity, EntitySpan
from hf_adner.explain.explanation import Explanation


class ControlExplainer(ABC):
    """Scores that no model was asked for; what it explains is named ``nothing``, and its value is 0."""

    name: ClassVar[str]

    def __call__(
        self, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan | Entity]] | None = None
    ) -> list[list[Explanation]]:
        """Scores of entities.

        Args:
            texts: any number of texts.
            entities: per text a list of (start, end, label) or `Entity`; needed, as there is no model to find them.

        Raises:
            ValueError: no entities, not one list of them per text, or one outside its text.
        """
        if entities is None or len(entities) != len(texts):
            found = "none" if entities is None else f"{len(entities)} lists for {len(texts)} texts"
            raise ValueError(f"{self.name!r} needs one list of entities per text, found {found}")
        return [[self._explain(text, _record(one)) for one in ones] for text, ones in zip(texts, entities)]

    def _explain(self, text: str, entity: Entity) -> Explanation:
        return Explanation(text, entity, tuple(self._scores(text, entity)), self.name, "nothing", 0.0)

    @abstractmethod
    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        """One score per character."""


class ConstantExplainer(ControlExplainer):
    """Every character scores 1: perfectly stable (Yeh et al. 2019) and useless."""

    name = "constant"

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        return [1.0] * len(text)


class PositionalTemplate(ControlExplainer):
    """The entity's characters score 1, those outside 1 / (1 + distance): a shape that fits every entity."""

    name = "template"

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        return [1.0 / (1 + max(entity.start - place, place - entity.end + 1, 0)) for place in range(len(text))]


class RandomExplainer(ControlExplainer):
    """Uniform scores in [0, 1), the same for the same entity of the same text.

    Args:
        seed: another one gives other scores.
    """

    name = "random"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def _scores(self, text: str, entity: Entity) -> Sequence[float]:
        rng = random.Random(f"{self.seed} {entity.start} {entity.end} {entity.label} {text}")
        return [rng.random() for _ in text]


CONTROL_EXPLAINERS: dict[str, type[ControlExplainer]] = {
    control.name: control for control in (ConstantExplainer, PositionalTemplate, RandomExplainer)
}
"""The controls by name."""


def _record(entity: EntitySpan | Entity) -> Entity:
    return entity if isinstance(entity, Entity) else Entity(*entity)
