"""Attention x gradient: by hand for one entity, and the switch to eager attention."""

import pytest
import torch

from hf_adner import make_explainer
from hf_adner.explain.gradients import eager_attention
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import Passage
from hf_adner.model.windows_adner import Window


@pytest.mark.parametrize("layers", [1, 4])
def test_by_hand(case, layers):
    if case.tagger.is_adner and not case.model.config.use_encoder:
        with pytest.raises(ValueError, match="no encoder"):
            make_explainer("attention", case.model, case.tokenizer)
        return
    number = max(range(len(case.texts)), key=lambda one: len(case.texts[one]))
    text, entity = case.texts[number], case.entities[number][0]
    explain = make_explainer("attention", case.model, case.tokenizer, layers=layers)
    ((one,),) = explain([text], [[entity]])
    tagger = case.tagger
    batch = tagger.encode([text], [Passage(0, Window(0, len(text)))])
    place = batch.tokens_of(0, entity)
    with eager_attention(case.model):
        outputs = case.model(**batch.inputs, output_attentions=True)
    score = Target("label", tagger.labels)(tagger.read(outputs), [place])
    used = outputs.attentions[-layers:]
    slopes = torch.autograd.grad(score.sum(), used)
    total = torch.zeros(batch.is_text.shape[1])
    for weights, slope in zip(used, slopes):
        for token in range(place.start, place.end):
            total += (weights * slope)[0, :, token].abs().sum(0) / (place.end - place.start) / len(used)
    for (start, end), expected in zip(batch.offsets[0], total.tolist()):
        if end > start:
            assert sum(one.scores[start:end]) == pytest.approx(expected, abs=1e-6)
    assert one.details == {"layers": len(used)} and min(one.scores) >= 0


def test_different_parts_get_their_own_back(build):
    model = build("m-dscmg").model
    model.set_attn_implementation({"": "sdpa", "encoder_config": "eager"})
    with pytest.raises(KeyError), eager_attention(model):
        assert model.config._attn_implementation == "eager"
        raise KeyError
    assert model.config._attn_implementation == "sdpa"
    assert model.config.encoder_config._attn_implementation == "eager"


def test_errors(stock):
    with pytest.raises(ValueError, match="layers must be"):
        make_explainer("attention", stock.model, stock.tokenizer, layers=0)
