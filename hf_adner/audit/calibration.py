"""Calibration of predicted entities, and means over entities with bootstrap intervals over documents."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document
from hf_adner.metrics.calibration import BINS, calibration, risk_coverage
from hf_adner.metrics.significance import LEVEL, bootstrap_statistic
from hf_adner.reporting import markdown_table, plain

DRAWS = 500
RESAMPLES = 2000
SHARES = tuple(number / 10 for number in range(1, 11))

Prediction = tuple[float, bool]


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration of predicted entities.

    Attributes:
        documents: number of documents.
        entities: predicted entities, which all figures but `coverage` are over.
        gold: gold entities.
        coverage: share of the gold entities that were predicted with the right start, end and label.
        ece, brier, aurc: see `metrics.calibration`, lower is better; `best_aurc` is that of the best order.
        accuracy, mean_confidence: share of correct entities, and their mean posterior.
        intervals: of ece, brier and aurc (``low``, ``high``), from a bootstrap over documents.
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
        """Return the report as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    def to_markdown(self) -> str:
        """Return figures, risk at coverage and reliability as Markdown."""
        head = (
            f"{self.entities:,} predicted entities of {self.documents:,} documents, {self.accuracy:.4f} of them right; "
            f"{self.coverage:.4f} of {self.gold:,} gold entities were predicted.\n\n"
        )
        figures = [(name, getattr(self, name), *_interval(self.intervals.get(name))) for name in _SCORES]
        figures.append(("best possible aurc", self.best_aurc, None, None))
        risks = [(f"{row['coverage']:.0%}", row["risk"]) for row in self.risk_coverage]
        bins = [(row["count"], row["confidence"], row["accuracy"]) for row in self.reliability]
        parts = (
            markdown_table(("calibration", "value", "low", "high"), figures),
            markdown_table(("most confident", "share of errors"), risks),
            markdown_table(("entities", "mean confidence", "accuracy"), bins),
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
        predicted: documents of `predict_documents`, whose entities have a ``score`` in their meta.
        gold: the same documents in the same order, with their gold entities.
        bins: of equal mass, for the ECE.
        level, resamples, seed: of the intervals.

    Raises:
        ValueError: texts of the documents differ, or an entity has no score.
    """
    predicted_spans, gold_spans = [], []
    for document, reference in zip(predicted, gold, strict=True):
        if document.text != reference.text:
            names = [excerpt(document.id, 40), excerpt(reference.id, 40)]
            raise ValueError("predicted document {} has another text than gold document {}".format(*names))
        scored = zip(document.spans, document.entities)
        predicted_spans.append([(*span, _score(entity, document.id)) for span, entity in scored])
        gold_spans.append(reference.spans)
    return calibration_of_spans(predicted_spans, gold_spans, bins, level, resamples, seed)


def calibration_of_spans(
    predicted: Sequence[Sequence[Sequence[Any]]],
    gold: Sequence[Sequence[tuple[int, int, str]]],
    bins: int = BINS,
    level: float = LEVEL,
    resamples: int = DRAWS,
    seed: int = 0,
) -> CalibrationReport:
    """Return the `calibration_report` of (start, end, label, score) per document."""
    outcomes = [_outcomes(spans, set(reference)) for spans, reference in zip(predicted, gold, strict=True)]
    flat = list(itertools.chain.from_iterable(outcomes))
    total = sum(map(len, gold))
    correct = sum(is_correct for _, is_correct in flat)
    figures = calibration(*_columns(flat), bins)
    curve = risk_coverage(*_columns(flat))
    return CalibrationReport(
        documents=len(gold),
        gold=total,
        coverage=correct / total if total else float("nan"),
        best_aurc=curve["best_aurc"],
        intervals=_intervals(outcomes, bins, level, resamples, seed),
        risk_coverage=_at_shares(curve) if flat else [],
        **figures,
    )


def _outcomes(predicted: Sequence[Sequence[Any]], gold: set[tuple[int, int, str]]) -> list[Prediction]:
    return [(score, (start, end, label) in gold) for start, end, label, score in predicted]


def _columns(outcomes: Sequence[Prediction]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in outcomes], [is_correct for _, is_correct in outcomes]


def _score(entity: Any, document: str) -> float:
    if "score" not in entity.meta:
        raise ValueError(
            f"document {excerpt(document, 40)}: entity {entity.start}-{entity.end} has no score in its meta"
        )
    return entity.meta["score"]


def _at_shares(curve: dict[str, Any]) -> list[dict[str, float]]:
    count = len(curve["risk"])
    places = [max(1, round(share * count)) - 1 for share in SHARES]
    return [{"coverage": curve["coverage"][place], "risk": curve["risk"][place]} for place in places]


def _intervals(outcomes: list[list[Prediction]], bins: int, level: float, resamples: int, seed: int) -> dict[str, Any]:
    outcomes = [document for document in outcomes if document]
    if not outcomes:
        return {}

    def interval(name: str) -> dict[str, float]:
        def statistic(drawn: np.ndarray) -> float:
            return calibration(*_columns([outcome for index in drawn for outcome in outcomes[index]]), bins)[name]

        estimate = bootstrap_statistic(len(outcomes), statistic, level, resamples, seed)
        return {"low": estimate["low"], "high": estimate["high"]}

    return {name: interval(name) for name in _SCORES}


def _interval(interval: dict[str, float] | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval["low"], interval["high"])


def mean_over_entities(
    values: Sequence[float | None] | np.ndarray,
    documents: Sequence[int],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the mean of the finite values with a percentile interval from a bootstrap over documents.

    Entities of one document are not independent, so documents are resampled.

    Args:
        values: (entities,) numbers; None or NaN where an entity has none.
        documents: (entities,) the document of each.
        level: of the interval.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `mean`, `low`, `high`, and `entities`, the number of values; the first three are None without values.
    """
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return {"mean": None, "low": None, "high": None, "entities": 0}
    _, group = np.unique(np.asarray(documents)[finite], return_inverse=True)
    sums, counts = np.bincount(group, numbers[finite]), np.bincount(group)

    def mean(drawn: np.ndarray) -> float:
        return sums[drawn].sum() / counts[drawn].sum()

    estimate = bootstrap_statistic(len(sums), mean, level, resamples, seed)
    return {"mean": estimate["value"], "low": estimate["low"], "high": estimate["high"], "entities": int(finite.sum())}
