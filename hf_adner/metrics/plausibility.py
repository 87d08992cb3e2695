"""Plausibility: does an explanation point at the cues that people, or the maker of a corpus, would point at?

In entity recognition the entity's own characters carry most of any attribution, and pointing at them is nearly free. So
every score comes with its lift over the explanation that is uniform inside the entity and zero outside, and with a
variant over the context alone.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import (
    INTEGER_ROW,
    ROW,
    NumberInputs,
    Numbers,
    Vector,
    as_flags,
    as_range,
    as_vector,
    mean_or_nan,
    same_count,
)
from .similarity import average_ranks, default_top, top_membership

SUMMARY = "AUPRC, token-F1@k and IOU-F1 of attribution maps against cue positions, lifts, and context-only variants."
INPUTS = """
Args:
    predictions: per entity its attribution map, one number per character.
    references: per entity the positions of its cue characters.
    spans: per entity its (start, end).
    k: how many characters count as pointed at (default max(3, a tenth of the text)).
Returns:
    all and context, each: auprc, token_f1, iou_f1, the lift of each (auprc_lift, ...), kept, coverage; entities.
"""

LEAST_OVERLAP = 0.5
SCORES = ("auprc", "token_f1", "iou_f1")


def plausibility(
    maps: Sequence[Numbers],
    cues: Sequence[Sequence[int]],
    spans: Sequence[Sequence[int]],
    k: int | None = None,
) -> dict[str, Any]:
    """Agreement of maps with cue positions, over all characters and over the context alone.

    Args:
        maps: per entity its map, (L,): importance, so magnitudes or only positive evidence.
        cues: per entity the positions of the characters that are its cues.
        spans: per entity `(start, end)`, `end` exclusive.
        k: how many characters are pointed at; `similarity.default_top` of those considered by default.

    Returns:
        `all` and `context` (the entity's characters taken out of map and cues), each with the means of `auprc`
        (`average_precision`), `token_f1` (`token_f1_at_k`) and `iou_f1`, in [0, 1], higher is better; `auprc_lift`,
        `token_f1_lift`, `iou_f1_lift`, the difference to the explanation that is uniform inside the entity (in the
        context: to a constant one), in [-1, 1]; `kept`, the entities that have a cue there, over which the means are
        (NaN without any), and `coverage`. `entities`.

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
                own = _scores(values, positive, where, k)
                rows[name].append([*own, *(own - _scores(inside.astype(float), positive, where, k))])
    return {**{name: _means(scores, count) for name, scores in rows.items()}, "entities": count}


def cue_flags(cues: Sequence[int], length: int, name: str = "cues") -> np.ndarray:
    """(length,) booleans, true at the cue positions.

    Raises:
        ValueError: a position is not a whole number inside the text.
    """
    places = as_vector(cues, name)
    outside = int(np.sum((places < 0) | (places >= length) | (places % 1 != 0)))
    if outside:
        raise ValueError(f"{name} must be positions in a text of {length} characters, found {outside} that are not")
    flags = np.zeros(length, dtype=bool)
    flags[places.astype(np.intp)] = True
    return flags


def average_precision(values: Numbers, positive: Numbers) -> float:
    """Area under the precision-recall curve: sum over thresholds of (R_n - R_{n-1}) P_n, without interpolation.

    Tied values are one threshold, so their order does not matter. Range [0, 1], higher is better; a constant map scores
    the share of positives.

    Raises:
        ValueError: no positive, or not vectors of one length.
    """
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    _, group, sizes = np.unique(-values, return_inverse=True, return_counts=True)
    found = np.bincount(group, weights=positive)  # (thresholds,) from the highest value down
    precision = np.cumsum(found) / np.cumsum(sizes)
    return float(precision @ found / positive.sum())


def token_f1_at_k(values: Numbers, positive: Numbers, k: int | None = None) -> float:
    """F1 of the `k` most important characters against the positives, `similarity.default_top` of them by default.

    Tied values at the edge belong to the top by equal parts. Range [0, 1], higher is better; 1 can be reached only
    where k is the number of positives.

    Raises:
        ValueError: `k` below 1, no positive, or not vectors of one length.
    """
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    top = _top(values.size, k)
    return float(2 * top_membership(values, [top])[0] @ positive / (top + positive.sum()))


def iou_f1(values: Numbers, positive: Numbers, k: int | None = None, least_overlap: float = LEAST_OVERLAP) -> float:
    """F1 over runs: a run of important characters is right if its IOU with a run of positives is at least one half.

    Runs are of neighbouring characters among the `k` most important and among the positives (DeYoung et al., ACL
    2020: matched runs over all pointed at, and over all positive ones). A run needs definite members, so values tied at
    the edge of the top belong to it all or not at all, whichever keeps it within `k`; a constant map points at nothing.
    Range [0, 1], higher is better.

    Raises:
        ValueError: `k` below 1, no positive, or not vectors of one length.
    """
    values = as_vector(values, "values")
    positive = _positives(positive, values.size)
    pointed = _runs(top_membership(values, [_top(values.size, k)])[0] >= 1)
    wanted = _runs(positive)
    if not len(pointed):
        return 0.0
    shared = np.minimum(pointed[:, None, 1], wanted[:, 1]) - np.maximum(pointed[:, None, 0], wanted[:, 0])
    sizes = (pointed[:, 1] - pointed[:, 0])[:, None] + (wanted[:, 1] - wanted[:, 0])
    right = shared / (sizes - shared) >= least_overlap  # (pointed, wanted); no overlap makes shared negative
    precision, recall = right.any(axis=1).mean(), right.any(axis=0).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _scores(values: Vector, positive: np.ndarray, where: np.ndarray, k: int | None) -> np.ndarray:
    """(3,) the scores over the characters in `where`; runs stay those of the text, so nothing joins across a gap."""
    ranked, flags = values[where], positive[where]
    pointed = np.where(where, average_ranks(values), 0.0)  # ranks begin at 1: the others come last
    runs = iou_f1(pointed, positive & where, _top(ranked.size, k))
    return np.array([average_precision(ranked, flags), token_f1_at_k(ranked, flags, k), runs])


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


def _top(size: int, k: int | None) -> int:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, found {k}")
    return default_top(size) if k is None else min(k, size)


def _runs(flags: np.ndarray) -> np.ndarray:
    """(runs, 2) start and end, exclusive, of the runs of true values."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


class Plausibility(NumberInputs, evaluate.Metric):
    """`plausibility` as an `evaluate.Metric`: maps as predictions, cue positions as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": INTEGER_ROW, "spans": INTEGER_ROW}

    def _compute(self, predictions, references, spans, k=None) -> dict[str, Any]:
        return plausibility(predictions, references, spans, k)
