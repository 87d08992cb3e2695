"""Discriminative stability: explanations that stay put under perturbation and yet differ between entities.

Plain stability is won by an explanation that says the same of everything. Here the likeness of an entity's explanation
with that of its perturbed self is set against its likeness with other entities of its type, role by role: an
explanation that is constant, or a template of positions, scores zero.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER_ROW, ROW, WORD, NumberInputs, Numbers, as_vector, mean_or_nan, same_count
from .similarity import WIDTH, aligned, role_window, window_cosines

SUMMARY = "Likeness of explanations with their perturbed selves minus likeness with other entities of the same type."
INPUTS = """
Args:
    predictions: per entity a list of maps, one per perturbed view; None where it was not found again with its label.
    references: per entity the map of the original text, one number per character.
    spans: per entity its (start, end) in the original text.
    labels: per entity its type.
    alignments: per entity, per view the place of each original character in the view; optional.
    width: characters of context on either side (default 10).
Returns:
    discriminative_stability, within, between, entities, compared, pairs, kept, coverage, per_entity.
"""

BLOCK_ROWS = 512

Views = Sequence[Sequence[Numbers | None]]


def discriminative_stability(
    maps: Sequence[Numbers],
    views: Views,
    spans: Sequence[Sequence[int]],
    labels: Sequence[str],
    alignments: Sequence[Sequence[Sequence[int | None] | None] | None] | None = None,
    width: int = WIDTH,
) -> dict[str, Any]:
    """E cos(e(x), e(x')) - E cos(e(x), e(y)), y another entity of the type of x, over role windows.

    Both cosines are taken over `role_windows.role_window`s, so a constant explanation and one that depends on the role
    alone have both equal to 1 and score 0. Defined here (no earlier source known); higher is better, range [-1, 1] for
    maps of magnitudes (each cosine then lies in [0, 1]).

    Args:
        maps: per entity the map of its text, (L,).
        views: per entity the maps of its perturbed texts, (L',) each; `None` where it was not found again with its
            label.
        spans: per entity its `(start, end)` in its original text.
        labels: per entity its type.
        alignments: per entity and view as `similarity.aligned` takes it; `None` for views of unchanged length.
        width: characters of context on either side.

    Returns:
        `within` and `between`, the two means over the compared entities, and their difference
        `discriminative_stability` (NaN without any); an entity is compared if it has a kept view and its type another
        entity. `entities`, `compared`; `pairs`, `kept` and `coverage` = kept / pairs; `per_entity`, the differences,
        `None` where not compared (their interval from a bootstrap is a little narrow: they share entities).

    Raises:
        ValueError: columns of different lengths, a map that is no finite vector, an alignment that does not fit, an
            entity outside its text.
    """
    same_count(maps=maps, views=views, spans=spans, labels=labels, alignments=alignments)
    maps = [as_vector(values, f"maps[{index}]") for index, values in enumerate(maps)]
    windows, present = _stacked([role_window(values, span, width=width) for values, span in zip(maps, spans)], width)
    within = np.array(
        [
            _within(index, maps[index], views[index], spans[index], alignments[index] if alignments else None, width)
            for index in range(len(maps))
        ]
    )
    between = _between(windows, present, labels)
    kept = [sum(values is not None for values in entity) for entity in views]
    return _summary(within, between, kept, [len(entity) for entity in views])


def _summary(within: np.ndarray, between: np.ndarray, kept: list[int], views: list[int]) -> dict[str, Any]:
    difference = within - between
    compared = np.isfinite(difference)
    means = [mean_or_nan(values[compared]) for values in (difference, within, between)]
    return {
        **dict(zip(("discriminative_stability", "within", "between"), means)),
        "entities": len(views),
        "compared": int(compared.sum()),
        "pairs": sum(views),
        "kept": sum(kept),
        "coverage": sum(kept) / sum(views) if sum(views) else float("nan"),
        "per_entity": [float(value) if there else None for value, there in zip(difference, compared)],
    }


def _within(
    index: int, values: np.ndarray, views: Sequence, span: Sequence[int], alignments: Sequence | None, width: int
) -> float:
    """Mean cosine of one entity's window with those of its kept views, NaN without any."""
    same_count(**{f"views[{index}]": views, f"alignments[{index}]": alignments})
    rows = []
    for number, view in enumerate(views):
        if view is not None:
            alignment = None if alignments is None else alignments[number]
            other, there = aligned(values, view, alignment, f"maps[{index}]")
            rows.append(role_window(other, span, there, width))
    own = _stacked([role_window(values, span, width=width)], width)
    return mean_or_nan(window_cosines(*own, *_stacked(rows, width)))


def _between(windows: np.ndarray, present: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """(entities,) mean cosine of each window with the others of its label, NaN where there is no other."""
    members = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    between = np.full(len(labels), np.nan)
    for group in members.values():
        if len(group) > 1:
            between[group] = _mean_cosine_with_others(windows[group], present[group])
    return between


def _mean_cosine_with_others(windows: np.ndarray, present: np.ndarray) -> np.ndarray:
    sums = []
    for first in range(0, len(windows), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        cosines = window_cosines(windows[rows], present[rows], windows, present)  # (block, entities)
        own = np.arange(len(cosines))
        cosines[own, first + own] = 0.0
        sums.append(cosines.sum(axis=1))
    return np.concatenate(sums) / (len(windows) - 1)


def _stacked(rows: list[tuple[np.ndarray, np.ndarray]], width: int) -> tuple[np.ndarray, np.ndarray]:
    cells = 2 * width + 3
    windows = np.array([values for values, _ in rows]).reshape(len(rows), cells)
    return windows, np.array([there for _, there in rows], dtype=bool).reshape(len(rows), cells)


class DiscriminativeStability(NumberInputs, evaluate.Metric):
    """`discriminative_stability` as an `evaluate.Metric`: maps of views as predictions, originals as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": [ROW], "references": ROW, "spans": INTEGER_ROW, "labels": WORD}

    def _compute(self, predictions, references, spans, labels, alignments=None, width=WIDTH) -> dict[str, Any]:
        return discriminative_stability(references, predictions, spans, labels, alignments, width)
