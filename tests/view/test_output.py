"""Explained notes as files.

Explanations in a terminal and in a notebook.

From documents to a page, JSON or lines.
"""

import json
import sys
from html import unescape
from types import ModuleType, SimpleNamespace

import pytest

from hf_adner import Document, Entity, Explanation
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.explain.explanation import ExplainedNote
from hf_adner.highlighting import painted
from hf_adner.view.output import (
    BAR,
    explanation_lines,
    in_notebook,
    notebook_frame,
    run_explanations,
    write_explanations,
)

from ..corpora import HIDDEN

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


DISPLAY_TEXT = "红斑<b>痒"


def display_make(**changes) -> Explanation:
    values = {"scores": [2.0, -1.0, 0, 0, 0.1, 0], "stability": 0.5, "posterior": 0.25, **changes}
    return Explanation(DISPLAY_TEXT, Entity(0, 2, "Symptom"), method="lime", target="label", value=1.5, **values)


def test_a_terminal_shows_the_strongest_characters(capsys):
    assert not in_notebook()
    display_make().show()
    lines = capsys.readouterr().out.splitlines()
    assert lines == explanation_lines(display_make())
    assert lines[0].startswith("红斑 (Symptom)") and "posterior 0.250" in lines[0] and "stability" not in lines[0]
    assert "stability of the scores 0.50 of 1" in lines.pop()  # far from the score, which it must not be taken for
    assert [line.split()[:3] for line in lines[1:]] == [["红", "0", "2"], ["斑", "1", "-1"], [">", "4", "0.1"]]
    assert [line.count("#") for line in lines[1:]] == [BAR, BAR // 2, 1]
    assert len(explanation_lines(display_make(scores=[0.0] * 6, stability=None, posterior=None))) == 1


def test_a_terminal_shows_labels_in_the_colour_of_the_model(capsys, monkeypatch):
    labels = ("Drug", "Symptom", "Test")
    assert painted(" Symptom ", 1) in explanation_lines(display_make(labels=labels), in_colour=True)[0]
    assert painted(" Symptom ", 0) in explanation_lines(display_make(), in_colour=True)[0]
    monkeypatch.setattr("hf_adner.view.output.shows_colours", lambda stream: True)
    display_make(labels=labels).show()
    assert capsys.readouterr().out.splitlines() == explanation_lines(display_make(labels=labels), True)


def test_a_terminal_gets_no_controls(capsys):
    text, label = f"{HIDDEN}红斑痒", f"Symptom{HIDDEN}"
    explained = Explanation(text, Entity(0, len(text), label), [1.0] * len(text), "lime", "label", 1.5)
    assert not set(HIDDEN) & set("".join(explanation_lines(explained)))
    assert explanation_lines(explained)[0].startswith("U+202EU+2066U+200B")


def test_a_notebook_shows_the_page_in_a_frame(monkeypatch, capsys):
    shown = []
    fake = ModuleType("IPython")
    fake.get_ipython = lambda: SimpleNamespace(kernel=object())
    fake_display = ModuleType("IPython.display")
    fake_display.HTML, fake_display.display = (lambda text: text), shown.append
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake_display)
    display_make().show()
    assert capsys.readouterr().out == "" and shown == [notebook_frame([display_make()])]
    assert shown[0].startswith("<iframe srcdoc=") and shown[0].count("<") == 2  # the frame alone, the page is escaped
    assert "&lt;b&gt;痒" in unescape(shown[0]) and 'sandbox="allow-scripts"' in shown[0]
    fake.get_ipython = lambda: SimpleNamespace()  # IPython in a terminal
    assert not in_notebook()


@pytest.fixture(scope="module")
def checkpoint(build):
    case = build("bert-crf")
    return ExplainedCheckpoint(case.model, case.tokenizer)


DOCUMENTS = [Document("a", "反复红斑伴瘙痒"), Document("b", "他克莫司软膏外用")]


def test_lines_are_printed(checkpoint, capsys):
    run_explanations(checkpoint, DOCUMENTS)
    out = capsys.readouterr().out
    assert "a: " in out and "b: " in out and "occlusion" in out and "#" in out
    run_explanations(checkpoint, DOCUMENTS, budget=0)
    assert "grad-x-input" in capsys.readouterr().out
    run_explanations(checkpoint, DOCUMENTS, explainer="attention")
    assert "occlusion" not in capsys.readouterr().out


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_refused(checkpoint, tmp_path, limit):
    with pytest.raises(ValueError, match=f"limit must be an integer of 1 or more, found {limit}"):
        run_explanations(checkpoint, DOCUMENTS, tmp_path / "found.html", limit=limit)
    assert not list(tmp_path.iterdir())


def test_a_file_holds_the_first_documents(checkpoint, tmp_path):
    path = tmp_path / "found.jsonl"
    options = {"explainer": "occlusion", "target": "start", "batch_size": 2, "limit": 1}
    run_explanations(checkpoint, iter(DOCUMENTS), path, **options)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {(row["note"], row["method"], row["target"]) for row in rows} == {("a", "occlusion", "start")}
    assert any(row["probes"] for row in rows)
    run_explanations(checkpoint, DOCUMENTS, path, probes=[])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {row["note"] for row in rows} == {"a", "b"} and not any(row["probes"] for row in rows)
