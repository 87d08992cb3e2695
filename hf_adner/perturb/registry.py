"""Perturbations by name. A separate file because it imports all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hf_adner.perturb.boundary import EndEdit, InteriorEdit, OuterNeighbourEdit, StartEdit, VirtualBoundary
from hf_adner.perturb.context import ContextMasking, EntitySwap, MaskedLanguageModelEdit, SimilarWordEdit
from hf_adner.perturb.perturbation import Perturbation
from hf_adner.perturb.surface import ClauseShuffle, ConfusionEdit, PunctuationEdit
from hf_adner.perturb.views import VIEW_PERTURBATIONS

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


def seen_in_training(families: Iterable[str]) -> str:
    """Return a sentence about the families that guided training shows to a model (`VIEW_PERTURBATIONS`), "" if none."""
    families = list(families)
    seen = ", ".join(name for name in sorted(VIEW_PERTURBATIONS) if name in families)
    if not seen:
        return ""
    return f"Guided training perturbs texts in these ways too: {seen}. To a model trained so they are not new."


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
