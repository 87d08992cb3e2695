"""Stability of explanations under hidden unimportant characters."""

import numpy as np
import pytest

from hf_adner import make_explainer
from hf_adner.explain.stability import StabilityMeter, reading_masks

NOTE = "患者反复红斑，伴瘙痒，皮肤干燥，外用他克莫司软膏。"
SPANS = [(4, 6, "Disease"), (8, 10, "Disease")]


@pytest.fixture(scope="module")
def explainer(build):
    case = build("m-dscmg")
    return make_explainer("grad-x-input", case.model, case.tokenizer)


def test_it_is_the_mean_cosine_over_what_was_not_hidden(explainer):
    meter = StabilityMeter(explainer, views=3)
    explanations = meter([NOTE, "", "痒"], [SPANS, [], [(0, 1, "Disease")]])
    plain = explainer([NOTE], [SPANS])[0]
    views = [view.perturbed for view in meter._views(0, plain)]
    assert len(views) == 3 and len({view.masked for view in views}) > 1
    for index, one in enumerate(explanations[0]):
        assert one.scores == pytest.approx(plain[index].scores, rel=1e-4, abs=1e-6)
        cosines = []
        for view in views:
            other = reading_masks(explainer, [view.masked])([view.document.text], [SPANS])[0][index]
            kept = [place for place in range(len(NOTE)) if place not in view.masked]
            first, second = np.array(one.scores)[kept], np.array(other.scores)[kept]
            cosines.append(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
        assert one.stability == pytest.approx(np.mean(cosines), abs=1e-4)
        assert 0 < one.stability < 1
    assert explanations[1] == [] and explanations[2][0].stability is None  # nothing around it to hide


def test_what_is_hidden_mattered_least_to_all_entities(explainer):
    explanations = explainer([NOTE], [SPANS])[0]
    importance = np.max([one.shares for one in explanations], axis=0)
    inside = {place for start, end, _ in SPANS for place in range(start, end)}
    context = [place for place in range(len(NOTE)) if place not in inside]
    for view in StabilityMeter(explainer)._views(0, explanations):
        assert view.perturbed.masked and not inside & set(view.perturbed.masked)
        assert max(importance[list(view.perturbed.masked)]) <= np.median(importance[context]) + 1e-9


def test_the_explainer_is_left_as_it_was(explainer):
    tagger = explainer.tagger
    reading_masks(explainer, [[0]])
    assert explainer.tagger is tagger
    with pytest.raises(ValueError, match="views must be an integer of 1 or more, found 0"):
        StabilityMeter(explainer, views=0)
