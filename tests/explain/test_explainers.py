"""Explainers by name and in the pipeline, and control explainers."""

from zlib import crc32

import pytest

from hf_adner import AdnerForTokenClassification, AdnerPipeline, Document, Entity, Explanation, make_explainer
from hf_adner.explain.controls import (
    CONTROL_EXPLAINERS,
    ConstantExplainer,
    HashExplainer,
    PositionalTemplate,
    RandomExplainer,
)
from hf_adner.explain.explainers import EXPLAINERS, LOCAL_EXPLAINERS
from hf_adner.explain.table_building import build_checkpoint_table


def test_names():
    known = {"grad-x-input", "integrated-gradients", "occlusion", "lime", "kernel-shap", "attention"}
    assert known <= set(LOCAL_EXPLAINERS)
    assert {*LOCAL_EXPLAINERS, "global", "fused", "fused-fast"} == set(EXPLAINERS)
    assert all(explainer.name == name for name, explainer in LOCAL_EXPLAINERS.items())


def test_errors(build, stock):
    case = build("bert-crf")
    with pytest.raises(ValueError, match="explainer 'shap' is not available; expected one of .*'fused'.*'lime'"):
        make_explainer("shap", case.model, case.tokenizer)
    with pytest.raises(TypeError, match="n_samples"):
        make_explainer("occlusion", case.model, case.tokenizer, n_samples=3)
    with pytest.raises(ValueError, match="target 'x' is unknown"):
        make_explainer("occlusion", case.model, case.tokenizer, target="x")
    with pytest.raises(ValueError, match="'span' needs an AdnerForTokenClassification"):
        make_explainer("occlusion", stock.model, stock.tokenizer, target="span")


@pytest.mark.parametrize(("explain", "name"), [(True, "grad-x-input"), ("occlusion", "occlusion")])
def test_the_pipeline_explains(build, explain, name):
    case = build("bert-crf")
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    found = pipe(case.texts, explain=explain)
    expected = make_explainer(name, case.model, case.tokenizer)(case.texts)
    assert any(found) and [len(ones) for ones in found] == [len(ones) for ones in expected]
    for entity, explanation in zip(sum(found, []), sum(expected, [])):
        one = entity["explanation"]
        assert isinstance(one, Explanation) and one.method == name
        assert (one.entity.start, one.entity.end) == (entity["start"], entity["end"])
        assert one.scores == pytest.approx(explanation.scores, abs=1e-5)


def test_the_pipeline_takes_an_explainer(build):
    case = build("bert-crf")
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    explain = make_explainer("grad-x-input", case.model, case.tokenizer, target="span")
    found = pipe(case.texts[0], explain=explain)
    assert found and all(entity["explanation"].target == "span" for entity in found)
    with pytest.raises(TypeError, match="explain is int"):
        pipe(case.texts[0], explain=3)
    with pytest.raises(ValueError, match="'magic' is not available"):
        pipe(case.texts[0], explain="magic")


NOTE = "患者反复红斑，伴瘙痒，皮肤干燥，外用他克莫司软膏，夜间明显。"


def surest(pipe) -> float:
    """A threshold that leaves one entity of `NOTE`, and so a context in which something can be hidden."""
    return max(entity["score"] for entity in pipe(NOTE))


def test_the_pipeline_adds_posterior_and_score(build):
    case = build("bert-crf")
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    (entity,) = pipe(NOTE, explain=True, needs_review=True, threshold=surest(pipe))
    one = entity["explanation"]
    assert (one.posterior, one.score, one.stability) == (entity["score"], None, None)
    try:
        case.model.config.calibration = {"score": {"slope": 0.5, "intercept": -1.0}}
        for entity in pipe(NOTE, explain=True):
            one = entity["explanation"]
            assert (one.posterior, one.score) == (entity["posterior"], entity["score"]) and one.score != one.posterior
            assert Explanation.from_dict(one.to_dict()) == one
    finally:
        case.model.config.calibration = None


def test_the_pipeline_explains_with_the_checkpoints_table(build, tmp_path):
    case = build("bert-crf")
    folder = tmp_path / "checkpoint"
    case.model.save_pretrained(folder)
    case.tokenizer.save_pretrained(folder)
    model = AdnerForTokenClassification.from_pretrained(folder)
    pipe = AdnerPipeline(model=model, tokenizer=case.tokenizer)
    with pytest.raises(ValueError, match="need a global table.*build_checkpoint_table"):
        pipe(NOTE, explain="fused")
    documents = [Document("a", case.texts[0], (Entity(2, 5, "Disease"),))]
    build_checkpoint_table(folder, documents, min_documents=1, progress=False)
    (entity,) = pipe(NOTE, explain="fused", threshold=surest(pipe))
    one = entity["explanation"]
    assert one.method == "fused" and set(one.fusion_weights) == {"local", "global"}


TEXT = "四肢红斑伴瘙痒"


@pytest.mark.parametrize("name", sorted(CONTROL_EXPLAINERS))
def test_each_gives_an_explanation_per_entity_in_order(name):
    found = CONTROL_EXPLAINERS[name]()(
        [TEXT, "", "痒"], [[(5, 7, "Symptom"), Entity(2, 4, "Sign")], [], [(0, 1, "Symptom")]]
    )
    assert [[one.entity.start for one in ones] for ones in found] == [[5, 2], [], [0]]
    assert found[0][0].method == name and len(found[0][0].scores) == len(TEXT)


def test_constant_and_template():
    (constant,) = ConstantExplainer()([TEXT], [[(2, 4, "Sign")]])[0]
    assert set(constant.scores) == {1.0}
    (template,) = PositionalTemplate()([TEXT], [[(2, 4, "Sign")]])[0]
    assert template.scores == pytest.approx((1 / 3, 1 / 2, 1, 1, 1 / 2, 1 / 3, 1 / 4))


def test_hash_is_a_function_of_the_character_alone():
    first, second = HashExplainer()(["红斑伴红", "\ud800红"], [[(0, 2, "Sign")], [(1, 2, "Drug")]])
    scores = first[0].scores
    assert scores[0] == scores[3] == second[0].scores[1] == (crc32("红".encode()) / 2**32) ** 3
    assert len(set(scores)) == 3 and all(0 <= score < 1 for score in scores)


def test_random_depends_on_seed_text_and_entity_alone():
    ask = [[(2, 4, "Sign"), (5, 7, "Sign")]]
    first, second = RandomExplainer()([TEXT], ask)[0]
    assert RandomExplainer()([TEXT], ask)[0] == [first, second]
    assert first.scores != second.scores
    assert first.scores != RandomExplainer(seed=1)([TEXT], ask)[0][0].scores


@pytest.mark.parametrize("entities", [None, [[], []]])
def test_without_a_list_per_text(entities):
    with pytest.raises(ValueError, match="'constant' needs one list of entities per text"):
        ConstantExplainer()([TEXT], entities)
