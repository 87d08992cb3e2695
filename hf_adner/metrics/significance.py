"""Significance of differences between two arms of an experiment, given few seeds and few documents.

Arms are compared by their counts per seed and document. Micro F1 is recomputed from the summed counts in every
resample, never averaged over documents.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER, Numbers, as_probabilities, as_vector, metric

LEVEL = 0.95
RESAMPLES = 10_000
# Largest number of elements of a resampling table in memory.
BLOCK_ELEMENTS = 1 << 21


def significance(
    first: Numbers, second: Numbers, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Test the difference in micro F1 of two arms: paired hierarchical bootstrap and approximate randomisation.

    Args:
        first: per seed, per document the counts [correct, predicted, support] of the arm.
        second: the same seeds and documents of the arm it is compared with.
        level: of the interval.
        resamples: number of resamples and of shuffles.
        seed: of the random numbers.

    Returns:
        The keys of `paired_bootstrap`, and `p_value` of `approximate_randomisation`.

    Raises:
        ValueError: as `paired_bootstrap`.
    """
    test = approximate_randomisation(first, second, resamples, seed)
    return {**paired_bootstrap(first, second, level, resamples, seed), "p_value": test["p_value"]}


@metric(significance, predictions=("first", [[INTEGER]]), references=("second", [[INTEGER]]))
class Significance(evaluate.Metric):
    """`significance` as an `evaluate.Metric`: predictions are counts of the first arm, references of the second."""


def micro_f1(counts: Numbers) -> np.ndarray:
    """Compute 2 correct / (predicted + support) over the last axis of counts (..., 3); 0 where both are 0."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.zeros_like(total), where=total > 0)


def paired_bootstrap(
    first: Numbers, second: Numbers, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Compute a bootstrap interval of the difference in micro F1, first - second, over seeds and documents.

    Each resample draws seeds and documents with replacement, the same for both arms; F1 is recomputed per drawn seed
    and averaged. All drawn seeds share one draw of documents because they were tested on the same documents: separate
    draws per seed would average the documents' noise away and make the interval too narrow. The variance of the
    interaction of seed and document is then counted in both draws: where little else varies the interval is too wide,
    by a factor of up to sqrt(3), never too narrow.

    Args:
        first: (seeds, documents, 3) counts correct, predicted, support. Seeds may differ in the support of a document:
            which entities are unseen depends on the training documents.
        second: the same seeds and documents of the other arm.
        level: of the percentile interval.
        resamples: number of resamples.
        seed: of the random numbers.

    Returns:
        `difference` (mean over seeds of F1 differences, in [-1, 1]), `low`, `high`, `level`, `resamples`;
        `share_not_above_zero`, of the resampled differences; `bootstrap_p_value`, two-sided: twice the share on the
        side of zero with fewer of them, in (0, 1]; `per_seed`, the observed differences.

    Raises:
        ValueError: invalid counts, or arms that are not paired (different shapes, or different support of a document
            in a seed).
    """
    first, second = _paired_counts(first, second)
    _check_resampling(level, resamples)
    generator = np.random.default_rng(seed)
    draws = _document_draws(generator, first.shape[1], resamples)
    samples = np.concatenate([_resampled(generator, weights, first, second) for weights in draws])
    observed = _seed_differences(first, second)
    return {
        "difference": float(observed.mean()),
        **_percentiles(samples, level),
        "share_not_above_zero": float(np.mean(samples <= 0)),
        "bootstrap_p_value": _two_sided(samples),
        "per_seed": observed.tolist(),
    }


def pooled_bootstrap(
    cells: Sequence[tuple[str, Numbers, Numbers]], level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Compute a bootstrap interval of the mean difference in micro F1 over several cells (corpus, model).

    As `paired_bootstrap`, for all cells at once. Cells of one corpus share the draw of its documents, since they were
    tested on the same documents; seeds are drawn per cell. The cells themselves are not resampled: the interval is
    valid for these models and corpora, not for others.

    Args:
        cells: (corpus, first, second) with counts as for `paired_bootstrap`; a corpus always has the same documents.
        level: of the percentile interval.
        resamples: number of resamples.
        seed: of the random numbers.

    Returns:
        `difference` (mean over cells of the mean over seeds), `low`, `high`, `level`, `resamples`;
        `share_not_above_zero`, of the resampled differences; `per_cell`, the observed mean differences.

    Raises:
        ValueError: no cells, a corpus of several sizes, or as `paired_bootstrap`.
    """
    paired = [(corpus, *_paired_counts(first, second)) for corpus, first, second in cells]
    _check_sample(len(paired))
    _check_resampling(level, resamples)
    sizes = {corpus: {first.shape[1] for name, first, _ in paired if name == corpus} for corpus, _, _ in paired}
    uneven = sorted(corpus for corpus, counts in sizes.items() if len(counts) > 1)
    if uneven:
        raise ValueError(f"all cells of a corpus must have the same documents, found several numbers in {uneven}")
    generator = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for corpus, (size,) in sizes.items():
        pairs = [(first, second) for name, first, second in paired if name == corpus]
        draws = _document_draws(generator, size, resamples)
        total += np.concatenate([sum(_resampled(generator, weights, *pair) for pair in pairs) for weights in draws])
    samples = total / len(paired)
    observed = [float(_seed_differences(first, second).mean()) for _, first, second in paired]
    return {
        "difference": float(np.mean(observed)),
        **_percentiles(samples, level),
        "share_not_above_zero": float(np.mean(samples <= 0)),
        "per_cell": observed,
    }


def _resampled(
    generator: np.random.Generator, weights: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Return (block,) mean differences over seeds, drawn for each row of document weights (block, documents)."""
    both = np.stack([first, second])  # (arms, seeds, documents, 3)
    scores = micro_f1(np.einsum("bd,asdc->basc", weights, both, optimize=True))  # (block, arms, seeds)
    drawn = generator.integers(len(first), size=(len(weights), len(first)))
    return np.take_along_axis(scores[:, 0] - scores[:, 1], drawn, axis=1).mean(axis=1)


def approximate_randomisation(
    first: Numbers, second: Numbers, shuffles: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Test whether the arms are exchangeable per document, two-sided, seeds pooled (Noreen 1989; Yeh 2000).

    Each shuffle swaps the arms of every document, with all its seeds, with probability 0.5 and takes the difference in
    micro F1 of the counts pooled over seeds and documents.

    Args:
        first: (seeds, documents, 3) counts correct, predicted, support.
        second: the same seeds and documents of the other arm.
        shuffles: number of shuffles.
        seed: of the random numbers.

    Returns:
        `difference` of the pooled micro F1 and `p_value` = (1 + shuffles at least as extreme) / (1 + shuffles), in
        (0, 1].

    Raises:
        ValueError: as `paired_bootstrap`.
    """
    first, second = _paired_counts(first, second)
    _check_resampling(LEVEL, shuffles)
    generator = np.random.default_rng(seed)
    first, second = first.sum(axis=0), second.sum(axis=0)  # (documents, 3)
    observed = float(micro_f1(first.sum(axis=0)) - micro_f1(second.sum(axis=0)))
    extreme = 0
    for rows in _blocks(shuffles, len(first)):
        moved = generator.integers(2, size=(rows, len(first))) @ (second - first)  # (block, 3) counts from swaps
        differences = micro_f1(first.sum(axis=0) + moved) - micro_f1(second.sum(axis=0) - moved)
        extreme += int(np.sum(np.abs(differences) >= abs(observed) - 1e-12))
    return {"difference": observed, "p_value": (1 + extreme) / (1 + shuffles)}


def holm(p_values: Numbers, level: float = 0.05) -> dict[str, list]:
    """Apply Holm's step-down correction for several tests of one hypothesis (Holm 1979).

    Returns:
        `adjusted` p-values in [0, 1] and `rejected`, booleans at the family-wise `level`, both in the input order.

    Raises:
        ValueError: p-values outside [0, 1].
    """
    p_values = as_probabilities(as_vector(p_values, "p_values"), "p_values")
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(p_values.size)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1)))
    return {"adjusted": adjusted.tolist(), "rejected": (adjusted <= level).tolist()}


def bootstrap_mean(
    values: Numbers, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Compute a percentile bootstrap interval of the mean of independent values.

    Returns:
        `mean`, `low`, `high`, `level`, `resamples`.

    Raises:
        ValueError: no values, numbers that are not finite, a level outside (0, 1), or no resamples.
    """
    values = as_vector(values, "values")
    _check_sample(values.size)
    _check_resampling(level, resamples)
    generator = np.random.default_rng(seed)
    sums = [weights @ values for weights in _document_draws(generator, values.size, resamples)]
    return {"mean": float(values.mean()), **_percentiles(np.concatenate(sums) / values.size, level)}


def bootstrap_statistic(
    size: int,
    statistic: Callable[[np.ndarray], float],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, float]:
    """Compute a percentile bootstrap interval of any statistic of independent units, such as an ECE over documents.

    Args:
        size: number of units.
        statistic: takes (size,) indices of drawn units, with repeats, and returns a finite number.
        level: of the interval.
        resamples: number of resamples.
        seed: of the random numbers.

    Returns:
        `value` of the statistic with every unit once, `low`, `high`, `level`, `resamples`.

    Raises:
        ValueError: no units, a level outside (0, 1), no resamples, or a statistic that is not finite.
    """
    _check_sample(size)
    _check_resampling(level, resamples)
    generator = np.random.default_rng(seed)
    samples = as_vector([statistic(generator.integers(size, size=size)) for _ in range(resamples)], "statistic")
    return {"value": float(statistic(np.arange(size))), **_percentiles(samples, level)}


def _paired_counts(first: Numbers, second: Numbers) -> tuple[np.ndarray, np.ndarray]:
    first, second = _as_counts(first, "first"), _as_counts(second, "second")
    if first.shape != second.shape:
        raise ValueError(f"both arms need the same seeds and documents, found {first.shape[:2]} and {second.shape[:2]}")
    differing = int(np.sum((first[..., 2] != second[..., 2]).any(axis=0)))
    if differing:
        raise ValueError(f"a document must have one support in both arms of a seed, found {differing} with several")
    return first, second


def _as_counts(counts: Numbers, name: str) -> np.ndarray:
    """Return counts as a (seeds, documents, 3) table of whole numbers."""
    try:
        table = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be counts of the shape (seeds, documents, 3), found uneven rows") from None
    if table.ndim != 3 or table.shape[2] != 3 or not table.size:
        raise ValueError(f"{name} must be counts of the shape (seeds, documents, 3), found {table.shape}")
    is_whole = np.isfinite(table).all() and (table >= 0).all() and not (table % 1).any()
    if not is_whole or (table[..., 0] > np.minimum(table[..., 1], table[..., 2])).any():
        raise ValueError(f"{name} must hold whole counts with correct <= predicted and support, found others")
    return table


def _seed_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return micro_f1(first.sum(axis=1)) - micro_f1(second.sum(axis=1))


def _document_draws(generator: np.random.Generator, size: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield blocks (rows, size) of the number of times each unit was drawn."""
    for rows in _blocks(resamples, size):
        drawn = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _two_sided(samples: np.ndarray) -> float:
    fewer = min(np.sum(samples <= 0), np.sum(samples >= 0))
    return float(min(1.0, (1 + 2 * fewer) / (1 + samples.size)))


def _blocks(total: int, size: int) -> Iterator[int]:
    """Yield the numbers of rows of blocks that cover `total` rows of `size` elements."""
    rows = max(1, BLOCK_ELEMENTS // size)
    for first in range(0, total, rows):
        yield min(rows, total - first)


def _percentiles(samples: np.ndarray, level: float) -> dict[str, float]:
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high), "level": level, "resamples": samples.size}


def _check_resampling(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must lie in (0, 1) and resamples be at least 1, found {level} and {resamples}")


def _check_sample(size: int) -> None:
    if size < 1:
        raise ValueError("a bootstrap needs at least one value, found none")
