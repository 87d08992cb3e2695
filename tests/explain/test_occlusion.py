"""Occlusion against captum's ablation, words, and what its forwards cost."""

import pytest
import torch
from captum.attr import FeatureAblation

from hf_adner import make_explainer

from .captum_forward import Forward


def captum(case, text, entity, mask=None):
    forward = Forward(case, text, entity, drops_hidden_words=True)
    with torch.no_grad():
        return FeatureAblation(forward).attribute(forward.ids, forward.masked, feature_mask=mask)[0, 1:-1].tolist()


def test_equals_captum(case):
    number = max(range(len(case.texts)), key=lambda one: len(case.texts[one]))
    text, entities = case.texts[number], case.entities[number]
    (found,) = make_explainer("occlusion", case.model, case.tokenizer)([text], [entities])
    for one, entity in zip(found, entities):
        expected = captum(case, text, entity)
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            offsets = Forward(case, text, entity).batch.offsets[0][1:-1]
            sums = [sum(one.scores[start:end]) for start, end in offsets]
            assert sums == pytest.approx(expected, abs=1e-5)


def test_lexicon_words_are_hidden_whole(build):
    case = build("m-dscmg")
    text, entity = "反复红斑伴瘙痒", (5, 7, "Disease")
    ((one,),) = make_explainer("occlusion", case.model, case.tokenizer, units="lexicon-words")([text], [[entity]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 2, 3, 3, 4]])
    expected = captum(case, text, entity, mask)
    assert one.scores == pytest.approx([score / n for score, n in zip(expected, [4, 4, 4, 4, 1, 2, 2])], abs=1e-5)


def test_words_between_spaces(stock):
    text, entity = stock.texts[0], (23, 29, "Disease")
    ((one,),) = make_explainer("occlusion", stock.model, stock.tokenizer, units="words")([text], [[entity]])
    expected = captum(stock, text, entity, torch.tensor([[0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 7, 8]]))
    assert sum(one.scores[23:29]) == pytest.approx(expected[4], abs=1e-5)
    assert len(set(one.scores[23:29])) == 1 and one.scores[22] == 0
    assert sum(one.scores[33:37]) == pytest.approx(expected[8], abs=1e-5)


def test_a_word_of_the_lexicon_is_judged_by_its_absence(build):
    case = build("m-dscmg")
    text, entity = "红斑伴瘙痒", (0, 2, "Disease")
    ((one,),) = make_explainer("occlusion", case.model, case.tokenizer)([text], [[entity]])
    forward = Forward(case, text, entity)
    for number, word in enumerate(one.lexicon):
        without = forward.words.clone()
        without[0, number] = 0
        expected = forward(forward.ids, forward.words) - forward(forward.ids, without)
        assert word.score == pytest.approx(expected.item(), abs=1e-5) and word.score != 0


def test_entities_share_the_hidden_copies(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("occlusion", case.model, case.tokenizer)
    rows = []
    tag = explain.tagger.tag
    monkeypatch.setattr(explain.tagger, "tag", lambda inputs: rows.append(len(inputs["input_ids"])) or tag(inputs))
    text = case.texts[4]
    explain([text], [[(0, 2, "Drug")]])
    one, rows[:] = sum(rows), []
    explain([text], [[(start, start + 1, "Drug") for start in range(12)]])
    assert sum(rows) == one == len(text) + 1


def test_errors(build, stock):
    with pytest.raises(ValueError, match="units must be"):
        make_explainer("occlusion", stock.model, stock.tokenizer, units="sentences")
    with pytest.raises(ValueError, match="needs a tokenizer with a lexicon"):
        make_explainer("occlusion", stock.model, stock.tokenizer, units="lexicon-words")
