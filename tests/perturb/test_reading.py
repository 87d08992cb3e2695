"""Perturbations in either script: what must not change, words and terms are found as a checkpoint reads the text."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import ContextMasking, EntitySurfaces, EntitySwap, SimilarWordEdit, Terms
from hf_adner.perturb.edits import Edit
from hf_adner.perturb.protected import protected_spans
from hf_adner.perturb.reading import as_compared, simplified
from hf_adner.perturb.registry import make_perturbation
from hf_adner.perturb.similar_words import SimilarWords
from hf_adner.perturb.units import context_units

from .documents import annotated

SIMPLIFIED = "患者反复面部红斑、瘙痒3个月，加重2周；否认发热，无头痛，左侧颈部干燥，阴性。查IgE 升高，诊断湿疹。"
TRADITIONAL = "患者反復面部紅斑、瘙癢3個月，加重2週；否認發熱，無頭痛，左側頸部乾燥，陰性。查IgE 升高，診斷濕疹。"
WORDS = Lexicon(["反复", "经常", "加重", "恶化"])
VECTORS = torch.tensor([[0.0, 0.0], [1.0, 0.1], [1.0, 0.0], [0.1, 1.0], [0.0, 1.0]])


def notes(identity="a"):
    """The same note in both scripts."""
    labels = {"面部红斑": "Symptom", "瘙痒": "Symptom", "湿疹": "Disease"}
    found = annotated(SIMPLIFIED, labels, identity)
    return found, Document(
        identity, TRADITIONAL, tuple(Entity(e.start, e.end, e.label, None, e.meta) for e in found.entities)
    )


def test_the_notes_are_one_note():
    simple, traditional = notes()
    assert simplified(TRADITIONAL) == SIMPLIFIED and len(simple.entities) == len(traditional.entities) == 3
    assert simplified("ＩｇＥ，１２．５％") == "IgE，12．5％" and as_compared("ＩｇＥ濕疹") == "ige湿疹"  # signs stay


def test_the_same_is_protected():
    spans = protected_spans(TRADITIONAL)
    assert spans == protected_spans(SIMPLIFIED)
    assert {"否認", "無", "左", "3個月", "2週", "陰性"} <= {TRADITIONAL[start:end] for start, end in spans}
    assert [(0, 2)] == [span for span in protected_spans("ｎｏ rash") if span[0] == 0]


pieces = st.sampled_from("患者 無 否認 沒有 左側 兩週 3天 １０ｍｇ 濕疹 ， 。 3 個 月 ｎｏ 陽性 5 次 後".split())


@given(st.lists(pieces | st.characters(exclude_categories=["Cs"]), max_size=20).map("".join))
def test_protection_does_not_depend_on_the_script(text):
    assert protected_spans(text) == protected_spans(simplified(text))


@pytest.mark.parametrize(
    "name",
    ["context-masking", "punctuation", "clause-shuffle", "outer-neighbour", "start-edit", "interior-edit"],
)
def test_both_scripts_are_edited_alike(name):
    changed = 0
    for seed in range(12):
        simple, traditional = (make_perturbation(name)(note, seed) for note in notes())
        assert (simple is None) == (traditional is None)
        if simple is not None:
            changed += 1
            assert (simple.alignment, simple.edited, simple.masked) == (
                traditional.alignment,
                traditional.edited,
                traditional.masked,
            )
            assert simplified(traditional.document.text) == simplified(simple.document.text)
    assert changed


def test_words_of_a_lexicon_are_units():
    simple, traditional = (context_units(note, WORDS) for note in notes())
    assert simple == traditional
    assert {TRADITIONAL[unit.start : unit.end] for unit in traditional} >= {"反復", "加重"}
    masked = ContextMasking(1.0, lexicon=Lexicon(["反復"]), bottom=1.0)(notes()[0], 0)  # a list in Traditional
    assert set(range(2, 4)) <= set(masked.edited)


def test_similar_words_are_looked_up_as_they_are_read():
    similar = SimilarWords(WORDS, VECTORS)
    assert similar.nearest("反復") == similar.nearest("反复") == [("经常", pytest.approx(0.995, abs=1e-3))]
    results = [SimilarWordEdit(similar, share=1)(note, 0) for note in notes()]
    assert results[0].edited == results[1].edited and len(results[0].edited) == 4
    both = SimilarWords(Lexicon(["反复", "反復", "经常"]), VECTORS[:4], minimum=0.0)
    assert [word for word, _ in both.nearest("反復")] == ["经常"]  # not itself in another script
    assert SimilarWords(WORDS, VECTORS, excluded=["經常"]).nearest("反复") == []


def test_terms_are_found_in_either_script():
    terms = Terms(Lexicon(["湿疹"]))
    assert terms.made_by("疑濕x", Edit(2, 3, "疹")) and Terms(Lexicon(["濕疹"])).made_by("湿x", Edit(1, 2, "疹"))
    assert not terms.made_by("疑濕x", Edit(2, 3, "痒"))


def test_an_entity_is_not_swapped_for_itself():
    note = notes()[1]
    own = {"Disease": ["湿疹", "濕疹"], "Symptom": ["瘙痒", "面部红斑"]}
    disease = len(note.entities) - 1
    assert EntitySwap(EntitySurfaces(own))(note, 0, entity=disease) is None
    swapped = EntitySwap(EntitySurfaces({**own, "Disease": ["湿疹", "皮炎"]}))(note, 0, entity=disease)
    assert swapped.entity(disease).text == "皮炎"
