"""Is one arm better than another? Paired statistics over the records of a comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_adner.comparison.arms import overridden
from hf_adner.comparison.record import CLEAN, RunRecord
from hf_adner.metrics.significance import bootstrap_mean, holm, paired_bootstrap, pooled_bootstrap

RESAMPLES = 10_000
DECISION_LEVEL = 0.05

Cell = tuple[str, str]
"""(corpus, model)"""


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """Two arms on one corpus with one model, seed by seed.

    Attributes:
        corpus, model: the cell.
        first, second: the arms; differences are first - second.
        seeds: those that both arms have.
        f1: mean difference in strict micro F1, interval over seeds and then documents (`paired_bootstrap`).
        per_seed: the differences.
        p_value: two-sided, of the same resamples: what varies from seed to seed counts, as in the interval.
        adjusted: p-value after Holm's correction over all cells of the same two arms.
        decision: ``better`` or ``worse`` where the adjusted p-value is at most 0.05, else ``none``.
        seconds_ratio, memory_ratio: median over seeds of first / second, training seconds and peak memory.
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
        """``win``, ``tie`` or ``loss``: the interval above zero, around it or below it."""
        return "win" if self.f1.low > 0 else "loss" if self.f1.high < 0 else "tie"


class Records:
    """The records of a comparison by cell, arm and seed.

    Raises:
        ValueError: two records of one run, arms of one cell and seed that began with different weights, runs of one
            corpus on different documents, or runs of one cell that differ in settings which no arm sets.
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
        digests: dict[str, set[Any]] = {}
        for cell in self.cells:
            digests.setdefault(cell[0], set()).update(record.settings.get("digest") for record in self.of(cell))
        differing = sorted(corpus for corpus, found in digests.items() if len(found) > 1)
        if differing:
            raise ValueError(f"{', '.join(differing)}: runs were made on different documents")

    def _check(self, cell: Cell) -> None:
        weights: dict[int, set[str]] = {}
        for record in self.of(cell):
            weights.setdefault(record.seed, set()).add(record.initial_weights)
        differing = sorted(seed for seed, found in weights.items() if len(found) > 1)
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
        """The cells, in the order in which they came."""
        return list(self._runs)

    @property
    def arms(self) -> list[str]:
        """The arms of any cell, in the order in which they came."""
        return list(dict.fromkeys(arm for arms in self._runs.values() for arm in arms))

    def arms_of(self, cell: Cell) -> list[str]:
        """The arms that a cell has, in the order of `arms`."""
        return [arm for arm in self.arms if arm in self._runs[cell]]

    def of(self, cell: Cell, arm: str | None = None) -> list[RunRecord]:
        """The records of a cell, or of one arm in it, by seed."""
        arms = self._runs[cell]
        chosen = arms.values() if arm is None else [arms.get(arm, {})]
        return [seeds[seed] for seeds in chosen for seed in sorted(seeds)]

    def pairs(self, cell: Cell, first: str, second: str) -> list[tuple[RunRecord, RunRecord]]:
        """Records of two arms that share their seed, by seed."""
        mine, other = self._runs[cell].get(first, {}), self._runs[cell].get(second, {})
        return [(mine[seed], other[seed]) for seed in sorted(mine.keys() & other.keys())]

    def contrasts(self, first: str, second: str, resamples: int = RESAMPLES) -> list[Contrast]:
        """Two arms in every cell that has both, with Holm-corrected decisions over these cells."""
        found = [
            _contrast(cell, pairs, first, second, resamples)
            for cell in self.cells
            if (pairs := self.pairs(cell, first, second))
        ]
        corrected = holm([contrast.p_value for contrast in found], DECISION_LEVEL) if found else {"adjusted": []}
        return [_decided(contrast, p_value) for contrast, p_value in zip(found, corrected["adjusted"], strict=True)]

    def pooled(self, first: str, second: str, name: str = CLEAN, resamples: int = RESAMPLES) -> Interval | None:
        """Mean difference over all cells in the micro F1 of a set of counts (`RunRecord.counts`).

        Returns:
            The interval of `pooled_bootstrap`, or None where no cell has both arms and gold entities in that set.
        """
        cells = [
            (cell[0], _counts(pairs, 0, name), _counts(pairs, 1, name))
            for cell in self.cells
            if (pairs := self.pairs(cell, first, second)) and _has_gold(pairs, name)
        ]
        return _interval(pooled_bootstrap(cells, resamples=resamples)) if cells else None

    def mean(self, measure: Callable[[RunRecord], float], arm: str) -> float:
        """Mean over cells of an arm's mean over seeds, NaN values left out; NaN where nothing is left."""
        means = [_mean(measure(record) for record in self.of(cell, arm)) for cell in self.cells]
        return _mean(means)

    def difference(
        self, measure: Callable[[RunRecord, RunRecord], float], first: str, second: str, resamples: int = RESAMPLES
    ) -> Interval | None:
        """Mean over the paired runs of all cells of a difference, with the interval over these pairs.

        Args:
            measure: the difference of two records, first - second; NaN where it has none.
            first, second: the arms.
            resamples: how many.

        Returns:
            The interval of `bootstrap_mean`, NaN at both ends for a single pair, or None where no pair has a number.
        """
        pairs = [pair for cell in self.cells for pair in self.pairs(cell, first, second)]
        values = [value for pair in pairs if math.isfinite(value := measure(*pair))]
        if not values:
            return None
        if len(values) == 1:
            return Interval(values[0], math.nan, math.nan)
        found = bootstrap_mean(values, resamples=resamples)
        return Interval(found["mean"], found["low"], found["high"])


def _differing_settings(first: RunRecord, second: RunRecord) -> list[str]:
    """Settings of two runs of a cell that differ though neither of their arms sets them."""
    own = overridden(first.arm) | overridden(second.arm) if first.arm != second.arm else set()
    mine, other = _flat(first.settings), _flat(second.settings)
    return sorted(name for name in {*mine, *other} - own if mine.get(name) != other.get(name))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Training arguments by their own names, all other settings as they are."""
    return {**{name: value for name, value in settings.items() if name != "training"}, **settings.get("training", {})}


def _contrast(
    cell: Cell, pairs: Sequence[tuple[RunRecord, RunRecord]], first: str, second: str, resamples: int
) -> Contrast:
    f1 = paired_bootstrap(_counts(pairs, 0), _counts(pairs, 1), resamples=resamples)
    p_value = f1["bootstrap_p_value"]
    return Contrast(
        *cell,
        first,
        second,
        seeds=tuple(mine.seed for mine, _ in pairs),
        f1=_interval(f1),
        per_seed=tuple(f1["per_seed"]),
        p_value=p_value,
        adjusted=p_value,
        decision="none",
        seconds_ratio=statistics.median(mine.train_seconds / other.train_seconds for mine, other in pairs),
        memory_ratio=statistics.median(mine.peak_memory / other.peak_memory for mine, other in pairs),
    )


def _decided(contrast: Contrast, adjusted: float) -> Contrast:
    significant = adjusted <= DECISION_LEVEL
    direction = "better" if contrast.f1.difference > 0 else "worse"
    return replace(contrast, adjusted=adjusted, decision=direction if significant else "none")


def _counts(pairs: Sequence[tuple[RunRecord, RunRecord]], side: int, name: str = CLEAN) -> list[list[list[int]]]:
    """(seeds, documents, 3)"""
    return [pair[side].counts[name] for pair in pairs]


def _has_gold(pairs: Sequence[tuple[RunRecord, RunRecord]], name: str) -> bool:
    return all(any(row[2] for row in record.counts.get(name, ())) for pair in pairs for record in pair)


def _interval(found: Mapping[str, Any]) -> Interval:
    return Interval(found["difference"], found["low"], found["high"])


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan
