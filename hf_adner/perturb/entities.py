"""Entities swapped for others of their type (P4): the context stays, the name changes (RockNER, Lin et al. 2021)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.edits import Edit, apply_guarded
from hf_adner.perturb.perturbation import Focus, Perturbation, entity_order
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.protected import protected_spans
from hf_adner.perturb.territory import Territory


class EntitySurfaces:
    """The texts that entities of each type have, to be taken from training documents only.

    Surfaces with a protected word or figure in them, with a line break, or with white space at an end are left out.

    Args:
        surfaces: per label its texts.
    """

    def __init__(self, surfaces: Mapping[str, Iterable[str]]) -> None:
        self._surfaces = {label: tuple(sorted(filter(_is_usable, set(texts)))) for label, texts in surfaces.items()}

    @classmethod
    def from_documents(cls, documents: Iterable[Document]) -> EntitySurfaces:
        """All surfaces of the documents' entities."""
        surfaces: dict[str, set[str]] = defaultdict(set)
        for document in documents:
            for entity in document.entities:
                surfaces[entity.label].add(entity.text)
        return cls(surfaces)

    def of(self, label: str) -> tuple[str, ...]:
        """The surfaces of a type, sorted; none for a type that was not seen."""
        return self._surfaces.get(label, ())


def _is_usable(surface: str) -> bool:
    return bool(surface) and surface == surface.strip() and "\n" not in surface and not protected_spans(surface)


class EntitySwap(Perturbation):
    """P4: put another surface of the same type in the place of entities.

    Entities that overlap others, or hold a protected word or figure, stay as they are.

    Args:
        surfaces: what may come in.
        share: of the entities that are swapped, at least one; with an entity in focus only that one.

    Raises:
        ValueError: a share outside 0..1.
    """

    name = "p4"

    def __init__(self, surfaces: EntitySurfaces, share: float = 0.34) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}, expected 0..1")
        self.surfaces = surfaces
        self.share = share

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        protected = Territory.of_protected(document)
        alone = _disjoint(document)
        edits: list[Edit] = []
        for index in entity_order(document, rng, focus):
            entity = document.entities[index]
            if entity in alone and protected.is_open(entity.start, entity.end):
                edits += self._swap(entity, rng)
            if len(edits) >= max(1, self.share * len(document.entities)):
                break
        return apply_guarded(document, edits, family=self.name, kind=self.kind, inside_entities=True)

    def _swap(self, entity: Entity, rng: random.Random) -> list[Edit]:
        others = [surface for surface in self.surfaces.of(entity.label) if surface != entity.text]
        return [Edit(entity.start, entity.end, rng.choice(others), aligned=False)] if others else []


def _disjoint(document: Document) -> list[Entity]:
    """The entities that share no character with another one."""
    alone: list[Entity] = []
    reach = 0  # end of everything seen so far
    entities = document.entities
    for index, entity in enumerate(entities):
        following = entities[index + 1].start if index + 1 < len(entities) else entity.end
        if entity.start >= reach and following >= entity.end:
            alone.append(entity)
        reach = max(reach, entity.end)
    return alone
