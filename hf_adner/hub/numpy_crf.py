"""The linear-chain CRF of a checkpoint in NumPy: best path, marginals, posteriors of spans, as `AdnerCRF` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hf_adner.model.labels_adner import allowed_transitions

_Row = np.ndarray


class NumpyCrf:
    """Inference of one row at a time, in natural logarithms and float64; what the tag scheme forbids has -inf.

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

    def best_path(self, emissions: _Row) -> list[int]:
        """The most probable states of a row of emissions (length, states), by Viterbi's algorithm."""
        score, back = self.starts + emissions[0], []
        for emission in emissions[1:]:
            arriving = score[:, None] + self.transitions  # (from, to)
            back.append(arriving.argmax(0))
            score = arriving.max(0) + emission
        path = [int((score + self.ends).argmax())]
        for came_from in reversed(back):
            path.append(int(came_from[path[-1]]))
        return path[::-1]

    def log_messages(self, emissions: _Row) -> tuple[np.ndarray, np.ndarray]:
        """Forward and backward log messages, each (length, states), normalised at every position."""
        length = len(emissions)
        forward, backward = np.empty(emissions.shape), np.empty(emissions.shape)
        forward[0] = _normalised(self.starts + emissions[0])
        for place in range(1, length):
            arriving = _log_sum_exp(forward[place - 1][:, None] + self.transitions, axis=0)
            forward[place] = _normalised(arriving + emissions[place])
        backward[-1] = _normalised(self.ends)
        for place in range(length - 2, -1, -1):
            leaving = self.transitions + (emissions[place + 1] + backward[place + 1])
            backward[place] = _normalised(_log_sum_exp(leaving, axis=1))
        return forward, backward

    def span_log_posterior(
        self, emissions: _Row, messages: tuple, start: int, states: Sequence[int], forbidden_next: Sequence[int] = ()
    ) -> float:
        """log p(these states from `start` on, and none of `forbidden_next` behind them), as `AdnerCRF` computes it.

        Args:
            emissions: (length, states).
            messages: what `log_messages` says of them.
        """
        forward, backward = messages
        posterior = _normalised(forward[start] + backward[start])[states[0]]
        for place, (state, following) in enumerate(zip(states, states[1:]), start):
            posterior += self._next(emissions, backward, place, state)[following]
        last = start + len(states) - 1
        if forbidden_next and last + 1 < len(emissions):
            others = np.delete(self._next(emissions, backward, last, states[-1]), list(forbidden_next))
            posterior += _log_sum_exp(others, axis=0)
        return float(posterior)

    def _next(self, emissions: _Row, backward: np.ndarray, place: int, state: int) -> np.ndarray:
        """log p(state at `place` + 1 | `state` at `place`), (states,)."""
        return _normalised(self.transitions[state] + emissions[place + 1] + backward[place + 1])


def _log_sum_exp(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis)) + top.squeeze(axis)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Log weights (states,) as log probabilities."""
    return log_weights - _log_sum_exp(log_weights, axis=0)
