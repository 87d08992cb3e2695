"""A checkpoint as a folder that ONNX Runtime serves: the network as a graph, the CRF's numbers beside it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch

from hf_adner.data.writers.atomic import write_folder
from hf_adner.hub.emission_network import EmissionNetwork
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import longest_text
from hf_adner.model.tokenization_adner import AdnerTokenizer

GRAPH_FILE = "model.onnx"
DECODER_FILE = "decoder.json"
DECODER_VERSION = 1
OPSET = 20


def export_onnx(
    model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, folder: str | Path, *, int8: bool = False
) -> None:
    """Write `model.onnx` (ids to emissions), `decoder.json` (labels, CRF) and the tokenizer; `OnnxTagger` reads them.

    Number of rows, tokens and matched words stay free. Padding must be on the right, and each row must have at least
    one character.

    Args:
        model: any architecture.
        tokenizer: its tokenizer.
        folder: new or empty.
        int8: store the weights of matrix products, LSTMs and embeddings in 8 bits and multiply in 8 bits, with scales
            found at run time (dynamic quantisation). Measure what it costs on your own data.

    Raises:
        ImportError: the extra `onnx` is not installed.
        FileExistsError: the folder is not empty.
        ValueError: the tokenizer's lexicon is not the model's.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        _require(module)
    model.check_tokenizer(tokenizer)

    def fill(path: Path) -> None:
        _write_graph(EmissionNetwork(model).with_onnx_layers(), path / GRAPH_FILE)
        if int8:
            _quantise(path / GRAPH_FILE)
        text = json.dumps(decoder_record(model, tokenizer), ensure_ascii=False)
        (path / DECODER_FILE).write_text(text + "\n", encoding="utf-8")
        tokenizer.save_pretrained(path)

    write_folder(Path(folder), fill)


def decoder_record(model: AdnerForTokenClassification, tokenizer: AdnerTokenizer) -> dict[str, Any]:
    """What turns emissions into entities: BIO `labels`, `states`, scores of the `crf` (null: a softmax head), and the
    characters that the network takes at once, `longest_text` (null: no limit)."""
    crf = getattr(model.head, "crf", None)
    return {
        "version": DECODER_VERSION,
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


def _require(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"the ONNX export needs {module}: pip install 'hf_adner[onnx]'") from error


@torch.no_grad()
def _write_graph(network: EmissionNetwork, path: Path) -> None:
    dimension = torch.export.Dim
    rows = dimension("batch")
    tokens, words = {0: rows, 1: dimension("tokens", min=4)}, {0: rows, 1: dimension("words")}
    shapes = (tokens, tokens, words, words, words)[: len(network.input_names)]
    # by itself torch.onnx.export would fix a dimension that it cannot keep free, and say nothing
    program = torch.export.export(network, network.example(), dynamic_shapes=shapes, strict=False)
    names = {"input_names": list(network.input_names), "output_names": ["emissions"]}
    torch.onnx.export(program, f=path, dynamo=True, opset_version=OPSET, external_data=False, verbose=False, **names)


def _quantise(path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = onnx.load(path)
    _separate_gemm_weights(whole.graph)
    whole.graph.ClearField("value_info")  # it states shapes of weights that are about to be transposed
    quantize_dynamic(whole, path, weight_type=QuantType.QInt8)


def _separate_gemm_weights(graph: Any) -> None:
    """Give each Gemm node a weight of its own: the quantiser transposes it once per node that uses it."""
    weights = {weight.name: weight for weight in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in seen:
            copied = graph.initializer.add()
            copied.CopyFrom(weights[node.input[1]])
            copied.name = node.input[1] = f"{node.input[1]}/{node.name}"
        elif node.op_type == "Gemm":
            seen.add(node.input[1])
