"""An exported checkpoint finds what the pipeline finds, whatever the number of rows, tokens and words."""

import json

import numpy as np
import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Lexicon
from hf_adner.serve.onnx_export import DECODER_FILE, decoder_record, export_onnx
from hf_adner.serve.onnx_tagger import OnnxTagger

TEXTS = ["患者反复红斑三年", "瘙痒", "", "丘疹，" * 12, "痒", "外用他克莫司软膏后好转", "红斑"]


def make_checkpoint(architecture: str) -> tuple[AdnerForTokenClassification, AdnerTokenizer]:
    torch.manual_seed(0)
    lexicon = Lexicon(["红斑", "反复红斑", "他克莫司软膏", "软膏"]) if "m-dscmg" in architecture else None
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=lexicon)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    encoder = {"model_type": "bert", "max_position_embeddings": 22, **sizes}
    options = {} if architecture == "bilstm-crf" else {"encoder_config": encoder, "stream_size": 16}
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], architecture, bilstm_size=16, character_embedding_size=16, **options
    )
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return model, tokenizer


def assert_equal_answers(found, expected, tolerance):
    for entities, others in zip(found, expected, strict=True):
        for name in ("entity_group", "word", "start", "end"):
            assert [one[name] for one in entities] == [one[name] for one in others]
        for name in ("score", "start_score", "end_score"):
            values, wanted = ([one[name] for one in side] for side in (entities, others))
            np.testing.assert_allclose(values, wanted, atol=tolerance)


@pytest.mark.parametrize(
    "architecture",
    [
        "bilstm-crf",
        pytest.param("m-dscmg", marks=pytest.mark.slow),
        pytest.param("bert-crf", marks=pytest.mark.slow),
        pytest.param("bert-softmax", marks=pytest.mark.slow),
        pytest.param("bert-bilstm-crf", marks=pytest.mark.slow),
    ],
)
def test_an_export_agrees_with_the_pipeline(architecture, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint(architecture)
    export_onnx(model, tokenizer, tmp_path / "export")
    tagger = OnnxTagger(tmp_path / "export", threads=1)
    expected = AdnerPipeline(model, tokenizer, device="cpu")(TEXTS)
    assert sum(map(len, expected)) > 10
    assert_equal_answers(tagger(TEXTS), expected, 1e-4)
    assert_equal_answers(tagger(TEXTS, batch_size=1), expected, 1e-4)
    assert_equal_answers([tagger(TEXTS[0])], expected[:1], 1e-4)
    kept = tagger(TEXTS, threshold=0.5)
    assert [one for entities in tagger(TEXTS) for one in entities if one["score"] >= 0.5] == sum(kept, [])
    longest = [text[:20] for text in TEXTS if text]
    inputs = tokenizer(longest, padding=True, return_tensors="pt")
    with torch.no_grad():
        emissions = model(**inputs).emissions
    for row, wanted, text in zip(tagger.emissions(longest), emissions, longest):
        if model.config.use_crf:
            np.testing.assert_allclose(row[: len(text)], wanted[: len(text)].numpy(), atol=1e-4)
    with pytest.raises(FileExistsError):
        export_onnx(model, tokenizer, tmp_path / "export")
    with pytest.raises(TypeError, match="text 1 is int"):
        tagger(["红", 3])


@pytest.mark.slow
def test_eight_bits_are_smaller_and_nearly_the_same(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model, tokenizer = make_checkpoint("m-dscmg")
    export_onnx(model, tokenizer, tmp_path / "float")
    export_onnx(model, tokenizer, tmp_path / "int8", int8=True)
    assert sorted(path.name for path in (tmp_path / "int8").glob("*.onnx")) == ["model.onnx"]
    rows = [OnnxTagger(tmp_path / name, threads=1).emissions([TEXTS[0]])[0] for name in ("float", "int8")]
    assert not np.array_equal(*rows)
    assert np.corrcoef(rows[0].ravel(), rows[1].ravel())[0, 1] > 0.99


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    model, tokenizer = make_checkpoint("bilstm-crf")
    with pytest.raises(FileNotFoundError, match="is no ONNX export"):
        OnnxTagger(tmp_path)
    (tmp_path / DECODER_FILE).write_text(json.dumps({**decoder_record(model, tokenizer), "version": 99}))
    with pytest.raises(ValueError, match="version 99, expected 1"):
        OnnxTagger(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'hf_adner\[onnx\]'"):
        export_onnx(model, tokenizer, tmp_path / "export")
