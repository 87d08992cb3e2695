"""Words by forward maximum matching."""

from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.pretraining.words import segment

LEXICON = Lexicon(["红斑", "红斑狼疮", "狼疮肾炎", "ct", "a1"])


def words(text: str, **options) -> list[str]:
    return [text[start:end] for start, end in segment(text, LEXICON, **options)]


def test_the_longest_word_from_the_left_is_taken_and_the_rest_are_characters_and_runs():
    assert words("见红斑狼疮肾炎，IgE 120IU") == ["见", "红斑狼疮", "肾", "炎", "，", "IgE", " ", "120", "IU"]
    assert words("红斑狼疮", longest=2) == ["红斑", "狼", "疮"]


def test_a_run_of_letters_is_not_cut_by_a_shorter_word_and_case_is_as_asked():
    assert words("ctx") == ["ctx"]
    assert words("A1c") == ["A", "1", "c"]
    assert words("A1c", lower_case=True) == ["A1", "c"]


def test_without_lexicon_there_are_characters_and_runs():
    assert segment("红斑ab", None) == [(0, 1), (1, 2), (2, 4)]


@given(st.text(alphabet="红斑狼疮肾炎ct1a \n\ud800", max_size=30))
def test_nothing_is_lost(text):
    assert "".join(words(text)) == text
