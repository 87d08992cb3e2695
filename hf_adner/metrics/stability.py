"""Stability: similarity of the explanations of an entity before and after a label-preserving perturbation.

A constant explanation is perfectly stable and useless (Yeh et al., NeurIPS 2019): read these numbers beside
discriminative faithfulness, where it scores 0. A model that loses the hard entities under
perturbation looks more stable, so coverage, the share of pairs that were kept, is always reported too.
"""

from collections.abc import Sequence

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_range, as_vector, mean_or_nan, metric, same_count
from .similarity import aligned, cosine, map_consistency, spearman, top_k_jaccard


def stability(
    maps: Sequence[Numbers],
    perturbed: Sequence[Numbers | None],
    alignments: Sequence[Sequence[int | None] | None] | None = None,
    spans: Sequence[Sequence[int]] | None = None,
    k: int | None = None,
) -> dict[str, float]:
    """Compute the mean similarity of original and perturbed maps over the characters of both texts, and coverage.

    Args:
        maps: per pair the map of the original text, (L,).
        perturbed: per pair the map of the perturbed text, (L',), or `None` where the entity was not predicted again
            with the same label: such a pair lowers coverage and counts in nothing else.
        alignments: per pair the position of each original character in the perturbed text, `None` where it was
            removed; without it, perturbed texts have the length of the original (see `similarity.aligned`).
        spans: per pair the entity's `(start, end)` in the original text; adds the context-only overlap.
        k: size of the top sets; by default `similarity.top_size` of the characters compared.

    Returns:
        `cosine` (see `similarity.cosine`; [0, 1] for magnitudes), `spearman` [-1, 1], `top_k_jaccard` and
        `map_consistency` [0, 1], all means over the kept pairs, higher is more stable, NaN if none was kept;
        `context_top_k_jaccard` likewise, over characters outside the entity (whose own characters dominate the top), if
        `spans` are given; `pairs`, `kept` and `coverage` = kept / pairs.

    Raises:
        ValueError: columns of different lengths, a map that is not a finite vector, an alignment that does not fit, an
            entity outside its text.
    """
    values = pairwise_stability(maps, perturbed, alignments, spans, k)
    kept = np.array([values is not None for values in perturbed], dtype=bool)
    means = {name: mean_or_nan(column[kept]) for name, column in values.items()}
    return {**means, "pairs": kept.size, "kept": int(kept.sum()), "coverage": mean_or_nan(kept)}


@metric(stability, predictions=("perturbed", ROW), references=("maps", ROW))
class Stability(evaluate.Metric):
    """`stability` as an `evaluate.Metric`: predictions are perturbed maps, references original maps."""


def pairwise_stability(
    maps: Sequence[Numbers],
    perturbed: Sequence[Numbers | None],
    alignments: Sequence[Sequence[int | None] | None] | None = None,
    spans: Sequence[Sequence[int]] | None = None,
    k: int | None = None,
) -> dict[str, np.ndarray]:
    """Compute the similarities of `stability` for every pair, NaN for lost pairs.

    For paired comparisons and confidence intervals.

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
        view, present = aligned(original, perturbed[index], alignment, f"maps[{index}]")
        for name, value in _similarities(original, view, present, span, k).items():
            values[name][index] = value
    return values


def _similarities(
    original: np.ndarray, view: np.ndarray, present: np.ndarray, span: tuple[int, int] | None, k: int | None
) -> dict[str, float]:
    first, second = original[present], view[present]
    values = {
        "cosine": cosine(first, second),
        "spearman": spearman(first, second),
        "top_k_jaccard": top_k_jaccard(first, second, k),
        "map_consistency": map_consistency(first, second),
    }
    if span is not None:
        context = present.copy()
        context[slice(*span)] = False
        values["context_top_k_jaccard"] = top_k_jaccard(original[context], view[context], k)
    return values
