"""Tests of term files, the packaged terms and the built-in lexicon."""

import random
import unicodedata
from collections import Counter

import pytest

from hf_adner.data.synthetic import ad_lexicon
from hf_adner.data.synthetic.vocabulary import ALL, LABELS, SEEN, UNSEEN, Vocabulary, VocabularyError, read_groups

GENERIC = {
    "药",
    "药物",
    "药膏",
    "治疗",
    "检查",
    "疾病",
    "病",
    "患处",
    "局部",
    "不适",
    "对症治疗",
    "药物治疗",
    "反跳",
    "食物不",
    "辅助检查",
}
SEVERITY = ("轻度", "中度", "重度", "剧烈", "明显", "反复", "严重", "轻微", "弱效", "强效", "中效")


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.default()


def test_there_are_enough_terms_of_every_label(vocabulary):
    counts = Counter(vocabulary.terms().values())
    assert sum(counts.values()) >= 1500
    assert set(counts) == set(LABELS)
    assert min(counts.values()) >= 80


def test_no_surface_has_punctuation_at_an_edge(vocabulary):
    for surface in vocabulary.expanded(50):
        assert unicodedata.category(surface[0])[0] not in "PZ", surface
        assert unicodedata.category(surface[-1])[0] not in "PZ", surface


def test_generic_words_are_not_terms(vocabulary):
    # 药物 is not a Drug, but may be the Trigger of a rash
    assert not [s for s, label in vocabulary.terms().items() if s in GENERIC and label != "Trigger"]


def test_terms_do_not_begin_with_severity_words(vocabulary):
    assert not [s for s, label in vocabulary.terms().items() if s.startswith(SEVERITY) and label != "Trigger"]


def test_reading_groups_with_weights_blanks_and_rules():
    groups = read_groups("# comment\n[a] Drug\n甲*3 b_c\n[b] Test\n= x - + @a\n")
    assert groups["a"].weights == {"甲": 3.0, "b c": 1.0}
    assert groups["b"].rules == [[["x", "-"], ["@a"]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a] Medicine\n", "Medicine"),
        ("甲\n", "before the first"),
        ("[a] Drug\n甲\n[a] Drug\n乙\n", "opened twice"),
    ],
)
def test_broken_term_files_are_refused(text, message):
    with pytest.raises(VocabularyError, match=message):
        read_groups(text)


def test_rules_join_one_alternative_of_each_part():
    vocabulary = Vocabulary(read_groups("[a] Drug\n甲*9 乙*9\n[b] Drug\n丙\n= @a + 片 丸\n"))
    assert vocabulary.expanded().keys() == {"甲", "乙", "丙", "甲片", "甲丸", "乙片", "乙丸"}


def test_pools_are_disjoint(vocabulary):
    rng = random.Random(0)
    seen = {vocabulary.sample(rng, "general_drug", SEEN) for _ in range(800)}
    unseen = {vocabulary.sample(rng, "general_drug", UNSEEN) for _ in range(800)}
    assert seen and unseen and not seen & unseen
    assert vocabulary.sample(rng, "general_drug", ALL)


def test_held_out_terms_are_not_part_of_seen_terms(vocabulary):
    seen = "\n".join(s for s in vocabulary.terms() if not vocabulary.is_held_out(s))
    held_out = [s for s in vocabulary.terms() if vocabulary.is_held_out(s)]
    assert len(held_out) > 200
    assert not [s for s in held_out if s in seen]


def test_unknown_group_is_named():
    with pytest.raises(VocabularyError, match="nothing_like_this"):
        Vocabulary({}).sample(random.Random(0), "nothing_like_this")


def test_words_have_labels_and_are_sorted():
    words = ad_lexicon()
    assert len(words) > 1500
    assert list(words) == sorted(words)
    assert set(words.values()) == set(LABELS)
    assert min(map(len, words)) == 2
    assert words["特应性皮炎"] == "Disease" and words["他克莫司软膏"] == "Drug"


def test_lexicon_without_held_out_terms_and_with_rules():
    assert ad_lexicon(held_out=False).keys() < ad_lexicon().keys() < ad_lexicon(rules=True).keys()


def test_recommended_food_is_not_in_the_lexicon():
    words = ad_lexicon()
    assert "海鲜" in words and "苦瓜" not in words
