"""Views of texts for the variance of maps."""

import pytest

from hf_adner import Document, Entity, make_explainer
from hf_adner.explain import stability as map_views
from hf_adner.explain.stability import explain_views
from hf_adner.perturb.boundary import OuterNeighbourEdit
from hf_adner.perturb.context import ContextMasking
from hf_adner.perturb.perturbed import CharacterAlignment, Perturbed
from hf_adner.perturb.surface import PunctuationEdit

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
    monkeypatch.setattr(map_views, "PERTURBATIONS", (kind(),))
    views = explain_views(local, explanations, 2, 0)
    assert len(views) == 2
    if kind is ContextMasking:  # what is hidden is read as hidden
        (plain,) = local([views[0].explanations[0].text], [ENTITIES[:1]])[0]
        assert plain.scores != views[0].explanations[0].scores


def test_nothing_to_edit(local, monkeypatch):
    monkeypatch.setattr(map_views, "PERTURBATIONS", (ContextMasking(),))
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
    monkeypatch.setattr(map_views, "PERTURBATIONS", (Joining(),))
    with pytest.raises(ValueError, match="inside the token"):
        local(["the patient hadeczema on arms"], [[(15, 21, "Disease")]])
    assert explain_views(local, explanations, 2, 0) == []
    assert explain_views(local, explanations, 0, 0) == []
