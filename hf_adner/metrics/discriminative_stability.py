"""Discriminative stability: explanations that are stable under perturbation and yet differ between entities.

A constant explanation has perfect plain stability. Here the similarity of an entity's explanation before and after a
perturbation is compared with its similarity to other entities of its type, role by role: an explanation that is
constant, or a template of positions, scores zero.

It is no measure of quality. It rewards any map that depends on the characters, whether the model does or not: a hash of
each character scores above the explainers of real models. And it changes when all scores of a map are raised to a
power, which changes no ranking. Use `discriminative_faithfulness` to compare explainers.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER_ROW, ROW, STRING, Numbers, as_vector, mean_or_nan, metric, same_count
from .similarity import (
    WIDTH,
    aligned,
    contrast_summary,
    members_by_label,
    role_window,
    stacked_windows,
    window_cosines,
)

# Windows compared with all others at once.
BLOCK_ROWS = 512


def discriminative_stability(
    maps: Sequence[Numbers],
    views: Sequence[Sequence[Numbers | None]],
    spans: Sequence[Sequence[int]],
    labels: Sequence[str],
    alignments: Sequence[Sequence[Sequence[int | None] | None] | None] | None = None,
    width: int = WIDTH,
) -> dict[str, Any]:
    """Compute the similarity of explanations under perturbation minus that to other entities of the same type.

    That is E cos(e(x), e(x')) - E cos(e(x), e(y)), y another entity of the type of x. Both cosines are over
    `similarity.role_window`s, so they are both 1 for a constant explanation and for one that depends on the role alone,
    which score 0. Defined here (no earlier source known); higher is better, range [-1, 1] for maps of magnitudes (each
    cosine is then in [0, 1]).

    Args:
        maps: per entity the map of its text, (L,).
        views: per entity the maps of its perturbed texts, (L',) each; `None` where it was not predicted again with its
            label.
        spans: per entity its `(start, end)` in its original text.
        labels: per entity its type.
        alignments: per entity and view the position of each original character in the view (see `similarity.aligned`);
            `None` for views of unchanged length.
        width: context characters on either side.

    Returns:
        `within` and `between`, the two means over the compared entities, and their difference
        `discriminative_stability` (NaN without any); an entity is compared if it has a kept view and its type has
        another entity. `entities`, `compared`; `pairs`, `kept` and `coverage` = kept / pairs; `per_entity`, the
        differences, `None` where not compared (their bootstrap interval is slightly narrow: they share entities).

    Raises:
        ValueError: columns of different lengths, a map that is not a finite vector, an alignment that does not fit, an
            entity outside its text.
    """
    same_count(maps=maps, views=views, spans=spans, labels=labels, alignments=alignments)
    maps = [as_vector(values, f"maps[{index}]") for index, values in enumerate(maps)]
    windows, present = stacked_windows(
        [role_window(values, span, width=width) for values, span in zip(maps, spans)], width
    )
    within = np.array(
        [
            _within(index, maps[index], views[index], spans[index], alignments[index] if alignments else None, width)
            for index in range(len(maps))
        ]
    )
    between = _between(windows, present, labels)
    return contrast_summary(("discriminative_stability", "within", "between"), within, between, views)


@metric(
    discriminative_stability,
    predictions=("views", [ROW]),
    references=("maps", ROW),
    spans=INTEGER_ROW,
    labels=STRING,
)
class DiscriminativeStability(evaluate.Metric):
    """`discriminative_stability` as an `evaluate.Metric`: predictions are maps of views, references original maps."""


def _within(
    index: int, values: np.ndarray, views: Sequence, span: Sequence[int], alignments: Sequence | None, width: int
) -> float:
    """Return the mean cosine of an entity's window with those of its kept views, NaN without any."""
    same_count(**{f"views[{index}]": views, f"alignments[{index}]": alignments})
    rows = []
    for number, view in enumerate(views):
        if view is not None:
            alignment = None if alignments is None else alignments[number]
            view_values, view_present = aligned(values, view, alignment, f"maps[{index}]")
            rows.append(role_window(view_values, span, view_present, width))
    original = stacked_windows([role_window(values, span, width=width)], width)
    return mean_or_nan(window_cosines(*original, *stacked_windows(rows, width)))


def _between(windows: np.ndarray, present: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return (entities,) mean cosine of each window with the others of its label, NaN where there is no other."""
    between = np.full(len(labels), np.nan)
    for group in members_by_label(labels).values():
        if len(group) > 1:
            between[group] = _mean_cosine_with_others(windows[group], present[group])
    return between


def _mean_cosine_with_others(windows: np.ndarray, present: np.ndarray) -> np.ndarray:
    sums = []
    for first in range(0, len(windows), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        cosines = window_cosines(windows[rows], present[rows], windows, present)  # (block, entities)
        index = np.arange(len(cosines))
        cosines[index, first + index] = 0.0  # of a window with itself
        sums.append(cosines.sum(axis=1))
    return np.concatenate(sums) / (len(windows) - 1)
