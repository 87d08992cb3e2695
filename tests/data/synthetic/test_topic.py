"""Topics: parsing, defaults and choice."""

import random

import pytest

from hf_adner.data.synthetic.scene import choose_topic, read_topics, weighted_names
from hf_adner.data.synthetic.vocabulary import VocabularyError

TOPICS = """
[default] weight=0
dis = eczema
drug = cream*2 pill
$dept = A B
[tinea] weight=3 ages=adult
dis = tinea
[fever] weight=1 kind=general sexes=女
"""


def test_topics_inherit_the_default_slots():
    topics = read_topics(TOPICS)
    assert list(topics) == ["tinea", "fever"]
    assert topics["tinea"].slots["dis"] == (("tinea",), (1.0,))
    assert topics["tinea"].slots["drug"] == (("cream", "pill"), (2.0, 1.0))
    assert topics["tinea"].words == {"dept": ["A", "B"]}
    assert topics["tinea"].ages == ("adult",)
    assert topics["fever"].sexes == ("女",)


def test_choice_respects_the_kind():
    topics = read_topics(TOPICS)
    assert {choose_topic(random.Random(s), topics, "general").name for s in range(20)} == {"fever"}
    assert {choose_topic(random.Random(s), topics, "any").name for s in range(40)} == {"tinea", "fever"}


def test_weighted_names():
    assert weighted_names(["a*2", "b"]) == (("a", "b"), (2.0, 1.0))


@pytest.mark.parametrize("text", ["dis = eczema\n", "[a] colour=red\n", "[a]\nnothing\n"])
def test_broken_topics_are_refused(text):
    with pytest.raises(VocabularyError):
        read_topics(text)
