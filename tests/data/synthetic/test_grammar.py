"""The frame language: parsing, lists, bindings, labels, cues and errors."""

import random

import pytest

from hf_adner.data.synthetic.grammar import (
    BOUNDARY,
    CONTEXT,
    Draft,
    FrameError,
    Grammar,
    Scene,
    parse_choice,
    parse_frame,
)
from hf_adner.data.synthetic.vocabulary import UNSEEN, Vocabulary, VocabularyError, read_groups

TERMS = "[drug] Drug\n甲片*5 乙丸*5 丙汤*5\n[sign] Symptom\n红斑*5\n"


def expand(frame, seed=0, **scene):
    grammar = Grammar(Vocabulary(read_groups(TERMS)), {"both": parse_choice("{sign}，{drug}")})
    scene = {"slots": {}, "phrases": {"who": "患者"}, "bindings": {}} | scene
    draft = Draft()
    grammar.expand(parse_frame(frame), Scene(random.Random(seed), **scene), draft)
    return draft


def mentions(draft):
    return [(draft.text[m.start : m.end], m.label) for m in draft.marks]


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
    found = [(c.mark, draft.text[c.start : c.end], c.kind) for c in draft.cues]
    assert sorted(found) == sorted((m, w, CONTEXT) for m in (0, 1) for w in ("避免", "过敏"))


def test_a_boundary_cue_speaks_for_the_mention_it_touches():
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
