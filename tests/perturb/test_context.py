import pickle
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.context import (
    ContextEdit,
    ContextMasking,
    EntitySurfaces,
    EntitySwap,
    MaskedLanguageModelEdit,
    SimilarWordEdit,
    Terms,
)
from hf_adner.perturb.edits import Edit, Masks, spliced
from hf_adner.perturb.perturbation import MASK
from hf_adner.perturb.similar_words import SimilarWords, similar_word_table
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
    assert result.families == ("context-masking",) and result.inserted == ()


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
        ({"sources": [(0, Masks())]}, "at least one weight above 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ContextEdit(**{"sources": [(1, Masks())], **options})


SURFACES = EntitySurfaces(
    {"Symptom": ["丘疹", "脱屑", "左膝痛", "no itch", "a\nb", " c"], "Disease": ["荨麻疹"], "Drug": ["loratadine"]}
)


def test_surfaces_of_documents():
    surfaces = EntitySurfaces.from_documents([note(), english()])
    assert surfaces.texts("Symptom") == ("fever", "severe itch", "瘙痒", "面部红斑")
    assert surfaces.texts("Unknown") == ()
    assert SURFACES.texts("Symptom") == ("丘疹", "脱屑")


@given(documents(), st.integers(0, 3), st.floats(0, 1))
def test_context_stays(document, seed, share):
    result = EntitySwap(SURFACES, share)(document, seed)
    if result is None:
        return
    check(result, document, swaps=True)
    inside = {place for index in result.changed_entities for place in range(*document.spans[index][:2])}
    assert result.changed_entities and set(result.edited) == inside
    for index in result.changed_entities:
        assert result.entity(index).text in SURFACES.texts(document.entities[index].label)


def test_swap_in_a_note():
    result = EntitySwap(SURFACES)(note(), 0, entity=4)
    assert result.document.text == note().text.replace("特应性皮炎", "荨麻疹")
    assert result.changed_entities == (4,) and result.alignment[note().entities[4].start] is None
    everything = EntitySwap(SURFACES, share=1)(note(), 0)
    changed = {note().entities[index].text for index in everything.changed_entities}
    assert changed == {"瘙痒", "特应性皮炎", "他克莫司软膏"}


def test_nested_protected_and_unknown_entities_stay():
    assert EntitySwap(SURFACES)(note(), 0, entity=0) is None  # another one lies in it
    assert EntitySwap(SURFACES)(note(), 0, entity=1) is None
    assert EntitySwap(SURFACES)(note(), 0, entity=3) is None  # no other surface of its type
    assert EntitySwap(SURFACES)(Document("a", "左膝痛", (Entity(0, 3, "Symptom"),)), 0) is None
    assert EntitySwap(SURFACES)(Document("a", "痒"), 0) is None
    with pytest.raises(ValueError, match="share is 2, expected 0..1"):
        EntitySwap(SURFACES, 2)


WORDS = Lexicon(["反复", "经常", "时常常", "加重", "减轻", "空白"])
VECTORS = torch.tensor([[0, 0], [1, 0], [1, 0.2], [1, 0.1], [0, 1], [-0.1, 1], [0, 0]], dtype=torch.float)


def test_neighbours_by_cosine_and_length():
    similar = SimilarWords(WORDS, VECTORS)
    assert similar.nearest("反复") == [("经常", pytest.approx(1.04**-0.5))]
    assert similar.nearest("空白") == [] == similar.nearest("没有的")
    assert SimilarWords(WORDS, VECTORS, excluded=["经常"]).nearest("反复") == []
    assert len(SimilarWords(WORDS, VECTORS, minimum=-1).nearest("反复")) == 4
    assert len(SimilarWords(WORDS, VECTORS, minimum=-1, top=2).nearest("反复")) == 2


def test_a_table_has_the_neighbours_of_every_word():
    similar = SimilarWords(WORDS, VECTORS, top=2)
    table = similar_word_table(WORDS.words, VECTORS[1:], top=2, minimum=0.5)
    for word in WORDS.words:
        expected = [(other, pytest.approx(cosine)) for other, cosine in similar.nearest(word)]
        assert table.get(word, []) == expected
    assert table["反复"] and "时常常" not in table


def test_vectors_must_be_those_of_the_lexicon():
    with pytest.raises(ValueError, match=r"vectors are \(3, 2\), expected \(7, dimension\)"):
        SimilarWords(WORDS, VECTORS[:3])
    with pytest.raises(ValueError, match="top is 0"):
        SimilarWords(WORDS, VECTORS, top=0)


def test_from_embeddings_and_through_pickle():
    tokenizer = AdnerTokenizer.from_texts(["红斑红疹加重"], lexicon=Lexicon(["红斑", "红疹", "加重"]))
    torch.manual_seed(0)
    similar = SimilarWords.from_embeddings(tokenizer, torch.randn(len(tokenizer), 16), size=8, minimum=-1, top=1)
    [(nearest, cosine)] = similar.nearest("红斑")
    assert nearest == "红疹" and 0 < cosine < 1  # they share a character
    assert pickle.loads(pickle.dumps(similar)).nearest("红斑") == similar.nearest("红斑")


def test_terms_made_and_merged():
    terms = Terms(Lexicon(["湿疹", "痒", "面部红斑"]))
    assert terms.made_by("患热疹", Edit(1, 2, "湿"))
    assert terms.made_by("患者", Edit(1, 2, "痒"))
    assert not terms.merged_by("患者", Edit(1, 2, "痒"))
    assert terms.merged_by("面部，斑", Edit(2, 3, "红"))
    assert not terms.made_by("湿疹，", Edit(2, 3, "。"))


def test_case_and_empty_lexicon():
    assert Terms(Lexicon(["ige"]), lower_case=True).made_by("xE", Edit(0, 1, "Ig"))
    assert not Terms(Lexicon([])).made_by("ab", Edit(0, 1, "c"))


_TEXT = st.text("ab", max_size=8)


@given(st.sets(st.text("ab", min_size=1, max_size=4), max_size=4), _TEXT, st.data())
def test_the_window_sees_what_the_whole_text_shows(words, text, data):
    start = data.draw(st.integers(0, len(text)))
    edit = Edit(start, data.draw(st.integers(start, len(text))), data.draw(_TEXT))
    last = start + len(edit.text)
    matches = Lexicon(sorted(words)).match(spliced(text, [edit]))
    touching = [(first, end) for _, first, end in matches if first < last and start < end]
    terms = Terms(Lexicon(sorted(words)))
    assert terms.made_by(text, edit) == bool(touching)
    assert terms.merged_by(text, edit) == any(first < start or last < end for first, end in touching)
