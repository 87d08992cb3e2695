import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import (
    ContextEdit,
    ContextMasking,
    MaskedLanguageModelEdit,
    SimilarWordEdit,
    SimilarWords,
    Terms,
)
from hf_adner.perturb.edits import Masks
from hf_adner.perturb.perturbed import MASK
from hf_adner.perturb.surface import Confusions

from .documents import check, documents, english, note


class Always:
    """Proposes the same string for every unit."""

    lexicon = None

    def __init__(self, string):
        self.string = string

    def covers(self, document, unit):
        return True

    def propose(self, document, units, rng):
        return [self.string] * len(units)


def _similar(**options):
    words = Lexicon(["患者", "病人", "反复", "经常", "出现", "发现", "加重", "恶化"])
    vectors = torch.eye(4).repeat_interleave(2, 0) + 0.01
    return SimilarWords(words, torch.cat([torch.zeros(1, 4), vectors]), **options)


@given(documents(), st.integers(0, 3), st.floats(0.01, 1))
def test_whatever_replaces_context_nothing_else_changes(document, seed, share):
    sources = [(1, Masks()), (1, Confusions()), (1, _similar()), (1, Always("不")), (1, Always("痒痒x"))]
    edit = ContextEdit(sources, share=share, terms=Terms(Lexicon(["痒", "痒痒"])))
    result = edit(document, seed)
    if result is not None:
        check(result, document)
        assert "不" not in "".join(result.document.text[place] for place in result.inserted)
        again = edit(document, random.Random(seed))
        assert again == result


def test_masks_cover_the_share():
    result = ContextMasking(share=0.5)(note(), 0)
    check(result, note())
    assert len(result.masked) == 8 == len(result.edited)  # of 17 units, half to even
    assert [result.document.text[place] for place in result.masked] == [MASK] * 8
    assert result.families == ("p1",) and result.inserted == ()


def test_whole_words_are_masked_together():
    result = ContextMasking(share=0.01, lexicon=Lexicon(["患者", "反复"]), bottom=0.01)(
        note(), 0, scores=[0.0, 0.0] + [1.0] * (len(note().text) - 2)
    )
    assert result.masked == (0, 1)
    result = ContextMasking(share=1)(english(), 0)
    assert result.document.text.startswith("□□□ □□□□□□□ □□□ chronic eczema □□□□ severe itch □□ □□□ left □□□, denies")


def test_only_the_least_important_half_is_edited():
    document = Document("a", "甲乙丙丁戊己痒", (Entity(6, 7, "Symptom"),))
    scores = [5, 1, 4, 2, 6, 3, 9]
    for seed in range(20):
        result = ContextMasking(share=0.7)(document, seed, scores=scores)
        assert set(result.edited) <= {1, 3, 5} and len(result.edited) == 2
    with pytest.raises(ValueError, match="2 scores for a text of 7 characters"):
        ContextMasking()(document, 0, scores=[1.0, 2.0])
    with pytest.raises(IndexError, match="entity 1 of a document with 1 entities"):
        ContextMasking()(document, 0, entity=1)


def test_similar_words_take_the_place_of_words():
    result = SimilarWordEdit(_similar(), share=1)(note(), 0)
    check(result, result.original)
    assert result.document.text.startswith("病人经常面部红斑、瘙痒3年，恶化2周；否认发热")
    assert result.alignment.is_identity and set(result.edited) == {0, 1, 2, 3, 14, 15}


def test_what_makes_a_term_is_left_out():
    document = Document("a", "患者痒", (Entity(2, 3, "Symptom"),))
    assert MaskedLanguageModelEdit(Always("面"), terms=Terms(Lexicon(["面痒", "面者"])), share=1)(document, 0) is None
    assert MaskedLanguageModelEdit(Always("面"), share=1)(document, 0).document.text == "面面痒"


def test_nothing_to_edit():
    for text in ("", "痒", "无，3天"):
        entities = (Entity(0, 1, "Symptom"),) if text == "痒" else ()
        assert ContextMasking()(Document("a", text, entities), 0) is None
    assert SimilarWordEdit(_similar())(Document("a", "甲乙"), 0) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, "share 0 and bottom 0.5"),
        ({"bottom": 1.5}, "bottom 1.5"),
        ({"sources": []}, "at least one source"),
        ({"sources": [(-1, Masks()), (2, Masks())]}, "weights of 0 or more"),
        ({"sources": [(0, Masks())]}, "one above 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ContextEdit(**{"sources": [(1, Masks())], **options})
