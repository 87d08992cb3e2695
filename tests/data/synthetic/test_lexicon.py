"""The built-in word list."""

from hf_adner.data.synthetic import ad_lexicon
from hf_adner.data.synthetic.vocabulary import LABELS


def test_words_have_labels_and_are_sorted():
    words = ad_lexicon()
    assert len(words) > 1500
    assert list(words) == sorted(words)
    assert set(words.values()) == set(LABELS)
    assert min(map(len, words)) == 2
    assert words["特应性皮炎"] == "Disease" and words["他克莫司软膏"] == "Drug"


def test_held_out_terms_can_be_left_out_and_rules_added():
    assert ad_lexicon(held_out=False).keys() < ad_lexicon().keys() < ad_lexicon(rules=True).keys()


def test_food_that_is_recommended_is_not_in_the_list():
    words = ad_lexicon()
    assert "海鲜" in words and "苦瓜" not in words
