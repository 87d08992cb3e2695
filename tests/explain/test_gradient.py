"""Gradient x input against captum, and what it says of the lexicon."""

import pytest
import torch
from captum.attr import LayerGradientXActivation

from hf_adner import make_explainer

from .captum_forward import Forward


@pytest.fixture
def longest(case):
    number = max(range(len(case.texts)), key=lambda one: len(case.texts[one]))
    return case.texts[number], case.entities[number]


@pytest.mark.parametrize("norm", ["l2", "signed"])
def test_equals_captum(case, longest, norm):
    text, entities = longest
    (found,) = make_explainer("grad-x-input", case.model, case.tokenizer, norm=norm)([text], [entities])
    for one, entity in zip(found, entities):
        forward = Forward(case, text, entity)
        values = LayerGradientXActivation(forward, forward.layers).attribute(forward.inputs)
        values = [v.sum(-1) if norm == "signed" else v.norm(dim=-1) for v in values]
        expected = values[0][0, 1:-1].tolist()
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            assert sum(one.scores) == pytest.approx(sum(expected), abs=1e-5)
            assert one.scores[entity[0]] == pytest.approx(expected[_token(forward, entity)] / _width(forward, entity))
        if len(values) > 1:
            assert [word.score for word in one.lexicon] == pytest.approx(values[1][0].tolist(), abs=1e-5)
            assert any(score != 0 for score in values[1][0].tolist())
        assert one.value == pytest.approx(forward(*forward.inputs).item(), abs=1e-5)


def _token(forward, entity):
    return forward.batch.tokens_of(0, entity).start - 1


def _width(forward, entity):
    start, end = forward.batch.offsets[0][forward.batch.tokens_of(0, entity).start]
    return end - start


def test_words_are_by_place(build):
    case = build("m-dscmg")
    ((one,),) = make_explainer("grad-x-input", case.model, case.tokenizer)(["红斑伴红斑"], [[(0, 2, "Disease")]])
    assert [(word.word, word.start, word.end) for word in one.lexicon] == [
        ("红", 0, 1),
        ("红斑", 0, 2),
        ("红", 3, 4),
        ("红斑", 3, 5),
    ]
    assert len({word.score for word in one.lexicon}) == 4


@pytest.mark.parametrize("architecture", ["bert-crf", "bilstm-crf", "bert-softmax"])
def test_no_words_without_a_lexicon_stream(build, architecture):
    case = build(architecture)
    ((one,),) = make_explainer("grad-x-input", case.model, case.tokenizer)(["红斑"], [[(0, 2, "Disease")]])
    assert one.lexicon == ()


def test_one_forward_and_a_backward_per_round(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("grad-x-input", case.model, case.tokenizer)
    calls = {"forward": 0, "backward": 0}
    tag, grad = explain.tagger.tag, torch.autograd.grad

    def counted(kind, function):
        def call(*args, **kwargs):
            calls[kind] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(explain.tagger, "tag", counted("forward", tag))
    monkeypatch.setattr(torch.autograd, "grad", counted("backward", grad))
    explain(case.texts, case.entities)
    assert calls == {"forward": 1, "backward": 3}


def test_errors(build):
    case = build("bert-crf")
    with pytest.raises(ValueError, match="norm must be"):
        make_explainer("grad-x-input", case.model, case.tokenizer, norm="l1")
