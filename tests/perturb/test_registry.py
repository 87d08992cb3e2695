import pytest

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import EntitySurfaces
from hf_adner.perturb.perturbed import BOUNDARY, KINDS, LABEL_PRESERVING, Perturbed
from hf_adner.perturb.registry import PERTURBATIONS, make_perturbation, perturbation_class
from hf_adner.perturb.surface import Confusions

from .documents import check, english, note

OPTIONS = {
    "p2": {"source": Confusions()},
    "p3": {"source": Confusions(["sound"])},
    "p4": {"surfaces": EntitySurfaces({"Symptom": ["丘疹"]})},
}


def test_every_short_name_is_there():
    names = [*(f"p{number}" for number in range(1, 11)), *(f"b{number}" for number in range(1, 5))]
    assert sorted(one.name for one in PERTURBATIONS.values()) == sorted(names)
    for readable, one in PERTURBATIONS.items():
        assert perturbation_class(readable) is perturbation_class(one.name.upper()) is one
        assert one.kind in KINDS
        assert one.kind == (BOUNDARY if one.name.startswith("b") else LABEL_PRESERVING)
    assert [one.name for one in PERTURBATIONS.values() if one.test_only] == ["p9"]


@pytest.mark.parametrize("name", [one.name for one in PERTURBATIONS.values()])
@pytest.mark.parametrize("document", [note(), english(), Document("x", "")], ids=["zh", "en", "empty"])
def test_each_runs_on_every_document_and_is_repeatable(name, document):
    perturbation = make_perturbation(name, **OPTIONS.get(name, {}))
    for seed in range(5):
        result = perturbation(document, seed)
        assert result == perturbation(document, seed)
        if result is not None:
            check(result, document, swaps=name == "p4")
            assert isinstance(result, Perturbed) and result.families == (name,)
            assert (result.kind, result.document.id) == (perturbation.kind, document.id)
        if not document.text:
            assert result is None or result.is_unchanged


def test_options_and_names_are_checked():
    assert make_perturbation("context-masking", share=0.3, lexicon=Lexicon(["患者"])).share == 0.3
    with pytest.raises(ValueError, match=r"no perturbation 'p11'; there are p1 \(context-masking\), p2"):
        make_perturbation("p11")
    with pytest.raises(TypeError, match="source"):
        make_perturbation("p2")
    with pytest.raises(TypeError, match="colour"):
        make_perturbation("p1", colour=1)
