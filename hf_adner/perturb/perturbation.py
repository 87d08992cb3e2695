"""What every perturbation is: a function of a document and a source of chance."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from hf_adner.data.records import Document
from hf_adner.perturb.perturbed import LABEL_PRESERVING, Perturbed


class Focus(NamedTuple):
    """What an edit should go by.

    Attributes:
        scores: importance of every character, or None.
        entity: index of the entity that matters, or None for any.
    """

    scores: Sequence[float] | None = None
    entity: int | None = None


class Perturbation(ABC):
    """Changes a document and tells what became of every character and entity.

    Attributes:
        name: short name, as in the records it makes.
        kind: `LABEL_PRESERVING` or `BOUNDARY`.
        test_only: whether models must not be trained on it, so that it can measure robustness.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = LABEL_PRESERVING
    test_only: ClassVar[bool] = False

    def __call__(
        self,
        document: Document,
        rng: random.Random | int | str,
        *,
        scores: Sequence[float] | None = None,
        entity: int | None = None,
    ) -> Perturbed | None:
        """Perturb a document; the same chance gives the same result.

        Args:
            document: with character-level entities, which may nest.
            rng: the chance, or a seed of it.
            scores: importance of every character (any scale): edits of the context take what matters least.
            entity: index of the entity to edit or to edit beside; None draws one.

        Returns:
            The perturbed document, or None where there is nothing that may be edited.

        Raises:
            ValueError: not one score per character.
            IndexError: no such entity.
        """
        check_focus(document, scores, entity)
        chance = rng if isinstance(rng, random.Random) else random.Random(rng)
        return self._perturb(document, chance, Focus(scores, entity))

    @abstractmethod
    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        """As `__call__`, with checked arguments."""


def check_focus(document: Document, scores: Sequence[float] | None, entity: int | None) -> None:
    """Refuse what a `Focus` on the document cannot be.

    Raises:
        ValueError: not one score per character.
        IndexError: no such entity.
    """
    if scores is not None and len(scores) != len(document.text):
        raise ValueError(f"{len(scores)} scores for a text of {len(document.text)} characters")
    if entity is not None and not 0 <= entity < len(document.entities):
        raise IndexError(f"entity {entity} of a document with {len(document.entities)} entities")


def entity_order(document: Document, rng: random.Random, focus: Focus) -> list[int]:
    """The entity in focus, or all of them in random order."""
    if focus.entity is not None:
        return [focus.entity]
    return rng.sample(range(len(document.entities)), len(document.entities))
