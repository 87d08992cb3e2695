import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.perturb.protected import keeps_protected, protected_spans


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
