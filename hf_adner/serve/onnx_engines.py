"""The engines that run the graph of an ONNX export: ONNX Runtime, and OpenVINO, which reads the same file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hf_adner.model.loading_adner import CheckpointError, named_errors

ONNX_RUNTIME = "onnxruntime"
OPENVINO = "openvino"
ENGINES = (ONNX_RUNTIME, OPENVINO)
PRECISIONS = ("f32", "bf16")


class Engine(Protocol):
    """A graph that is ready to run; several threads may run it at once.

    Attributes:
        input_names: of the graph.
    """

    input_names: Sequence[str]

    def run(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the emissions, (rows, longest text, states), of inputs by name."""


class OnnxRuntimeEngine:
    """ONNX Runtime.

    Args:
        path: the graph.
        threads: of its operators; 0 takes all cores.
        providers: execution providers, in order of preference; None takes the CPU.

    Raises:
        ImportError: `onnxruntime` is not installed.
        CheckpointError: the graph is damaged.
    """

    def __init__(self, path: Path, threads: int = 0, providers: Sequence[str] | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError("an ONNX export needs onnxruntime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = list(providers or ["CPUExecutionProvider"])
        with named_errors(str(path)):
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self.input_names = [node.name for node in self._session.get_inputs()]

    def run(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Engine`."""
        return self._session.run(None, dict(feed))[0]


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        path: the graph.
        threads: as for `OnnxRuntimeEngine`.
        precision: of `PRECISIONS`. OpenVINO would choose bf16 by itself where the processor has it, which moves scores;
            here it has to be asked for.

    Raises:
        ImportError: `openvino` is not installed.
        ValueError: the processor has no bf16.
        CheckpointError: the graph is damaged, or has an operator that OpenVINO lacks or computes in another way.
    """

    def __init__(self, path: Path, threads: int = 0, precision: str = "f32") -> None:
        try:
            import openvino
        except ImportError as error:
            raise ImportError("the engine openvino needs it: pip install openvino") from error
        core = openvino.Core()
        if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError("precision is 'bf16', which this processor lacks; expected 'f32'")
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        with named_errors(str(path)):
            graph = core.read_model(str(path))
            _check_directions(graph, path)
            self._compiled = core.compile_model(graph, "CPU", settings)
        self.input_names = [one.any_name for one in self._compiled.inputs]
        self._requests = threading.local()  # a request runs one feed at a time

    def run(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Engine`."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        return self._requests.own.infer(dict(feed))[self._compiled.output(0)]


def _check_directions(graph: Any, path: Path) -> None:
    """Refuse the graphs of earlier exports, whose LSTMs OpenVINO would read backwards from the end of the padding."""
    layers = (one for one in graph.get_ops() if one.get_type_name() == "LSTMSequence")
    if any(one.get_attributes()["direction"] != "forward" for one in layers):
        raise CheckpointError(
            f"{path}: OpenVINO would read its LSTM from the end of the padding; export the model again"
        )


def make_engine(
    name: str, path: Path, threads: int = 0, providers: Sequence[str] | None = None, precision: str = "f32"
) -> Engine:
    """Create an engine of `ENGINES`.

    Args:
        name: of the engine.
        path: the graph.
        threads: of its operators; 0 takes all cores.
        providers: of ONNX Runtime alone.
        precision: of `PRECISIONS`; ONNX Runtime has f32 alone.

    Raises:
        ImportError: the engine is not installed.
        ValueError: an unknown engine or precision, or an option that the engine does not have.
        CheckpointError: the graph is damaged.
    """
    check_engine(name)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    if name == OPENVINO:
        if providers is not None:
            raise ValueError("providers are an option of ONNX Runtime; the engine is openvino")
        return OpenVinoEngine(path, threads, precision)
    if precision != "f32":
        raise ValueError(f"precision is {precision!r}, which the engine openvino has; ONNX Runtime has f32")
    return OnnxRuntimeEngine(path, threads, providers)


def check_engine(name: str) -> None:
    """Check the name of an engine; raises `ValueError` if it is unknown."""
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}, expected one of {', '.join(ENGINES)}")
