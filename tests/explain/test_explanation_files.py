"""Explained notes as files."""

import json

import pytest

from hf_adner import Entity, Explanation
from hf_adner.explain.explanation import ExplainedNote
from hf_adner.view.output import write_explanations

TEXT = "红斑</script>痒"


def make(span):
    return Explanation(TEXT, Entity(*span), [0.5] * len(TEXT), "lime", "label", 1.0, posterior=0.5)


NOTES = [ExplainedNote("a", TEXT, (make((0, 2, "x")), make((11, 12, "y")))), ExplainedNote("b", "无")]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".JSONL"])
def test_json_holds_every_explanation(tmp_path, suffix):
    path = tmp_path / "new" / f"found{suffix}"
    write_explanations(iter(NOTES), path)
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    assert [row["note"] for row in rows] == ["a", "a"]
    assert tuple(map(Explanation.from_dict, rows)) == NOTES[0].explanations


def test_no_explanations_are_an_empty_list(tmp_path):
    write_explanations([], tmp_path / "a.json")
    write_explanations([NOTES[1]], tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.json").read_text()) == [] and (tmp_path / "a.jsonl").read_text() == ""


def test_a_page_holds_every_note(tmp_path):
    write_explanations(NOTES, tmp_path / "a.html", title="T")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text.count('<article class="note"') == 2 and text.count("</script>") == 3  # the page's own ones


def test_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in .html, .json, .jsonl"):
        write_explanations(NOTES, tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
