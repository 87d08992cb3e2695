from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.context import Terms
from hf_adner.perturb.edits import Edit, spliced


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
