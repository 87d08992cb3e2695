"""The statistics of a corpus as a picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from hf_adner.data.statistics import CorpusStatistics
from hf_adner.data.writers.atomic import write_figure

_DOTS_PER_INCH = 120


def plot_statistics(statistics: CorpusStatistics, path: str | os.PathLike[str]) -> None:
    """Draw label mix, text lengths and entity lengths of every split side by side, as PNG, SVG or PDF by the suffix.

    Raises:
        ValueError: a suffix that matplotlib cannot write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    mix, texts, entities = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    _draw_labels(mix, statistics)
    _draw_lengths(texts, statistics, lambda split: split.text_lengths, "text length in characters", "documents")
    _draw_lengths(entities, statistics, lambda split: split.entity_lengths, "entity length in characters", "entities")
    texts.legend(frameon=False)
    write_figure(path, figure, _DOTS_PER_INCH)


def _draw_labels(axes, statistics: CorpusStatistics) -> None:
    totals: dict[str, int] = {}
    for split in statistics.splits.values():
        for label, count in split.labels.items():
            totals[label] = totals.get(label, 0) + count
    labels = sorted(totals, key=lambda label: totals[label])
    thickness = 0.8 / max(1, len(statistics.splits))
    for number, (name, split) in enumerate(statistics.splits.items()):
        shares = [100 * split.labels.get(label, 0) / max(1, split.entities) for label in labels]
        places = [row + 0.4 - (number + 0.5) * thickness for row in range(len(labels))]
        axes.barh(places, shares, height=thickness, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("share of the split's entities, %")
    axes.set_title("labels")


def _draw_lengths(
    axes, statistics: CorpusStatistics, lengths_of: Callable[..., Sequence[int]], title: str, unit: str
) -> None:
    for name, split in statistics.splits.items():
        ordered = lengths_of(split)
        if ordered:
            shares = [100 * (number + 1) / len(ordered) for number in range(len(ordered))]
            axes.step(ordered, shares, where="post", label=name)
    axes.set_xlabel(title)
    axes.set_ylabel(f"{unit} up to that length, %")
    if axes.lines:
        axes.set_xscale("log")
    axes.set_title(title.split(" in ")[0])
