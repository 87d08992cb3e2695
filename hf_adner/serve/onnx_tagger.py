"""Tag texts with an ONNX export: the network runs in an engine, the CRF or softmax head in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from hf_adner.model.assertion_adner import choose_rules
from hf_adner.model.calibration_adner import Calibration
from hf_adner.model.codes_adner import choose_codes
from hf_adner.model.constraints_adner import ConstraintReader
from hf_adner.model.heads_adner import LikelyEntity
from hf_adner.model.labels_adner import (
    allowed_transitions,
    bioes_to_bio,
    closes_entity,
    entity_types,
    opens_entity,
    span_states,
    split_tag,
    tags_to_spans,
)
from hf_adner.model.loading_adner import named_errors, read_json_object
from hf_adner.model.pipeline_adner import DEFAULT_OVERLAP, DEFAULT_WINDOW
from hf_adner.model.pipeline_inputs_adner import check_count, check_probability, texts_of
from hf_adner.model.pipeline_results_adner import entity_dictionary, finish_entities
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.model.windows_adner import (
    Window,
    length_batches,
    merge_by_label,
    merge_window_entities,
    prediction_windows,
    with_candidates,
)
from hf_adner.serve.onnx_engines import ONNX_RUNTIME, make_engine
from hf_adner.serve.onnx_export import (
    CALIBRATED_VERSION,
    DECODER_FILE,
    DECODER_VERSION,
    GRAPH_FILE,
    PER_LABEL_VERSION,
)
from hf_adner.serve.onnx_head import ExportedHead

_VERSIONS = (DECODER_VERSION, CALIBRATED_VERSION, PER_LABEL_VERSION)

_MAX_SPREAD = 600.0
"""Spread of scores, in natural log, above which exponentials that matter could underflow."""

_Row = tuple[int, int, Window]
"""Row of a batch: number of the text, number of the window in it, and the window."""


class OnnxTagger:
    """Find the same entities with the same scores as `AdnerPipeline`, from a folder written by `export_onnx`.

    Args:
        folder: the export.
        threads: threads of the engine's operators; 0 takes all cores.
        providers: execution providers of ONNX Runtime, in order of preference; None takes the CPU.
        engine: ``onnxruntime`` or ``openvino``; None takes that of the export (`adner export --engine`).
        precision: ``f32``, or with OpenVINO ``bf16`` on processors that have it, which moves scores.

    Raises:
        FileNotFoundError: the folder is not an export.
        ImportError: the engine is not installed.
        ValueError: the export was written by a version with another layout, or the engine lacks an option.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int = 0,
        providers: Sequence[str] | None = None,
        engine: str | None = None,
        precision: str = "f32",
    ):
        record = _read_record(Path(folder) / DECODER_FILE)
        with named_errors(str(Path(folder) / DECODER_FILE)):
            self.labels = record["labels"]
            self.head = make_head(record)
            self.exported = ExportedHead(record)
            self.calibration = Calibration.from_config(record.get("calibration"), entity_types(self.labels))
            self.window_size = check_count(record["longest_text"] or DEFAULT_WINDOW, "longest_text")
        self.window_overlap = min(DEFAULT_OVERLAP, self.window_size // 2)
        self.tokenizer = AdnerTokenizer.from_pretrained(folder)
        name = engine or record.get("engine", ONNX_RUNTIME)
        self.engine = make_engine(name, Path(folder) / GRAPH_FILE, threads, providers, precision)

    def __call__(
        self,
        texts: str | Iterable[str],
        *,
        batch_size: int = 16,
        threshold: float = 0.0,
        needs_review: bool = False,
        review_threshold: float | None = None,
        calibrated: bool = True,
        candidates: bool | float | None = None,
        assertion: Any = None,
        constraints: Any = None,
        codes: Any = None,
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Find the entities of one or more texts.

        Args:
            texts: texts of any length; long texts are split into overlapping windows.
            batch_size: as for `AdnerPipeline`.
            threshold: drop entities with a lower score, in [0, 1].
            needs_review, review_threshold, calibrated, candidates, assertion, constraints, codes: as for
                `AdnerPipeline`.

        Returns:
            Per text a list of dictionaries, sorted by start: `entity_group`, `score`, `start_score`, `end_score`,
            `word`, `start`, `end`, of a calibrated checkpoint `posterior`, and `needs_review`, `on_path`, `forced`,
            `assertion`, `assertion_cues`, `code`, `code_match`, `code_alternatives` if requested, as from
            `AdnerPipeline`.

        Raises:
            TypeError: an item is not a string.
            FileNotFoundError, ValueError: a table is missing or wrong, a parameter is out of range, or there is no
                threshold for `candidates`; see `AdnerPipeline`.
        """
        is_one = isinstance(texts, str)
        texts = [texts] if is_one else list(texts_of(texts))
        threshold = check_probability(threshold, "threshold")
        chosen = {
            "review_below": self.calibration.review_below(review_threshold) if needs_review else None,
            "constraints": self.exported.reader(constraints, self.tokenizer),
            "assertion": choose_rules(assertion, self.tokenizer),
            "codes": choose_codes(codes, self.tokenizer),
        }
        run = _Run(
            batch_size=check_count(batch_size, "batch_size"),
            reader=chosen["constraints"],
            least=self.calibration.candidates_above(candidates, threshold),
            calibration=self.calibration if calibrated else Calibration(),
        )
        tagged = finish_entities(texts, self._found(texts, run), threshold, **chosen)
        return tagged[0] if is_one else tagged

    def _found(self, texts: Sequence[str], run: _Run) -> list[list[dict[str, Any]]]:
        """Return the entities of each text, with its candidates if there is a least posterior for them."""
        windows = [self._windows(text, run.reader) for text in texts]
        path, likely = ([[[] for _ in ranges] for ranges in windows] for _ in range(2))
        for (text, number, window), *sides in self._tagged(texts, windows, run):
            for found, entities in zip((path, likely), sides):
                found[text][number] = [one.moved(window.start) for one in entities]
        found = []
        for text, ranges, lists, others in zip(texts, windows, path, likely):
            entities = [_as_dictionary(text, one, run.calibration) for one in self._merged(ranges, lists)]
            if run.least is not None:
                more = [[_as_dictionary(text, one, run.calibration) for one in own] for own in others]
                entities = with_candidates(entities, ranges, more)
            found.append(entities)
        return found

    def _windows(self, text: str, reader: ConstraintReader | None) -> list[Window]:
        if reader is None:
            return prediction_windows(len(text), self.window_size, self.window_overlap)
        return reader.windows(text, self.window_size, self.window_overlap)

    def emissions(self, characters: Sequence[str]) -> np.ndarray:
        """Run the network on texts, none empty or longer than `window_size`: (texts, longest text, states)."""
        inputs = self.tokenizer(list(characters), padding=True, padding_side="right", return_tensors="np")
        return self.engine.run({name: inputs[name].astype(np.int64) for name in self.engine.input_names})

    def _tagged(
        self,
        texts: Sequence[str],
        windows: Sequence[Sequence[Window]],
        run: _Run,
    ) -> Iterator[tuple[_Row, list[ScoredEntity], list[ScoredEntity]]]:
        """Yield windows with their entities and likely entities, batched by length."""
        rows: list[_Row] = [
            (text, number, window) for text, ranges in enumerate(windows) for number, window in enumerate(ranges)
        ]
        for numbers in length_batches([row[2].end - row[2].start for row in rows], run.batch_size):
            batch = [rows[number] for number in numbers]
            characters = [texts[text][window.start : window.end] for text, _, window in batch]
            lengths = np.array([len(text) for text in characters])
            emissions = self.emissions(characters)
            path, likely = self.head.entities(emissions, lengths), [[] for _ in batch]
            if run.least is not None:
                likely = [_scored(row) for row in self.exported.likely_entities(emissions, lengths, run.least)]
            if run.reader is not None:
                places = [(texts[text], window) for text, _, window in batch]
                conditioned = self.exported.conditioned(emissions, lengths, places, run.reader, run.least)
                for row, given in conditioned.items():
                    path[row], likely[row] = map(_scored, given)
            yield from zip(batch, path, likely)

    def _merged(self, ranges: list[Window], found: list[list[ScoredEntity]]) -> list[ScoredEntity]:
        if isinstance(self.head, NumpyPerLabelHead):
            return merge_by_label(ranges, found, lambda entity: entity.label)
        return merge_window_entities(ranges, found)


class _Run(NamedTuple):
    """Settings of a call: windows per batch, constraints, least posterior of candidates, and calibration."""

    batch_size: int
    reader: ConstraintReader | None
    least: float | None
    calibration: Calibration


def _as_dictionary(text: str, entity: ScoredEntity, by: Calibration) -> dict[str, Any]:
    probabilities = (entity.score, entity.start_score, entity.end_score)
    return entity_dictionary(text, (entity.start, entity.end, entity.label), probabilities, by)


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} is not an ONNX export: {path.name} is missing; create one with `adner export`"
        )
    record = read_json_object(path)
    if record.get("version") not in _VERSIONS:
        found, expected = record.get("version"), f"{', '.join(map(str, _VERSIONS[:-1]))} or {_VERSIONS[-1]}"
        raise ValueError(f"{path} has version {found!r}, expected {expected}: export the model again")
    return record


class ScoredEntity(NamedTuple):
    """An entity of a row; `score`, `start_score` and `end_score` are the model's probabilities, uncalibrated."""

    start: int
    end: int
    label: str
    score: float
    start_score: float
    end_score: float

    def moved(self, by: int) -> ScoredEntity:
        """Return the entity a number of characters further right."""
        return self._replace(start=self.start + by, end=self.end + by)


class NumpyHead(Protocol):
    """Interface of a head: from emissions to entities."""

    def entities(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[ScoredEntity]]:
        """Return the entities of the best path of each row, sorted by start.

        Args:
            emissions: (batch, length, states), padded.
            lengths: (batch,) valid positions of each row, at least 1.
        """


def make_head(record: Mapping[str, Any]) -> NumpyHead:
    """Create the head described by a `decoder.json`.

    Raises:
        ValueError: the CRF's scores do not match its states.
    """
    if record["crf"] is None:
        return NumpySoftmaxHead(record["labels"])
    if record.get("tagging") == "per-label":
        return NumpyPerLabelHead(entity_types(record["labels"]), record["states"], record["crf"])
    return NumpyCrfHead(record["states"], record["crf"])


class NumpyCrfHead:
    """CRF head: best path, exact posterior of each of its entities, marginals of their boundaries."""

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
            self._row(path, emissions[row, :length], [side[row, :length] for side in messages], marginals[row, :length])
            for row, (path, length) in enumerate(zip(paths, lengths))
        ]

    def _row(
        self, path: list[int], emissions: np.ndarray, messages: Sequence[np.ndarray], marginals: np.ndarray
    ) -> list[ScoredEntity]:
        starts, ends = self._boundaries(marginals)
        found = []
        for start, end, label in tags_to_spans(bioes_to_bio([self.states[state] for state in path])):
            states, forbidden = span_states(self.states, label, end - start)
            posterior = np.exp(self.crf.span_log_posterior(emissions, messages, start, states, forbidden))
            found.append(ScoredEntity(start, end, label, *_probabilities(posterior, starts[start], ends[end - 1])))
        return found

    def _boundaries(self, marginals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability that an entity starts (ends) at each position, (length,) each."""
        starts = marginals @ self._opens
        if self._closes.any():
            return starts, marginals @ self._closes
        inside = marginals @ self._inside  # BIO: an entity ends where no I- follows
        return starts, starts + inside - np.append(inside[1:], 0)


class NumpyPerLabelHead:
    """A CRF head per label, all with the same scores, as rows of one batch.

    Args:
        types: labels, in the order of their chains.
        states: names of the states of each chain in turn.
        scores: of the CRF of a chain.
    """

    def __init__(self, types: Sequence[str], states: Sequence[str], scores: Mapping[str, Sequence]):
        self.types = list(types)
        self._chain = NumpyCrfHead(states[: len(states) // len(self.types)], scores)

    def entities(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[ScoredEntity]]:
        """See `NumpyHead`; of entities with the same start the longer comes first."""
        count = len(self.types)
        batch, length, _ = emissions.shape
        chains = emissions.reshape(batch, length, count, -1).transpose(0, 2, 1, 3).reshape(batch * count, length, -1)
        found = self._chain.entities(chains, np.repeat(lengths, count))
        rows: list[list[ScoredEntity]] = [[] for _ in range(batch)]
        for number, entities in enumerate(found):
            rows[number // count] += [entity._replace(label=self.types[number % count]) for entity in entities]
        return [sorted(row, key=lambda entity: (entity.start, -entity.end, entity.label)) for row in rows]


class NumpySoftmaxHead:
    """Softmax head: arg-max path with stray I-x read as B-x; a score is the product of the tokens' probabilities."""

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
            labels, _ = span_states(self.labels, label, end - start)
            posterior = np.exp(log_probs[range(start, end), list(labels)].sum())
            found.append(ScoredEntity(start, end, label, *_probabilities(posterior, starts[start], ends[end - 1])))
        return found

    def _boundaries(self, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        following = np.vstack([probs[1:], np.zeros_like(probs[:1])])  # (length, labels)
        ends = probs * (1 - following @ self._continues.T)
        return probs @ self._opens, ends @ self._named


def _probabilities(*values: float) -> list[float]:
    return [float(min(max(value, 0.0), 1.0)) for value in values]


def _scored(entities: Iterable[LikelyEntity]) -> list[ScoredEntity]:
    return [ScoredEntity(*one[1:4], *_probabilities(*one[4:])) for one in entities]


class Messages(NamedTuple):
    """Log messages of a batch, each (batch, length, states), up to a constant per position."""

    forward: np.ndarray
    backward: np.ndarray

    def marginals(self) -> np.ndarray:
        """Return p(state at position), (batch, length, states)."""
        joint = self.forward + self.backward
        weights = np.exp(joint - joint.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)


class NumpyCrf:
    """Inference of `AdnerCRF` in NumPy: best paths, marginals and span posteriors of padded batches.

    All scores are natural logarithms in float64; forbidden transitions are -inf. Emissions are (batch, length, states);
    `lengths` (batch,) are the valid positions of each row, at least 1.

    Args:
        states: names of the states; the allowed transitions follow from them.
        scores: `starts` (states,), `ends` (states,) and `transitions` (states, states), from row to column.

    Raises:
        ValueError: the scores do not match the number of states.
    """

    def __init__(self, states: Sequence[str], scores: Mapping[str, Sequence]):
        allowed = allowed_transitions(states)._asdict()  # starts, ends, transitions
        for name, mask in allowed.items():
            values = np.asarray(scores[name], dtype=np.float64)
            if values.shape != np.shape(mask):
                raise ValueError(f"{name} of a CRF of {len(states)} states have shape {values.shape}")
            setattr(self, name, np.where(mask, values, -np.inf))
        finite = self.transitions[np.isfinite(self.transitions)]
        self._top, self._spread = finite.max(), np.ptp(finite)
        self._weights = np.exp(self.transitions - self._top)

    def best_paths(self, emissions: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
        """Return the most probable states of each row (Viterbi)."""
        score, predecessors = self.starts + emissions[:, 0], []
        by_target = np.ascontiguousarray(self.transitions.T)  # (to, from)
        for position in range(1, emissions.shape[1]):
            candidates = score[:, None] + by_target  # (batch, to, from)
            best = candidates.argmax(-1)
            extended = np.take_along_axis(candidates, best[..., None], -1)[..., 0] + emissions[:, position]
            score = np.where((position < lengths)[:, None], extended, score)
            predecessors.append(best)
        last = (score + self.ends).argmax(-1)
        return [
            _backtrack([best[row] for best in predecessors[: length - 1]], last[row])
            for row, length in enumerate(lengths)
        ]

    def messages(self, emissions: np.ndarray, lengths: np.ndarray) -> Messages:
        """Run the forward and backward recursions."""
        length, last = emissions.shape[1], np.asarray(lengths) - 1
        is_narrow = self._spread + np.ptp(emissions, axis=-1).max() < _MAX_SPREAD
        step = self._weighted if is_narrow else _log_sum
        forward, backward = np.empty(emissions.shape), np.empty(emissions.shape)
        forward[:, 0] = self.starts + emissions[:, 0]
        for position in range(1, length):
            forward[:, position] = step(forward[:, position - 1], self.transitions) + emissions[:, position]
        backward[:, -1] = self.ends
        for position in range(length - 2, -1, -1):
            message = step(emissions[:, position + 1] + backward[:, position + 1], self.transitions.T)
            backward[:, position] = np.where((position < last)[:, None], message, self.ends)
        return Messages(forward, backward)

    def _weighted(self, log_weights: np.ndarray, transitions: np.ndarray) -> np.ndarray:
        """Compute `_log_sum` as a matrix product; exact as long as no exponential underflows."""
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
        """Return log p(these states from `start` on, not followed by any of `forbidden_next`); see `AdnerCRF`.

        Args:
            emissions: (length, states) of one row, without padding.
            messages: forward and backward messages of that row, (length, states) each.
        """
        forward, backward = messages
        posterior = _normalised(forward[start] + backward[start])[states[0]]
        for position, (state, following) in enumerate(zip(states, states[1:]), start):
            posterior += self._next(emissions, backward, position, state)[following]
        last = start + len(states) - 1
        if forbidden_next and last + 1 < len(emissions):
            others = np.delete(self._next(emissions, backward, last, states[-1]), list(forbidden_next))
            posterior += np.logaddexp.reduce(others)
        return float(posterior)

    def _next(self, emissions: np.ndarray, backward: np.ndarray, position: int, state: int) -> np.ndarray:
        """Return log p(next state | `state` at `position`), (states,)."""
        return _normalised(self.transitions[state] + emissions[position + 1] + backward[position + 1])


def _backtrack(predecessors: Sequence[np.ndarray], last: int) -> list[int]:
    """Return the path that ends in `last`; `predecessors` has the best previous state per later position and state."""
    path = [int(last)]
    for best in reversed(predecessors):
        path.append(int(best[path[-1]]))
    return path[::-1]


def _log_sum(log_weights: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Return log-sum-exp over the previous states, (batch, states), up to a constant per row."""
    log_weights = log_weights - log_weights.max(-1, keepdims=True)
    return np.logaddexp.reduce(log_weights[:, :, None] + transitions, axis=1)


def _normalised(log_weights: np.ndarray) -> np.ndarray:
    """Normalise log weights (states,) to log probabilities."""
    return log_weights - np.logaddexp.reduce(log_weights)
