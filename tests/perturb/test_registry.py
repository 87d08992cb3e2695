"""All perturbations: names, kinds, options, and what every one of them keeps."""

import pytest

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.perturbation import BOUNDARY, KINDS, LABEL_PRESERVING, Perturbed
from hf_adner.perturb.registry import HELD_OUT, PERTURBATIONS, make_perturbation
from hf_adner.perturb.surface import Confusions

from .documents import check, english, note

OPTIONS = {
    "masked-lm": {"source": Confusions()},
    "similar-words": {"source": Confusions(["sound"])},
    "entity-swap": {"surfaces": EntitySurfaces({"Symptom": ["丘疹"]})},
}


def test_kinds_and_uses_of_all_perturbations():
    assert {perturbation.kind for perturbation in PERTURBATIONS.values()} == set(KINDS)
    boundary = {name for name, perturbation in PERTURBATIONS.items() if perturbation.kind == BOUNDARY}
    assert boundary == {"start-edit", "end-edit", "interior-edit", "virtual-boundary"}
    assert all(name == perturbation.name for name, perturbation in PERTURBATIONS.items())


@pytest.mark.parametrize("name", list(PERTURBATIONS))
@pytest.mark.parametrize("document", [note(), english(), Document("x", "")], ids=["zh", "en", "empty"])
def test_each_runs_on_every_document_and_is_repeatable(name, document):
    perturbation = make_perturbation(name, **OPTIONS.get(name, {}))
    for seed in range(5):
        result = perturbation(document, seed)
        assert result == perturbation(document, seed)
        if result is not None:
            check(result, document, swaps=name == "entity-swap")
            assert isinstance(result, Perturbed) and result.families == (name,)
            assert (result.kind, result.document.id) == (perturbation.kind, document.id)
        if not document.text:
            assert result is None or result.is_unchanged


def test_options_and_names_are_checked():
    assert make_perturbation("context-masking", share=0.3, lexicon=Lexicon(["患者"])).share == 0.3
    with pytest.raises(ValueError, match="unknown perturbation 'p11', expected one of context-masking, masked-lm"):
        make_perturbation("p11")
    with pytest.raises(TypeError, match="source"):
        make_perturbation("masked-lm")
    with pytest.raises(TypeError, match="colour"):
        make_perturbation("context-masking", colour=1)


def test_held_out_families_keep_labels():
    assert {PERTURBATIONS[name].kind for name in HELD_OUT} == {LABEL_PRESERVING}
