"""Calibrated scores: monotone maps from posteriors to probabilities, kept in the configuration of a checkpoint.

A map is logistic in the log-odds of the posterior: 1 / (1 + exp(-(slope * logit(posterior) + intercept))), with a
positive slope. With the intercept 0 it is temperature scaling (Guo et al. 2017, section 4.2; the temperature is
1 / slope), with both parameters Platt scaling (Platt 1999). The posteriors themselves and `logits` stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .pipeline_inputs_adner import check_probability

SMALLEST = 1e-7
"""Posteriors are held this far from 0 and 1, about the spacing of float32 below 1: there the log-odds are infinite."""
REVIEW_THRESHOLD = 0.8
"""Default score below which entities are flagged: if the model is calibrated, one in five there is wrong."""


class ScoreMap(NamedTuple):
    """A logistic map of posteriors; the default leaves them as they are.

    Attributes:
        slope: positive and finite, so that the map rises and the order of scores stays.
        intercept: finite.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, posterior: float) -> float:
        """Return the calibrated score of a posterior, both in [0, 1]."""
        if self == UNCHANGED:
            return posterior
        return logistic(self.slope * log_odds(posterior) + self.intercept)


UNCHANGED = ScoreMap()


def log_odds(posterior: float) -> float:
    """Return log(p / (1 - p)) of a posterior held `SMALLEST` from 0 and 1."""
    held = min(max(posterior, SMALLEST), 1 - SMALLEST)
    return math.log(held) - math.log1p(-held)


def logistic(value: float) -> float:
    """Return 1 / (1 + exp(-value)), without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


@dataclass(frozen=True)
class Calibration:
    """The maps and thresholds of a checkpoint; the default is an uncalibrated one.

    Attributes:
        is_fitted: whether the checkpoint was calibrated.
        score: map of an entity's posterior, for labels without one of their own.
        labels: maps of single labels.
        start, end: maps of the marginals of an entity's boundaries.
        review_threshold: score below which an entity needs review; None: none was fitted.
        candidate_threshold: posterior above which a span with a label is a candidate; None: none was fitted.
    """

    is_fitted: bool = False
    score: ScoreMap = UNCHANGED
    labels: Mapping[str, ScoreMap] = field(default_factory=dict)
    start: ScoreMap = UNCHANGED
    end: ScoreMap = UNCHANGED
    review_threshold: float | None = None
    candidate_threshold: float | None = None

    @classmethod
    def from_config(cls, values: Mapping[str, Any] | None, entity_types: Sequence[str]) -> Calibration:
        """Read the field `calibration` of a configuration; keys that are not known are ignored.

        Args:
            values: the field, None for an uncalibrated checkpoint.
            entity_types: labels of the model.

        Raises:
            ValueError: a map or threshold that is out of range, or a map of an unknown label.
        """
        if values is None:
            return cls()
        labels = values.get("labels") or {}
        if not isinstance(labels, Mapping) or not set(labels) <= set(entity_types):
            raise ValueError(
                f"calibration.labels must map labels of {list(entity_types)} to maps, found {labels!r}; to give a "
                "checkpoint new labels, load it with calibration=None"
            )
        return cls(
            is_fitted=True,
            score=_map(values, "score"),
            labels={name: _map(labels, name) for name in labels},
            start=_map(values, "start"),
            end=_map(values, "end"),
            review_threshold=_threshold(values, "review_threshold"),
            candidate_threshold=_threshold(values, "candidate_threshold") or None,
        )

    def review_below(self, threshold: float | None = None) -> float:
        """Return the score below which an entity needs review.

        Args:
            threshold: in [0, 1]; None: that of the review budget, else `REVIEW_THRESHOLD`.

        Raises:
            ValueError: it is no such number.
        """
        fitted = REVIEW_THRESHOLD if self.review_threshold is None else self.review_threshold
        return check_probability(fitted if threshold is None else threshold, "review_threshold")

    def candidates_above(self, asked: bool | float | None, threshold: float = 0.0) -> float | None:
        """Return the posterior that candidates exceed, None if nobody asked for them.

        Args:
            asked: True for the threshold that was fitted, or one in (0, 1).
            threshold: score below which entities are dropped.

        Raises:
            ValueError: another value, True although no threshold was fitted, or a threshold that would drop candidates.
        """
        if asked is None or asked is False:
            return None
        if asked is not True and not (isinstance(asked, int | float) and 0 < asked < 1):
            raise ValueError(f"candidates must be True or a posterior in (0, 1), found {asked!r}")
        if asked is True and self.candidate_threshold is None:
            raise ValueError(
                "candidates=True needs a candidate threshold, which the checkpoint does not have: fit one with "
                "`adner calibrate --coverage`, or give a posterior, such as candidates=0.05"
            )
        if threshold > 0:
            raise ValueError(f"threshold={threshold:g} would drop candidates; give threshold or candidates, not both")
        return self.candidate_threshold if asked is True else float(asked)

    def calibrated(self, label: str, posterior: float, start: float, end: float) -> dict[str, float]:
        """Return `score`, `start_score` and `end_score` of an entity; of a calibrated checkpoint its `posterior` too.

        Args:
            label: of the entity.
            posterior: of its span and label, in [0, 1].
            start, end: marginals of its boundaries, in [0, 1].
        """
        scores = {
            "score": self.labels.get(label, self.score)(posterior),
            "start_score": self.start(start),
            "end_score": self.end(end),
        }
        return {**scores, "posterior": posterior} if self.is_fitted else scores


def _map(values: Mapping[str, Any], name: str) -> ScoreMap:
    parameters = values.get(name, {"slope": 1.0, "intercept": 0.0})
    try:
        slope, intercept = float(parameters["slope"]), float(parameters["intercept"])
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"calibration: {name} must have a slope and an intercept, found {parameters!r}") from None
    if not (0 < slope < math.inf and math.isfinite(intercept)):
        raise ValueError(f"calibration: {name} needs a positive slope and finite numbers, found {parameters!r}")
    return ScoreMap(slope, intercept)


def _threshold(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
        raise ValueError(f"calibration.{name} must be a number in [0, 1], found {value!r}")
    return value
