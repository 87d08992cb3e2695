"""Tag texts with an exported checkpoint: the network in ONNX Runtime, the decoding in NumPy.

The linear-chain CRF of a checkpoint in NumPy: best paths, marginals, posteriors of spans, as `AdnerCRF` has them.

From emissions to entities with their scores, without PyTorch: the CRF head and the softmax head.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from hf_adner.model.labels_adner import (
    allowed_transitions,
    bioes_to_bio,
    closes_entity,
    opens_entity,
    span_states,
    split_tag,
    tags_to_spans,
)
from hf_adner.model.pipeline_adner import DEFAULT_OVERLAP, DEFAULT_WINDOW
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.model.windows_adner import Window, merge_window_entities, prediction_windows
from hf_adner.serve.onnx_export import DECODER_FILE, DECODER_VERSION, GRAPH_FILE

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


_Piece = tuple[int, int, Window]
"""A window: number of its text, its own number there, its characters."""


class OnnxTagger:
    """The entities that `AdnerPipeline` finds, with the same scores, from a folder that `export_onnx` wrote.

    Args:
        folder: the export.
        threads: of ONNX Runtime's operators; 0 takes all cores.
        providers: of ONNX Runtime, in order of preference; None takes the CPU.

    Raises:
        FileNotFoundError: the folder is no export.
        ImportError: `onnxruntime` is not installed.
        ValueError: the export was written by a version with another layout.
    """

    def __init__(self, folder: str | Path, *, threads: int = 0, providers: Sequence[str] | None = None):
        record = _read_record(Path(folder) / DECODER_FILE)
        self.labels = record["labels"]
        self.head = make_head(record)
        self.window_size = record["longest_text"] or DEFAULT_WINDOW
        self.window_overlap = min(DEFAULT_OVERLAP, self.window_size // 2)
        self.tokenizer = AdnerTokenizer.from_pretrained(folder)
        self.session = _session(Path(folder) / GRAPH_FILE, threads, list(providers or ["CPUExecutionProvider"]))
        self._inputs = [given.name for given in self.session.get_inputs()]

    def __call__(
        self, texts: str | Iterable[str], *, batch_size: int = 16, threshold: float = 0.0
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Find the entities of one text or of many.

        Args:
            texts: of any length; longer ones than the network takes go through overlapping windows.
            batch_size: windows per run of the network.
            threshold: entities with a lower score are left out, in [0, 1].

        Returns:
            Per text a list of dictionaries, sorted by start: `entity_group`, `score`, `start_score`, `end_score`,
            `word`, `start`, `end`, as of `AdnerPipeline`.

        Raises:
            TypeError: something is no text.
        """
        if isinstance(texts, str):
            return self([texts], batch_size=batch_size, threshold=threshold)[0]
        texts = list(texts)
        wrong = next((index for index, text in enumerate(texts) if not isinstance(text, str)), None)
        if wrong is not None:
            raise TypeError(f"text {wrong} is {type(texts[wrong]).__name__}, expected str")
        windows = [prediction_windows(len(text), self.window_size, self.window_overlap) for text in texts]
        found: list[list[list[ScoredEntity]]] = [[[] for _ in ranges] for ranges in windows]
        for (text, number, window), entities in self._tagged(texts, windows, batch_size):
            found[text][number] = [
                one._replace(start=one.start + window.start, end=one.end + window.start) for one in entities
            ]
        merged = (merge_window_entities(ranges, lists) for ranges, lists in zip(windows, found))
        return [
            [_as_dictionary(text, entity) for entity in entities if entity.score >= threshold]
            for text, entities in zip(texts, merged)
        ]

    def emissions(self, characters: Sequence[str]) -> np.ndarray:
        """What the network says of texts, none empty or longer than it takes: (texts, longest text, states)."""
        inputs = self.tokenizer(list(characters), padding=True, padding_side="right", return_tensors="np")
        feed = {name: inputs[name].astype(np.int64) for name in self._inputs}
        return self.session.run(None, feed)[0]

    def _tagged(
        self, texts: Sequence[str], windows: Sequence[Sequence[Window]], batch_size: int
    ) -> Iterator[tuple[_Piece, list[ScoredEntity]]]:
        """Windows, those of like length together, with their entities."""
        pieces: list[_Piece] = [
            (text, number, window) for text, ranges in enumerate(windows) for number, window in enumerate(ranges)
        ]
        pieces.sort(key=lambda piece: piece[2].start - piece[2].end)
        for first in range(0, len(pieces), batch_size):
            batch = pieces[first : first + batch_size]
            characters = [texts[text][window.start : window.end] for text, _, window in batch]
            lengths = np.array([len(one) for one in characters])
            yield from zip(batch, self.head.entities(self.emissions(characters), lengths))


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} is no ONNX export: {path.name} is missing; `adner export` makes one")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["version"] != DECODER_VERSION:
        raise ValueError(f"{path} has version {record['version']}, expected {DECODER_VERSION}: export the model again")
    return record


def _session(path: Path, threads: int, providers: list[str]) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("an ONNX export needs onnxruntime: pip install 'hf_adner[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


def _as_dictionary(text: str, entity: ScoredEntity) -> dict[str, Any]:
    return {
        "entity_group": entity.label,
        "score": entity.score,
        "start_score": entity.start_score,
        "end_score": entity.end_score,
        "word": text[entity.start : entity.end],
        "start": entity.start,
        "end": entity.end,
    }
