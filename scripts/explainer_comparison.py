"""Compare explainers, paired on the entities that both explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hf_adner.audit.calibration import RESAMPLES, mean_over_entities
from hf_adner.audit.explanation_report import ExplanationReport, with_interval
from hf_adner.audit.measures import HEADLINE, LOWER, MEASURES, NEAR_ZERO
from hf_adner.metrics.significance import LEVEL
from hf_adner.reporting import markdown_table

MARGIN = 0.01
"""Non-inferiority margin, as a share of the other explainer's mean."""

BETTER, NOT_WORSE, UNDECIDED, WORSE = "better", "not worse", "undecided", "worse"

CLAIM = (
    *HEADLINE,
    "replaced_agreement_given_position",
    "agreement",
    "soft_comprehensiveness_gain",
    "comprehensiveness",
)
"""Measures in which a fused explanation has to compare with single ones."""


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two explainers in one measure.

    Attributes:
        first, second: names of explainers.
        measure: name of the measure.
        difference: mean of first - second over the common entities, with its sign set so that above 0 the first is
            better.
        low, high: interval over resampled documents.
        entities: number of common entities; the numbers are None if there are none.
        margin: non-inferiority margin in units of the measure.
        verdict: `BETTER` (the interval is above 0), `NOT_WORSE` (above -margin), `WORSE` (below -margin) or
            `UNDECIDED`.
    """

    first: str
    second: str
    measure: str
    difference: float | None
    low: float | None
    high: float | None
    entities: int
    margin: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def compare_explainers(
    report: ExplanationReport,
    first: str,
    second: str,
    measure: str,
    margin: float = MARGIN,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Return the paired difference of two explainers of a report.

    Args:
        report: report with values per entity (as measured; `to_dict` drops them by default).
        first, second: names of explainers.
        measure: name of a measure.
        margin: non-inferiority margin, as a share of the magnitude of the second mean over the common entities.
        level, resamples, seed: options of the interval.

    Raises:
        ValueError: an unknown explainer or measure, or a measure without a better direction.
    """
    known = {candidate.name: candidate for candidate in MEASURES if candidate.better}
    if measure not in known or not {first, second} <= set(report.explainers):
        raise ValueError(f"cannot compare {first!r} with {second!r} in {measure!r}: not in the report, or no direction")
    first_values, second_values = (report.explainers[name].values.get(measure, ()) for name in (first, second))
    better = known[measure].better
    differences = [_improvement(*values, better) for values in zip(first_values, second_values)]
    common = [value for value, difference in zip(second_values, differences) if difference is not None]
    mean = mean_over_entities(differences, report.sample["document"][: len(differences)], level, resamples, seed)
    loss = margin * abs(sum(common) / len(common)) if common else 0.0
    verdict = _verdict(mean["low"], mean["high"], loss)
    return PairedDifference(
        first, second, measure, mean["mean"], mean["low"], mean["high"], mean["entities"], loss, verdict
    )


def comparison_markdown(
    report: ExplanationReport, firsts: Sequence[str], seconds: Sequence[str], measures: Sequence[str] = CLAIM
) -> str:
    """Return a table with a row per pair of explainers and a column per measure: difference, interval and verdict.

    Measures that some explainer does not have are left out.
    """
    measured = [name for name in measures if all(name in scores.estimates for scores in report.explainers.values())]
    titles = {measure.name: measure.title for measure in MEASURES}
    rows = [
        (f"{first} - {second}", *(_cell(compare_explainers(report, first, second, name)) for name in measured))
        for first in firsts
        for second in seconds
        if first != second
    ]
    return markdown_table(("difference, paired", *(titles[name] for name in measured)), rows)


def _improvement(first: float | None, second: float | None, better: str) -> float | None:
    """Return by how much the first value is better; None if one is missing."""
    if first is None or second is None:
        return None
    if better == NEAR_ZERO:
        return abs(second) - abs(first)
    return second - first if better == LOWER else first - second


def _verdict(low: float | None, high: float | None, loss: float) -> str:
    if low is None or high is None:
        return UNDECIDED
    if low > 0:
        return BETTER
    if low >= -loss:
        return NOT_WORSE
    return WORSE if high < -loss else UNDECIDED


def _cell(paired: PairedDifference) -> str | None:
    interval = with_interval({"mean": paired.difference, "low": paired.low, "high": paired.high})
    return None if interval is None else f"{interval} {paired.verdict}"
