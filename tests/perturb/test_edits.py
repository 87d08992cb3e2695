import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.edits import (
    Edit,
    EditError,
    Masks,
    Replacements,
    apply_edits,
    apply_guarded,
    edits_of,
    spliced,
)
from hf_adner.perturb.perturbation import BOUNDARY, MASK
from hf_adner.perturb.protected import ClosedSpans, keeps_protected, protected_spans
from hf_adner.perturb.surface import Confusions
from hf_adner.perturb.units import Unit, budget, context_units, draw_runs, draw_units, least_important, text_units

from .documents import check, documents, english, note


def _mask(start, end):
    return Edit(start, end, MASK * (end - start), masked=True)


def _document(text="面部红斑伴瘙痒。"):
    return Document("a", text, (Entity(0, 4, "Symptom"), Entity(0, 2, "Site"), Entity(5, 7, "Symptom")), {"k": 1})


@st.composite
def edited_documents(draw):
    document = draw(documents())
    closed = ClosedSpans.of_context(document)
    edits, place = [], 0
    while place < len(document.text) and draw(st.booleans()):
        start = draw(st.integers(place, len(document.text)))
        end = draw(st.integers(start, min(start + 3, len(document.text))))
        if closed.is_open(start, end):
            edits.append(Edit(start, end, draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=3))))
        place = end + 1
    return document, edits


@given(edited_documents())
def test_edits_of_the_context_keep_entities(given_edits):
    document, edits = given_edits
    result = apply_edits(document, edits, family="x")
    assert result.document.text == spliced(document.text, edits)
    for index, entity in enumerate(document.entities):
        moved = result.entity(index)
        assert moved.text == entity.text
        assert result.alignment.map_span(entity.start, entity.end) == (moved.start, moved.end)
    assert all(result.document.text[place] == document.text[start] for start, place in result.kept)
    guarded = apply_guarded(document, edits, family="x")
    if guarded is not None:
        check(guarded, document)


def test_insertions_at_edges_stay_outside():
    result = apply_edits(_document(), [Edit(0, 0, "有"), Edit(5, 5, "及"), Edit(7, 7, "著")], family="x")
    assert result.document.text == "有面部红斑伴及瘙痒著。"
    assert [(entity.start, entity.end) for entity in result.document.entities] == [(1, 5), (1, 3), (7, 9)]
    assert result.inserted == (0, 6, 9)
    assert result.edited == ()


def test_insertion_between_touching_and_nested_entities():
    document = Document("a", "红斑瘙痒", (Entity(0, 2, "S"), Entity(2, 4, "S")))
    result = apply_edits(document, [Edit(2, 2, "及")], family="x")
    assert [entity.text for entity in result.document.entities] == ["红斑", "瘙痒"]
    with pytest.raises(EditError, match="edit 2-2 is inside an entity"):
        apply_edits(_document(), [Edit(2, 2, "及")], family="x")


def test_replacements_align_only_at_equal_length():
    result = apply_edits(_document(), [Edit(4, 5, "及与"), _mask(7, 8)], family="x")
    assert result.document.text == "面部红斑及与瘙痒" + MASK
    assert result.alignment.forward == (0, 1, 2, 3, None, 6, 7, 8)
    assert (result.edited, result.masked, result.families) == ((4, 7), (8,), ("x",))
    assert result.changed_entities == ()


def test_edits_in_entities_only_where_allowed():
    edit = Edit(0, 2, "四肢内侧", aligned=False)
    with pytest.raises(EditError, match="edit 0-2 is inside an entity"):
        apply_edits(_document(), [edit], family="x")
    result = apply_edits(_document(), [edit], family="x", kind=BOUNDARY, inside_entities=True)
    assert [entity.text for entity in result.document.entities] == ["四肢内侧红斑", "四肢内侧", "瘙痒"]
    assert result.changed_entities == (0, 1)
    assert result.kind == BOUNDARY


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Edit(7, 9, "")], "edit 7-9 is outside the text of 8 characters"),
        ([Edit(4, 3, "")], "is outside the text"),
        ([Edit(4, 5, "x"), Edit(4, 5, "y")], "overlap or insert at the same place"),
        ([Edit(4, 4, "x"), Edit(4, 4, "y")], "overlap or insert at the same place"),
        ([Edit(3, 5, "x")], "edit 3-5 crosses the edge of an entity at 4"),
        ([Edit(4, 8, "x")], "crosses the edge of an entity at 5"),
        ([Edit(0, 4, "")], "crosses the edge of an entity at 2"),
        ([Edit(5, 7, "")], "delete all of the entity 5-7"),
    ],
)
def test_bad_edits_are_refused(edits, message):
    with pytest.raises(EditError, match=message):
        apply_edits(_document(), edits, family="x", inside_entities=True)


def test_guard_leaves_out_what_touches_or_makes_protected_words():
    document = Document("a", "五官无痒，1，2天")
    edits = [Edit(0, 1, "无"), Edit(2, 3, "有"), Edit(6, 7, ""), Edit(3, 4, "热")]
    result = apply_guarded(document, edits, family="x")
    assert result.document.text == "五官无热，1，2天"
    assert apply_guarded(document, edits[:3], family="x") is None
    assert apply_guarded(document, [], family="x") is None


def _strings(document, lexicon=None):
    return [document.text[unit.start : unit.end] for unit in context_units(document, lexicon)]


def test_context_of_a_note():
    assert _strings(note()) == list("患者反复加重发热咳嗽查升高诊断外用")
    words = ["患者", "反复", "复面", "发热", "发热咳", "升高诊", "用0"]
    assert _strings(note(), Lexicon(words))[:5] == ["患者", "反复", "加", "重", "发热"]


def test_context_of_english_words():
    assert _strings(english()) == ["The", "patient", "has", "with", "on", "the", "arm", "given", "rash"]
    part_of_words = Lexicon(["he patient", "patient has", "rash"])
    assert _strings(english(), part_of_words) == ["The", "patient has", "with", "on", "the", "arm", "given", "rash"]


@given(documents(), st.sampled_from([None, Lexicon(["患者反复", "反复", "后出", "出现伴", "12", "en ee"])]))
def test_units_are_open_sorted_and_disjoint(document, lexicon):
    units = context_units(document, lexicon)
    closed = ClosedSpans.of_context(document)
    assert all(closed.is_open(unit.start, unit.end) for unit in units)
    assert all(first.end <= second.start for first, second in zip(units, units[1:]))


def test_longest_word_of_a_start_wins():
    document = Document("a", "反复发作瘙痒", (Entity(4, 6, "Symptom"),))
    assert _strings(document, Lexicon(["反复", "反复发作", "发作瘙"])) == ["反复发作"]


def test_least_important_by_mean_score():
    units = [Unit(0, 2), Unit(2, 3), Unit(3, 4)]
    assert least_important(units, [0.0, 0.6, 0.2, 0.4]) == [Unit(0, 2), Unit(2, 3)]
    assert least_important(units, [0.0, 0.6, 0.2, 0.4], 0.3) == [Unit(2, 3)]
    assert least_important([], [], 0.5) == []
    with pytest.raises(ValueError, match="not a number"):
        least_important(units, [0.0, float("nan"), 1.0, 1.0])


@given(st.integers(0, 20), st.floats(0.01, 1), st.integers(0, 9))
def test_draws_keep_the_order_and_the_budget(length, share, seed):
    units = [Unit(2 * place, 2 * place + 2) for place in range(length)]
    count = budget(units, share)
    for draw in (draw_units, draw_runs):
        drawn = draw(units, count, random.Random(seed))
        assert drawn == sorted(set(drawn)) and set(drawn) <= set(units)
        assert len(drawn) == count == (0 if not length else max(1, round(share * length)))


def test_runs_hold_neighbours():
    units = [Unit(place, place + 1) for place in range(100)]
    starts = [unit.start for unit in draw_runs(units, 2, random.Random(1), weights=(0, 1))]
    assert starts[1] == starts[0] + 1
    apart = [Unit(2 * place, 2 * place + 1) for place in range(100)]
    assert len(draw_runs(apart, 7, random.Random(1), weights=(0, 1))) == 7


def _protected(text):
    return [text[start:end] for start, end in protected_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("否认发热，未见皮疹，没有咳嗽，无鼻塞，不痒", ["否认", "未见", "没有", "无", "不"]),
        ("非过敏性，排除疥疮，真菌阴性(-)，结果（＋）", ["非", "排除", "阴性", "(-)", "（＋）"]),
        ("左膝、右肘、双侧小腿、双手", ["左", "右", "双侧", "双"]),
        ("反复3天，2～3周，１２个月，3-5年余", ["3天", "2～3周", "１２个月", "3-5年"]),
        ("两周前，半年，十余年，一个月，三次", ["两周", "半年", "十余年", "一个月", "三次"]),
        ("1个半月，2年半", ["1个半月", "2年半"]),
        ("0.1%他克莫司，10mg/kg/d，每日2次，5 mg bid", ["0.1%", "10mg/kg/d", "每日", "2次", "5 mg", "bid"]),
        ("2020年3月5日，2021-01-02，3月5日，08:30", ["2020年3月5日", "2021-01-02", "3月", "5日", "08:30"]),
        ("体温36.5℃，血压120/80mmHg，>100IU/mL", ["36.5℃", "120/80mmHg", ">100IU/mL"]),
        ("血小板2.3×10^9/L，IgE 13.6", ["2.3×10^9/L"]),
        ("患者面部红斑伴瘙痒，查IgE与CD4，第12床", []),
        ("No fever, not itchy, denies cough, without rash", ["No", "not", "denies", "without"]),
        ("left arm, bilateral; Right knee", ["left", "bilateral", "Right"]),
        ("cannot and couldn't, ruled out, nothing noted", ["cannot", "couldn't", "ruled out"]),
        ("10 mg twice daily for 3 days since March 3, 2020", ["10 mg", "twice", "daily", "3 days", "March 3, 2020"]),
        ("three weeks, 2.5 mL q8h, 5 Jan 2021", ["three weeks", "2.5 mL", "q8h", "5 Jan 2021"]),
        ("nodule known leftover H2 blocker 5 diabetics", []),
    ],
)
def test_what_is_protected(text, expected):
    assert _protected(text) == expected


@given(st.text(max_size=60))
def test_spans_are_sorted_disjoint_and_inside(text):
    spans = protected_spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:]))


def test_new_and_lost_words_are_noticed():
    assert keeps_protected("痒，无热", "无热，痒")
    assert not keeps_protected("五官", "无官")
    assert not keeps_protected("1，2天", "12天")
    assert not keeps_protected("左膝", "膝")


@pytest.mark.parametrize("text", ["1" * 4000, "一" * 4000, "a" * 4000, "12-" * 1000, "每" * 4000, "1 年 " * 800])
def test_long_runs_are_read(text):
    assert all(start < end for start, end in protected_spans(text))


def _strings_of_units(text):
    return [text[unit.start : unit.end] for unit in text_units(text)]


@given(st.text(max_size=40))
def test_units_cover_the_text_in_order(text):
    units = text_units(text)
    assert "".join(_strings_of_units(text)) == text
    assert all(first.end == second.start for first, second in zip(units, units[1:]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("查IgE升高", ["查", "IgE", "升", "高"]),
        ("patient's  arm, 'x'", ["patient's", "  ", "arm", ",", " ", "'", "x", "'"]),
        ("痒3年。", ["痒", "3", "年", "。"]),
        ("cafe\u0301 e\u0301", ["cafe\u0301", " ", "e\u0301"]),
        ("नमस्ते जी", ["नमस्ते", " ", "जी"]),
        ("アトピー皮膚", list("アトピー皮膚")),
        ("𠀀𠀁", ["𠀀", "𠀁"]),
    ],
)
def test_units_of_scripts(text, expected):
    assert _strings_of_units(text) == expected


def test_kinds():
    assert [unit.kind for unit in text_units("痒 ab,")] == ["han", "space", "word", "symbol"]


def test_characters_and_gaps():
    closed = ClosedSpans(6, [(1, 3), (3, 5)])
    assert [closed.is_open(place, place + 1) for place in range(6)] == [True, False, False, False, False, True]
    assert [closed.is_open(gap, gap) for gap in range(7)] == [True, True, False, True, False, True, True]
    assert closed.is_open(5, 6) and not closed.is_open(0, 2)


@pytest.mark.parametrize(
    ("make", "open_places"),
    [
        (ClosedSpans.of_entities, [0, 3, 4, 5, 6]),
        (ClosedSpans.of_protected, [1, 2, 3, 6]),
        (ClosedSpans.of_context, [3, 6]),
    ],
)
def test_of_a_document(make, open_places):
    closed = make(Document("a", "无瘙痒、3天，", (Entity(1, 3, "Symptom"),)))
    assert [place for place in range(7) if closed.is_open(place, place + 1)] == open_places


def test_masks_for_every_character():
    units = [Unit(0, 2), Unit(4, 5)]
    assert Masks().propose(note(), units, random.Random(0)) == [MASK * 2, MASK]
    assert isinstance(Masks(), Replacements) and isinstance(Confusions(), Replacements)


def test_edits_skip_what_has_no_proposal():
    units = [Unit(0, 2), Unit(4, 5), Unit(6, 7)]
    assert edits_of(units, [MASK * 2, None, "热"]) == [Edit(0, 2, MASK * 2, masked=True), Edit(6, 7, "热")]
