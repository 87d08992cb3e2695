"""Both engines run the same graph and give the same entities."""

import json
import threading

import numpy as np
import pytest
import torch

from hf_adner.cli import main
from hf_adner.serve.onnx_engines import ENGINES, OpenVinoEngine, make_engine
from hf_adner.serve.onnx_export import DECODER_FILE, GRAPH_FILE, export_onnx
from hf_adner.serve.onnx_tagger import OnnxTagger

from .test_onnx_tagger import TEXTS, assert_equal_entities, make_checkpoint


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "tensorrt"}, "engine is 'tensorrt', expected one of onnxruntime, openvino"),
        ({"name": "openvino", "precision": "f16"}, "precision is 'f16', expected one of f32, bf16"),
        ({"name": "openvino", "providers": ["CPUExecutionProvider"]}, "providers are an option of ONNX Runtime"),
        ({"name": "onnxruntime", "precision": "bf16"}, "ONNX Runtime has f32"),
    ],
)
def test_options_that_an_engine_does_not_have_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make_engine(path=tmp_path / GRAPH_FILE, **options)


@pytest.mark.parametrize("name", ENGINES)
def test_a_damaged_graph_is_named(name, tmp_path):
    pytest.importorskip(name)
    (tmp_path / GRAPH_FILE).write_bytes(b"no graph")
    with pytest.raises(ValueError, match=GRAPH_FILE):
        make_engine(name, tmp_path / GRAPH_FILE)


def exported(folder, architecture, **options):
    model, tokenizer = make_checkpoint(architecture)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lstm.bias" in name:  # with biases, what an LSTM reads of padding would change its state
                parameter.normal_()
    export_onnx(model, tokenizer, folder, **options)
    return folder


def test_openvino_refuses_an_lstm_that_it_would_read_from_the_padding(tmp_path):
    pytest.importorskip("openvino")
    onnx = pytest.importorskip("onnx")
    weights = {"W": np.ones((2, 16, 3)), "R": np.ones((2, 16, 4)), "B": np.ones((2, 32))}
    node = onnx.helper.make_node("LSTM", ["x", "W", "R", "B", "s"], ["y"], hidden_size=4, direction="bidirectional")
    shapes = {"x": (1, ["length", "rows", 3]), "s": (6, ["rows"]), "y": (1, ["length", 2, "rows", 4])}  # types: onnx's
    values = {name: onnx.helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()}
    given = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = onnx.helper.make_graph([node], "one", [values["x"], values["s"]], [values["y"]], given)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)])
    onnx.save(model, tmp_path / GRAPH_FILE)
    with pytest.raises(ValueError, match="from the end of the padding; export the model again$"):
        make_engine("openvino", tmp_path / GRAPH_FILE)


@pytest.mark.parametrize(
    "architecture",
    [
        "bilstm-crf",
        pytest.param("m-dscmg", marks=pytest.mark.slow),
        pytest.param("bert-softmax", marks=pytest.mark.slow),
    ],
)
def test_openvino_gives_the_entities_of_onnx_runtime(architecture, tmp_path):
    for module in ("onnxscript", *ENGINES):
        pytest.importorskip(module)
    folder = exported(tmp_path / "export", architecture)
    assert "engine" not in json.loads((folder / DECODER_FILE).read_text(encoding="utf-8"))
    one, other = OnnxTagger(folder, threads=1), OnnxTagger(folder, threads=1, engine="openvino")
    assert isinstance(other.engine, OpenVinoEngine) and not isinstance(one.engine, OpenVinoEngine)
    assert sorted(one.engine.input_names) == sorted(other.engine.input_names)
    texts = [text[:20] for text in TEXTS if text]
    for text, found, reference in zip(texts, other.emissions(texts), one.emissions(texts), strict=True):
        np.testing.assert_allclose(found[: len(text)], reference[: len(text)], atol=1e-5)  # padding may differ
    expected = one(TEXTS)
    assert sum(map(len, expected)) > 10
    for batch_size in (16, 1):
        assert_equal_entities(other(TEXTS, batch_size=batch_size), expected, 1e-4)


def test_an_export_may_prefer_openvino_and_threads_share_it(tmp_path, monkeypatch):
    for module in ("onnxscript", *ENGINES):
        pytest.importorskip(module)
    model, tokenizer = make_checkpoint("bilstm-crf")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "export"), "--engine", "openvino"]) == 0
    tagger = OnnxTagger(tmp_path / "export", threads=1)
    assert isinstance(tagger.engine, OpenVinoEngine)
    expected = OnnxTagger(tmp_path / "export", threads=1, engine="onnxruntime")(TEXTS)
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: tagger(TEXTS)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert_equal_entities(found[number], expected, 1e-4)


def test_bf16_is_refused_where_the_processor_lacks_it(tmp_path):
    openvino = pytest.importorskip("openvino")
    for module in ("onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    folder = exported(tmp_path / "export", "bilstm-crf")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert len(OnnxTagger(folder, engine="openvino", precision="bf16")(TEXTS)) == len(TEXTS)
    else:
        with pytest.raises(ValueError, match="precision is 'bf16', which this processor lacks"):
            OnnxTagger(folder, engine="openvino", precision="bf16")
