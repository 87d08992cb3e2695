"""Is one explainer at least as good as another? Paired on the entities that both explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hf_adner.audit.calibration import RESAMPLES, mean_over_entities
from hf_adner.audit.explanation_report import ExplanationReport, with_interval
from hf_adner.audit.measures import LOWER, MEASURES, NEAR_ZERO
from hf_adner.metrics.significance import LEVEL
from hf_adner.reporting import report_table

MARGIN = 0.01
"""What counts as no loss: this share of the other explainer's mean."""

BETTER, NOT_WORSE, UNDECIDED, WORSE = "better", "not worse", "undecided", "worse"

CLAIM = (
    "discriminative_stability",
    "agreement",
    "replaced_agreement",
    "agreement_given_position",
    "soft_comprehensiveness_gain",
    "comprehensiveness",
)
"""Stability, both boundary agreements and faithfulness: what a fused explanation has to show against single ones."""


@dataclass(frozen=True)
class PairedDifference:
    """Two explainers in one measure.

    Attributes:
        first, second: names.
        measure: name of a measure.
        difference: mean over the common entities of first - second, turned so that above 0 the first is better.
        low, high: its interval over resampled documents.
        entities: how many they have in common; the numbers are None without any.
        margin: what counts as no loss, in the measure's units.
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
        """Plain values, ready for JSON."""
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
    """The paired difference of two explainers of a report.

    Args:
        report: with the numbers per entity (as measured, not as `to_dict` leaves it by default).
        first, second: names of explainers.
        measure: name of a measure.
        margin: share of the second one's mean (its magnitude, over the common entities) that counts as no loss.
        level, resamples, seed: of the interval.

    Raises:
        ValueError: an unknown explainer or measure, or a measure of which neither direction is good.
    """
    known = {one.name: one for one in MEASURES if one.better}
    if measure not in known or not {first, second} <= set(report.explainers):
        raise ValueError(f"cannot compare {first!r} with {second!r} in {measure!r}: not in the report, or no direction")
    one, other = (_values(report, name, measure) for name in (first, second))
    better = known[measure].better
    pairs = [_oriented(mine, its, better) for mine, its in zip(one, other)]
    common = [its for its, difference in zip(other, pairs) if difference is not None]
    found = mean_over_entities(pairs, report.population["document"][: len(pairs)], level, resamples, seed)
    loss = margin * abs(sum(common) / len(common)) if common else 0.0
    verdict = _verdict(found["low"], found["high"], loss)
    return PairedDifference(
        first, second, measure, found["mean"], found["low"], found["high"], found["entities"], loss, verdict
    )


def comparison_markdown(
    report: ExplanationReport, firsts: Sequence[str], seconds: Sequence[str], measures: Sequence[str] = CLAIM
) -> str:
    """A table with a row per pair of explainers and a column per measure: difference, interval and verdict.

    Measures that were not taken of either are left out.
    """
    measured = [name for name in measures if all(name in one.estimates for one in report.explainers.values())]
    titles = {one.name: one.title for one in MEASURES}
    rows = [
        (f"{first} - {second}", *(_cell(compare_explainers(report, first, second, name)) for name in measured))
        for first in firsts
        for second in seconds
        if first != second
    ]
    return report_table(("difference, paired", *(titles[name] for name in measured)), rows)


def _values(report: ExplanationReport, name: str, measure: str) -> Sequence[float | None]:
    return report.explainers[name].values.get(measure, ())


def _oriented(mine: float | None, other: float | None, better: str) -> float | None:
    if mine is None or other is None:
        return None
    if better == NEAR_ZERO:
        return abs(other) - abs(mine)
    return other - mine if better == LOWER else mine - other


def _verdict(low: float | None, high: float | None, loss: float) -> str:
    if low is None or high is None:
        return UNDECIDED
    if low > 0:
        return BETTER
    if low >= -loss:
        return NOT_WORSE
    return WORSE if high < -loss else UNDECIDED


def _cell(found: PairedDifference) -> str | None:
    interval = with_interval({"mean": found.difference, "low": found.low, "high": found.high})
    return None if interval is None else f"{interval} {found.verdict}"
