"""Report of a comparison: figures of every run, contrasts in every cell, and pooled contrasts over all cells."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from hf_adner.comparison.contrasts import RESAMPLES, Contrast, Interval, Records
from hf_adner.comparison.record import BOUNDARY, MEASURES, UNSEEN, RunRecord, common_difference, mean_figure
from hf_adner.reporting import plain

CALIBRATION = ("ece", "aurc")
UNSEEN_RECALL = "unseen recall"
BOUNDARY_F1 = "boundary F1"


@dataclass(frozen=True)
class Pooled:
    """Comparison of two arms over all cells that have both; differences are first - second.

    Attributes:
        first, second: arms.
        cells: number of cells.
        f1: mean difference in strict micro F1 (`pooled_bootstrap`).
        ahead: number of cells in which the mean of the first arm is higher.
        win, tie, loss: number of cells whose interval is above zero, contains it or is below it.
        better, worse: number of cells with a significant difference after Holm's correction.
        seconds_ratio, memory_ratio: median over cells.
        figures: available mean differences in ``boundary F1``, in the F1 on each held-out perturbation and in
            ``unseen recall`` (`pooled_bootstrap`), and in ``ece``, ``aurc`` and ``EXPLAINER MEASURE`` (resampled over
            paired runs).
    """

    first: str
    second: str
    cells: int
    f1: Interval
    ahead: int
    win: int
    tie: int
    loss: int
    better: int
    worse: int
    seconds_ratio: float
    memory_ratio: float
    figures: Mapping[str, Interval]


@dataclass(frozen=True)
class ComparisonReport:
    """Figures of a comparison.

    Attributes:
        records: records of the runs.
        baseline, candidate: arms that all others are compared with.
        contrasts: one per pair of arms and cell.
        pooled: one per pair of arms.
        resamples: number of resamples of all intervals and tests.
    """

    records: Records
    baseline: str
    candidate: str
    contrasts: tuple[Contrast, ...]
    pooled: tuple[Pooled, ...]
    resamples: int

    @classmethod
    def of(
        cls, records: Iterable[RunRecord], baseline: str, candidate: str, resamples: int = RESAMPLES
    ) -> ComparisonReport:
        """Contrast every arm with the baseline, and the candidate with every arm.

        Raises:
            ValueError: no records, or records that are not comparable (`Records`).
        """
        table = Records(records)
        if not table.cells:
            raise ValueError("there are no records to report on")
        others = [arm for arm in table.arms if arm not in (baseline, candidate)]
        pairs = [(candidate, baseline), *((arm, baseline) for arm in others), *((candidate, arm) for arm in others)]
        by_pair = [table.contrasts(*pair, resamples) for pair in pairs]
        pooled = [_pooled(table, contrasts, resamples) for contrasts in by_pair if contrasts]
        contrasts = itertools.chain.from_iterable(by_pair)
        return cls(table, baseline, candidate, tuple(contrasts), tuple(pooled), resamples)

    def between(self, first: str, second: str) -> Pooled | None:
        """Return the pooled contrast of two arms, or None if no cell has both."""
        return next((pooled for pooled in self.pooled if (pooled.first, pooled.second) == (first, second)), None)

    def contrasts_between(self, first: str, second: str) -> list[Contrast]:
        """Return the contrasts of two arms in all cells that have both."""
        return [contrast for contrast in self.contrasts if (contrast.first, contrast.second) == (first, second)]

    def contrast(self, cell: tuple[str, str], first: str, second: str) -> Contrast | None:
        """Return the contrast of two arms in a cell, or None if it does not have both."""
        contrasts = self.contrasts_between(first, second)
        return next((contrast for contrast in contrasts if (contrast.corpus, contrast.model) == cell), None)

    @property
    def runs(self) -> list[RunRecord]:
        """All records, by cell, arm and seed."""
        return [record for cell in self.records.cells for record in self.records.of(cell)]

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON values, with None for NaN."""
        return plain(
            {
                "baseline": self.baseline,
                "candidate": self.candidate,
                "resamples": self.resamples,
                "runs": [run_figures(record) for record in self.runs],
                "contrasts": [{**asdict(contrast), "outcome": contrast.outcome} for contrast in self.contrasts],
                "pooled": [asdict(pooled) for pooled in self.pooled],
            }
        )


def _pooled(table: Records, contrasts: list[Contrast], resamples: int) -> Pooled:
    first, second = contrasts[0].first, contrasts[0].second
    outcomes = [contrast.outcome for contrast in contrasts]
    decisions = [contrast.decision for contrast in contrasts]
    f1 = table.pooled(first, second, resamples=resamples)
    return Pooled(
        first,
        second,
        cells=len(contrasts),
        f1=f1,
        ahead=sum(contrast.f1.difference > 0 for contrast in contrasts),
        **{name: outcomes.count(name) for name in ("win", "tie", "loss")},
        **{name: decisions.count(name) for name in ("better", "worse")},
        seconds_ratio=statistics.median(contrast.seconds_ratio for contrast in contrasts),
        memory_ratio=statistics.median(contrast.memory_ratio for contrast in contrasts),
        figures=_differences(table, first, second, resamples),
    )


def _differences(table: Records, first: str, second: str, resamples: int) -> dict[str, Interval]:
    pairs = [pair for cell in table.cells for pair in table.pairs(cell, first, second)]
    runs = [record for pair in pairs for record in pair]
    intervals = {family: table.pooled(first, second, family, resamples) for family in held_out_families(runs)}
    intervals[BOUNDARY_F1] = table.pooled(first, second, BOUNDARY, resamples)
    intervals[UNSEEN_RECALL] = table.pooled(first, second, UNSEEN, resamples)
    for name in CALIBRATION:
        measure = partial(_calibration_difference, name)
        intervals[name] = table.difference(measure, first, second, resamples)
    for explainer, figure in explanation_measures(runs):
        measure = partial(_explanation_difference, explainer, figure)
        intervals[f"{explainer} {figure}"] = table.difference(measure, first, second, resamples)
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _calibration_difference(name: str, first: RunRecord, second: RunRecord) -> float:
    return first.calibrated(name) - second.calibrated(name)


def _explanation_difference(explainer: str, measure: str, first: RunRecord, second: RunRecord) -> float:
    return common_difference(first.explanations, second.explanations, explainer, measure)


def held_out_families(runs: Iterable[RunRecord]) -> list[str]:
    """Return the held-out perturbations of all records."""
    return list(dict.fromkeys(family for record in runs for family in record.families))


def explanation_measures(runs: Iterable[RunRecord]) -> list[tuple[str, str]]:
    """Return (explainer, measure) for all explainers of the records."""
    explainers = dict.fromkeys(name for record in runs for name in record.explanations)
    return [(explainer, measure) for explainer in explainers for measure in MEASURES]


def run_figures(record: RunRecord) -> dict[str, Any]:
    """Return the figures of a run without its counts; scores are in [0, 1], missing values NaN."""
    explained = {
        f"{explainer} {measure}": mean_figure(record.explanations, explainer, measure)
        for explainer, measure in explanation_measures([record])
    }
    return {
        "corpus": record.corpus,
        "model": record.model,
        "arm": record.arm,
        "seed": record.seed,
        **{name: record.scores[name] for name in ("precision", "recall", "f1")},
        **{family: record.f1(family) for family in record.families},
        BOUNDARY_F1: record.f1(BOUNDARY),
        "degradation": record.degradation,
        UNSEEN_RECALL: record.unseen_recall,
        **{name: record.calibrated(name) for name in CALIBRATION},
        **explained,
        "steps": record.steps,
        "train_seconds": record.train_seconds,
        "peak_memory": record.peak_memory,
        "device": record.device,
    }
