import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.perturb.units import text_units


def _strings(text):
    return [text[unit.start : unit.end] for unit in text_units(text)]


@given(st.text(max_size=40))
def test_units_cover_the_text_in_order(text):
    units = text_units(text)
    assert "".join(_strings(text)) == text
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
    assert _strings(text) == expected


def test_kinds():
    assert [unit.kind for unit in text_units("痒 ab,")] == ["han", "space", "word", "symbol"]
