"""Integrated gradients: captum's values, completeness, and errors."""

import pytest
import torch
from captum.attr import LayerIntegratedGradients

from hf_adner import make_explainer

from .captum_forward import Forward


@pytest.fixture
def longest(case):
    number = max(range(len(case.texts)), key=lambda one: len(case.texts[one]))
    return case.texts[number], case.entities[number]


@pytest.fixture
def padding_word_is_zero(case):
    """captum takes the zero vector of a word from the padding row of the table."""
    table = case.tagger._word_table
    if table is not None:
        with torch.no_grad():
            table.weight[0] = 0


def test_equals_captum(case, longest, padding_word_is_zero):
    text, entities = longest
    explain = make_explainer("integrated-gradients", case.model, case.tokenizer, steps=7, batch_size=3)
    (found,) = explain([text], [entities])
    for one, entity in zip(found, entities):
        forward = Forward(case, text, entity)
        values = LayerIntegratedGradients(forward, forward.layers).attribute(
            forward.inputs, forward.baselines, n_steps=7, method="riemann_middle"
        )
        expected = values[0].sum(-1)[0, 1:-1].tolist()
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            assert sum(one.scores) == pytest.approx(sum(expected), abs=1e-5)
            start, end, _ = entity
            place = forward.batch.tokens_of(0, entity)
            assert sum(one.scores[start:end]) == pytest.approx(sum(expected[place.start - 1 : place.end - 1]), abs=1e-5)
        if len(values) > 1:
            assert [word.score for word in one.lexicon] == pytest.approx(values[1].sum(-1)[0].tolist(), abs=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad", "zero"])
def test_scores_complete_the_difference(case, longest, baseline):
    text, entities = longest
    errors = []
    for steps in (8, 128):
        options = {"steps": steps, "baseline": baseline, "batch_size": 64}
        (found,) = make_explainer("integrated-gradients", case.model, case.tokenizer, **options)([text], [entities[:1]])
        one = found[0]
        total = sum(one.scores) + sum(word.score for word in one.lexicon)
        error = abs(total - (one.value - one.details["baseline_value"]))
        assert error == pytest.approx(one.details["completeness_error"], abs=1e-4)
        errors.append(error)
    assert errors[1] < 2e-3 and errors[1] <= errors[0] + 1e-4


def test_errors(build):
    case = build("bert-crf")
    with pytest.raises(ValueError, match="steps must be"):
        make_explainer("integrated-gradients", case.model, case.tokenizer, steps=0)
    with pytest.raises(ValueError, match="baseline must be"):
        make_explainer("integrated-gradients", case.model, case.tokenizer, baseline="noise")
