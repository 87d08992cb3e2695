"""The linear-chain CRF of a checkpoint in NumPy: best paths, marginals, posteriors of spans, as `AdnerCRF` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hf_adner.model.labels_adner import allowed_transitions

_WIDEST = 600.0
"""Spread of scores, in natural log, above which exponentials could vanish that still count."""


class Messages(NamedTuple):
    """Log messages of a batch, each (batch, length, states), up to a constant at each position."""

    forward: np.ndarray
    backward: np.ndarray

    def marginals(self) -> np.ndarray:
        """p(state at position), (batch, length, states)."""
        joint = self.forward + self.backward
        weights = np.exp(joint - joint.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)


class NumpyCrf:
    """Inference over padded batches, in natural logarithms and float64; what the tag scheme forbids has -inf.

    Emissions are (batch, length, states); `lengths` (batch,) says how much of each row counts, at least 1.

    Args:
        states: names of the states; they tell what may follow what.
        scores: `starts` (states,), `ends` (states,) and `transitions` (states, states), from row to column.

    Raises:
        ValueError: the scores do not fit the number of states.
    """

    def __init__(self, states: Sequence[str], scores: Mapping[str, Sequence]):
        allowed = allowed_transitions(states)._asdict()  # starts, ends, transitions
        for name, may in allowed.items():
            given = np.asarray(scores[name], dtype=np.float64)
            if given.shape != np.shape(may):
                raise ValueError(f"{name} of a CRF of {len(states)} states have shape {given.shape}")
            setattr(self, name, np.where(may, given, -np.inf))
        finite = self.transitions[np.isfinite(self.transitions)]
        self._top, self._spread = finite.max(), np.ptp(finite)
        self._weights = np.exp(self.transitions - self._top)

    def best_paths(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
        """The most probable states of each row, by Viterbi's algorithm."""
        score, came_from = self.starts + emissions[:, 0], []
        by_target = np.ascontiguousarray(self.transitions.T)  # (to, from)
        for place in range(1, emissions.shape[1]):
            arriving = score[:, None] + by_target  # (batch, to, from)
            back = arriving.argmax(-1)
            reached = np.take_along_axis(arriving, back[..., None], -1)[..., 0] + emissions[:, place]
            score = np.where((place < lengths)[:, None], reached, score)
            came_from.append(back)
        last = (score + self.ends).argmax(-1)
        return [
            _trace([back[row] for back in came_from[: length - 1]], last[row]) for row, length in enumerate(lengths)
        ]

    def messages(self, emissions: np.ndarray, lengths: np.ndarray) -> Messages:
        """Forward and backward recursions."""
        length, last = emissions.shape[1], np.asarray(lengths) - 1
        is_narrow = self._spread + np.ptp(emissions, axis=-1).max() < _WIDEST
        step = self._weighted if is_narrow else _log_sum
        forward, backward = np.empty(emissions.shape), np.empty(emissions.shape)
        forward[:, 0] = self.starts + emissions[:, 0]
        for place in range(1, length):
            forward[:, place] = step(forward[:, place - 1], self.transitions) + emissions[:, place]
        backward[:, -1] = self.ends
        for place in range(length - 2, -1, -1):
            leaving = step(emissions[:, place + 1] + backward[:, place + 1], self.transitions.T)
            backward[:, place] = np.where((place < last)[:, None], leaving, self.ends)
        return Messages(forward, backward)

    def _weighted(self, log_weights: np.ndarray, transitions: np.ndarray) -> np.ndarray:
        """`_log_sum` as a product of matrices, normalised; exact while no exponential vanishes."""
        weights = self._weights if transitions is self.transitions else self._weights.T
        with np.errstate(divide="ignore"):
            return np.log(np.exp(log_weights - log_weights.max(-1, keepdims=True)) @ weights)

    def span_log_posterior(
        self,
        emissions: np.ndarray,
        messages: tuple[np.ndarray, np.ndarray],
        start: int,
        states: Sequence[int],
        forbidden_next: Sequence[int] = (),
    ) -> float:
        """log p(these states from `start` on, and none of `forbidden_next` behind them), as `AdnerCRF` computes it.

        Args:
            emissions: of one row, (length, states), without padding.
            messages: forward and backward messages of that row, (length, states) each.
        """
        forward, backward = messages
        posterior = _normalised(forward[start] + backward[start])[states[0]]
        for place, (state, following) in enumerate(zip(states, states[1:]), start):
            posterior += self._next(emissions, backward, place, state)[following]
        last = start + len(states) - 1
        if forbidden_next and last + 1 < len(emissions):
            others = np.delete(self._next(emissions, backward, last, states[-1]), list(forbidden_next))
            posterior += np.logaddexp.reduce(others)
        return float(posterior)

    def _next(self, emissions: np.ndarray, backward: np.ndarray, place: int, state: int) -> np.ndarray:
        """log p(state at `place` + 1 | `state` at `place`), (states,)."""
        return _normalised(self.transitions[state] + emissions[place + 1] + backward[place + 1])


def _trace(came_from: Sequence[np.ndarray], last: int) -> list[int]:
    """The path that ends in `last`; `came_from` says for each further position and state which state was before."""
    path = [int(last)]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]


def _log_sum(log_weights: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Log of the summed weights of what leads to each state, (batch, states), up to a constant per row."""
    log_weights = log_weights - log_weights.max(-1, keepdims=True)
    return np.logaddexp.reduce(log_weights[:, :, None] + transitions, axis=1)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Log weights (states,) as log probabilities."""
    return log_weights - np.logaddexp.reduce(log_weights)
