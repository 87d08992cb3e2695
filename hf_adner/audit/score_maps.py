"""Fitting of score maps (temperature, Platt) to development documents, and their choice by cross-validation.

What is tried: one temperature for all entities, Platt's two parameters for all, and these two again with maps of their
own for labels with enough entities. The least cross-validated log loss wins; the posteriors stay as they are unless it
is lower than theirs by more than one standard error, since a smaller gain is noise. Folds and errors are of whole
documents, since the entities of one document are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hf_adner.model.calibration_adner import SMALLEST, UNCHANGED, ScoreMap

FOLDS = 10
LEAST_ENTITIES = 50
"""Entities of a label in the development documents from which on it may have a map of its own ..."""
LEAST_OF_EACH = 10
"""... if at least so many of them are right, and as many wrong."""
AS_IT_IS = "unchanged"
"""Name of the method that leaves posteriors as they are."""
_NEWTON_STEPS = 100
_TINY = 1e-9


class Outcome(NamedTuple):
    """A predicted entity of a development document.

    Attributes:
        document: number of the document.
        label: of the entity, "" where labels do not matter.
        posterior: in [0, 1].
        is_correct: whether it is a gold entity.
    """

    document: int
    label: str
    posterior: float
    is_correct: bool


class Outcomes(NamedTuple):
    """Predicted entities as columns, (entities,) each; see `Outcome`."""

    documents: np.ndarray
    labels: np.ndarray
    posteriors: np.ndarray
    correct: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Outcome]) -> Outcomes:
        """Return the columns of rows, at least one."""
        documents, labels, posteriors, correct = zip(*rows)
        return cls(np.array(documents), np.array(labels), np.array(posteriors, float), np.array(correct, bool))

    def where(self, chosen: np.ndarray) -> Outcomes:
        """Return the entities at true places of `chosen`, (entities,) booleans."""
        return Outcomes(*(column[chosen] for column in self))


@dataclass(frozen=True)
class FittedMaps:
    """Score maps that were fitted together.

    Attributes:
        method: name of the method in `METHODS`, or `AS_IT_IS`.
        shared: map of labels without one of their own.
        labels: maps of single labels.
    """

    method: str = AS_IT_IS
    shared: ScoreMap = UNCHANGED
    labels: Mapping[str, ScoreMap] = field(default_factory=dict)

    def scores(self, outcomes: Outcomes) -> np.ndarray:
        """Return the calibrated score of each outcome, (entities,)."""
        scores = _mapped(self.shared, outcomes.posteriors)
        for label, own in self.labels.items():
            chosen = outcomes.labels == label
            scores[chosen] = _mapped(own, outcomes.posteriors[chosen])
        return scores


def _mapped(by: ScoreMap, posteriors: np.ndarray) -> np.ndarray:
    if by == UNCHANGED:
        return posteriors.copy()
    return _sigmoid(by.slope * _log_odds(posteriors) + by.intercept)


def fit_temperature(outcomes: Outcomes) -> ScoreMap | None:
    """Fit the slope that minimises the log loss, with the intercept 0; None if no positive slope does.

    Outcomes count with Platt's targets, see `fit_platt`.
    """
    slope = _minimise(_columns(outcomes)[:, :1], _targets(outcomes), np.ones(1))[0]
    return ScoreMap(float(slope)) if slope > _TINY else None


def fit_platt(outcomes: Outcomes) -> ScoreMap | None:
    """Fit slope and intercept that minimise the log loss (Platt 1999); None if the best slope is not positive.

    In place of 1 and 0 the targets are (r + 1) / (r + 2) and 1 / (w + 2) for r right and w wrong entities, as there: so
    parameters stay finite where all entities, or all above a posterior, are right.
    """
    slope, intercept = _minimise(_columns(outcomes), _targets(outcomes), np.array([1.0, 0.0]))
    return ScoreMap(float(slope), float(intercept)) if slope > _TINY else None


def _columns(outcomes: Outcomes) -> np.ndarray:
    values = _log_odds(outcomes.posteriors)
    return np.stack((values, np.ones_like(values)), 1)  # (entities, 2)


def _log_odds(posteriors: np.ndarray) -> np.ndarray:
    """Return `log_odds` of each."""
    held = np.clip(posteriors, SMALLEST, 1 - SMALLEST)
    return np.log(held) - np.log1p(-held)


def _targets(outcomes: Outcomes) -> np.ndarray:
    right, wrong = outcomes.correct.sum(), (~outcomes.correct).sum()
    return np.where(outcomes.correct, (right + 1) / (right + 2), 1 / (wrong + 2))


def _minimise(columns: np.ndarray, targets: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the parameters of least log loss by Newton's method with halved steps; the loss is convex."""
    parameters, loss = start, _loss(columns @ start, targets)
    for _ in range(_NEWTON_STEPS):
        scores = _sigmoid(columns @ parameters)
        gradient = columns.T @ (scores - targets)
        curvature = (columns * (scores * (1 - scores))[:, None]).T @ columns + _TINY * np.eye(len(start))
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > _TINY and _loss(columns @ (parameters - size * step), targets) > loss:
            size /= 2
        parameters = parameters - size * step
        before, loss = loss, _loss(columns @ parameters, targets)
        if before - loss < _TINY * max(1.0, before):
            break
    return parameters


def _loss(values: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0, values) - targets * values).sum())


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values))


Fit = Callable[[Outcomes], ScoreMap | None]

METHODS: dict[str, tuple[Fit, bool]] = {
    "temperature": (fit_temperature, False),
    "Platt": (fit_platt, False),
    "temperature per label": (fit_temperature, True),
    "Platt per label": (fit_platt, True),
}
"""Name -> how one map is fitted, and whether labels with enough entities get maps of their own."""


def fit_maps(method: str, outcomes: Outcomes) -> FittedMaps | None:
    """Fit the maps of a method; None if the shared map has no positive slope.

    Args:
        method: a name of `METHODS`, or `AS_IT_IS`.
        outcomes: at least one.
    """
    if method == AS_IT_IS:
        return FittedMaps()
    fit, by_label = METHODS[method]
    shared = fit(outcomes)
    if shared is None:
        return None
    labels = labels_of_own(outcomes) if by_label else []
    own = {label: fit(outcomes.where(outcomes.labels == label)) for label in labels}
    return FittedMaps(method, shared, {label: found for label, found in own.items() if found is not None})


def labels_of_own(outcomes: Outcomes) -> list[str]:
    """Return the labels with enough entities for maps of their own, sorted: `LEAST_ENTITIES` and `LEAST_OF_EACH`."""
    labels, index = np.unique(outcomes.labels, return_inverse=True)
    right = np.bincount(index, outcomes.correct, len(labels))
    wrong = np.bincount(index, ~outcomes.correct, len(labels))
    has_own = (right + wrong >= LEAST_ENTITIES) & (np.minimum(right, wrong) >= LEAST_OF_EACH)
    return labels[has_own].tolist()


def choose_maps(outcomes: Outcomes, methods: Sequence[str] = tuple(METHODS), seed: int = 0) -> FittedMaps:
    """Fit the method of least cross-validated log loss to all outcomes, if it is clearly better than no calibration.

    Args:
        outcomes: of three documents or more, so that there are some to hold out.
        methods: names of `METHODS`.
        seed: of the folds.
    """
    folds = fold_numbers(outcomes, seed)
    losses = {method: _held_out_losses(method, outcomes, folds) for method in (AS_IT_IS, *methods)}
    best = min(methods, key=lambda method: losses[method].sum())
    is_better = _is_clearly_less(losses[best], losses[AS_IT_IS])
    return fit_maps(best if is_better else AS_IT_IS, outcomes) or FittedMaps()


def _is_clearly_less(losses: np.ndarray, others: np.ndarray) -> bool:
    """Return whether losses per document, (documents,), are less in sum by more than a standard error of that sum."""
    gain = others - losses
    return bool(np.isfinite(gain).all() and gain.sum() > np.sqrt(len(gain)) * gain.std(ddof=1))


def _held_out_losses(method: str, outcomes: Outcomes, folds: np.ndarray) -> np.ndarray:
    """Return the summed log loss of each document by maps fitted without its fold; infinite if there are none."""
    documents, index = np.unique(outcomes.documents, return_inverse=True)
    scores = _held_out(outcomes, folds, lambda rest: fit_maps(method, rest))
    if scores is None:
        return np.full(len(documents), np.inf)
    return np.bincount(index, log_losses(scores, outcomes), len(documents))


def cross_validated_scores(outcomes: Outcomes, methods: Sequence[str] = tuple(METHODS), seed: int = 0) -> np.ndarray:
    """Return for each outcome its score by maps that were chosen and fitted without its fold, (entities,).

    Args:
        outcomes, methods, seed: as for `choose_maps`.
    """
    folds = fold_numbers(outcomes, seed)
    return _held_out(outcomes, folds, lambda rest: choose_maps(rest, methods, seed + 1))


def _held_out(outcomes: Outcomes, folds: np.ndarray, fit: Callable[[Outcomes], FittedMaps | None]) -> np.ndarray | None:
    scores = np.empty(len(folds))
    for fold in np.unique(folds):
        maps = fit(outcomes.where(folds != fold))
        if maps is None:
            return None
        scores[folds == fold] = maps.scores(outcomes.where(folds == fold))
    return scores


def fold_numbers(outcomes: Outcomes, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Return the fold of each outcome, (entities,): documents are dealt out at random, in a fold each if few."""
    documents, index = np.unique(outcomes.documents, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(documents))
    return (order % min(folds, len(documents)))[index]


def log_losses(scores: np.ndarray, outcomes: Outcomes) -> np.ndarray:
    """Return the log loss of each score, natural logarithm, (entities,); scores are held 1e-7 from 0 and 1."""
    right = np.where(outcomes.correct, scores, 1 - scores)
    return -np.log(np.clip(right, SMALLEST, 1.0))
