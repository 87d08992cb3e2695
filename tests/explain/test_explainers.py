"""The registry, and explanations in the pipeline."""

import subprocess
import sys

import pytest

import hf_adner
from hf_adner import AdnerPipeline, Explanation, make_explainer
from hf_adner.explain.explainers import EXPLAINERS, LOCAL_EXPLAINERS


def test_names():
    known = {"grad-x-input", "integrated-gradients", "occlusion", "lime", "kernel-shap", "attention"}
    assert known <= set(LOCAL_EXPLAINERS)
    assert {*LOCAL_EXPLAINERS, "global", "fused", "amortised"} == set(EXPLAINERS)
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


def test_public_names_are_lazy():
    code = (
        "import sys, hf_adner; heavy = [n for n in sys.modules if n.startswith(('captum', 'hf_adner.explain'))]; "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"make_explainer", "Explanation"} <= set(hf_adner.__all__)
