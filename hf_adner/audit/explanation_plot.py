"""Stability against faithfulness, a point per explainer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hf_adner.audit.measurements.measurement import LOWER, MEASURES
from hf_adner.data.writers.atomic import write_figure

if TYPE_CHECKING:
    from hf_adner.audit.explanation_report import ExplanationReport

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
