"""Perturbations by name."""

from __future__ import annotations

from typing import Any

from hf_adner.perturb.boundary import EndEdit, InteriorEdit, OuterNeighbourEdit, StartEdit, VirtualBoundary
from hf_adner.perturb.context import ContextMasking, EntitySwap, MaskedLanguageModelEdit, SimilarWordEdit
from hf_adner.perturb.embeddings import EmbeddingNoise, IndependentDropout
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.surface import ClauseShuffle, ConfusionEdit, PunctuationEdit

PERTURBATIONS: dict[str, type[Perturbation]] = {
    "context-masking": ContextMasking,
    "masked-lm": MaskedLanguageModelEdit,
    "similar-words": SimilarWordEdit,
    "entity-swap": EntitySwap,
    "punctuation": PunctuationEdit,
    "clause-shuffle": ClauseShuffle,
    "embedding-noise": EmbeddingNoise,
    "dropout": IndependentDropout,
    "confusions": ConfusionEdit,
    "outer-neighbour": OuterNeighbourEdit,
    "start-edit": StartEdit,
    "end-edit": EndEdit,
    "interior-edit": InteriorEdit,
    "virtual-boundary": VirtualBoundary,
}
"""Readable name of each perturbation; its class tells the short one (`p1`..`p10`, `b1`..`b4`), its kind and use."""

_BY_NAME = {**PERTURBATIONS, **{one.name: one for one in PERTURBATIONS.values()}}


def perturbation_class(name: str) -> type[Perturbation]:
    """The class of a perturbation by its readable or short name.

    Raises:
        ValueError: an unknown name.
    """
    try:
        return _BY_NAME[name.lower()]
    except KeyError:
        known = ", ".join(f"{one.name} ({readable})" for readable, one in PERTURBATIONS.items())
        raise ValueError(f"no perturbation {name[:30]!r}; there are {known}") from None


def make_perturbation(name: str, **options: Any) -> Perturbation:
    """A perturbation by name.

    Args:
        name: a key of `PERTURBATIONS` or a short name.
        options: of its class. `p2` and `p3` need a `source`, `p4` needs `surfaces`.

    Raises:
        ValueError: an unknown name, or options out of range.
        TypeError: options missing or unknown.
    """
    return perturbation_class(name)(**options)
