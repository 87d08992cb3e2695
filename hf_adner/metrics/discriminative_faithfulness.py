"""Discriminative faithfulness: explanations that rank characters as the model needs them, for this entity above others.

Most of any agreement between an explanation and the model's response is nearness to the entity, which a template of
positions has too. Here the agreement with the response of other entities of the type is taken off, role by role: an
explanation that is constant, or a template of positions, scores zero, and one that knows the characters but not the
model (a hash) has nothing to gain. Only ranks count, so that no monotone change of the scores changes the measure.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER_ROW, ROW, STRING, Numbers, as_vector, metric, same_count
from .similarity import (
    WIDTH,
    aligned,
    average_ranks,
    contrast_summary,
    members_by_label,
    role_window,
    stacked_windows,
    window_spearmans,
)


def discriminative_faithfulness(
    views: Sequence[Sequence[Numbers | None]],
    effects: Sequence[Numbers],
    spans: Sequence[Sequence[int]],
    labels: Sequence[str],
    alignments: Sequence[Sequence[Sequence[int | None] | None] | None] | None = None,
    width: int = WIDTH,
) -> dict[str, Any]:
    """Compute how much better explanations of perturbed texts fit their own entity's response than others' of the type.

    For an entity x and its perturbed texts x' that is the mean over x' of rho(e(x'), q(x)) - mean over y of
    rho(e(x'), q(y)), where y are the other entities of the type, e the explanation, q the measured effect of replacing
    each character, and rho the Spearman correlation over the slots that two `similarity.role_window`s share. Maps and
    effects enter as ranks within their text, before the middle of an entity is averaged: any strictly increasing change
    of them leaves every digit. Defined here (no earlier source known); higher is better, range [-2, 2].

    Args:
        views: per entity the maps of its perturbed texts, (L',) each, magnitudes; `None` where it was not predicted
            again with its label.
        effects: per entity the measured effect of replacing each character of its original text, (L,), magnitudes.
        spans: per entity its `(start, end)` in its original text.
        labels: per entity its type.
        alignments: per entity and view the position of each original character in the view (see `similarity.aligned`);
            `None` for views of unchanged length.
        width: context characters on either side.

    Returns:
        `own` and `others`, the mean correlations with the entity's own effects and with those of others, over the
        compared entities, and their difference `discriminative_faithfulness` (NaN without any); an entity is compared
        if it has a kept view and its type has another entity. `entities`, `compared`; `pairs`, `kept` and `coverage` =
        kept / pairs; `per_entity`, the differences, `None` where not compared (their bootstrap interval is slightly
        narrow: they share entities).

    Raises:
        ValueError: columns of different lengths, a map that is not a finite vector, an alignment that does not fit, an
            entity outside its text.
    """
    same_count(views=views, effects=effects, spans=spans, labels=labels, alignments=alignments)
    effects = [as_vector(values, f"effects[{index}]") for index, values in enumerate(effects)]
    ranked = [role_window(average_ranks(values), span, width=width) for values, span in zip(effects, spans)]
    responses = stacked_windows(ranked, width)
    maps = [
        stacked_windows(_view_windows(index, effects[index], views[index], span, alignments, width), width)
        for index, span in enumerate(spans)
    ]
    own, others = np.full((2, len(labels)), np.nan)
    for members in members_by_label(labels).values():
        for index in members if len(members) > 1 else ():
            if len(maps[index][0]):
                own[index], others[index] = _own_and_others(maps[index], responses, index, members)
    return contrast_summary(("discriminative_faithfulness", "own", "others"), own, others, views)


@metric(
    discriminative_faithfulness,
    predictions=("views", [ROW]),
    references=("effects", ROW),
    spans=INTEGER_ROW,
    labels=STRING,
)
class DiscriminativeFaithfulness(evaluate.Metric):
    """`discriminative_faithfulness` as an `evaluate.Metric`: predictions are maps of views, references effects."""


def _view_windows(
    index: int, effects: np.ndarray, views: Sequence, span: Sequence[int], alignments: Sequence | None, width: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the role windows of the ranks of an entity's kept views, laid on the characters of the original."""
    places = None if alignments is None else alignments[index]
    same_count(**{f"views[{index}]": views, f"alignments[{index}]": places})
    windows = []
    for number, view in enumerate(views):
        if view is not None:
            ranks = average_ranks(as_vector(view, f"views[{index}]"))
            values, present = aligned(effects, ranks, None if places is None else places[number], f"views[{index}]")
            windows.append(role_window(values, span, present, width))
    return windows


def _own_and_others(
    maps: tuple[np.ndarray, np.ndarray], responses: tuple[np.ndarray, np.ndarray], index: int, members: list[int]
) -> tuple[float, float]:
    """Return the mean correlation of an entity's views with its own response, and with those of the other members."""
    values, present = responses
    correlations = window_spearmans(*maps, values[members], present[members])  # (views, members)
    place = members.index(index)
    return float(correlations[:, place].mean()), float(np.delete(correlations, place, axis=1).mean())
