"""Predicted entities of documents and texts, with their scores, of our models and of stock ones."""

import itertools
import math

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.audit.prediction import predict_documents, scored_spans
from hf_adner.data.records import Document, Entity, document_from_row, row_from_document
from hf_adner.model.labels_adner import tags_to_spans

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


SCORED_SPANS_TEXTS = ["四肢红斑伴瘙痒3年，外用他克莫司。", "", "痒", "红斑" * 30]
LABELS = ["O", "B-Drug", "I-Drug", "B-Sign", "I-Sign"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def tokenizer():
    return AdnerTokenizer.from_texts(SCORED_SPANS_TEXTS)


@pytest.fixture(scope="module")
def stock(tokenizer):
    """A random model that is sure of something, with room for 24 tokens."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=24, id2label=dict(enumerate(LABELS)),
        label2id={name: index for index, name in enumerate(LABELS)}, **SIZES,
    )  # fmt: skip
    model = BertForTokenClassification(config).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(30)
    return model


def test_ours_are_those_of_the_pipeline(tokenizer):
    torch.manual_seed(0)
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Drug", "Sign"])
    found = scored_spans(model, tokenizer, SCORED_SPANS_TEXTS, batch_size=2)
    expected = AdnerPipeline(model=model, tokenizer=tokenizer)(SCORED_SPANS_TEXTS)
    assert [[(one.start, one.end, one.label, one.score) for one in ones] for ones in found] == [
        [(one["start"], one["end"], one["entity_group"], one["score"]) for one in ones] for ones in expected
    ]
    assert any(found)


def test_a_stock_models_are_those_of_its_best_labels(stock, tokenizer):
    text = SCORED_SPANS_TEXTS[0]
    (found,) = scored_spans(stock, tokenizer, [text])
    with torch.no_grad():
        logits = stock(**tokenizer(text, return_tensors="pt")).logits[0, 1:-1]
    probabilities = logits.softmax(-1)
    path = [LABELS[index] for index in probabilities.argmax(-1)]
    assert [one.span for one in found] == tags_to_spans(path) and found
    for one in found:
        opens, goes_on = LABELS.index(f"B-{one.label}"), LABELS.index(f"I-{one.label}")
        factors = [probabilities[one.start, opens], *probabilities[one.start + 1 : one.end, goes_on]]
        assert one.score == pytest.approx(math.prod(map(float, factors)), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_order_batches_and_windows_make_no_difference(stock, tokenizer, batch_size):
    alone = [scored_spans(stock, tokenizer, [text])[0] for text in SCORED_SPANS_TEXTS]
    together = scored_spans(stock, tokenizer, SCORED_SPANS_TEXTS, batch_size)
    assert [[one.span for one in ones] for ones in together] == [[one.span for one in ones] for ones in alone]
    scores = [[one.score for ones in found for one in ones] for found in (together, alone)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert together[1] == []
    for text, ones in zip(SCORED_SPANS_TEXTS, together, strict=True):
        assert all(0 <= one.start < one.end <= len(text) for one in ones)
    for first, second in itertools.pairwise(together[3]):  # longer than the model: several windows
        assert first.end <= second.start


def test_the_model_is_left_as_it_was(stock, tokenizer):
    before = {name: value.clone() for name, value in stock.state_dict().items()}
    scored_spans(stock, tokenizer, SCORED_SPANS_TEXTS[:1])
    assert all(torch.equal(value, before[name]) for name, value in stock.state_dict().items())
    assert all(parameter.grad is None for parameter in stock.parameters())
