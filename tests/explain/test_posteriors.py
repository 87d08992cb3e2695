"""Posteriors of given entities: the pipeline's scores, whatever the batch."""

import math

import pytest
import torch

from hf_adner import AdnerPipeline
from hf_adner.explain.tagger import entity_posteriors


def test_they_are_the_scores_of_the_pipeline(build):
    case = build("m-dscmg")
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer, device="cpu")
    texts = [*case.texts, "痒红斑" * 30]  # the last one is longer than the model
    found = pipe(texts)
    spans = [[(one["start"], one["end"], one["entity_group"]) for one in ones] for ones in found]
    assert sum(map(len, spans)) > 5
    scores = [[one["score"] for one in ones] for ones in found]
    for size in (1, 16):
        values = entity_posteriors(case.tagger, texts[:-1], spans[:-1], size)
        assert [pytest.approx(ones, abs=1e-5) for ones in scores[:-1]] == values
    long = entity_posteriors(case.tagger, texts[-1:], spans[-1:])
    assert len(long[0]) == len(spans[-1]) and all(0 <= value <= 1 for value in long[0])


def test_of_other_models_the_product_of_the_tokens(stock):
    text = stock.texts[0]
    value = entity_posteriors(stock.tagger, [text], [[(23, 29, "Disease")]])[0][0]
    encoded = stock.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        log_probs = stock.model(**encoded).logits[0].log_softmax(-1)
    tokens = [encoded.char_to_token(23), encoded.char_to_token(25), encoded.char_to_token(27)]
    assert encoded.tokens()[tokens[0] : tokens[2] + 1] == ["ec", "##ze", "##ma"]
    assert value == pytest.approx(math.exp(sum(log_probs[token, label] for token, label in zip(tokens, (1, 2, 2)))))


def test_an_entity_inside_a_token_is_refused(stock):
    with pytest.raises(ValueError, match="begins inside the token"):
        entity_posteriors(stock.tagger, stock.texts[:1], [[(24, 29, "Disease")]])
    assert entity_posteriors(stock.tagger, ["", "eczema"], [[], []]) == [[], []]
