"""Views of training documents: perturbed copies that depend only on the seed, the epoch and the document's id.

They are therefore the same in every data-loader worker and process, and after a resume.
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
from hf_adner.perturb.perturbation import Perturbation, Perturbed, check_focus
from hf_adner.perturb.surface import PunctuationEdit

GUIDED, UNIFORM, PUNCTUATION, SWAP, NEIGHBOUR = "guided", "uniform", "punctuation", "swap", "neighbour"
VIEW_KINDS = {GUIDED: 0.5, UNIFORM: 0.2, PUNCTUATION: 0.15, SWAP: 0.15}
"""Kinds of views and their default weights: an edit of the least important context, an edit of any context,
punctuation and spaces, other entities of the same type."""

VIEW_PERTURBATIONS = frozenset(
    ("context-masking", "masked-lm", "similar-words", "entity-swap", "punctuation", "outer-neighbour")
)
"""Perturbations that views consist of: they cannot measure the robustness of a model trained on views."""


@dataclass(frozen=True)
class ViewMaterials:
    """Sources of the edits, from training documents only; all are optional.

    Attributes:
        masked_lm: proposals of a masked language model (`StoredProposals`), weight 0.5 in edits of the context.
        similar_words: a `SimilarWords`, weight 0.3; masks have weight 0.2.
        surfaces: texts of entities to swap in.
        outer_units: units to write next to entities.
        terms: entities of the training data, which no edit may create in the context.
        dictionary: words that are edited as a whole, and that no edit next to an entity may form.
    """

    masked_lm: Replacements | None = None
    similar_words: Replacements | None = None
    surfaces: EntitySurfaces | None = None
    outer_units: OuterUnits | None = None
    terms: Terms | None = None
    dictionary: Terms | None = None

    @property
    def sources(self) -> list[tuple[float, Replacements]]:
        """(weight, source) of the edits of the context, masks included."""
        weighted = ((0.5, self.masked_lm), (0.3, self.similar_words), (0.2, Masks()))
        return [(weight, source) for weight, source in weighted if source is not None]

    @property
    def lexicon(self) -> Lexicon | None:
        """Words that are edited as a whole."""
        return self.dictionary.lexicon if self.dictionary is not None else None


@dataclass(frozen=True, eq=False)
class ViewMaker:
    """Make the views of a training run.

    Attributes:
        seed: seed of the run.
        share: share of the documents that get a view in an epoch, 0..1.
        kinds: weights of `VIEW_KINDS`; 0 leaves a kind out.
        edited: share of the candidate units that an edit of the context changes.
        bottom: share of the context that counts as unimportant.
        neighbour_share: share of the views in which a unit next to the entity in focus is edited as well.
        materials: see `ViewMaterials`.

    Raises:
        ValueError: if a share is outside 0..1, a kind is unknown, or weights are negative or all zero.
    """

    seed: int = 0
    share: float = 0.5
    kinds: dict[str, float] = field(default_factory=lambda: dict(VIEW_KINDS))
    edited: float = 0.3
    bottom: float = 0.5
    neighbour_share: float = 0.5
    materials: ViewMaterials = field(default_factory=ViewMaterials)

    def __post_init__(self) -> None:
        for name, least in (("share", 0), ("neighbour_share", 0), ("edited", 1e-6), ("bottom", 1e-6)):
            if not least <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least}..1")
        weights = self.kinds.values()
        if not set(self.kinds) <= set(VIEW_KINDS) or min(weights, default=-1) < 0 or not sum(weights) > 0:
            raise ValueError(f"kinds are {self.kinds}, expected weights of some of {tuple(VIEW_KINDS)}")
        object.__setattr__(self, "_perturbations", self._make_perturbations())

    def _make_perturbations(self) -> dict[str, Perturbation]:
        materials = self.materials
        perturbations: dict[str, Perturbation] = {
            GUIDED: self._context_edit(self.edited),
            UNIFORM: self._context_edit(self.edited * self.bottom),  # as many units as a guided edit changes
            PUNCTUATION: PunctuationEdit(),
            NEIGHBOUR: OuterNeighbourEdit(materials.outer_units, materials.dictionary),
        }
        if materials.surfaces is not None:
            perturbations[SWAP] = EntitySwap(materials.surfaces)
        return perturbations

    def _context_edit(self, share: float) -> ContextEdit:
        lexicon, terms = self.materials.lexicon, self.materials.terms
        return ContextEdit(self.materials.sources, share=share, bottom=self.bottom, lexicon=lexicon, terms=terms)

    def has_view(self, document_id: str, epoch: int) -> bool:
        """Return whether the document gets a view in this epoch."""
        return self._rng(document_id, epoch, "share").random() < self.share

    def make_view(
        self,
        document: Document,
        epoch: int,
        *,
        scores: Sequence[float] | None = None,
        entity: int | None = None,
    ) -> Perturbed | None:
        """Return the view of a document in an epoch, independently of `has_view`.

        Args:
            document: a training document.
            epoch: epoch number, from 0.
            scores: importance of every character in the latest explanations; without them a guided edit is an edit of
                any context.
            entity: index of the entity in focus, next to which the neighbour edit happens; None draws one.

        Returns:
            A label-preserving perturbation, or None if no kind can change the document.

        Raises:
            ValueError, IndexError: as in `Perturbation`.
        """
        check_focus(document, scores, entity)
        rng = self._rng(document.id, epoch, "view")
        with_neighbour = rng.random() < self.neighbour_share
        view = self._edit(document, rng, scores)
        if not with_neighbour:
            return view
        view = view or Perturbed.unchanged(document)
        focus = view.entity_map[entity] if entity is not None else None
        following = self._perturbations[NEIGHBOUR](view.document, rng, entity=focus)
        if following is not None:
            return view.then(replace(following, families=(NEIGHBOUR,)))
        return None if view.is_unchanged else view

    def _edit(self, document: Document, rng: random.Random, scores: Sequence[float] | None) -> Perturbed | None:
        """Apply the first of the kinds, in weighted random order, that finds something to edit."""
        for kind in self._order(rng):
            perturbation = self._perturbations[UNIFORM if kind == GUIDED and scores is None else kind]
            view = perturbation(document, rng, scores=scores if kind == GUIDED else None)
            if view is not None:
                return replace(view, families=(kind,))
        return None

    def _order(self, rng: random.Random) -> list[str]:
        remaining = {kind: weight for kind, weight in self.kinds.items() if weight and kind in self._perturbations}
        order = []
        while remaining:
            order += rng.choices(list(remaining), remaining.values())
            del remaining[order[-1]]
        return order

    def _rng(self, document_id: str, epoch: int, purpose: str) -> random.Random:
        return random.Random(f"{purpose} {self.seed} {epoch} {document_id}")
