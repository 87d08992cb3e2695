"""What a comparison found: every run's figures, contrasts in every cell, and what they come to over all cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from hf_adner.comparison.contrasts import RESAMPLES, Contrast, Interval, Records
from hf_adner.comparison.record import MEASURES, UNSEEN, RunRecord, common_difference, mean_figure
from hf_adner.reporting import plain

CALIBRATION = ("ece", "aurc")
UNSEEN_RECALL = "unseen recall"


@dataclass(frozen=True)
class Pooled:
    """Two arms over all cells that have both; differences are first - second.

    Attributes:
        first, second: the arms.
        cells: how many cells.
        f1: mean difference in strict micro F1 (`pooled_bootstrap`).
        ahead: cells in which the first arm's mean is the higher one.
        win, tie, loss: cells whose interval lies above zero, around it, below it.
        better, worse: cells with a significant difference after Holm's correction.
        seconds_ratio, memory_ratio: median over cells.
        figures: mean differences in the F1 on each held-out family and in ``unseen recall`` (`pooled_bootstrap`), in
            ``ece``, ``aurc`` and ``EXPLAINER MEASURE`` (paired runs resampled), as far as there are any.
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
    """The figures of a comparison.

    Attributes:
        records: what it was made of.
        baseline, candidate: the arms that all others are compared with.
        contrasts: per pair of arms and cell.
        pooled: per pair of arms.
        resamples: of all intervals and tests.
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
            ValueError: no records, or records that cannot be compared (`Records`).
        """
        table = Records(records)
        if not table.cells:
            raise ValueError("there are no records to make a report of")
        others = [arm for arm in table.arms if arm not in (baseline, candidate)]
        pairs = [(candidate, baseline), *((arm, baseline) for arm in others), *((candidate, arm) for arm in others)]
        found = [table.contrasts(*pair, resamples) for pair in pairs]
        pooled = [_pooled(table, contrasts, resamples) for contrasts in found if contrasts]
        return cls(table, baseline, candidate, tuple(one for ones in found for one in ones), tuple(pooled), resamples)

    def between(self, first: str, second: str) -> Pooled | None:
        """What two arms come to over all cells, None where no cell has both."""
        return next((one for one in self.pooled if (one.first, one.second) == (first, second)), None)

    def contrasts_between(self, first: str, second: str) -> list[Contrast]:
        """Two arms in every cell that has both."""
        return [one for one in self.contrasts if (one.first, one.second) == (first, second)]

    def contrast(self, cell: tuple[str, str], first: str, second: str) -> Contrast | None:
        """Two arms in a cell, None where it has not both."""
        found = self.contrasts_between(first, second)
        return next((one for one in found if (one.corpus, one.model) == cell), None)

    @property
    def runs(self) -> list[RunRecord]:
        """All records, by cell, arm and seed."""
        return [record for cell in self.records.cells for record in self.records.of(cell)]

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(
            {
                "baseline": self.baseline,
                "candidate": self.candidate,
                "resamples": self.resamples,
                "runs": [run_figures(record) for record in self.runs],
                "contrasts": [{**asdict(one), "outcome": one.outcome} for one in self.contrasts],
                "pooled": [asdict(one) for one in self.pooled],
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
    found = {family: table.pooled(first, second, family, resamples) for family in families_of(runs)}
    found[UNSEEN_RECALL] = table.pooled(first, second, UNSEEN, resamples)
    for name in CALIBRATION:
        found[name] = table.difference(partial(_calibrated_apart, name), first, second, resamples)
    for explainer, measure in explained_of(runs):
        apart = partial(_explained_apart, explainer, measure)
        found[f"{explainer} {measure}"] = table.difference(apart, first, second, resamples)
    return {name: interval for name, interval in found.items() if interval is not None}


def _calibrated_apart(name: str, mine: RunRecord, other: RunRecord) -> float:
    return mine.calibrated(name) - other.calibrated(name)


def _explained_apart(explainer: str, measure: str, mine: RunRecord, other: RunRecord) -> float:
    return common_difference(mine.explanations, other.explanations, explainer, measure)


def families_of(runs: Iterable[RunRecord]) -> list[str]:
    """Held-out families of any of the records."""
    return list(dict.fromkeys(family for record in runs for family in record.families))


def explained_of(runs: Iterable[RunRecord]) -> list[tuple[str, str]]:
    """(explainer, measure) that any of the records has figures of."""
    explainers = dict.fromkeys(name for record in runs for name in record.explanations)
    return [(explainer, measure) for explainer in explainers for measure in MEASURES]


def run_figures(record: RunRecord) -> dict[str, Any]:
    """A run's figures without its counts, in [0, 1] where they are scores; NaN where there is none."""
    explained = {
        f"{explainer} {measure}": mean_figure(record.explanations, explainer, measure)
        for explainer, measure in explained_of([record])
    }
    return {
        "corpus": record.corpus,
        "model": record.model,
        "arm": record.arm,
        "seed": record.seed,
        **{name: record.scores[name] for name in ("precision", "recall", "f1")},
        **{family: record.f1(family) for family in record.families},
        "degradation": record.degradation,
        UNSEEN_RECALL: record.unseen_recall,
        **{name: record.calibrated(name) for name in CALIBRATION},
        **explained,
        "steps": record.steps,
        "train_seconds": record.train_seconds,
        "peak_memory": record.peak_memory,
        "device": record.device,
    }
