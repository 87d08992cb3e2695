"""Tests of the frame language, drafts, noise, topics and persons."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner.data.synthetic.grammar import (
    BOUNDARY,
    CONTEXT,
    Cue,
    Draft,
    FrameError,
    Grammar,
    Mark,
    Scene,
    parse_choice,
    parse_frame,
)
from hf_adner.data.synthetic.noise import Edit, add_noise, apply_edits, lost_punctuation, slips, tidy, units, widths
from hf_adner.data.synthetic.scene import AGES, choose_topic, make_person, read_topics, weighted_names
from hf_adner.data.synthetic.vocabulary import UNSEEN, Vocabulary, VocabularyError, read_groups

TERMS = "[drug] Drug\n甲片*5 乙丸*5 丙汤*5\n[sign] Symptom\n红斑*5\n"


def expand(frame, seed=0, **scene):
    grammar = Grammar(Vocabulary(read_groups(TERMS)), {"both": parse_choice("{sign}，{drug}")})
    scene = {"slots": {}, "phrases": {"who": "患者"}, "bindings": {}} | scene
    draft = Draft()
    grammar.expand(parse_frame(frame), Scene(random.Random(seed), **scene), draft)
    return draft


def mentions(draft):
    return [(draft.text[mark.start : mark.end], mark.label) for mark in draft.marks]


def test_slots_become_mentions_with_exact_offsets():
    draft = expand("<who>见{sign}。")
    assert draft.text == "患者见红斑。"
    assert mentions(draft) == [("红斑", "Symptom")]


def test_a_list_has_no_repeats_and_uses_the_separators():
    draft = expand("{drug:3-3}", separators=("、",), last_separators=("和",))
    assert sorted(surface for surface, _ in mentions(draft)) == ["丙汤", "乙丸", "甲片"]
    assert draft.text.count("、") == 1 and draft.text.count("和") == 1


def test_a_list_longer_than_its_group_stops_early():
    assert expand("{sign:3-3}").text == "红斑"


def test_a_binding_repeats_its_term():
    first, second = mentions(expand("{drug@x}，{drug@x}"))
    assert first == second


def test_labels_can_be_replaced_or_left_out():
    assert mentions(expand("{sign#Trigger}{sign!}{=糖#Drug}")) == [("红斑", "Trigger"), ("红斑", None), ("糖", "Drug")]


def test_topic_slots_come_before_groups():
    draft = expand("{dis}", slots={"dis": (("sign",), (1.0,))})
    assert mentions(draft) == [("红斑", "Symptom")]


def test_macros_numbers_and_choices():
    draft = expand("<both>[a|a]%3-3%%1.5-1.5%100%")
    assert draft.text.endswith("a31.5100%")
    assert len(draft.marks) == 2


def test_choice_weights_count():
    texts = {expand("[a*0|b]", seed).text for seed in range(20)}
    assert texts == {"b"}


def test_cues_point_at_the_mentions_they_decide():
    draft = expand("‹避免›{drug:2-2}«过敏»")
    cues = [(c.mark, draft.text[c.start : c.end], c.kind) for c in draft.cues]
    assert sorted(cues) == sorted((m, w, CONTEXT) for m in (0, 1) for w in ("避免", "过敏"))


def test_a_boundary_cue_concerns_the_adjacent_mention():
    draft = expand("‹boundary:剧烈›{drug:2-2}")
    assert [(c.mark, c.kind) for c in draft.cues] == [(0, BOUNDARY)]


def test_nested_brackets_are_matched():
    assert expand("[a[b|b]c|a[b|b]c]").text == "abc"


@pytest.mark.parametrize("frame", ["{drug", "[a|b", "‹避免", "{drug:2}", "{drug#Food}", "<1 2>"])
def test_broken_frames_are_refused(frame):
    with pytest.raises(FrameError):
        parse_frame(frame)


def test_a_fixed_surface_needs_a_label():
    with pytest.raises(FrameError, match="label"):
        expand("{=糖}")


def test_unknown_macro_is_named():
    with pytest.raises(FrameError, match="nowhere"):
        expand("<nowhere>")


def test_an_empty_pool_is_an_error():
    with pytest.raises(VocabularyError, match="unseen"):
        expand("{sign}", pool=UNSEEN)


def drug_draft(text, *marks, cues=()):
    return Draft(text, [Mark(s, e, "Drug") for s, e in marks], [Cue(m, s, e, CONTEXT) for m, s, e in cues])


def surfaces(draft):
    return [surface for surface, _ in mentions(draft)]


def test_edits_before_inside_and_after_a_mention():
    draft = apply_edits(drug_draft("外用甲乙丙。", (2, 5)), [Edit(0, 2, "涂"), Edit(3, 4, "二二"), Edit(5, 6, "")])
    assert draft.text == "涂甲二二丙"
    assert surfaces(draft) == ["甲二二丙"]


def test_insertions_at_the_edges_stay_outside():
    assert surfaces(apply_edits(drug_draft("甲乙", (0, 2)), [Edit(0, 0, "x"), Edit(2, 2, "y")])) == ["甲乙"]


def test_an_edit_across_an_edge_is_skipped():
    assert apply_edits(drug_draft("用甲乙", (1, 3)), [Edit(0, 2, "z")]).text == "用甲乙"


def test_a_deleted_cue_is_dropped():
    assert apply_edits(drug_draft("忌甲", (1, 2), cues=[(0, 0, 1)]), [Edit(0, 1, "")]).cues == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_mentions_keep_their_characters_under_noise(seed, level):
    # private-use characters are terms that no misspelling affects
    text = "患者\ue000\ue001，伴瘙痒3cm、\ue002。外用\ue003\ue004每日2次，体温38℃。"
    marks = [(i, i + n) for i, n in ((2, 2), (12, 1), (16, 2))]
    draft = add_noise(drug_draft(text, *marks), random.Random(seed), level)
    assert surfaces(draft) == ["\ue000\ue001", "\ue002", "\ue003\ue004"]


def test_no_noise_at_level_zero():
    draft = drug_draft("外用甲。", (2, 3))
    assert add_noise(draft, random.Random(0), 0) is draft


def test_tidy_keeps_the_strongest_mark_and_adds_a_full_stop():
    assert tidy(drug_draft("红斑，。瘙痒、，好转。"), random.Random(0)).text == "红斑。瘙痒，好转。"
    endings = {tidy(drug_draft("红斑，"), random.Random(seed)).text for seed in range(30)}
    assert endings == {"红斑。", "红斑", "红斑，"}


def test_each_kind_of_noise_changes_what_it_should():
    rng = random.Random(3)
    assert slips("湿疹", rng, 1.0)
    assert len(lost_punctuation("，、。", rng, 1.0)) == 3
    assert [e.start for e in units("3cm高38℃cm", random.Random(0))] in ([1], [6], [1, 6], [])
    assert {e.text for s in range(9) for e in widths("1，", random.Random(s))} == {"１", ","}


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


def test_waiting_cues_are_attached_once():
    draft = Draft()
    draft.write("忌")
    draft.cue(0, CONTEXT, forward=True)
    for surface in ("虾", "蟹"):
        first = draft.mention(surface, "Trigger")
        draft.settle(first)
    assert [(c.mark, c.start, c.end) for c in draft.cues] == [(0, 0, 1)]


def test_an_empty_cue_is_ignored():
    draft = Draft("虾")
    draft.cue(1, CONTEXT, forward=False)
    draft.cue(1, CONTEXT, forward=True)
    assert draft.cues == [] and draft.waiting == []


def test_a_person_fits_its_stage_and_sex():
    person = make_person(random.Random(1), ("infant",), ("女",))
    assert (person.stage, person.sex) == ("infant", "女")
    assert "月" in person.phrases["age"] or person.phrases["age"] in ("1岁", "2岁")


def test_every_stage_occurs():
    assert {make_person(random.Random(seed)).stage for seed in range(80)} == set(AGES)


def test_a_person_has_all_phrases():
    assert set(make_person(random.Random(0)).phrases) == {"age", "sex", "who", "noun", "name", "kin", "person"}
