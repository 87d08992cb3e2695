"""Views of training documents: perturbed copies that depend on the seed, the epoch and the document's id alone.

So they are the same in every worker of a data loader, on every process, and after a resume.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.boundary import OuterNeighbourEdit, OuterUnits
from hf_adner.perturb.context import ContextEdit, EntitySurfaces, EntitySwap, Terms
from hf_adner.perturb.edits import Masks, Replacements
from hf_adner.perturb.perturbation import Perturbation, check_focus
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.surface import PunctuationEdit

GUIDED, UNIFORM, PUNCTUATION, SWAP, NEIGHBOUR = "guided", "uniform", "punctuation", "swap", "neighbour"
VIEW_KINDS = {GUIDED: 0.5, UNIFORM: 0.2, PUNCTUATION: 0.15, SWAP: 0.15}
"""Families of views and how often each is made: an edit of the least important context, one of any context, signs and
spaces, another entity of the same type."""


USED = frozenset(("context-masking", "masked-lm", "similar-words", "entity-swap", "punctuation", "outer-neighbour"))
"""Names of the perturbations that views are made by: they cannot measure the robustness of a model trained on views."""


@dataclass(frozen=True)
class ViewMaterials:
    """What views are made of; whatever is missing is done without. From training documents only.

    Attributes:
        masked_lm: proposals of a masked language model (`StoredProposals`), weight 0.5 in edits of the context.
        similar_words: a `SimilarWords`, weight 0.3; masks have weight 0.2.
        surfaces: entities to swap in.
        outer_units: what is written beside entities.
        terms: the entities of the training data, which no edit may write into the context.
        dictionary: words that no edit beside an entity may merge into, and that are edited as a whole.
    """

    masked_lm: Replacements | None = None
    similar_words: Replacements | None = None
    surfaces: EntitySurfaces | None = None
    outer_units: OuterUnits | None = None
    terms: Terms | None = None
    dictionary: Terms | None = None

    @property
    def sources(self) -> list[tuple[float, Replacements]]:
        """(weight, source) of the edits of the context."""
        weighted = ((0.5, self.masked_lm), (0.3, self.similar_words), (0.2, Masks()))
        return [(weight, source) for weight, source in weighted if source is not None]

    @property
    def lexicon(self) -> Lexicon | None:
        """Words that are edited as a whole."""
        return self.dictionary.lexicon if self.dictionary is not None else None


@dataclass(frozen=True, eq=False)
class ViewMaker:
    """Makes the views of a training run.

    Attributes:
        seed: of the run.
        share: of the documents that get a view in an epoch, 0..1.
        families: weight of each of `VIEW_KINDS`; 0 leaves one out.
        edited: share of the candidates that an edit of the context changes.
        bottom: share of the context that counts as unimportant.
        neighbour_share: of the views in which a unit beside the entity in focus is edited as well.
        materials: see `ViewMaterials`.

    Raises:
        ValueError: a share outside 0..1, an unknown family, or weights that are negative or all zero.
    """

    seed: int = 0
    share: float = 0.5
    families: dict[str, float] = field(default_factory=lambda: dict(VIEW_KINDS))
    edited: float = 0.3
    bottom: float = 0.5
    neighbour_share: float = 0.5
    materials: ViewMaterials = field(default_factory=ViewMaterials)

    def __post_init__(self) -> None:
        for name, least in (("share", 0), ("neighbour_share", 0), ("edited", 1e-6), ("bottom", 1e-6)):
            if not least <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least}..1")
        weights = self.families.values()
        if not set(self.families) <= set(VIEW_KINDS) or min(weights, default=-1) < 0 or not sum(weights) > 0:
            raise ValueError(f"families are {self.families}, expected weights of some of {tuple(VIEW_KINDS)}")
        object.__setattr__(self, "_perturbations", self._made())

    def _made(self) -> dict[str, Perturbation]:
        own = self.materials
        made: dict[str, Perturbation] = {
            GUIDED: self._context(self.edited),
            UNIFORM: self._context(self.edited * self.bottom),  # as many units as a guided edit changes
            PUNCTUATION: PunctuationEdit(),
            NEIGHBOUR: OuterNeighbourEdit(own.outer_units, own.dictionary),
        }
        return {**made, SWAP: EntitySwap(own.surfaces)} if own.surfaces is not None else made

    def _context(self, share: float) -> ContextEdit:
        own = self.materials
        return ContextEdit(own.sources, share=share, bottom=self.bottom, lexicon=own.lexicon, terms=own.terms)

    def has_view(self, document_id: str, epoch: int) -> bool:
        """Whether the document gets a view in this epoch."""
        return self._chance(document_id, epoch, "share").random() < self.share

    def make_view(
        self,
        document: Document,
        epoch: int,
        *,
        scores: Sequence[float] | None = None,
        entity: int | None = None,
    ) -> Perturbed | None:
        """The view of a document in an epoch, whether or not `has_view` says that it gets one.

        Args:
            document: a training document.
            epoch: from 0.
            scores: importance of every character, as the explanations of the last visit have it; without them a
                guided edit is one of any context.
            entity: index of the entity in focus, beside which the neighbour edit happens; None draws one.

        Returns:
            A label-preserving perturbation, or None where no family can change the document.

        Raises:
            ValueError, IndexError: as a `Perturbation`.
        """
        check_focus(document, scores, entity)
        rng = self._chance(document.id, epoch, "view")
        beside = rng.random() < self.neighbour_share
        view = self._edited(document, rng, scores)
        if not beside:
            return view
        view = view or Perturbed.unchanged(document)
        focus = view.entity_map[entity] if entity is not None else None
        following = self._perturbations[NEIGHBOUR](view.document, rng, entity=focus)
        if following is not None:
            return view.then(replace(following, families=(NEIGHBOUR,)))
        return None if view.is_unchanged else view

    def _edited(self, document: Document, rng: random.Random, scores: Sequence[float] | None) -> Perturbed | None:
        for family in self._order(rng):
            guided = scores if family == GUIDED else None
            perturbation = self._perturbations[UNIFORM if family == GUIDED and scores is None else family]
            view = perturbation(document, rng, scores=guided)
            if view is not None:
                return replace(view, families=(family,))
        return None

    def _order(self, rng: random.Random) -> list[str]:
        """The families, each in the place of the one before where that finds nothing to edit."""
        known = self._perturbations
        left = {family: weight for family, weight in self.families.items() if weight and family in known}
        order = []
        while left:
            order += rng.choices(list(left), left.values())
            del left[order[-1]]
        return order

    def _chance(self, document_id: str, epoch: int, purpose: str) -> random.Random:
        return random.Random(f"{purpose} {self.seed} {epoch} {document_id}")


def make_view(
    document: Document,
    *,
    seed: int,
    epoch: int,
    scores: Sequence[float] | None = None,
    entity: int | None = None,
    materials: ViewMaterials | None = None,
) -> Perturbed | None:
    """The view of one document with the default shares; see `ViewMaker.make_view`."""
    maker = ViewMaker(seed, materials=materials if materials is not None else ViewMaterials())
    return maker.make_view(document, epoch, scores=scores, entity=entity)
