"""Plausibility: agreement of an explanation with the cues marked by people or by the generator of a corpus.

In entity recognition the entity's own characters have most of any attribution, so selecting them is trivial. Every
score is therefore reported with its lift over the explanation that is uniform inside the entity and zero outside, and
with a variant over the context alone.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import (
    INTEGER_ROW,
    ROW,
    Numbers,
    Vector,
    as_flags,
    as_range,
    as_vector,
    mean_or_nan,
    metric,
    same_count,
)
from .similarity import average_ranks, top_membership, top_size

LEAST_OVERLAP = 0.5
SCORES = ("average_precision", "auprc_trapezoid", "token_f1", "iou_f1")


def plausibility(
    maps: Sequence[Numbers],
    cues: Sequence[Sequence[int]],
    spans: Sequence[Sequence[int]],
    k: int | None = None,
) -> dict[str, Any]:
    """Compute the agreement of attribution maps with cue positions, its lifts and its variants in the context alone.

    The area under the precision-recall curve is given twice, because the two conventions differ by up to 0.25.

    Args:
        maps: per entity its map, (L,): importance, so magnitudes or only positive evidence.
        cues: per entity the positions of the characters that are its cues.
        spans: per entity `(start, end)`, `end` exclusive.
        k: number of characters that count as selected; by default `similarity.top_size` of those considered.

    Returns:
        `all` and `context` (without the entity's characters), each with the means of `average_precision`,
        `auprc_trapezoid` (as ERASER has it), `token_f1` (`token_f1_at_k`) and `iou_f1`, in [0, 1], higher is better;
        `average_precision_lift`, `auprc_trapezoid_lift`, `token_f1_lift`, `iou_f1_lift`, the difference to the
        explanation that is uniform inside the entity (in the context: to a constant one), in [-1, 1]; `kept`, the
        number of entities with a cue there, over which the means are taken (NaN without any), and `coverage` = kept /
        entities. `entities`.

    Raises:
        ValueError: columns of different lengths, a cue or entity outside its text, or numbers that are not finite.
    """
    count = same_count(maps=maps, cues=cues, spans=spans)
    rows: dict[str, list[list[float]]] = {"all": [], "context": []}
    for index in range(count):
        values = as_vector(maps[index], f"maps[{index}]")
        start, end = as_range(spans[index], values.size, f"spans[{index}]")
        positive = cue_flags(cues[index], values.size, f"cues[{index}]")
        inside = np.zeros(values.size, dtype=bool)
        inside[start:end] = True
        for name, where in (("all", np.ones(values.size, dtype=bool)), ("context", ~inside)):
            if positive[where].any():
                scores = _scores(values, positive, where, k)
                rows[name].append([*scores, *(scores - _scores(inside.astype(float), positive, where, k))])
    return {**{name: _means(scores, count) for name, scores in rows.items()}, "entities": count}


@metric(plausibility, predictions=("maps", ROW), references=("cues", INTEGER_ROW), spans=INTEGER_ROW)
class Plausibility(evaluate.Metric):
    """`plausibility` as an `evaluate.Metric`: predictions are attribution maps, references cue positions."""


def cue_flags(cues: Sequence[int], length: int, name: str = "cues") -> np.ndarray:
    """Return (length,) booleans, true at the cue positions.

    Raises:
        ValueError: a position is not a whole number inside the text.
    """
    positions = as_vector(cues, name)
    outside = int(np.sum((positions < 0) | (positions >= length) | (positions % 1 != 0)))
    if outside:
        raise ValueError(f"{name} must be positions in a text of {length} characters, found {outside} that are not")
    flags = np.zeros(length, dtype=bool)
    flags[positions.astype(np.intp)] = True
    return flags


def average_precision(values: Numbers, positive: Numbers) -> float:
    """Compute the area under the precision-recall curve: sum over thresholds of (R_n - R_{n-1}) P_n, not interpolated.

    This is scikit-learn's `average_precision_score`. Tied values share a threshold, so their order does not matter.
    Range [0, 1], higher is better; a constant map scores the share of positives.

    Raises:
        ValueError: no positive, or not vectors of one length.
    """
    precision, recall = _curve(values, positive)
    return float(precision[1:] @ np.diff(recall))


def auprc_trapezoid(values: Numbers, positive: Numbers) -> float:
    """Compute the area under the precision-recall curve by trapezoids, from precision 1 at recall 0.

    This is scikit-learn's `auc` of its `precision_recall_curve`, which ERASER (DeYoung et al., ACL 2020) reports. It
    interpolates between thresholds and so is too high where values are tied: a constant map scores (1 + share of
    positives) / 2. Otherwise as `average_precision`.

    Raises:
        ValueError: no positive, or not vectors of one length.
    """
    precision, recall = _curve(values, positive)
    return float((precision[1:] + precision[:-1]) @ np.diff(recall) / 2)


def _curve(values: Numbers, positive: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall, (1 + thresholds,) each, from no character selected to all of them."""
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    _, group, sizes = np.unique(-values, return_inverse=True, return_counts=True)
    hits = np.cumsum(np.bincount(group, weights=positive))  # (thresholds,) from the highest value down
    return np.r_[1.0, hits / np.cumsum(sizes)], np.r_[0.0, hits / positive.sum()]


def token_f1_at_k(values: Numbers, positive: Numbers, k: int | None = None) -> float:
    """Compute the F1 of the `k` most important characters against the positives.

    `k` is `similarity.top_size` by default. Values tied at the edge of the top belong to it with equal shares. Range
    [0, 1], higher is better; 1 is possible only where k is the number of positives.

    Raises:
        ValueError: `k` below 1, no positive, or not vectors of one length.
    """
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    top = top_size(values.size, k)
    return float(2 * top_membership(values, [top])[0] @ positive / (top + positive.sum()))


def iou_f1(values: Numbers, positive: Numbers, k: int | None = None, least_overlap: float = LEAST_OVERLAP) -> float:
    """Compute the F1 over runs: a selected run is correct if its IOU with a run of positives is at least 0.5.

    Runs are maximal sequences of adjacent characters among the `k` most important (selected), and among the positives
    (DeYoung et al., ACL 2020: precision over selected runs, recall over positive runs). Values tied at the edge of the
    top are selected only if they all fit within `k`, so a constant map selects nothing. Range [0, 1], higher is better.

    Raises:
        ValueError: `k` below 1, no positive, or not vectors of one length.
    """
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    selected = _runs(top_membership(values, [top_size(values.size, k)])[0] >= 1)
    gold = _runs(positive)
    if not len(selected):
        return 0.0
    shared = np.minimum(selected[:, None, 1], gold[:, 1]) - np.maximum(selected[:, None, 0], gold[:, 0])
    sizes = (selected[:, 1] - selected[:, 0])[:, None] + (gold[:, 1] - gold[:, 0])
    matches = shared / (sizes - shared) >= least_overlap  # (selected, gold); shared is negative without overlap
    precision, recall = matches.any(axis=1).mean(), matches.any(axis=0).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _scores(values: Vector, positive: np.ndarray, where: np.ndarray, k: int | None) -> np.ndarray:
    """Return the (4,) `SCORES` over the characters in `where`; runs are those of the text, so none spans a gap."""
    used, flags = values[where], positive[where]
    ranks = np.where(where, average_ranks(values), 0.0)  # ranks begin at 1, so the other characters come last
    run_score = iou_f1(ranks, positive & where, top_size(used.size, k))
    areas = average_precision(used, flags), auprc_trapezoid(used, flags)
    return np.array([*areas, token_f1_at_k(used, flags, k), run_score])


def _means(rows: list[list[float]], count: int) -> dict[str, float]:
    columns = np.array(rows).reshape(-1, 2 * len(SCORES)).T
    names = [*SCORES, *(f"{name}_lift" for name in SCORES)]
    means = {name: mean_or_nan(column) for name, column in zip(names, columns)}
    return {**means, "kept": len(rows), "coverage": len(rows) / count if count else float("nan")}


def _positives(positive: Numbers, size: int) -> np.ndarray:
    flags = as_flags(positive, "positive", size)
    if not flags.any():
        raise ValueError(f"positive must mark at least one of {size} characters, found none")
    return flags


def _runs(flags: np.ndarray) -> np.ndarray:
    """Return (runs, 2) start and end, exclusive, of the runs of true values."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)
