"""The records of an audit of explanations.

Stability against faithfulness, a point per explainer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hf_adner.audit.measures import HIGHER, LOWER, MEASURES, NEAR_ZERO, Measure
from hf_adner.files import write_figure
from hf_adner.reporting import plain, report_table

ARROWS = {HIGHER: " up", LOWER: " dn", NEAR_ZERO: " ~0"}


@dataclass(frozen=True)
class ExplainerScores:
    """What was measured of one explainer.

    Attributes:
        name: of the explainer.
        entities: how many it explained, the first of the population.
        estimates: name of a measure -> ``mean``, ``low``, ``high``, ``entities`` (`mean_over_entities`).
        values: name of a measure -> a number per entity, None where it has none; for paired comparisons.
        details: group -> what has no value per entity.
        seconds: wall-clock time that explaining and measuring took.
    """

    name: str
    entities: int
    estimates: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Sequence[float | None]]
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def mean(self, measure: str) -> float | None:
        """The mean of a measure, None where it was not measured."""
        return self.estimates[measure]["mean"] if measure in self.estimates else None

    @property
    def coverage(self) -> float | None:
        """Share of the views in which the model found the entities again, None where stability was not measured."""
        return self.details["stability"]["coverage"] if "stability" in self.details else None

    def summary(self) -> dict[str, Any]:
        """Entities, coverage and the estimate of each measure."""
        return {"entities": self.entities, "coverage": self.coverage, **self.estimates}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ExplainerScores:
        """What `to_dict` gave."""
        return cls(**content)


@dataclass(frozen=True)
class ExplanationReport:
    """What an audit of the explanations of one model on one set of documents found.

    Attributes:
        explainers: name -> its scores.
        population: how the entities came about: ``documents``, ``gold``, ``found`` gold entities, ``coverage`` = found
            / gold, ``entities`` explained, and per explained entity its ``document`` (numbers in order of appearance).
        model: what does not depend on an explainer: ``calibration`` (`CalibrationReport.to_dict`),
            ``boundary_sensitivity`` (`ModelResponses.boundary_sensitivity`).
        settings: sizes of the audit; `families` are those that were used.
    """

    explainers: Mapping[str, ExplainerScores]
    population: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]

    def to_dict(self, full: bool = False) -> dict[str, Any]:
        """Plain dictionaries and numbers (None for NaN), ready for JSON.

        Args:
            full: of each explainer everything, also the numbers per entity, not its `ExplainerScores.summary`.
        """
        scores = {name: one.to_dict() if full else one.summary() for name, one in self.explainers.items()}
        parts = {"population": self.population, "model": self.model, "settings": self.settings}
        return plain({"explainers": scores, **parts})

    def to_markdown(self) -> str:
        """EntitySample, a table per group of measures, and what the model itself does.

        A table has a row per explainer of which the group measured anything.
        """
        parts = [self._head(), *(_group_table(group, list(self.explainers.values())) for group in self._groups())]
        return "\n\n".join([*parts, *self._model_tables()]) + "\n"

    def plot(self, path: str | os.PathLike[str], faithfulness: str = "soft_comprehensiveness_gain") -> None:
        """Draw discriminative stability against faithfulness, a point per explainer; see `plot_explainers`."""

        plot_explainers(self, path, faithfulness)

    def _groups(self) -> Iterator[str]:
        found = list(self.explainers.values())
        yield from dict.fromkeys(one.group for one in MEASURES if _is_measured(one, found))

    def _head(self) -> str:
        of = self.population
        families = ", ".join(self.settings["families"])
        return (
            f"{of['entities']:,} entities of {len(set(of['document'])):,} documents were explained; the model finds "
            f"{of['found']:,} of the {of['gold']:,} gold entities of all {of['documents']:,} documents "
            f"(coverage {of['coverage']:.4f}). Views: {self.settings['views']} each of {families}. "
            f"Intervals: {100 * self.settings['level']:g} %, documents resampled."
        )

    def _model_tables(self) -> list[str]:
        found = []
        if "calibration" in self.model:
            of = self.model["calibration"]
            names = ("entities", "coverage", "accuracy", "mean_confidence", "ece", "brier", "aurc", "best_aurc")
            found.append(report_table(("entity calibration", "value"), [(name, of[name]) for name in names]))
        if "boundary_sensitivity" in self.model:
            rows = self.model["boundary_sensitivity"].items()
            found.append(report_table(("boundary sensitivity of the model", "value"), rows))
        return found


def _group_table(group: str, scores: Sequence[ExplainerScores]) -> str:
    measures = [one for one in MEASURES if one.group == group and _is_measured(one, scores)]
    heads = [group, "entities", *(f"{one.title}{ARROWS.get(one.better, '')}" for one in measures)]
    heads += ["coverage"] if group == "stability" else []
    return report_table(heads, [_row(found, group, measures) for found in scores if _has_any(found, measures)])


def _has_any(scores: ExplainerScores, measures: Sequence[Measure]) -> bool:
    return any(scores.mean(measure.name) is not None for measure in measures)


def _is_measured(measure: Measure, scores: Sequence[ExplainerScores]) -> bool:
    """Whether any entity of any explainer has a value."""
    return any(found.mean(measure.name) is not None for found in scores)


def _row(scores: ExplainerScores, group: str, measures: Sequence[Measure]) -> list[Any]:
    cells: list[Any] = [scores.name, scores.entities]
    cells += [with_interval(scores.estimates.get(measure.name)) for measure in measures]
    return [*cells, scores.coverage] if group == "stability" else cells


def with_interval(estimate: Mapping[str, Any] | None) -> str | None:
    """``0.123 [0.110, 0.140]``, None without a value."""
    if estimate is None or estimate["mean"] is None:
        return None
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


STABILITY = "discriminative_stability"
MARKERS = "osD^v"
_DOTS_PER_INCH = 120


def plot_explainers(
    report: ExplanationReport, path: str | os.PathLike[str], faithfulness: str = "soft_comprehensiveness_gain"
) -> None:
    """Draw discriminative stability (up) against a measure of faithfulness (across), with intervals.

    Better is up and to the right; a measure of which less is better runs the other way.

    Args:
        report: with both measured.
        path: PNG, SVG or PDF by the suffix.
        faithfulness: name of a measure.

    Raises:
        ValueError: an unknown measure, no explainer for which both were measured, or a suffix that matplotlib cannot
            write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measure = next((one for one in MEASURES if one.name == faithfulness), None)
    if measure is None:
        raise ValueError(f"no measure {faithfulness!r}; expected one of {[one.name for one in MEASURES]}")
    points = {
        name: (scores.estimates[faithfulness], scores.estimates[STABILITY])
        for name, scores in report.explainers.items()
        if scores.mean(faithfulness) is not None and scores.mean(STABILITY) is not None
    }
    if not points:
        raise ValueError(f"no explainer has both {faithfulness} and {STABILITY}: measure stability and faithfulness")
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (name, (across, up)) in enumerate(points.items()):
        _draw_point(axes, name, across, up, f"C{number % 10}", MARKERS[number // 10 % len(MARKERS)])
    axes.set_xlabel(f"{measure.title} ({measure.better} is better)")
    axes.set_ylabel("discriminative stability (higher is better)")
    if measure.better == LOWER:
        axes.invert_xaxis()
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    write_figure(path, figure, _DOTS_PER_INCH)


def _draw_point(axes, name: str, across: dict, up: dict, colour: str, marker: str) -> None:
    spans = [[[one["mean"] - one["low"]], [one["high"] - one["mean"]]] for one in (across, up)]
    x, y = map(_not_negative, spans)
    line = {"fmt": marker, "color": colour, "elinewidth": 0.8, "markersize": 6, "label": name}
    axes.errorbar([across["mean"]], [up["mean"]], xerr=x, yerr=y, **line)


def _not_negative(sides: list[list[float]]) -> list[list[float]]:
    """A resampled interval may leave out the mean itself."""
    return [[max(0.0, value) for value in side] for side in sides]
