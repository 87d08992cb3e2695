"""Significance: is one arm better than another, given few seeds and few documents?

Counts per seed and document are what arms leave behind; micro F1 is recomputed from their sums in every resample, never
averaged over documents.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER, NumberInputs, Numbers, as_probabilities, as_vector

SUMMARY = "Difference in micro F1 of two arms: paired hierarchical bootstrap and approximate randomisation."
INPUTS = """
Args:
    predictions: per seed, per document the counts [correct, predicted, support] of the arm.
    references: likewise of the arm it is compared with, same seeds and documents.
    level: of the interval (default 0.95).
    resamples: number of resamples and of shuffles (default 10000).
    seed: of the random numbers (default 0).
Returns:
    difference, low, high, level, resamples, share_not_above_zero, per_seed, p_value.
"""

LEVEL = 0.95
RESAMPLES = 10_000
# Cells of the resampling tables held at once.
BLOCK_CELLS = 1 << 21

Counts = np.ndarray


def micro_f1(counts: Numbers) -> np.ndarray:
    """2 correct / (predicted + support) over the last axis of counts (..., 3); 0 where there is neither."""
    counts = np.asarray(counts, dtype=np.float64)
    whole = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], whole, out=np.zeros_like(whole), where=whole > 0)


def paired_bootstrap(
    first: Numbers, second: Numbers, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Percentile interval of the difference in micro F1, first - second, over seeds and then documents.

    Each resample draws seeds with replacement, then documents with replacement, for both arms alike; F1 is recomputed
    per drawn seed and averaged. All drawn seeds share one draw of documents because they were tested on the same
    documents: drawing anew for each seed would average the documents' noise away and make the interval too narrow. What
    varies by seed and document both is then counted at either draw: where little else varies the interval is too wide,
    by up to the root of three, never too narrow.

    Args:
        first: (seeds, documents, 3) counts correct, predicted, support.
        second: the same seeds and documents of the other arm.
        level: of the interval.
        resamples: how many.
        seed: of the random numbers.

    Returns:
        `difference` (mean over seeds of F1 differences, in [-1, 1]), `low`, `high`, `level`, `resamples`;
        `share_not_above_zero`, of the resampled differences; `bootstrap_p_value`, two-sided: twice the share of them on
        the side of zero where there are fewer, in (0, 1]; `per_seed`, the observed differences.

    Raises:
        ValueError: counts that are no counts, or arms that are not paired (other shapes, other support of a document).
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
    """Percentile interval of the mean difference in micro F1 over several cells, say models on corpora.

    As `paired_bootstrap`, for all cells at once. Cells of one corpus share the draw of its documents, for they were
    tested on the same ones; seeds are drawn cell by cell. The cells themselves are not drawn: the interval speaks of
    these models and corpora, not of others.

    Args:
        cells: (corpus, first, second) with counts as for `paired_bootstrap`; a corpus always has the same documents.
        level: of the interval.
        resamples: how many.
        seed: of the random numbers.

    Returns:
        `difference` (mean over cells of the mean over seeds), `low`, `high`, `level`, `resamples`;
        `share_not_above_zero`, of the resampled differences; `per_cell`, the observed mean differences.

    Raises:
        ValueError: no cells, a corpus of several sizes, or what `paired_bootstrap` refuses.
    """
    paired = [(corpus, *_paired_counts(first, second)) for corpus, first, second in cells]
    _check_sample(len(paired))
    _check_resampling(level, resamples)
    sizes = {corpus: {first.shape[1] for name, first, _ in paired if name == corpus} for corpus, _, _ in paired}
    uneven = sorted(corpus for corpus, found in sizes.items() if len(found) > 1)
    if uneven:
        raise ValueError(f"a corpus has the same documents in all its cells, found several numbers of them in {uneven}")
    generator = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for corpus, (size,) in sizes.items():
        own = [(first, second) for name, first, second in paired if name == corpus]
        draws = _document_draws(generator, size, resamples)
        total += np.concatenate([sum(_resampled(generator, weights, *cell) for cell in own) for weights in draws])
    samples = total / len(paired)
    observed = [float(_seed_differences(first, second).mean()) for _, first, second in paired]
    return {
        "difference": float(np.mean(observed)),
        **_percentiles(samples, level),
        "share_not_above_zero": float(np.mean(samples <= 0)),
        "per_cell": observed,
    }


def _resampled(generator: np.random.Generator, weights: np.ndarray, first: Counts, second: Counts) -> np.ndarray:
    """Mean difference over seeds drawn anew for each row of document weights (block, documents)."""
    both = np.stack([first, second])  # (arms, seeds, documents, 3)
    scores = micro_f1(np.einsum("bd,asdc->basc", weights, both, optimize=True))  # (block, arms, seeds)
    drawn = generator.integers(len(first), size=(len(weights), len(first)))
    return np.take_along_axis(scores[:, 0] - scores[:, 1], drawn, axis=1).mean(axis=1)


def approximate_randomisation(
    first: Numbers, second: Numbers, shuffles: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Two-sided test that the arms are exchangeable document by document (Noreen 1989; Yeh 2000), seeds pooled.

    Each shuffle swaps the arms of every document, with all its seeds, by the toss of a coin and takes the difference in
    micro F1 of the counts pooled over seeds and documents.

    Args:
        first: (seeds, documents, 3) counts correct, predicted, support.
        second: the same seeds and documents of the other arm.
        shuffles: how many.
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
    mine, other = first.sum(axis=0), second.sum(axis=0)  # (documents, 3)
    observed = float(micro_f1(mine.sum(axis=0)) - micro_f1(other.sum(axis=0)))
    extreme = 0
    for rows in _blocks(shuffles, len(mine)):
        swapped = generator.integers(2, size=(rows, len(mine))) @ (other - mine)  # (block, 3) what changes sides
        differences = micro_f1(mine.sum(axis=0) + swapped) - micro_f1(other.sum(axis=0) - swapped)
        extreme += int(np.sum(np.abs(differences) >= abs(observed) - 1e-12))
    return {"difference": observed, "p_value": (1 + extreme) / (1 + shuffles)}


def holm(p_values: Numbers, level: float = 0.05) -> dict[str, list]:
    """Holm's step-down correction for several tests of one claim (Holm 1979).

    Returns:
        `adjusted` p-values in [0, 1] and `rejected`, booleans at the family-wise `level`, both in the given order.

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
    """Percentile bootstrap interval of the mean of independent values.

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
    """Percentile bootstrap interval of any statistic of `size` independent units, an ECE by documents, say.

    Args:
        size: number of units.
        statistic: takes (size,) drawn unit numbers, with repeats, and gives a finite number.
        level: of the interval.
        resamples: how many.
        seed: of the random numbers.

    Returns:
        `value` of the statistic of every unit once, `low`, `high`, `level`, `resamples`.

    Raises:
        ValueError: no units, a level outside (0, 1), no resamples, or a statistic that is not finite.
    """
    _check_sample(size)
    _check_resampling(level, resamples)
    generator = np.random.default_rng(seed)
    samples = as_vector([statistic(generator.integers(size, size=size)) for _ in range(resamples)], "statistic")
    return {"value": float(statistic(np.arange(size))), **_percentiles(samples, level)}


def _paired_counts(first: Numbers, second: Numbers) -> tuple[Counts, Counts]:
    first, second = _as_counts(first, "first"), _as_counts(second, "second")
    if first.shape != second.shape:
        raise ValueError(f"both arms need the same seeds and documents, found {first.shape[:2]} and {second.shape[:2]}")
    differing = int(np.sum((np.concatenate([first, second])[..., 2] != first[0, :, 2]).any(axis=0)))
    if differing:
        raise ValueError(f"a document has one support in all seeds and arms, found {differing} with several")
    return first, second


def _as_counts(counts: Numbers, name: str) -> Counts:
    try:
        table = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be counts of the shape (seeds, documents, 3), found uneven rows") from None
    if table.ndim != 3 or table.shape[2] != 3 or not table.size:
        raise ValueError(f"{name} must be counts of the shape (seeds, documents, 3), found {table.shape}")
    whole = np.isfinite(table).all() and (table >= 0).all() and not (table % 1).any()
    if not whole or (table[..., 0] > np.minimum(table[..., 1], table[..., 2])).any():
        raise ValueError(f"{name} must hold whole counts with correct <= predicted and support, found others")
    return table


def _seed_differences(first: Counts, second: Counts) -> np.ndarray:
    return micro_f1(first.sum(axis=1)) - micro_f1(second.sum(axis=1))


def _document_draws(generator: np.random.Generator, size: int, resamples: int) -> Iterator[np.ndarray]:
    """Blocks (rows, size) of how often each unit was drawn."""
    for rows in _blocks(resamples, size):
        places = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _two_sided(samples: np.ndarray) -> float:
    fewer = min(np.sum(samples <= 0), np.sum(samples >= 0))
    return float(min(1.0, (1 + 2 * fewer) / (1 + samples.size)))


def _blocks(total: int, size: int) -> Iterator[int]:
    rows = max(1, BLOCK_CELLS // size)
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


class Significance(NumberInputs, evaluate.Metric):
    """`paired_bootstrap` and the p-value of `approximate_randomisation` as an `evaluate.Metric`."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": [[INTEGER]], "references": [[INTEGER]]}

    def _compute(self, predictions: Sequence, references: Sequence, level=LEVEL, resamples=RESAMPLES, seed=0) -> dict:
        test = approximate_randomisation(predictions, references, resamples, seed)
        return {
            **paired_bootstrap(predictions, references, level, resamples, seed),
            "p_value": test["p_value"],
        }
