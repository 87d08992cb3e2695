"""Fused and global explanations, and the maps they are computed from."""

import math

import numpy as np
import pytest
import torch

from hf_adner import Entity, Explanation, make_explainer
from hf_adner.explain.fused import DEFAULT_LOCAL_VARIANCE, local_maps, map_variance
from hf_adner.explain.fusion import FUSIONS, EmpiricalBayes, make_fusion, pad_inputs
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.stability import StabilityMeter
from hf_adner.explain.unit_statistics import character_roles

from .inputs import random_table


def flat(explanations):
    return [one for group in explanations for one in group]


@pytest.fixture(scope="module")
def bert(build):
    return build("bert-crf")


def test_scores_are_those_of_the_fusion_of_both_maps(case):
    table = random_table(case)
    fused = flat(make_explainer("fused", case.model, case.tokenizer, global_table=table)(case.texts, case.entities))
    local = flat(make_explainer("occlusion", case.model, case.tokenizer)(case.texts, case.entities))
    for one, other in zip(fused, local, strict=True):
        span = one.span
        (found,) = local_maps([other])
        roles = character_roles(len(one.text), *span[:2])
        prior = table.lookup(one.text, span)
        expected = EmpiricalBayes(table.noise.tau2)(pad_inputs([found.logs], [prior], [0.4], [roles], [found.mask]))
        assert one.fusion_weights["local"] == pytest.approx(expected.local_weight[0].tolist(), abs=1e-5)
        assert one.fusion_weights["global"] == pytest.approx(expected.global_weight[0].tolist(), abs=1e-5)
        assert list(map(abs, one.scores)) == pytest.approx(expected.scores[0].tolist(), abs=1e-5)
        assert sum(map(abs, one.scores)) == pytest.approx(1, abs=1e-5)
        assert one.method == "fused" and one.stability is None
        for name in ("value", "target", "lexicon", "start_profile", "end_profile", "entity"):
            assert getattr(one, name) == getattr(other, name)
        assert one.details == {
            **other.details,
            "local": "occlusion",
            "fusion": "empirical-bayes",
            "local_variance": 0.4,
        }


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_every_fusion(bert, fusion):
    table = random_table(bert)
    found = flat(
        make_explainer("fused", bert.model, bert.tokenizer, global_table=table, fusion=fusion)(
            bert.texts, bert.entities
        )
    )
    local = flat(make_explainer("occlusion", bert.model, bert.tokenizer)(bert.texts, bert.entities))
    prior = flat(make_explainer("global", bert.model, bert.tokenizer, global_table=table)(bert.texts, bert.entities))
    for one, other, corpus in zip(found, local, prior, strict=True):
        assert one.details["fusion"] == fusion and sum(map(abs, one.scores)) == pytest.approx(1, abs=1e-5)
        assert corpus.method == "global" and corpus.value == pytest.approx(other.value, abs=1e-5)
        assert corpus.start_profile == pytest.approx(other.start_profile, abs=1e-6)
        if fusion == "local":
            assert list(map(abs, one.scores)) == pytest.approx(other.shares, abs=1e-3)
        if fusion == "global":
            assert one.scores == pytest.approx(corpus.scores, abs=1e-6)


@pytest.mark.parametrize("fusion", ["empirical-bayes", "global"])
def test_what_speaks_against_an_entity_locally_does_so_in_the_fused_map(bert, fusion):
    table = random_table(bert, explainer="integrated-gradients")
    options = {"global_table": table, "local": "integrated-gradients", "fusion": fusion}
    fused = flat(make_explainer("fused", bert.model, bert.tokenizer, **options)(bert.texts, bert.entities))
    local = flat(make_explainer("integrated-gradients", bert.model, bert.tokenizer)(bert.texts, bert.entities))
    against = [score < 0 for one in local for score in one.scores]
    assert any(against) and not all(against)
    if fusion == "global":
        against = [False] * len(against)
    assert [score < 0 for one in fused for score in one.scores] == against
    assert all(sum(map(abs, one.scores)) == pytest.approx(1, abs=1e-5) for one in fused)


def test_the_global_map_is_the_tables(bert):
    table = random_table(bert)
    ((one,),) = make_explainer("global", bert.model, bert.tokenizer, global_table=table)(
        bert.texts[:1], bert.entities[:1]
    )
    mean = torch.tensor(table.lookup(one.text, bert.entities[0][0]).mean)
    assert one.scores == pytest.approx(mean.softmax(0).tolist(), abs=1e-6)
    assert set(one.fusion_weights["global"]) == {1.0} and set(one.fusion_weights["local"]) == {0.0}


def test_local_explainers_and_fusions_may_be_given(bert):
    table = random_table(bert)
    table.target = "start"
    options = {"global_table": table}
    by_name = make_explainer("fused", bert.model, bert.tokenizer, local="occlusion", target="start", **options)
    occlusion = make_explainer("occlusion", bert.model, bert.tokenizer, target="start")
    tau2 = options["global_table"].noise.tau2
    given = make_explainer(
        "fused",
        bert.model,
        bert.tokenizer,
        local=occlusion,
        fusion=make_fusion("empirical-bayes", tau2=tau2),
        **options,
    )
    found, other = (flat(one(bert.texts, bert.entities)) for one in (by_name, given))
    assert [one.scores for one in found] == [one.scores for one in other]
    assert {one.target for one in found} == {"start"} and {one.details["local"] for one in found} == {"occlusion"}
    with pytest.raises(TypeError, match=r"options \['target'\] are for a local explainer given by name"):
        make_explainer("fused", bert.model, bert.tokenizer, local=occlusion, target="end", **options)
    for name in ("fused", "global", "shap"):
        with pytest.raises(ValueError, match=f"local explainer '{name}' is unknown; expected one of .*'occlusion'"):
            make_explainer("fused", bert.model, bert.tokenizer, local=name, **options)
    with pytest.raises(ValueError, match="fusion 'mean' is not available"):
        make_explainer("fused", bert.model, bert.tokenizer, fusion="mean", **options)
    with pytest.raises(ValueError, match="table is of maps for 'start', and 'end' is explained"):
        make_explainer("fused", bert.model, bert.tokenizer, target="end", **options)
    with pytest.raises(ValueError, match="variance_views must be"):
        make_explainer("fused", bert.model, bert.tokenizer, variance_views=-1, **options)


def test_a_table_of_other_maps_is_refused(bert):
    """Gradient x input has a name of its own, because its table is another one."""
    tables = {name: random_table(bert, explainer=name) for name in ("occlusion", "grad-x-input", "attention")}
    explain = make_explainer("fused-fast", bert.model, bert.tokenizer, global_table=tables["grad-x-input"])
    one = explain(bert.texts[:1], bert.entities[:1])[0][0]
    assert (one.method, one.details["local"]) == ("fused-fast", "grad-x-input")
    with pytest.raises(ValueError, match=r"grad-x-input's maps.*take fused-fast, or build.*--build-table.*fused"):
        make_explainer("fused", bert.model, bert.tokenizer, global_table=tables["grad-x-input"])
    with pytest.raises(ValueError, match=r"occlusion's maps.*take fused, or build .*--explainer fused-fast"):
        make_explainer("fused-fast", bert.model, bert.tokenizer, global_table=tables["occlusion"])
    with pytest.raises(ValueError, match="attention's maps.*take an explainer with local='attention'"):
        make_explainer("fused", bert.model, bert.tokenizer, global_table=tables["attention"])
    foreign = GlobalTable(explainer="occlusion")
    foreign.add("四肢红斑块", (2, 5, "Gene"), [0.0] * 5, document="a")
    for name in ("fused", "global"):
        with pytest.raises(ValueError, match=r"table is of another model: the labels \['Gene'\].*'Disease'"):
            make_explainer(name, bert.model, bert.tokenizer, global_table=foreign)
    for table in tables.values():  # a table by itself is what it is
        assert make_explainer("global", bert.model, bert.tokenizer, global_table=table)(bert.texts, bert.entities)


def test_views_measure_variance_and_leave_stability_to_its_meter(bert, tmp_path):
    table = random_table(bert)
    explain = make_explainer("fused", bert.model, bert.tokenizer, global_table=table, variance_views=4)
    found = explain(bert.texts, bert.entities)
    assert flat(found) == flat(explain(bert.texts, bert.entities))
    for group in found:
        for one in group:
            assert one.stability is None and one.details["local_variance"] >= 0.2
            assert one.details["local_variance"] != 0.4
    # what does not move with the text is stable, and noise is not
    steady = make_explainer(
        "fused", bert.model, bert.tokenizer, global_table=GlobalTable(), fusion="global", variance_views=4
    )
    assert flat(StabilityMeter(steady)(bert.texts, bert.entities))[0].stability == pytest.approx(1)
    one = flat(found)[0]
    one.save(tmp_path / "one.json")
    assert Explanation.load(tmp_path / "one.json") == one


def test_a_table_without_noise_is_taken_with_defaults(bert):
    table = random_table(bert)
    table.noise = None
    explain = make_explainer("fused", bert.model, bert.tokenizer, global_table=table)
    assert explain.fusion.tau2.tolist() == [1.0] * 5
    (one,) = explain(bert.texts[:1], bert.entities[:1])[0]
    assert one.details["local_variance"] == DEFAULT_LOCAL_VARIANCE


def test_long_texts_are_fused_in_their_windows(bert):
    text = bert.texts[4] * 12
    entities = [(2 + 13 * number, 4 + 13 * number, "Disease") for number in range(12)]
    table = random_table(bert, explainer="grad-x-input")
    explain = make_explainer("fused-fast", bert.model, bert.tokenizer, global_table=table)
    (found,) = explain([text], [entities])
    for one in found:
        start, end = one.details["window"]
        assert 0 <= start <= one.entity.start < one.entity.end <= end <= len(text) and end - start < len(text)
        read = np.zeros(len(text), dtype=bool)
        read[start:end] = True
        for values in (one.scores, *one.fusion_weights.values()):
            assert ((np.array(values) > 0) == read).all()
        assert sum(one.scores) == pytest.approx(1, abs=1e-5)


def test_no_entities(bert):
    explain = make_explainer("fused", bert.model, bert.tokenizer, global_table=random_table(bert), variance_views=1)
    assert explain([]) == [] and explain([""]) == [[]] and explain(["红斑"], [[]]) == [[]]


def test_another_tagger_leaves_the_explainer_as_it_was(bert, build):
    import copy

    explain = make_explainer("fused", bert.model, bert.tokenizer, global_table=random_table(bert))
    other, before = copy.copy(explain), explain.tagger
    other.tagger = build("bert-crf", seed=1).tagger
    assert explain.tagger is before and other.tagger is not before and other.target is explain.target


def explained(text, scores, entity=(1, 2), **details):
    return Explanation(text, Entity(*entity, "Disease"), tuple(scores), "m", "label", 0.0, details=details)


def test_maps_are_over_their_windows():
    whole = explained("红斑伴痒", [1, 1, 0, 2])
    window = explained("红斑伴痒红斑", [0, 0, 3, 1, 0, 0], (3, 4), window=[2, 5])
    first, second = local_maps([whole, window])
    assert first.values.tolist() == pytest.approx([0, 0, -5, math.log(2)], abs=1e-6)
    assert (first.text, first.entity, first.offset) == ("红斑伴痒", (1, 2, "Disease"), 0)
    assert (second.text, second.entity, second.offset) == ("伴痒红", (1, 2, "Disease"), 2)
    assert second.values.tolist() == pytest.approx([math.log(9 / 4), math.log(3 / 4), -5], abs=1e-6)
    placed = second.in_whole(6)
    assert np.isnan(placed[[0, 1, 5]]).all() and placed[2:5].tolist() == second.values.tolist()
    assert second.in_whole(6, np.ones(3), 0.0).tolist() == [0, 0, 1, 1, 1, 0]
    assert local_maps([]) == []


def test_blank_characters_without_a_token_have_no_value():
    (found,) = local_maps([explained("a b c\u3000", [1, 0, 2, 3, 0, 0])])
    assert found.mask.tolist() == [True, False, True, True, True, False]
    assert np.isnan(found.values[[1, 5]]).all() and found.values[2] == pytest.approx(math.log(4 * 2 / 6))


def test_variance_is_half_the_mean_square_over_what_was_kept():
    before, after = explained("红斑伴痒", [1, 1, 1, 1]), explained("伴红斑痒", [1, 2, 1, 4], (2, 3))
    kept = [(0, 1), (1, 2), (2, 0)]
    logs = [math.log(4 * value / 8) for value in (2, 1, 1)]
    assert map_variance(before, after, kept) == pytest.approx(sum(one**2 for one in logs) / 3 / 2)
    assert map_variance(before, before, kept[:1]) == 0
    assert map_variance(before, after, []) is None
