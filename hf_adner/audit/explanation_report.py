"""The report of an audit of explanations: scores of explainers, tables and plot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hf_adner.audit.measures import HEADLINE, HIGHER, LOWER, MEASURES, NEAR_ZERO, Measure, current_names
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.files import write_figure
from hf_adner.reporting import markdown_table, new_figure, plain

VERTICAL, HORIZONTAL = HEADLINE[:2]
"""Measures of the plot."""

MARKERS = "osD^v"
ARROWS = {HIGHER: " up", LOWER: " dn", NEAR_ZERO: " ~0"}
_DOTS_PER_INCH = 120
_VIEWING = ("discrimination", "stability")


@dataclass(frozen=True)
class ExplainerScores:
    """Scores of one explainer.

    Attributes:
        name: of the explainer.
        entities: number of explained entities, the first of the sample.
        estimates: name of a measure -> ``mean``, ``low``, ``high``, ``entities`` (`mean_over_entities`).
        values: name of a measure -> a number per entity, None where it has none; for paired comparisons.
        details: group -> figures without a value per entity.
        seconds: wall-clock time of explaining and measuring.
    """

    name: str
    entities: int
    estimates: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, Sequence[float | None]]
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def mean(self, measure: str) -> float | None:
        """Return the mean of a measure, None if it was not measured."""
        return self.estimates[measure]["mean"] if measure in self.estimates else None

    @property
    def coverage(self) -> float | None:
        """Share of (entity, view) pairs in which the model predicts the entity too; None if not measured."""
        viewing = [self.details[group]["coverage"] for group in _VIEWING if group in self.details]
        return viewing[0] if viewing else None

    def summary(self) -> dict[str, Any]:
        """Return entities, coverage and the estimate of each measure."""
        return {"entities": self.entities, "coverage": self.coverage, **self.estimates}

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain dictionaries and numbers (None for NaN), ready for JSON."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ExplainerScores:
        """Create scores from a result of `to_dict`, also one whose measures have former names."""
        renamed = {name: current_names(content[name]) for name in ("estimates", "values")}
        return cls(**{**content, **renamed})


@dataclass(frozen=True)
class ExplanationReport:
    """Results of an audit of the explanations of one model on one set of documents.

    Attributes:
        explainers: name -> its scores.
        sample: ``documents``, ``gold`` entities, ``found`` gold entities, ``coverage`` = found / gold, explained
            ``entities``, and per explained entity its ``document`` (numbered in order of appearance). Its key in
            `to_dict` is ``population``.
        model: figures that do not depend on an explainer: ``calibration`` (`CalibrationReport.to_dict`),
            ``boundary_sensitivity`` (`ModelResponses.boundary_sensitivity`).
        settings: settings of the audit; `families` are the names of those used.
    """

    explainers: Mapping[str, ExplainerScores]
    sample: Mapping[str, Any]
    model: Mapping[str, Any]
    settings: Mapping[str, Any]

    def to_dict(self, full: bool = False) -> dict[str, Any]:
        """Return plain dictionaries and numbers (None for NaN), ready for JSON.

        Args:
            full: include all fields of each explainer, with the values per entity, instead of its summary.
        """
        scores = {name: part.to_dict() if full else part.summary() for name, part in self.explainers.items()}
        parts = {"population": self.sample, "model": self.model, "settings": self.settings}
        return plain({"explainers": scores, **parts})

    def to_markdown(self) -> str:
        """Return the sample, a table per group of measures, and the figures of the model as Markdown.

        A table has a row per explainer with a value of the group. If controls were measured, a sentence says which
        measures they lead.
        """
        parts = [self._head(), *(_group_table(group, list(self.explainers.values())) for group in self._groups())]
        controls = self._controls_sentence()
        return "\n\n".join([*parts, *([controls] if controls else []), *self._model_tables()]) + "\n"

    def won_by_controls(self) -> dict[str, str]:
        """Return measure -> control with the best mean of all explainers, for measures that a control leads.

        Controls ignore the model (`hf_adner.explain.controls`): where one leads, the measure does not say which
        explainer is better. A control that is as good as the best explainer leads, too. Empty without controls, or with
        nothing else.
        """
        leaders = {measure.name: self._leading_control(measure) for measure in MEASURES if measure.better}
        return {name: control for name, control in leaders.items() if control is not None}

    def _leading_control(self, measure: Measure) -> str | None:
        means = {name: scores.mean(measure.name) for name, scores in self.explainers.items()}
        gains = {name: _gain(mean, measure.better) for name, mean in means.items() if mean is not None}
        controls = [name for name in gains if name in CONTROL_EXPLAINERS]
        explained = [gain for name, gain in gains.items() if name not in CONTROL_EXPLAINERS]
        if not controls or not explained:
            return None
        best = max(controls, key=gains.__getitem__)
        return best if gains[best] >= max(explained) else None

    def _controls_sentence(self) -> str | None:
        """Say which measures a control leads; None if no control was measured beside an explainer."""
        controls = [name for name in self.explainers if name in CONTROL_EXPLAINERS]
        if not controls or len(controls) == len(self.explainers):
            return None
        titles = {measure.name: measure.title for measure in MEASURES}
        led = [f"{titles[name]} ({control})" for name, control in self.won_by_controls().items()]
        return (
            f"Controls ({', '.join(controls)}) ignore the model. A measure that one of them leads does not say which "
            f"explainer is better: {', '.join(led) if led else 'here none'}."
        )

    def plot(self, path: str | os.PathLike[str], horizontal: str = HORIZONTAL) -> None:
        """Draw discriminative faithfulness against another measure, a point per explainer; see `plot_explainers`."""
        plot_explainers(self, path, horizontal)

    def _groups(self) -> Iterator[str]:
        scores = list(self.explainers.values())
        yield from dict.fromkeys(measure.group for measure in MEASURES if _is_measured(measure, scores))

    def _head(self) -> str:
        sample = self.sample
        families = ", ".join(self.settings["families"])
        return (
            f"{sample['entities']:,} entities of {len(set(sample['document'])):,} documents were explained; the model "
            f"finds {sample['found']:,} of the {sample['gold']:,} gold entities of all {sample['documents']:,} "
            f"documents (coverage {sample['coverage']:.4f}). Views: {self.settings['views']} each of {families}. "
            f"Intervals: {100 * self.settings['level']:g} %, documents resampled."
        )

    def _model_tables(self) -> list[str]:
        tables = []
        if "calibration" in self.model:
            calibration = self.model["calibration"]
            names = ("entities", "coverage", "accuracy", "mean_confidence", "ece", "brier", "aurc", "best_aurc")
            tables.append(
                markdown_table(("entity calibration", "value"), [(name, calibration[name]) for name in names])
            )
        if "boundary_sensitivity" in self.model:
            rows = self.model["boundary_sensitivity"].items()
            tables.append(markdown_table(("boundary sensitivity of the model", "value"), rows))
        return tables


def _group_table(group: str, scores: Sequence[ExplainerScores]) -> str:
    measures = [measure for measure in MEASURES if measure.group == group and _is_measured(measure, scores)]
    heads = [group, "entities", *(f"{measure.title}{ARROWS.get(measure.better, '')}" for measure in measures)]
    heads += ["coverage"] if group in _VIEWING else []
    return markdown_table(heads, [_row(part, group, measures) for part in scores if _has_any(part, measures)])


def _gain(mean: float, better: str) -> float:
    """Turn a mean so that more is better."""
    return -abs(mean) if better == NEAR_ZERO else -mean if better == LOWER else mean


def _has_any(scores: ExplainerScores, measures: Sequence[Measure]) -> bool:
    return any(scores.mean(measure.name) is not None for measure in measures)


def _is_measured(measure: Measure, scores: Sequence[ExplainerScores]) -> bool:
    """Return whether any entity of any explainer has a value."""
    return any(part.mean(measure.name) is not None for part in scores)


def _row(scores: ExplainerScores, group: str, measures: Sequence[Measure]) -> list[Any]:
    cells: list[Any] = [scores.name, scores.entities]
    cells += [with_interval(scores.estimates.get(measure.name)) for measure in measures]
    return [*cells, scores.coverage] if group in _VIEWING else cells


def with_interval(estimate: Mapping[str, Any] | None) -> str | None:
    """Format an estimate as ``0.123 [0.110, 0.140]``; None without a value."""
    if estimate is None or estimate["mean"] is None:
        return None
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def check_plotted(groups: Iterable[str]) -> None:
    """Check that the measured groups have what `plot_explainers` draws by default; for use before measuring.

    Raises:
        ValueError: a group is missing.
    """
    needed = [measure.group for measure in MEASURES if measure.name in (VERTICAL, HORIZONTAL)]
    if missing := [group for group in dict.fromkeys(needed) if group not in set(groups)]:
        raise ValueError(f"the plot (--plot) needs the groups {' and '.join(needed)}; --groups lacks {missing[0]}")


def plot_explainers(report: ExplanationReport, path: str | os.PathLike[str], horizontal: str = HORIZONTAL) -> None:
    """Draw discriminative faithfulness (vertical) against another measure (horizontal), with intervals.

    Better is up and to the right: the axis of a measure of which lower is better is inverted. Controls are hollow.

    Args:
        report: with both measured.
        path: PNG, SVG or PDF by the suffix.
        horizontal: name of a measure.

    Raises:
        ValueError: an unknown measure, no explainer for which both were measured, or a suffix that matplotlib cannot
            write.
    """
    measure = next((measure for measure in MEASURES if measure.name == horizontal), None)
    if measure is None:
        raise ValueError(f"no measure {horizontal!r}; expected one of {[measure.name for measure in MEASURES]}")
    points = {
        name: (scores.estimates[horizontal], scores.estimates[VERTICAL])
        for name, scores in report.explainers.items()
        if scores.mean(horizontal) is not None and scores.mean(VERTICAL) is not None
    }
    if not points:
        raise ValueError(f"no explainer has both {horizontal} and {VERTICAL}: measure their groups")
    figure = new_figure(9, 5.5)
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(points.items()):
        _draw_point(axes, name, x, y, f"C{number % 10}", MARKERS[number // 10 % len(MARKERS)])
    axes.set_xlabel(f"{measure.title} ({measure.better} is better)" if measure.better else measure.title)
    axes.set_ylabel("discriminative faithfulness (higher is better)")
    if measure.better == LOWER:
        axes.invert_xaxis()
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    write_figure(path, figure, _DOTS_PER_INCH)


def _draw_point(axes, name: str, horizontal: dict, vertical: dict, colour: str, marker: str) -> None:
    x, y = map(_error_bars, (horizontal, vertical))
    line = {"fmt": marker, "color": colour, "elinewidth": 0.8, "markersize": 6, "label": name}
    line |= {"markerfacecolor": "white"} if name in CONTROL_EXPLAINERS else {}
    axes.errorbar([horizontal["mean"]], [vertical["mean"]], xerr=x, yerr=y, **line)


def _error_bars(estimate: Mapping[str, Any]) -> list[list[float]]:
    """Return the lengths of the error bars, 0 on a side where the mean is outside its bootstrap interval."""
    sides = estimate["mean"] - estimate["low"], estimate["high"] - estimate["mean"]
    return [[max(0.0, length)] for length in sides]
