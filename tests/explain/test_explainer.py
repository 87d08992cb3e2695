"""Promises of every explainer: positions, batches, windows, and errors."""

import pytest
import torch

from hf_adner import Document, Entity, make_explainer
from hf_adner.explain.explainer import spread_over_characters
from hf_adner.explain.explainers import EXPLAINERS

from .inputs import random_table

QUICK = {"lime": {"n_samples": 10}, "kernel-shap": {"n_samples": 12}, "integrated-gradients": {"steps": 4}}


def explainer(case, name, **options):
    if name in ("global", "fused", "fused-fast"):
        table = random_table(case, explainer="grad-x-input" if name == "fused-fast" else "occlusion")
        options = {"global_table": table, **options}
    return make_explainer(name, case.model, case.tokenizer, **{**QUICK.get(name, {}), **options})


def same(found, expected, tolerance=1e-5):
    assert [len(entities) for entities in found] == [len(entities) for entities in expected]
    pairs = [pair for entities in zip(found, expected) for pair in zip(*entities)]
    for one, other in pairs:
        assert one.entity == other.entity and one.text == other.text
        assert one.scores == pytest.approx(other.scores, abs=tolerance, rel=1e-4)
        assert [word[:3] for word in one.lexicon] == [word[:3] for word in other.lexicon]
        assert [w.score for w in one.lexicon] == pytest.approx(
            [w.score for w in other.lexicon], abs=tolerance, rel=1e-4
        )
        assert one.value == pytest.approx(other.value, abs=1e-4)


@pytest.mark.parametrize("name", sorted(EXPLAINERS))
def test_batched_and_padded_is_as_single(case, name):
    if name == "attention" and case.tagger.is_adner and not case.model.config.use_encoder:
        pytest.skip("no attention to explain")
    explain = explainer(case, name)
    together = explain(case.texts, case.entities)
    alone = [explain([text], [entities])[0] for text, entities in zip(case.texts, case.entities)]
    one_by_one = [
        [explain([text], [[entity]])[0][0] for entity in entities] for text, entities in zip(case.texts, case.entities)
    ]
    same(together, alone)
    same(together, one_by_one)
    same(together, explainer(case, name, batch_size=1)(case.texts, case.entities))
    for text, entities, found in zip(case.texts, case.entities, together):
        assert [one.span for one in found] == entities
        for one in found:
            assert len(one.scores) == len(text) and any(one.scores)
            assert (one.method, one.target) == (name, "label")
            assert len(one.start_profile) == len(one.end_profile) == len(text)
            assert all(0 <= p <= 1 for p in (*one.start_profile, *one.end_profile))


@pytest.mark.parametrize("name", sorted(EXPLAINERS))
def test_repeated_characters_each_keep_their_score(build, name):
    case = build("bert-crf")
    (one,) = explainer(case, name)(["瘙痒瘙痒瘙痒"], [[(2, 4, "Disease")]])[0]
    assert len(one.scores) == 6 and len({round(score, 7) for score in one.scores[::2]}) == 3


@pytest.mark.parametrize("target", ["label", "start", "end", "span", "posterior"])
def test_every_target(build, target):
    case = build("m-dscmg")
    found = explainer(case, "grad-x-input", target=target)(case.texts, case.entities)
    assert all(one.target == target and any(one.scores) for entities in found for one in entities)


def test_entities_default_to_what_the_model_finds(case):
    explain = explainer(case, "grad-x-input")
    found = explain(case.texts)
    expected = case.tagger.find_entities(case.texts, 4)
    assert any(expected)
    assert [[e.span for e in entities] for entities in found] == expected


def test_documents_entities_are_taken_as_they_are(build):
    case = build("bert-crf")
    document = Document("1", case.texts[0], (Entity(2, 5, "Disease"),))
    explain = explainer(case, "grad-x-input")
    same(explain([document.text], [document.entities]), explain([document.text], [[(2, 5, "Disease")]]))


def test_a_long_text_goes_through_windows(case):
    if case.tagger.max_tokens is None:
        pytest.skip("this model takes any length")
    text = case.texts[4 if case.tagger.is_adner else 0]
    start, end, label = case.entities[4 if case.tagger.is_adner else 0][0]
    space = "" if case.tagger.is_adner else " "
    many = space.join([text] * 12)
    step = len(text) + len(space)
    entities = [(start + step * number, end + step * number, label) for number in range(12)]
    (found,) = explainer(case, "grad-x-input")([many], [entities])
    for one, (first, last, _) in zip(found, entities):
        assert one.entity.text == text[start:end]
        read = [place for place, score in enumerate(one.scores) if score]
        assert len(one.scores) == len(many) and read[0] <= first and read[-1] >= last - 1
        # never at the edge of a window where there is more text
        assert first - read[0] >= 5 or read[0] == 0
        assert read[-1] - last >= 4 or read[-1] == len(many) - 1


def test_empty_texts_and_no_texts(case):
    explain = explainer(case, "grad-x-input")
    assert explain([]) == [] and explain([""]) == [[]] and explain(["", ""], [[], []]) == [[], []]


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([[(0, 9, "Disease")]], "text 0: entity 0-9 reaches outside the text of 5"),
        ([[(-1, 2, "Disease")]], "text 0: entity offsets"),
        ([[(3, 3, "Disease")]], "text 0: entity offsets"),
        ([[(0, 1, "Tumour")]], "text 0: the model does not have the label 'Tumour'"),
        ([[(0, 1)]], "text 0: "),
        ([[(0.5, 1, "Disease")]], "text 0: entity start must be an integer"),
        ([[], []], "2 lists of entities for 1 texts"),
    ],
)
def test_bad_entities(build, entities, message):
    case = build("bert-crf")
    with pytest.raises(ValueError, match=message):
        explainer(case, "grad-x-input")(case.texts[:1], entities)


def test_bad_texts_and_options(build, stock):
    explain = explainer(build("bert-crf"), "grad-x-input")
    with pytest.raises(TypeError, match="single str"):
        explain("红斑")
    with pytest.raises(TypeError, match="text 1 is int"):
        explain(["红斑", 3])
    with pytest.raises(ValueError, match="entity 0-39 has 39 characters, more than the model"):
        explain(["红" * 60], [[(0, 39, "Disease")]])
    with pytest.raises(ValueError, match="text 0: entity 23-26.*ends inside the token"):
        explainer(stock, "occlusion")(stock.texts[:1], [[(23, 26, "Disease")]])
    with pytest.raises(ValueError, match="batch_size"):
        explainer(stock, "occlusion", batch_size=0)


@pytest.mark.parametrize("name", sorted(EXPLAINERS))
def test_the_model_is_left_as_it_was(build, name):
    case = build("m-dscmg")
    case.model.train()
    parts = {id(part.config): part.config for part in case.model.modules() if hasattr(part, "config")}.values()
    before = [part._attn_implementation for part in parts]
    random = torch.get_rng_state()
    first = explainer(case, name)(case.texts, case.entities)
    assert not case.model.training and [part._attn_implementation for part in parts] == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in case.model.parameters())
    assert torch.get_rng_state().equal(random)
    for parameter in case.model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        same(explainer(case, name)(case.texts, case.entities), first)


def test_tokens_share_their_score_equally():
    offsets = [(0, 0), (0, 4), (5, 6), (5, 6), (0, 0)]
    assert spread_over_characters([9.0, 2.0, 1.0, 3.0, 9.0], offsets, 8) == (0.5,) * 4 + (0.0, 4.0, 0.0, 0.0)
