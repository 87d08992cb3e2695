"""Stability: how alike the explanations of an entity are before and after a perturbation that keeps its label.

A constant explanation is perfectly stable and useless (Yeh et al., NeurIPS 2019), so these numbers are read beside
discriminative stability, which it cannot win, and beside faithfulness. And a model that loses the hard entities under
perturbation looks more stable: coverage, the share of pairs that were kept, is always given with them.
"""

from collections.abc import Sequence

import evaluate
import numpy as np

from .inputs import ROW, NumberInputs, Numbers, as_range, as_vector, mean_or_nan, same_count
from .similarity import aligned, cosine, map_consistency, spearman, top_k_jaccard

SUMMARY = "Cosine, Spearman, top-k Jaccard and MAP consistency of attribution maps before and after a perturbation."
INPUTS = """
Args:
    predictions: per pair the map of the perturbed text, one number per character; None where the entity was not
        found again with its label.
    references: per pair the map of the original text.
    alignments: per pair the place of each original character in the perturbed text, None where it is gone; without
        it, perturbed texts have the length of the original.
    spans: per pair the entity's (start, end) in the original text; adds the context-only overlap.
    k: how many characters count as most important (default max(3, a tenth of the text)).
Returns:
    cosine, spearman, top_k_jaccard, map_consistency, with spans context_top_k_jaccard; pairs, kept, coverage.
"""

Maps = Sequence[Numbers]
MaybeMaps = Sequence[Numbers | None]


def stability(
    maps: Maps,
    perturbed: MaybeMaps,
    alignments: Sequence[Sequence[int | None] | None] | None = None,
    spans: Sequence[Sequence[int]] | None = None,
    k: int | None = None,
) -> dict[str, float]:
    """Mean similarity of the maps of each pair over the characters that both texts have, and coverage.

    Args:
        maps: per pair the map of the original text, (L,).
        perturbed: per pair the map of the perturbed text, (L',), or `None` where the entity was not found again with
            the same label: such a pair lowers coverage and counts in nothing else.
        alignments: per pair as `similarity.aligned` takes it.
        spans: per pair the entity's `(start, end)` in the original text.
        k: size of the top sets; by default `similarity.default_top` of the characters compared.

    Returns:
        `cosine` (see there; [0, 1] for magnitudes), `spearman` [-1, 1], `top_k_jaccard` and `map_consistency` [0, 1],
        all means over the kept pairs, higher is stabler, NaN if none was kept; `context_top_k_jaccard` likewise, over
        characters outside the entity (whose own characters dominate the top), if `spans` are given; `pairs`, `kept`
        and `coverage` = kept / pairs.

    Raises:
        ValueError: columns of different lengths, a map that is no finite vector, an alignment that does not fit, an
            entity outside its text.
    """
    values = pairwise_stability(maps, perturbed, alignments, spans, k)
    kept = kept_by_all(perturbed)
    means = {name: mean_or_nan(column[kept]) for name, column in values.items()}
    return {**means, "pairs": kept.size, "kept": int(kept.sum()), "coverage": mean_or_nan(kept)}


def pairwise_stability(
    maps: Maps,
    perturbed: MaybeMaps,
    alignments: Sequence[Sequence[int | None] | None] | None = None,
    spans: Sequence[Sequence[int]] | None = None,
    k: int | None = None,
) -> dict[str, np.ndarray]:
    """What `stability` takes the means of: per similarity its value for every pair, NaN for pairs that were lost.

    For comparisons pair by pair, on the pairs `kept_by_all` arms, and for confidence intervals.

    Raises:
        ValueError: as `stability`.
    """
    count = same_count(maps=maps, perturbed=perturbed, alignments=alignments, spans=spans)
    names = ["cosine", "spearman", "top_k_jaccard", "map_consistency"]
    names += ["context_top_k_jaccard"] if spans is not None else []
    values = {name: np.full(count, np.nan) for name in names}
    for index in range(count):
        original = as_vector(maps[index], f"maps[{index}]")
        span = None if spans is None else as_range(spans[index], original.size, f"spans[{index}]")
        if perturbed[index] is None:
            continue
        alignment = None if alignments is None else alignments[index]
        other, present = aligned(original, perturbed[index], alignment, f"maps[{index}]")
        for name, value in _similarities(original, other, present, span, k).items():
            values[name][index] = value
    return values


def kept_by_all(*arms: MaybeMaps) -> np.ndarray:
    """Which pairs every arm kept, (pairs,) booleans: the population for a paired comparison of arms.

    Args:
        arms: per arm what `stability` takes as `perturbed`, for the same pairs in the same order.

    Raises:
        ValueError: the arms have different numbers of pairs.
    """
    same_count(**{f"arm {index}": arm for index, arm in enumerate(arms)})
    return np.array([all(values is not None for values in pair) for pair in zip(*arms)], dtype=bool)


def _similarities(
    original: np.ndarray, other: np.ndarray, present: np.ndarray, span: tuple[int, int] | None, k: int | None
) -> dict[str, float]:
    first, second = original[present], other[present]
    values = {
        "cosine": cosine(first, second),
        "spearman": spearman(first, second),
        "top_k_jaccard": top_k_jaccard(first, second, k),
        "map_consistency": map_consistency(first, second),
    }
    if span is not None:
        context = present.copy()
        context[slice(*span)] = False
        values["context_top_k_jaccard"] = top_k_jaccard(original[context], other[context], k)
    return values


class Stability(NumberInputs, evaluate.Metric):
    """`stability` as an `evaluate.Metric`: perturbed maps as predictions, original maps as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": ROW}

    def _compute(self, predictions: MaybeMaps, references: Maps, alignments=None, spans=None, k=None) -> dict:
        return stability(references, predictions, alignments, spans, k)
