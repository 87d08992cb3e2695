"""Perturbations by name. A separate file because it imports all of them."""

from __future__ import annotations

from typing import Any

from hf_adner.perturb.boundary import EndEdit, InteriorEdit, OuterNeighbourEdit, StartEdit, VirtualBoundary
from hf_adner.perturb.context import ContextMasking, EntitySwap, MaskedLanguageModelEdit, SimilarWordEdit
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.surface import ClauseShuffle, ConfusionEdit, PunctuationEdit

PERTURBATIONS: dict[str, type[Perturbation]] = {
    perturbation.name: perturbation
    for perturbation in (
        ContextMasking,
        MaskedLanguageModelEdit,
        SimilarWordEdit,
        EntitySwap,
        PunctuationEdit,
        ClauseShuffle,
        ConfusionEdit,
        OuterNeighbourEdit,
        StartEdit,
        EndEdit,
        InteriorEdit,
        VirtualBoundary,
    )
}
"""Name -> class of every perturbation."""

HELD_OUT = ("clause-shuffle", "confusions")
"""Label-preserving perturbations that no training uses: robustness is measured on them, in audits and comparisons."""


def make_perturbation(name: str, **options: Any) -> Perturbation:
    """Create a perturbation by name.

    Args:
        name: a key of `PERTURBATIONS`.
        options: arguments of its class. ``masked-lm`` and ``similar-words`` need a `source`, ``entity-swap`` needs
            `surfaces`.

    Raises:
        ValueError: if the name is unknown or an option is out of range.
        TypeError: if an option is missing or unknown.
    """
    if name not in PERTURBATIONS:
        raise ValueError(f"unknown perturbation {name[:30]!r}, expected one of {', '.join(PERTURBATIONS)}")
    return PERTURBATIONS[name](**options)
