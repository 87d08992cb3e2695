"""Paired statistics of two arms over the records of a comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_adner.comparison.arms import overridden_arguments
from hf_adner.comparison.record import CLEAN, RunRecord
from hf_adner.metrics.significance import bootstrap_mean, holm, paired_bootstrap, pooled_bootstrap

RESAMPLES = 10_000
DECISION_LEVEL = 0.05

Cell = tuple[str, str]
"""(corpus, model)"""


@dataclass(frozen=True)
class Interval:
    """Difference with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """Comparison of two arms on one corpus with one model, paired by seed.

    Attributes:
        corpus, model: cell.
        first, second: arms; differences are first - second.
        seeds: seeds that both arms have.
        f1: mean difference in strict micro F1, interval over seeds and then documents (`paired_bootstrap`).
        per_seed: difference of each seed.
        p_value: two-sided, from the same resamples, so that variation between seeds counts as in the interval.
        adjusted: p-value after Holm's correction over all cells of the same two arms.
        decision: ``better`` or ``worse`` if the adjusted p-value is at most 0.05, else ``none``.
        seconds_ratio, memory_ratio: median over seeds of first / second, for training seconds and peak memory.
    """

    corpus: str
    model: str
    first: str
    second: str
    seeds: tuple[int, ...]
    f1: Interval
    per_seed: tuple[float, ...]
    p_value: float
    adjusted: float
    decision: str
    seconds_ratio: float
    memory_ratio: float

    @property
    def outcome(self) -> str:
        """``win``, ``tie`` or ``loss``: the interval is above zero, contains it or is below it."""
        return "win" if self.f1.low > 0 else "loss" if self.f1.high < 0 else "tie"


class Records:
    """Records of a comparison by cell, arm and seed.

    Raises:
        ValueError: two records of the same run, arms of the same cell and seed with different initial weights, runs of
            the same corpus on different documents, or runs of the same cell with different settings that no arm sets.
    """

    def __init__(self, records: Iterable[RunRecord]):
        self._runs: dict[Cell, dict[str, dict[int, RunRecord]]] = {}
        for record in records:
            seeds = self._runs.setdefault(record.cell, {}).setdefault(record.arm, {})
            if record.seed in seeds:
                raise ValueError(f"run {'/'.join(record.cell)}/{record.arm}/{record.seed} is recorded twice")
            seeds[record.seed] = record
        self._check_documents()
        for cell in self._runs:
            self._check(cell)

    def _check_documents(self) -> None:
        digests: dict[
            tuple[str, int | None], set[Any]
        ] = {}  # a corpus has one test split, each seed one training split
        for cell in self.cells:
            for record in self.of(cell):
                digests.setdefault((cell[0], None), set()).add(record.settings.get("digest"))
                digests.setdefault((cell[0], record.seed), set()).add(record.settings.get("train_digest"))
        if differing := sorted({corpus for (corpus, _), hashes in digests.items() if len(hashes) > 1}):
            raise ValueError(f"{', '.join(differing)}: runs were made on different documents")

    def _check(self, cell: Cell) -> None:
        weights: dict[int, set[str]] = {}
        for record in self.of(cell):
            weights.setdefault(record.seed, set()).add(record.initial_weights)
        differing = sorted(seed for seed, hashes in weights.items() if len(hashes) > 1)
        if differing:
            raise ValueError(f"{'/'.join(cell)}: arms of seeds {differing} began with different weights")
        first, *others = self.of(cell)
        for other in others:
            if fields := _differing_settings(first, other):
                raise ValueError(
                    f"{'/'.join(cell)}: runs of {first.arm} and {other.arm} differ in {', '.join(fields)}, "
                    "which neither arm sets"
                )

    @property
    def cells(self) -> list[Cell]:
        """Cells in the order of the records."""
        return list(self._runs)

    @property
    def arms(self) -> list[str]:
        """Arms of all cells in the order of the records."""
        return list(dict.fromkeys(arm for arms in self._runs.values() for arm in arms))

    def arms_of(self, cell: Cell) -> list[str]:
        """Return the arms of a cell, in the order of `arms`."""
        return [arm for arm in self.arms if arm in self._runs[cell]]

    def of(self, cell: Cell, arm: str | None = None) -> list[RunRecord]:
        """Return the records of a cell, or of one of its arms, sorted by seed."""
        arms = self._runs[cell]
        chosen = arms.values() if arm is None else [arms.get(arm, {})]
        return [seeds[seed] for seeds in chosen for seed in sorted(seeds)]

    def pairs(self, cell: Cell, first: str, second: str) -> list[tuple[RunRecord, RunRecord]]:
        """Return the pairs of records of two arms with the same seed, sorted by seed."""
        first_runs, second_runs = self._runs[cell].get(first, {}), self._runs[cell].get(second, {})
        return [(first_runs[seed], second_runs[seed]) for seed in sorted(first_runs.keys() & second_runs.keys())]

    def contrasts(self, first: str, second: str, resamples: int = RESAMPLES) -> list[Contrast]:
        """Contrast two arms in every cell that has both, with decisions Holm-corrected over these cells."""
        contrasts = [
            _contrast(cell, pairs, first, second, resamples)
            for cell in self.cells
            if (pairs := self.pairs(cell, first, second))
        ]
        if not contrasts:
            return []
        adjusted = holm([contrast.p_value for contrast in contrasts], DECISION_LEVEL)["adjusted"]
        return [_with_decision(contrast, p_value) for contrast, p_value in zip(contrasts, adjusted, strict=True)]

    def pooled(self, first: str, second: str, name: str = CLEAN, resamples: int = RESAMPLES) -> Interval | None:
        """Return the mean difference over all cells in the micro F1 of a set of counts (`RunRecord.counts`).

        Returns:
            The interval of `pooled_bootstrap`, or None if no cell has both arms and gold entities in that set.
        """
        cells = [
            (cell[0], _counts(pairs, 0, name), _counts(pairs, 1, name))
            for cell in self.cells
            if (pairs := self.pairs(cell, first, second)) and _has_gold(pairs, name)
        ]
        return _interval(pooled_bootstrap(cells, resamples=resamples)) if cells else None

    def mean(self, measure: Callable[[RunRecord], float], arm: str) -> float:
        """Return the mean over cells of an arm's mean over seeds, ignoring NaN; NaN if nothing is left."""
        means = [_mean(measure(record) for record in self.of(cell, arm)) for cell in self.cells]
        return _mean(means)

    def difference(
        self, measure: Callable[[RunRecord, RunRecord], float], first: str, second: str, resamples: int = RESAMPLES
    ) -> Interval | None:
        """Return the mean of a difference over the paired runs of all cells, with the interval over these pairs.

        Args:
            measure: difference of two records, first - second, or NaN.
            first, second: arms.
            resamples: number of resamples.

        Returns:
            The interval of `bootstrap_mean`, with NaN limits for a single pair, or None if no pair has a finite value.
        """
        pairs = [pair for cell in self.cells for pair in self.pairs(cell, first, second)]
        values = [value for pair in pairs if math.isfinite(value := measure(*pair))]
        if not values:
            return None
        if len(values) == 1:
            return Interval(values[0], math.nan, math.nan)
        estimate = bootstrap_mean(values, resamples=resamples)
        return Interval(estimate["mean"], estimate["low"], estimate["high"])


def _differing_settings(first: RunRecord, second: RunRecord) -> list[str]:
    """Return the settings in which two runs of a cell differ although neither arm sets them."""
    allowed = overridden_arguments(first.arm) | overridden_arguments(second.arm) if first.arm != second.arm else set()
    first_settings, second_settings = _flat(first.settings), _flat(second.settings)
    return sorted(
        name
        for name in {*first_settings, *second_settings} - allowed
        if first_settings.get(name) != second_settings.get(name)
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Lift the training arguments to the top level of the settings, without the hash that depends on the seed."""
    own = {name: value for name, value in settings.items() if name not in ("training", "train_digest")}
    return {**own, **settings.get("training", {})}


def _contrast(
    cell: Cell, pairs: Sequence[tuple[RunRecord, RunRecord]], first: str, second: str, resamples: int
) -> Contrast:
    f1 = paired_bootstrap(_counts(pairs, 0), _counts(pairs, 1), resamples=resamples)
    p_value = f1["bootstrap_p_value"]
    return Contrast(
        *cell,
        first,
        second,
        seeds=tuple(record.seed for record, _ in pairs),
        f1=_interval(f1),
        per_seed=tuple(f1["per_seed"]),
        p_value=p_value,
        adjusted=p_value,
        decision="none",
        seconds_ratio=statistics.median(a.train_seconds / b.train_seconds for a, b in pairs),
        memory_ratio=statistics.median(a.peak_memory / b.peak_memory for a, b in pairs),
    )


def _with_decision(contrast: Contrast, adjusted: float) -> Contrast:
    significant = adjusted <= DECISION_LEVEL
    direction = "better" if contrast.f1.difference > 0 else "worse"
    return replace(contrast, adjusted=adjusted, decision=direction if significant else "none")


def _counts(pairs: Sequence[tuple[RunRecord, RunRecord]], side: int, name: str = CLEAN) -> list[list[list[int]]]:
    """Return the counts of the first or second arm, (seeds, documents, 3)."""
    return [pair[side].counts[name] for pair in pairs]


def _has_gold(pairs: Sequence[tuple[RunRecord, RunRecord]], name: str) -> bool:
    return all(any(row[2] for row in record.counts.get(name, ())) for pair in pairs for record in pair)


def _interval(estimate: Mapping[str, Any]) -> Interval:
    return Interval(estimate["difference"], estimate["low"], estimate["high"])


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan
