"""Export a checkpoint to ONNX: the network as a graph, the CRF's scores as JSON, and the tokenizer."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hf_adner.files import write_folder
from hf_adner.model.encoders_adner import limit_tokenizer, longest_text
from hf_adner.model.lattice_adner import LexiconMatches
from hf_adner.model.layers_adner import BidirectionalLSTM, TextPositions
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import LEXICON_KEYS, AdnerTokenizer
from hf_adner.serve.onnx_engines import ONNX_RUNTIME, check_engine, make_engine

GRAPH_FILE = "model.onnx"
DECODER_FILE = "decoder.json"
DECODER_VERSION = 1
CALIBRATED_VERSION = 2
"""Version of an export with a calibration, which a reader of version 1 would leave out without a word."""
PER_LABEL_VERSION = 3
"""Version of an export with a chain of states per label."""
OPSET = 20


def export_onnx(
    model: AdnerForTokenClassification,
    tokenizer: AdnerTokenizer,
    folder: str | Path,
    *,
    int8: bool = False,
    engine: str = ONNX_RUNTIME,
) -> None:
    """Write `model.onnx` (ids to emissions), `decoder.json` (labels, CRF) and the tokenizer, for `OnnxTagger`.

    The numbers of rows, tokens and matched words are dynamic. Padding must be on the right, and each row must have at
    least one character.

    Args:
        model: any architecture.
        tokenizer: its tokenizer; its `model_max_length` is lowered to what the encoder takes.
        folder: a new or empty folder.
        int8: store the weights of matrix products, LSTMs and embeddings in 8 bits and multiply in 8 bits, with scales
            determined at run time (dynamic quantisation). Measure the loss of accuracy on your own data.
        engine: of `ENGINES`, which `OnnxTagger` takes unless told otherwise; it is tried on the graph. The graph is the
            same for both.

    Raises:
        ImportError: the extra `onnx` is not installed, or `openvino` for that engine.
        FileExistsError: the folder is not empty.
        ValueError: the tokenizer's lexicon is not the model's, or the engine is unknown or cannot read the graph.
    """
    check_engine(engine)
    for module in ("onnx", "onnxscript", "onnxruntime", *([engine] if engine != ONNX_RUNTIME else [])):
        _require(module)
    model.check_tokenizer(tokenizer)
    limit_tokenizer(tokenizer, model)

    def fill(path: Path) -> None:
        _write_graph(EmissionNetwork(model).with_onnx_layers(), path / GRAPH_FILE)
        if int8:
            _quantise(path / GRAPH_FILE)
        preferred = {} if engine == ONNX_RUNTIME else {"engine": engine}
        if preferred:
            make_engine(engine, path / GRAPH_FILE)
        text = json.dumps({**decoder_record(model, tokenizer), **preferred}, ensure_ascii=False)
        (path / DECODER_FILE).write_text(text + "\n", encoding="utf-8")
        tokenizer.save_pretrained(path)

    write_folder(Path(folder), fill)


def decoder_record(model: AdnerForTokenClassification, tokenizer: AdnerTokenizer) -> dict[str, Any]:
    """Return the content of `decoder.json`, by which emissions become entities.

    BIO `labels`, `states`, the scores of the `crf` (null: a softmax head) and `longest_text`, the characters that the
    network takes at once (null: no limit); of a calibrated checkpoint also its `calibration`; of a per-label one its
    `tagging`: then `states` has those of each label's chain in turn, and all chains have the scores of `crf`.
    """
    crf, calibration = getattr(model.head, "crf", None), model.config.calibration
    is_per_label = model.config.is_per_label
    return {
        "version": PER_LABEL_VERSION
        if is_per_label
        else (DECODER_VERSION if calibration is None else CALIBRATED_VERSION),
        **({"tagging": model.config.tagging} if is_per_label else {}),
        **({} if calibration is None else {"calibration": calibration}),
        "labels": model.config.labels,
        "states": model.config.states,
        "longest_text": longest_text(model, tokenizer),
        "crf": None
        if crf is None
        else {
            "starts": crf.start_transitions.tolist(),
            "ends": crf.end_transitions.tolist(),
            "transitions": crf.transitions.tolist(),
        },
    }


class OnnxLSTM(nn.Module):
    """An `nn.LSTM` of one layer and direction as ONNX's own node.

    For export only: run by PyTorch it returns zeros.
    """

    def __init__(self, layer: nn.LSTM):
        super().__init__()
        self.size = layer.hidden_size
        # each (1, ...), gates in ONNX's order
        self.register_buffer("inputs", _onnx_gates(layer.weight_ih_l0)[None])
        self.register_buffer("recurrent", _onnx_gates(layer.weight_hh_l0)[None])
        self.register_buffer("biases", torch.cat([_onnx_gates(layer.bias_ih_l0), _onnx_gates(layer.bias_hh_l0)])[None])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(batch, length, input) -> (batch, length, size)."""
        batch, length = states.shape[:2]
        output = torch.onnx.ops.symbolic(
            "LSTM",
            (states.transpose(0, 1), self.inputs, self.recurrent, self.biases),
            {"hidden_size": self.size},
            dtype=states.dtype,
            shape=(length, 1, batch, self.size),
            version=14,
        )
        return output.squeeze(1).transpose(0, 1)


class OnnxBidirectionalLSTM(nn.Module):
    """A `BidirectionalLSTM` with ONNX's own nodes, for export only.

    The backward half reads each row mirrored, as in the layer itself: OpenVINO reads the node for both directions from
    the end of the padding, whatever the lengths of the rows.
    """

    def __init__(self, layer: BidirectionalLSTM):
        super().__init__()
        self.forward_lstm, self.backward_lstm = OnnxLSTM(layer.forward_lstm), OnnxLSTM(layer.backward_lstm)

    def forward(self, states: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """(batch, length, input) -> (batch, length, 2 * size)."""
        positions = torch.arange(states.shape[1], device=states.device)
        mirrored = (text_mask.sum(1, keepdim=True) - 1 - positions).clamp(min=0)[..., None]  # (batch, length, 1)
        backward = self.backward_lstm(states.gather(1, mirrored.expand_as(states)))
        return torch.cat([self.forward_lstm(states), backward.gather(1, mirrored.expand_as(backward))], dim=-1)


def _onnx_gates(stacked: torch.Tensor) -> torch.Tensor:
    """Reorder PyTorch's input, forget, cell and output gates to ONNX's input, output, forget and cell."""
    input_gate, forget, cell, output_gate = stacked.detach().chunk(4)
    return torch.cat([input_gate, output_gate, forget, cell])


class EmissionNetwork(nn.Module):
    """The exported part of a tagger: from padded inputs to emissions, in operators that ONNX supports.

    Rows must be padded on the right and have at least one character.

    Args:
        model: any architecture; a copy in float32 with eager attention is used.
    """

    def __init__(self, model: AdnerForTokenClassification):
        super().__init__()
        self.model = copy.deepcopy(model).float().eval()
        self.model.set_attn_implementation("eager")
        lexicon = LEXICON_KEYS if model.config.needs_lexicon else ()
        self.input_names = ("input_ids", "attention_mask", *lexicon)

    def with_onnx_layers(self) -> EmissionNetwork:
        """Replace each LSTM by ONNX's own node, for the export; returns self."""
        for parent in list(self.model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, BidirectionalLSTM):
                    setattr(parent, name, OnnxBidirectionalLSTM(child))
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        lexicon_ids: torch.Tensor | None = None,
        lexicon_starts: torch.Tensor | None = None,
        lexicon_ends: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute emissions (batch, tokens - 2, states) of ids and mask (batch, tokens) and matches (batch, words).

        Leaves out the checks of `AdnerModel.forward` and its `locate_text`: a graph cannot depend on values.
        """
        adner, mask = self.model.adner, attention_mask[:, 2:].bool()  # (batch, text)
        optional = {"token_type_ids": torch.zeros_like(input_ids), "position_ids": None}
        encoded = adner._encode(input_ids, attention_mask, None, optional, {})
        hidden = encoded.last_hidden_state[:, 1:-1] * mask[..., None]
        matches = None
        if lexicon_ids is not None:
            matches = LexiconMatches(lexicon_ids, (lexicon_starts - 1).clamp(min=0), (lexicon_ends - 1).clamp(min=0))
        positions = TextPositions(index=input_ids[:, 1:-1], mask=mask, before=input_ids)  # only the mask is used
        states, _ = adner._head(hidden, matches, positions, None)
        return self.model.head.classifier(states)

    def example(self) -> tuple[torch.Tensor, ...]:
        """Return example inputs whose sizes are no special cases: 2 rows of 7 and 5 tokens, 3 words."""
        ids = torch.full((2, 7), 3)
        mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
        words = torch.tensor([[1, 1, 1], [1, 0, 0]]) * (self.model.config.lexicon_size > 1)
        starts, ends = torch.tensor([[1, 2, 3], [1, 0, 0]]), torch.tensor([[3, 3, 5], [2, 0, 0]])
        return (ids, mask, words, starts, ends)[: len(self.input_names)]


def _require(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        packages = "openvino" if module == "openvino" else "onnx onnxruntime onnxscript"
        raise ImportError(f"the ONNX export needs {module}: pip install {packages}") from error


@torch.no_grad()
def _write_graph(network: EmissionNetwork, path: Path) -> None:
    dimension = torch.export.Dim
    rows = dimension("batch")
    tokens, words = {0: rows, 1: dimension("tokens", min=4)}, {0: rows, 1: dimension("words")}
    shapes = (tokens, tokens, words, words, words)[: len(network.input_names)]
    # torch.onnx.export alone would silently fix a dimension that it cannot keep dynamic
    options = {"input_names": list(network.input_names), "output_names": ["emissions"], "opset_version": OPSET}
    with _without_notes_of_the_exporter():
        program = torch.export.export(network, network.example(), dynamic_shapes=shapes, strict=False)
        torch.onnx.export(program, f=path, dynamo=True, external_data=False, verbose=False, **options)


@contextmanager
def _without_notes_of_the_exporter() -> Iterator[None]:
    """Keep notes on torchvision's operators and empty attributes, which concern nobody here, off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


def _quantise(path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    _separate_gemm_weights(model.graph)
    model.graph.ClearField("value_info")  # it has the shapes of weights that will be transposed
    quantize_dynamic(model, path, weight_type=QuantType.QInt8)


def _separate_gemm_weights(graph: Any) -> None:
    """Copy weights shared by several Gemm nodes: the quantiser transposes a weight once per node that uses it."""
    weights = {weight.name: weight for weight in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in seen:
            copied = graph.initializer.add()
            copied.CopyFrom(weights[node.input[1]])
            copied.name = node.input[1] = f"{node.input[1]}/{node.name}"
        elif node.op_type == "Gemm":
            seen.add(node.input[1])
