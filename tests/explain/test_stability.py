"""Stability of explanations, and explanations of perturbed views."""

import numpy as np
import pytest

from hf_adner import Document, Entity, Explanation, make_explainer
from hf_adner.explain import stability
from hf_adner.explain.stability import StabilityMeter, explain_views, map_cosine, reading_masks
from hf_adner.perturb.boundary import OuterNeighbourEdit
from hf_adner.perturb.context import ContextMasking
from hf_adner.perturb.perturbation import CharacterAlignment, Perturbed
from hf_adner.perturb.surface import PunctuationEdit

NOTE = "患者反复红斑，伴瘙痒，皮肤干燥，外用他克莫司软膏。"
SPANS = [(4, 6, "Disease"), (8, 10, "Disease")]


@pytest.fixture(scope="module")
def explainer(build):
    case = build("m-dscmg")
    return make_explainer("grad-x-input", case.model, case.tokenizer, spread_words=False)


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


@pytest.mark.parametrize(
    ("other", "cosine"), [([2.0, 4.0, 9.0], 1.0), ([-1.0, -2.0, 9.0], 0.0), ([0.0, 0.0, 9.0], 0.0)]
)
def test_the_cosine_is_0_to_1(other, cosine):
    one, two = (
        Explanation("红斑痒", Entity(0, 1, "x"), scores, "m", "label", 0.0) for scores in ([1.0, 2.0, 5.0], other)
    )
    assert map_cosine(one, two, [(0, 0), (1, 1)]) == pytest.approx(cosine)


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


TEXT = "患者四肢反复红斑，伴瘙痒，瘙痒他克莫司软膏外用痒"
ENTITIES = [(10, 12, "Disease"), (6, 8, "Disease"), (6, 8, "Drug"), (6, 8, "Disease")]


@pytest.fixture(scope="module")
def local(build):
    case = build("bert-crf")
    return make_explainer("grad-x-input", case.model, case.tokenizer)


@pytest.fixture(scope="module")
def explanations(local):
    return local([TEXT, "", "红斑"], [ENTITIES, [], []])


def test_entities_move_with_their_text(local, explanations):
    tagger = local.tagger
    views = explain_views(local, explanations, 6, 0)
    assert [view.text for view in views] == [0] * 6
    assert len({view.explanations[0].text for view in views}) > 3
    for view in views:
        spans = [(one.entity.text, one.entity.label) for one in view.explanations]
        assert spans == [("瘙痒", "Disease"), ("红斑", "Disease"), ("红斑", "Drug"), ("红斑", "Disease")]
        assert len(view.kept) < len(TEXT) or len(view.explanations[0].text) > len(TEXT)
        for old, new in view.kept:
            assert TEXT[old] == view.explanations[0].text[new]
    assert local.tagger is tagger


def test_views_depend_on_text_and_seed_alone(local, explanations):
    found = [[one.explanations for one in explain_views(local, explanations, 3, seed)] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    alone = [one.explanations for one in explain_views(local, explanations[:1], 3, 0)]
    assert [[one.text for one in ones] for ones in alone] == [[one.text for one in ones] for ones in found[0]]


@pytest.mark.parametrize("kind", [ContextMasking, PunctuationEdit, OuterNeighbourEdit])
def test_each_perturbation(local, explanations, monkeypatch, kind):
    monkeypatch.setattr(stability, "PERTURBATIONS", (kind(),))
    views = explain_views(local, explanations, 2, 0)
    assert len(views) == 2
    if kind is ContextMasking:  # what is hidden is read as hidden
        (plain,) = local([views[0].explanations[0].text], [ENTITIES[:1]])[0]
        assert plain.scores != views[0].explanations[0].scores


def test_nothing_to_edit(local, monkeypatch):
    monkeypatch.setattr(stability, "PERTURBATIONS", (ContextMasking(),))
    assert explain_views(local, local(["红斑"], [[(0, 2, "Disease")]]), 3, 0) == []
    assert explain_views(local, [[], []], 3, 0) == []


class Joining:
    """Takes away the space before "eczema"."""

    def __call__(self, document, rng):
        place = document.text.index(" eczema")
        text = document.text[:place] + document.text[place + 1 :]
        backward = [one for one in range(len(document.text)) if one != place]
        alignment = CharacterAlignment.from_backward(backward, len(document.text))
        joined = Document("joined", text, (Entity(place, place + 6, "Disease"),))
        return Perturbed(document, joined, alignment, (0,), edited=(place,))


def test_entities_joined_to_their_context_are_not_asked_for(stock, monkeypatch):
    local = make_explainer("grad-x-input", stock.model, stock.tokenizer)
    explanations = local(["the patient had eczema on arms"], [[(16, 22, "Disease")]])
    monkeypatch.setattr(stability, "PERTURBATIONS", (Joining(),))
    with pytest.raises(ValueError, match="inside the token"):
        local(["the patient hadeczema on arms"], [[(15, 21, "Disease")]])
    assert explain_views(local, explanations, 2, 0) == []
    assert explain_views(local, explanations, 0, 0) == []
