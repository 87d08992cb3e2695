"""Surface noise: offsets follow every edit."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner.data.synthetic.grammar import CONTEXT, Cue, Draft, Mark
from hf_adner.data.synthetic.noise import Edit, add_noise, apply_edits, lost_punctuation, slips, tidy, units, widths


def draft_of(text, *marks, cues=()):
    return Draft(text, [Mark(s, e, "Drug") for s, e in marks], [Cue(m, s, e, CONTEXT) for m, s, e in cues])


def surfaces(draft):
    return [draft.text[m.start : m.end] for m in draft.marks]


def test_edits_before_inside_and_behind_a_mention():
    draft = apply_edits(draft_of("外用甲乙丙。", (2, 5)), [Edit(0, 2, "涂"), Edit(3, 4, "二二"), Edit(5, 6, "")])
    assert draft.text == "涂甲二二丙"
    assert surfaces(draft) == ["甲二二丙"]


def test_insertions_at_the_edges_stay_outside():
    assert surfaces(apply_edits(draft_of("甲乙", (0, 2)), [Edit(0, 0, "x"), Edit(2, 2, "y")])) == ["甲乙"]


def test_an_edit_across_an_edge_is_skipped():
    assert apply_edits(draft_of("用甲乙", (1, 3)), [Edit(0, 2, "z")]).text == "用甲乙"


def test_a_cue_that_vanishes_is_dropped():
    assert apply_edits(draft_of("忌甲", (1, 2), cues=[(0, 0, 1)]), [Edit(0, 1, "")]).cues == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_noise_never_moves_a_mention_off_its_characters(seed, level):
    # Private-use characters stand for terms that no slip knows.
    text = "患者\ue000\ue001，伴瘙痒3cm、\ue002。外用\ue003\ue004每日2次，体温38℃。"
    marks = [(i, i + n) for i, n in ((2, 2), (12, 1), (16, 2))]
    draft = add_noise(draft_of(text, *marks), random.Random(seed), level)
    assert surfaces(draft) == ["\ue000\ue001", "\ue002", "\ue003\ue004"]


def test_no_noise_at_level_zero():
    draft = draft_of("外用甲。", (2, 3))
    assert add_noise(draft, random.Random(0), 0) is draft


def test_tidy_keeps_the_strongest_mark_and_closes_the_text():
    assert tidy(draft_of("红斑，。瘙痒、，好转。"), random.Random(0)).text == "红斑。瘙痒，好转。"
    endings = {tidy(draft_of("红斑，"), random.Random(seed)).text for seed in range(30)}
    assert endings == {"红斑。", "红斑", "红斑，"}


def test_each_kind_of_noise_changes_what_it_should():
    rng = random.Random(3)
    assert slips("湿疹", rng, 1.0)
    assert len(lost_punctuation("，、。", rng, 1.0)) == 3
    assert [e.start for e in units("3cm高38℃cm", random.Random(0))] in ([1], [6], [1, 6], [])
    assert {e.text for s in range(9) for e in widths("1，", random.Random(s))} == {"１", ","}
