"""Tag texts with an exported checkpoint: the network in ONNX Runtime, the decoding in NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_adner.hub.export_onnx import DECODER_FILE, DECODER_VERSION, GRAPH_FILE
from hf_adner.hub.numpy_heads import ScoredEntity, make_head
from hf_adner.model.pipeline_adner import DEFAULT_OVERLAP, DEFAULT_WINDOW
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.model.windows_adner import Window, merge_window_entities, prediction_windows

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
