"""Render the report of a comparison as Markdown and as plots."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from hf_adner.comparison.arms import CONTROL_ARMS
from hf_adner.comparison.contrasts import Contrast, Interval
from hf_adner.comparison.record import AGREEMENT, FAITHFULNESS, STABILITY, RunRecord
from hf_adner.comparison.report import (
    BOUNDARY_F1,
    UNSEEN_RECALL,
    ComparisonReport,
    Pooled,
    explanation_measures,
    held_out_families,
    run_figures,
)
from hf_adner.files import write_figure
from hf_adner.reporting import NOTHING, markdown_table, new_figure

_TITLES = {FAITHFULNESS: "DF", AGREEMENT: "BFArep", STABILITY: "stability"}


def report_markdown(report: ComparisonReport, level: int = 1) -> str:
    """Return the report as Markdown: its summary, then every cell.

    Args:
        report: figures.
        level: level of the first heading.
    """
    below = "#" * (level + 1)
    cells = (f"{below} {', '.join(cell)}\n\n{_cell_table(report, cell)}" for cell in report.records.cells)
    return "\n\n".join([summary_markdown(report, level).rstrip("\n"), *cells]) + "\n"


def summary_markdown(report: ComparisonReport, level: int = 1) -> str:
    """Return what holds over all cells as Markdown: runs, the candidate against all others, models, arms, explanations.

    Args:
        report: figures.
        level: level of the first heading.
    """
    mark, below = "#" * level, "#" * (level + 1)
    parts = [f"{mark} Comparison of arms", _head(report)]
    if report.between(report.candidate, report.baseline):
        parts += [f"{below} {report.candidate} against the others", _candidate_table(report), _claim(report)]
        parts += [f"{below} Models", _model_table(report)]
    parts += [f"{below} Arms", _arm_table(report)]
    if explanation_measures(report.runs):
        parts += [f"{below} Explanations", _explanation_table(report)]
    return "\n\n".join(parts) + "\n"


def _head(report: ComparisonReport) -> str:
    runs = report.runs
    corpora, models = (list(dict.fromkeys(column)) for column in zip(*report.records.cells))
    seeds = sorted({record.seed for record in runs})
    devices = ", ".join(sorted({record.device for record in runs}))
    return (
        f"{len(runs)} runs ({devices}); corpora: {', '.join(corpora)}; models: {', '.join(models)}; seeds: "
        f"{', '.join(map(str, seeds))}. F1 is strict entity micro F1 in percent, differences are in points. Arms of a "
        "cell share seeds, initial weights and the order of documents. Brackets: 95 % intervals of a paired bootstrap "
        f"({report.resamples:,} resamples of seeds, then documents); p: two-sided, of the same resamples; "
        "Holm: p corrected over all cells of the same two arms. Win, tie, loss: interval above, around, below zero; "
        "better, worse: corrected p of at most 0.05. ECE and AURC are in percent, lower is better. Time and memory: "
        "median ratio of training seconds and peak memory."
    )


def _candidate_table(report: ComparisonReport) -> str:
    heads = (
        f"{report.candidate} against", "mean difference", "ahead in", "win / tie / loss", "better / worse", "time",
        "memory",
    )  # fmt: skip
    rows = [
        (
            pooled.second,
            format_interval(pooled.f1),
            f"{pooled.ahead} of {pooled.cells}",
            f"{pooled.win} / {pooled.tie} / {pooled.loss}",
            f"{pooled.better} / {pooled.worse}",
            *_costs(pooled),
        )
        for pooled in report.pooled
        if pooled.first == report.candidate
    ]
    return markdown_table(heads, rows)


def _claim(report: ComparisonReport) -> str:
    """Say whether the candidate is better on average than the baseline and every control, as the claim requires."""
    rivals = [arm for arm in (report.baseline, *CONTROL_ARMS) if report.between(report.candidate, arm)]
    lost = [arm for arm in rivals if report.between(report.candidate, arm).f1.difference <= 0]
    unsure = [arm for arm in rivals if arm not in lost and report.between(report.candidate, arm).f1.low <= 0]
    missing = [arm for arm in CONTROL_ARMS if arm not in rivals and arm != report.candidate]
    sentences = [
        f"Claim rule: {report.candidate} has to be above {report.baseline}, {', '.join(CONTROL_ARMS)} on average. "
        + (f"It is not above {', '.join(lost)}." if lost else f"It is above {', '.join(rivals)}.")
    ]
    if unsure:
        sentences.append(f"The interval reaches zero against {', '.join(unsure)}.")
    if missing:
        sentences.append(f"Not run: {', '.join(missing)}.")
    return " ".join(sentences)


def _model_table(report: ComparisonReport) -> str:
    pair = report.candidate, report.baseline
    contrasts = report.contrasts_between(*pair)
    rows = []
    for model in dict.fromkeys(contrast.model for contrast in contrasts):
        own = [contrast for contrast in contrasts if contrast.model == model]
        outcomes = [contrast.outcome for contrast in own]
        mean = statistics.fmean(contrast.f1.difference for contrast in own)
        wins = " / ".join(str(outcomes.count(name)) for name in ("win", "tie", "loss"))
        rows.append((model, str(len(own)), wins, f"{100 * mean:+.2f}"))
    return markdown_table(("model", "corpora", "win / tie / loss", f"{' - '.join(pair)}"), rows)


def _arm_table(report: ComparisonReport) -> str:
    families = held_out_families(report.runs)
    perturbed = [f"F1, {family}" for family in families]
    heads = ["arm", "cells", "F1", f"- {report.baseline}", BOUNDARY_F1, *perturbed, UNSEEN_RECALL, "ECE"]
    rows = []
    for arm in report.records.arms:
        against = report.between(arm, report.baseline)
        ran = sum(arm in report.records.arms_of(cell) for cell in report.records.cells)
        cells = [ran, _percent(report, arm, "f1"), format_interval(against.f1) if against else None]
        names = (BOUNDARY_F1, *families, UNSEEN_RECALL, "ece", "aurc")
        cells += [_with_difference(report, arm, against, name) for name in names]
        rows.append((arm, *cells, *(_costs(against) if against else ("1.00x", "1.00x"))))
    return markdown_table([*heads, "AURC", "time", "memory"], rows)


def _explanation_table(report: ComparisonReport) -> str:
    explained = explanation_measures(report.runs)
    heads = ["arm", *(f"{explainer} {_TITLES[measure]}" for explainer, measure in explained)]
    rows = []
    for arm in report.records.arms:
        against = report.between(arm, report.baseline)
        names = [f"{explainer} {measure}" for explainer, measure in explained]
        rows.append((arm, *(_with_difference(report, arm, against, name, scale=1, digits=3) for name in names)))
    note = (
        "DF: discriminative faithfulness, BFArep: boundary-faithful agreement against random replacement, stability: "
        "mean cosine of the maps of a text and its perturbed views (1 for a constant map, so it counts only beside the "
        "others); higher is better. Explainers are those that training did not use. In brackets the difference "
        f"from {report.baseline} over the entities that both models find, paired runs resampled."
    )
    return f"{markdown_table(heads, rows)}\n\n{note}"


def _cell_table(report: ComparisonReport, cell: tuple[str, str]) -> str:
    heads = ("arm", "F1", "per seed", f"- {report.baseline}", "p", "Holm", "time", "memory")
    rows = []
    for arm in report.records.arms_of(cell):
        against = report.contrast(cell, arm, report.baseline)
        scores = [100 * record.f1() for record in report.records.of(cell, arm)]
        singles = " ".join(f"{score:.2f}" for score in scores)
        rows.append((arm, _mean_sd(scores), singles, *_contrast_cells(against)))
    documents = report.records.of(cell)[0].documents
    sizes = f"{documents['train']:,} training and {documents['test']:,} test documents."
    return f"{sizes}\n\n{markdown_table(heads, rows)}"


def _contrast_cells(against: Contrast | None) -> tuple[Any, ...]:
    if against is None:
        return None, None, None, "1.00x", "1.00x"
    decision = "" if against.decision == "none" else f" {against.decision}"
    return format_interval(against.f1), f"{against.p_value:.4f}", f"{against.adjusted:.4f}{decision}", *_costs(against)


def _costs(contrast: Contrast | Pooled) -> tuple[str, str]:
    return f"{contrast.seconds_ratio:.2f}x", f"{contrast.memory_ratio:.2f}x"


def _percent(report: ComparisonReport, arm: str, name: str) -> str:
    return _number(100 * report.records.mean(_measure(name), arm), 2)


def _with_difference(
    report: ComparisonReport, arm: str, against: Pooled | None, name: str, scale: float = 100, digits: int = 2
) -> str:
    """Format a mean figure and, in brackets, its difference from the baseline."""
    value = _number(scale * report.records.mean(_measure(name), arm), digits)
    difference = against.figures.get(name) if against else None
    return value if difference is None else f"{value} ({format_interval(difference, scale, digits)})"


def _measure(name: str) -> Callable[[RunRecord], float]:
    return lambda record: run_figures(record).get(name, math.nan)


def _number(value: float, digits: int) -> str:
    return NOTHING if math.isnan(value) else f"{value:.{digits}f}"


def _mean_sd(values: Iterable[float]) -> str:
    values = list(values)
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def format_interval(interval: Interval, scale: float = 100, digits: int = 2) -> str:
    """Format as ``+0.53 [+0.11, +0.94]``, or the difference alone if it has no interval."""
    if math.isnan(interval.low):
        return f"{scale * interval.difference:+.{digits}f}"
    difference, low, high = (
        f"{scale * value:+.{digits}f}" for value in (interval.difference, interval.low, interval.high)
    )
    return f"{difference} [{low}, {high}]"


_DOTS_PER_INCH = 120
_COLOURS = {"win": "tab:green", "tie": "tab:gray", "loss": "tab:red"}


def plot_forest(report: ComparisonReport, path: str | os.PathLike[str]) -> None:
    """Draw the candidate's difference from every other arm: an interval per cell, and a diamond for all cells together.

    Raises:
        ValueError: no other arm can be compared with the candidate, or matplotlib cannot write the suffix.
    """
    pooled = [contrast for contrast in report.pooled if contrast.first == report.candidate]
    if not pooled:
        raise ValueError(f"no other arm has records in the same cell and seed as arm {report.candidate!r}")
    contrasts = [report.contrasts_between(contrast.first, contrast.second) for contrast in pooled]
    figure, panels = _panels([0.32 * len(own) + 1.8 for own in contrasts])
    for axes, mean, own in zip(panels, pooled, contrasts, strict=True):
        for row, contrast in enumerate(own):
            _draw_interval(axes, row, contrast.f1, _COLOURS[contrast.outcome], "o")
        _draw_interval(axes, len(own), mean.f1, "black", "D")
        names = [*(f"{contrast.corpus}, {contrast.model}" for contrast in own), "all"]
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{mean.first} - {mean.second}", fontsize="medium")
        axes.set_xlabel("points of F1")
    write_figure(path, figure, _DOTS_PER_INCH)


def plot_seeds(report: ComparisonReport, path: str | os.PathLike[str]) -> None:
    """Draw the F1 of every run: a panel per cell, a row per arm, a dot per seed and a bar at the mean.

    Raises:
        ValueError: matplotlib cannot write the suffix.
    """
    records = report.records
    figure, panels = _panels([0.3 * len(records.arms_of(cell)) + 1.4 for cell in records.cells])
    for axes, cell in zip(panels, records.cells, strict=True):
        arms = records.arms_of(cell)
        for row, arm in enumerate(arms):
            scores = [100 * record.f1() for record in records.of(cell, arm)]
            axes.plot(scores, [row] * len(scores), "o", color="tab:blue", alpha=0.6)
            axes.plot([sum(scores) / len(scores)], [row], "|", color="black", markersize=14)
        axes.set_yticks(range(len(arms)), arms, parse_math=False)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_title(", ".join(cell), fontsize="medium", parse_math=False)
        axes.set_xlabel("strict F1, %")
    write_figure(path, figure, _DOTS_PER_INCH)


def _panels(heights: list[float], columns: int = 3) -> tuple[Any, list[Any]]:
    """Create a figure with a panel per height in inches; each row is as high as its highest panel."""
    columns = min(columns, len(heights))
    rows = [max(heights[first : first + columns]) for first in range(0, len(heights), columns)]
    figure = new_figure(5.2 * columns, sum(rows))
    panels = list(figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": rows}).flat)
    for spare in panels[len(heights) :]:
        spare.set_visible(False)
    return figure, panels[: len(heights)]


def _draw_interval(axes: Any, row: int, interval: Interval, colour: str, marker: str) -> None:
    axes.plot([100 * interval.low, 100 * interval.high], [row, row], color=colour)
    axes.plot([100 * interval.difference], [row], marker, color=colour)
