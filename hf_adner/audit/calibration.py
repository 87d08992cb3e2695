"""Calibration of predicted entities: does their posterior say how often they are right?

Means over entities with intervals over documents: entities of one document are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hf_adner.data.records import Document
from hf_adner.metrics.calibration import BINS, calibration, risk_coverage
from hf_adner.metrics.significance import LEVEL, bootstrap_statistic
from hf_adner.reporting import plain, report_table

DRAWS = 500
SHARES = tuple(number / 10 for number in range(1, 11))

Prediction = tuple[float, bool]


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration of the entities a model predicted in some documents.

    Attributes:
        documents: number of documents.
        entities: predicted entities, over which everything here is.
        gold: gold entities.
        coverage: share of the gold entities that were predicted, start, end and label right; what is not predicted has
            no confidence and counts nowhere else.
        ece, brier, aurc: see `metrics.calibration`, lower is better; `best_aurc` is what the best order would give.
        accuracy, mean_confidence: share of right entities, and what their posteriors promised.
        intervals: of ece, brier and aurc (``low``, ``high``), from resampled documents.
        reliability: a row per bin of equal mass, from the least to the most confident.
        risk_coverage: share of errors among the most confident 10, 20 .. 100 % (``coverage``, ``risk``).
    """

    documents: int
    entities: int
    gold: int
    coverage: float
    ece: float
    brier: float
    aurc: float
    best_aurc: float
    accuracy: float
    mean_confidence: float
    intervals: dict[str, dict[str, float]]
    reliability: list[dict[str, float]]
    risk_coverage: list[dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    def to_markdown(self) -> str:
        """Figures, risk at coverage and reliability as Markdown."""
        head = (
            f"{self.entities:,} predicted entities of {self.documents:,} documents, {self.accuracy:.4f} of them right; "
            f"{self.coverage:.4f} of {self.gold:,} gold entities were predicted.\n\n"
        )
        figures = [(name, getattr(self, name), *_interval(self.intervals.get(name))) for name in _SCORES]
        figures.append(("best possible aurc", self.best_aurc, None, None))
        risks = [(f"{row['coverage']:.0%}", row["risk"]) for row in self.risk_coverage]
        bins = [(row["count"], row["confidence"], row["accuracy"]) for row in self.reliability]
        parts = (
            report_table(("calibration", "value", "low", "high"), figures),
            report_table(("most confident", "share of errors"), risks),
            report_table(("entities", "mean confidence", "accuracy"), bins),
        )
        return head + "\n\n".join(parts) + "\n"


_SCORES = ("ece", "brier", "aurc")


def calibration_report(
    predicted: Iterable[Document],
    gold: Iterable[Document],
    bins: int = BINS,
    level: float = LEVEL,
    resamples: int = DRAWS,
    seed: int = 0,
) -> CalibrationReport:
    """Compare the scores of predicted entities with whether they are gold entities.

    Args:
        predicted: documents as `predict_documents` gives them: entities with ``score`` in their meta.
        gold: the same documents in the same order, with their gold entities.
        bins: of equal mass, for the ECE.
        level, resamples, seed: of the intervals.

    Raises:
        ValueError: other documents, or an entity without a score.
    """
    spans, known = [], []
    for found, right in zip(predicted, gold, strict=True):
        if found.text != right.text:
            raise ValueError(f"predicted document {found.id!r} has another text than gold document {right.id!r}")
        spans.append([(*span, _score(entity, found.id)) for span, entity in zip(found.spans, found.entities)])
        known.append(right.spans)
    return calibration_of_spans(spans, known, bins, level, resamples, seed)


def calibration_of_spans(
    predicted: Sequence[Sequence[Sequence[Any]]],
    gold: Sequence[Sequence[tuple[int, int, str]]],
    bins: int = BINS,
    level: float = LEVEL,
    resamples: int = DRAWS,
    seed: int = 0,
) -> CalibrationReport:
    """`calibration_report` of (start, end, label, score) per document."""
    outcomes = [_outcomes(found, set(right)) for found, right in zip(predicted, gold, strict=True)]
    flat = [one for ones in outcomes for one in ones]
    total = sum(map(len, gold))
    right = sum(correct for _, correct in flat)
    found = calibration(*_columns(flat), bins)
    curve = risk_coverage(*_columns(flat))
    return CalibrationReport(
        documents=len(gold),
        gold=total,
        coverage=right / total if total else float("nan"),
        best_aurc=curve["best_aurc"],
        intervals=_intervals(outcomes, bins, level, resamples, seed),
        risk_coverage=_at_shares(curve) if flat else [],
        **found,
    )


def _outcomes(found: Sequence[Sequence[Any]], right: set[tuple[int, int, str]]) -> list[Prediction]:
    return [(score, (start, end, label) in right) for start, end, label, score in found]


def _columns(outcomes: Sequence[Prediction]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in outcomes], [correct for _, correct in outcomes]


def _score(entity: Any, document: str) -> float:
    if "score" not in entity.meta:
        raise ValueError(f"document {document!r}: entity {entity.start}-{entity.end} has no score in its meta")
    return entity.meta["score"]


def _at_shares(curve: dict[str, Any]) -> list[dict[str, float]]:
    count = len(curve["risk"])
    places = [max(1, round(share * count)) - 1 for share in SHARES]
    return [{"coverage": curve["coverage"][place], "risk": curve["risk"][place]} for place in places]


def _intervals(outcomes: list[list[Prediction]], bins: int, level: float, resamples: int, seed: int) -> dict[str, Any]:
    outcomes = [ones for ones in outcomes if ones]
    if not outcomes:
        return {}

    def scored(name: str) -> dict[str, float]:
        def statistic(drawn: np.ndarray) -> float:
            return calibration(*_columns([one for index in drawn for one in outcomes[index]]), bins)[name]

        found = bootstrap_statistic(len(outcomes), statistic, level, resamples, seed)
        return {"low": found["low"], "high": found["high"]}

    return {name: scored(name) for name in _SCORES}


def _interval(found: dict[str, float] | None) -> tuple[float | None, float | None]:
    return (None, None) if found is None else (found["low"], found["high"])


RESAMPLES = 2000


def mean_over_entities(
    values: Sequence[float | None] | np.ndarray,
    documents: Sequence[int],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean of the values that there are, with the percentile interval from resampled documents.

    Args:
        values: (entities,) numbers; None or NaN where there is none.
        documents: (entities,) the document of each.
        level: of the interval.
        resamples: how many.
        seed: of the resampling.

    Returns:
        `mean`, `low`, `high`, and `entities`, how many there are; the first three None without any.
    """
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return {"mean": None, "low": None, "high": None, "entities": 0}
    _, group = np.unique(np.asarray(documents)[known], return_inverse=True)
    sums, counts = np.bincount(group, numbers[known]), np.bincount(group)

    def mean(drawn: np.ndarray) -> float:
        return sums[drawn].sum() / counts[drawn].sum()

    found = bootstrap_statistic(len(sums), mean, level, resamples, seed)
    return {"mean": found["value"], "low": found["low"], "high": found["high"], "entities": int(known.sum())}
