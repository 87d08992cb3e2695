"""predict_documents: the pipeline's entities in the documents' order, streaming."""

import itertools

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.audit.prediction import predict_documents
from hf_adner.data.records import Document, Entity, document_from_row, row_from_document

TEXTS = ["患者反复红斑三年", "", "外用他克莫司软膏", "瘙痒", "丘疹，" * 30, "好转"]


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder |= {"intermediate_size": 16, "max_position_embeddings": 66}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["病", "药"], "bert-crf", encoder_config=encoder)
    with torch.no_grad():
        model.head.classifier.weight.mul_(30)
    return AdnerPipeline(model, tokenizer, device="cpu")


def documents():
    for index, text in enumerate(TEXTS):
        gold = (Entity(0, 1, "old"),) if text else ()
        yield Document(f"d{index}", text, gold, {"patient": index})


def test_documents_keep_everything_but_their_entities(pipe):
    predicted = list(predict_documents(pipe, documents(), batch_size=2))
    assert [(one.id, one.text, one.meta) for one in predicted] == [(one.id, one.text, one.meta) for one in documents()]
    assert sum(len(one.entities) for one in predicted) > 20
    for document, entities in zip(predicted, pipe(TEXTS, needs_review=True), strict=True):
        assert document.spans == [(e["start"], e["end"], e["entity_group"]) for e in entities]
        for ours, theirs in zip(document.entities, entities):
            assert ours.text == theirs["word"]
            assert set(ours.meta) == {"score", "start_score", "end_score", "needs_review"}
            assert ours.meta == pytest.approx({key: theirs[key] for key in ours.meta}, abs=1e-5)


def test_parameters_reach_the_pipeline(pipe):
    everything = [e for one in predict_documents(pipe, documents()) for e in one.entities]
    kept = [e for one in predict_documents(pipe, documents(), threshold=0.9) for e in one.entities]
    assert [e.start for e in kept] == [e.start for e in everything if e.meta["score"] >= 0.9]
    assert 0 < len(kept) < len(everything)
    flags = [
        e.meta["needs_review"]
        for one in predict_documents(pipe, documents(), review_threshold=1.0)
        for e in one.entities
    ]
    assert all(flags)


def test_documents_are_read_as_they_are_needed(pipe, monkeypatch):
    monkeypatch.setattr(AdnerPipeline, "buffer_batches", 1)
    read = []
    endless = (read.append(one) or one for one in itertools.cycle(documents()))
    predicted = predict_documents(pipe, endless, batch_size=2)
    assert [next(predicted).id for _ in range(6)] == [one.id for one in documents()]
    assert len(read) <= 8


def test_predicted_documents_become_rows_and_back(pipe):
    for document in predict_documents(pipe, documents()):
        assert document_from_row(row_from_document(document)) == document


def test_only_documents(pipe):
    with pytest.raises(TypeError, match="document 1 is str, expected Document"):
        list(predict_documents(pipe, [Document("a", "红斑"), "红斑"]))
    assert list(predict_documents(pipe, [])) == []
