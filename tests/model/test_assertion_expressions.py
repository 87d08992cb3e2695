"""Rules of assertion on expressions of many departments, each with its attributes: none is read as a cue it is not."""

import re
from pathlib import Path

import pytest

from hf_adner.model import assertion_adner
from hf_adner.model.assertion_adner import AssertionRules
from hf_adner.model.assertion_table_adner import Rule, parse_rules
from hf_adner.model.script_adner import ScriptMap

RULES = AssertionRules.standard()
TRADITIONAL = {read: written for written, read in ScriptMap.standard().forms.items() if written >= "㐀"}
LETTERS = {"n": "negated", "u": "uncertain", "h": "historical", "y": "hypothetical", "f": "family"}
EXPRESSIONS = (Path(__file__).parent / "assertion" / "expressions.txt").read_text(encoding="utf-8").splitlines()
LINE_ENDS = {"\\n": "\n", "\\r": "\r"}
FULL_WIDTH = {ord(half): chr(ord(half) + 0xFEE0) for half in ":,.()[]?-+"}


def parsed(marked: str) -> tuple[str, list[tuple[int, int, str]], list[list[str]]]:
    """Return text, entities and their attributes of a line such as ``无[发热|n]``."""
    for written, character in LINE_ENDS.items():
        marked = marked.replace(written, character)
    text, spans, expected = "", [], []
    for before, word, letters in re.findall(r"([^\[]*)(?:\[([^\]|]+)\|([a-z]*)\])?", marked):
        text += before
        if word:
            spans.append((len(text), len(text) + len(word), "Symptom"))
            expected.append(sorted(LETTERS[letter] for letter in letters))
        text += word
    return text, spans, expected


def found(text: str, spans: list[tuple[int, int, str]]) -> list[list[str]]:
    return [[cue.attribute for cue in cues] for cues in RULES(text, spans)]


@pytest.mark.parametrize("marked", EXPRESSIONS)
def test_expressions(marked):
    text, spans, expected = parsed(marked)
    assert found(text, spans) == expected
    traditional = "".join(TRADITIONAL.get(character, character) for character in text)
    assert found(traditional, spans) == expected
    if ".[" not in marked:  # a full-width stop has no other reading
        assert found(text.translate(FULL_WIDTH), spans) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_sections_end_alike_with_any_line_ends(end):
    lines = ["既往史：[脑梗死|h]", "[肺炎|h]", "现病史：[咳嗽|]", "家族史", "[哮喘|f]", "查体", "[皮疹|]"]
    text, spans, expected = parsed(end.join(lines))
    assert found(text, spans) == expected
    text, spans, expected = parsed(end.join(["既往史：", "[肺炎|h]", "", "[皮疹|]"]))
    assert found(text, spans) == expected


def test_a_title_that_is_an_entity_ends_the_section_before_it():
    for marked in ("家族史\\n[哮喘|f]\\n[查体|]\\n[皮疹|]", "家族史：[哮喘|f]。[查体|]：[皮疹|]"):
        text, spans, expected = parsed(marked)
        assert found(text, spans) == expected


def test_the_reach_of_a_cue_in_brackets_ends_with_them():
    for marked in ("[心悸|]（无[胸痛|n]、[晕厥|n]）[乏力|]", "（必要时[吸氧|y]）[气促|]", "[湿疹|u]（待排）[瘙痒|]"):
        text, spans, expected = parsed(marked)
        assert found(text, spans) == expected


def test_the_work_grows_with_the_text_and_not_with_its_square(monkeypatch):
    hides, calls = assertion_adner._hides, []
    monkeypatch.setattr(assertion_adner, "_hides", lambda *matches: calls.append(1) or hides(*matches))
    text, spans, expected = parsed("既往史：无[发热|hn]、[咳嗽|hn]，[湿疹|hu]不除外。\n现病史：无[皮疹|n]。\n")
    counts = []
    for times in (1, 20):
        calls.clear()
        many = [
            (start + len(text) * n, end + len(text) * n, label) for n in range(times) for start, end, label in spans
        ]
        assert found(text * times, many) == expected * times
        counts.append(len(calls))
    assert 0 < counts[1] <= 20 * counts[0]


@pytest.mark.parametrize("cue", ["/无 明显/", "/无", "无/"])
def test_half_of_a_regular_expression_is_refused(cue):
    with pytest.raises(ValueError, match="ours.tsv, line 1: '.*' is half of a regular expression"):
        parse_rules(f"negated\t{cue}\tforward\tlist", "ours.tsv")
    assert parse_rules("negated\t/\tforward\tlist", "x") == [Rule(("negated",), "/", "forward", "list")]
