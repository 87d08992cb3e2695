"""From emissions to entities with their scores, without PyTorch: the CRF head and the softmax head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from hf_adner.hub.numpy_crf import NumpyCrf
from hf_adner.model.labels_adner import (
    bioes_to_bio,
    closes_entity,
    opens_entity,
    span_states,
    split_tag,
    tags_to_spans,
)


class ScoredEntity(NamedTuple):
    """An entity of a row; `score`, `start_score` and `end_score` are probabilities, as `AdnerPipeline` gives them."""

    start: int
    end: int
    label: str
    score: float
    start_score: float
    end_score: float


class NumpyHead(Protocol):
    """What reads emissions."""

    def entities(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[ScoredEntity]]:
        """Entities of the best path of each row, sorted by start.

        Args:
            emissions: (batch, length, states), padded.
            lengths: (batch,) how much of each row counts, at least 1.
        """


def make_head(record: Mapping[str, Any]) -> NumpyHead:
    """The head that a `decoder.json` tells of.

    Raises:
        ValueError: the CRF's scores do not fit its states.
    """
    if record["crf"] is None:
        return NumpySoftmaxHead(record["labels"])
    return NumpyCrfHead(record["states"], record["crf"])


class NumpyCrfHead:
    """Best path, exact posterior of each of its entities, marginals of their ends."""

    def __init__(self, states: Sequence[str], scores: Mapping[str, Sequence]):
        self.states = list(states)
        self.crf = NumpyCrf(states, scores)
        self._opens = np.array([opens_entity(state) for state in states])
        self._closes = np.array([closes_entity(state) for state in states])
        self._inside = np.array([split_tag(state)[0] == "I" for state in states])

    def entities(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[ScoredEntity]]:
        """See `NumpyHead`."""
        emissions = emissions.astype(np.float64)
        messages = self.crf.messages(emissions, lengths)
        marginals, paths = messages.marginals(), self.crf.best_paths(emissions, lengths)
        return [
            self._row(path, emissions[row, :length], [one[row, :length] for one in messages], marginals[row, :length])
            for row, (path, length) in enumerate(zip(paths, lengths))
        ]

    def _row(
        self, path: list[int], emissions: np.ndarray, messages: Sequence[np.ndarray], marginals: np.ndarray
    ) -> list[ScoredEntity]:
        starts, ends = self._boundaries(marginals)
        found = []
        for start, end, label in tags_to_spans(bioes_to_bio([self.states[state] for state in path])):
            wanted, forbidden = span_states(self.states, label, end - start)
            posterior = np.exp(self.crf.span_log_posterior(emissions, messages, start, wanted, forbidden))
            found.append(ScoredEntity(start, end, label, *_probabilities(posterior, starts[start], ends[end - 1])))
        return found

    def _boundaries(self, marginals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability that an entity starts (ends) at each position, (length,) each, of marginals (length, states)."""
        starts = marginals @ self._opens
        if self._closes.any():
            return starts, marginals @ self._closes
        inside = marginals @ self._inside  # BIO: an entity ends where no I- follows
        return starts, starts + inside - np.append(inside[1:], 0)


class NumpySoftmaxHead:
    """Arg-max path with stray I- read as B-; a score is the product of the tokens' probabilities."""

    def __init__(self, labels: Sequence[str]):
        self.labels = list(labels)
        parts = [split_tag(label) for label in labels]
        self._opens = np.array([prefix == "B" for prefix, _ in parts])
        self._named = np.array([bool(name) for _, name in parts])
        self._continues = np.array([[after == ("I", name) for after in parts] for _, name in parts], dtype=float)

    def entities(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[ScoredEntity]]:
        """See `NumpyHead`."""
        return [self._row(row[:length].astype(np.float64)) for row, length in zip(emissions, lengths)]

    def _row(self, emissions: np.ndarray) -> list[ScoredEntity]:
        log_probs = emissions - emissions.max(1, keepdims=True)
        log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
        spans = tags_to_spans([self.labels[label] for label in log_probs.argmax(1)])
        starts, ends = self._boundaries(np.exp(log_probs))
        found = []
        for start, end, label in spans:
            wanted, _ = span_states(self.labels, label, end - start)
            posterior = np.exp(log_probs[range(start, end), list(wanted)].sum())
            found.append(ScoredEntity(start, end, label, *_probabilities(posterior, starts[start], ends[end - 1])))
        return found

    def _boundaries(self, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        following = np.vstack([probs[1:], np.zeros_like(probs[:1])])  # (length, labels)
        ends = probs * (1 - following @ self._continues.T)
        return probs @ self._opens, ends @ self._named


def _probabilities(*values: float) -> list[float]:
    return [float(min(max(value, 0.0), 1.0)) for value in values]
