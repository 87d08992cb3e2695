"""A comparison as two pictures: differences with their intervals, and every seed of every arm."""

from __future__ import annotations

import os
from typing import Any

from hf_adner.data.writers.atomic import write_figure
from hf_adner.training.comparison_report import ComparisonReport

_DOTS_PER_INCH = 120
_COLOURS = {"win": "tab:green", "tie": "tab:gray", "loss": "tab:red"}


def plot_forest(report: ComparisonReport, path: str | os.PathLike[str]) -> None:
    """Draw the candidate's difference from every other arm: a line per cell, and a diamond for all cells together.

    Raises:
        ValueError: the candidate has no counterpart, or a suffix that matplotlib cannot write.
    """
    pooled = [one for one in report.pooled if one.first == report.candidate]
    if not pooled:
        raise ValueError(f"no record of arm {report.candidate!r} has one of another arm beside it")
    contrasts = [report.contrasts_between(one.first, one.second) for one in pooled]
    figure, panels = _panels([0.32 * len(own) + 1.8 for own in contrasts])
    for axes, one, own in zip(panels, pooled, contrasts, strict=True):
        for row, contrast in enumerate(own):
            _interval(axes, row, contrast.f1, _COLOURS[contrast.outcome], "o")
        _interval(axes, len(own), one.f1, "black", "D")
        names = [*(f"{contrast.corpus}, {contrast.model}" for contrast in own), "all"]
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{one.first} - {one.second}", fontsize="medium")
        axes.set_xlabel("points of F1")
    write_figure(path, figure, _DOTS_PER_INCH)


def plot_seeds(report: ComparisonReport, path: str | os.PathLike[str]) -> None:
    """Draw the F1 of every run: a panel per cell, a row per arm that it has, a dot per seed and a bar at the mean.

    Raises:
        ValueError: a suffix that matplotlib cannot write.
    """
    records = report.records
    figure, panels = _panels([0.3 * len(records.arms_of(cell)) + 1.4 for cell in records.cells])
    for axes, cell in zip(panels, records.cells, strict=True):
        arms = records.arms_of(cell)
        for row, arm in enumerate(arms):
            scores = [100 * record.f1() for record in records.of(cell, arm)]
            axes.plot(scores, [row] * len(scores), "o", color="tab:blue", alpha=0.6)
            axes.plot([sum(scores) / len(scores)], [row], "|", color="black", markersize=14)
        axes.set_yticks(range(len(arms)), arms)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_title(", ".join(cell), fontsize="medium")
        axes.set_xlabel("strict F1, %")
    write_figure(path, figure, _DOTS_PER_INCH)


def _panels(heights: list[float], columns: int = 3) -> tuple[Any, list[Any]]:
    """A figure with a panel per height, in inches; a row is as high as its highest panel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(heights))
    rows = [max(heights[first : first + columns]) for first in range(0, len(heights), columns)]
    figure = Figure(figsize=(5.2 * columns, sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": rows}).flat)
    for spare in panels[len(heights) :]:
        spare.set_visible(False)
    return figure, panels[: len(heights)]


def _interval(axes: Any, row: int, interval: Any, colour: str, marker: str) -> None:
    axes.plot([100 * interval.low, 100 * interval.high], [row, row], color=colour)
    axes.plot([100 * interval.difference], [row], marker, color=colour)
