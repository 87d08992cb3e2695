"""`adner agree`: report, page and messages."""

import json

import pytest

from hf_adner import Document, Entity
from hf_adner.audit.agreement import compare_annotations
from hf_adner.cli import main
from hf_adner.data.formats import write_documents

from ..view.notes import Page

TEXT = "面部红斑伴瘙痒，<b>无皮疹。"
FIRST = (Entity(0, 2, "BodySite"), Entity(2, 4, "Symptom"), Entity(5, 7, "Symptom"))
SECOND = (Entity(0, 2, "BodySite"), Entity(2, 4, "Disease"), Entity(12, 14, "Symptom"))


def write(path, entities, name="a"):
    write_documents([Document(name, TEXT, entities), Document("same", "无", ())], path)
    return str(path)


def test_table_report_and_page(tmp_path, capsys):
    sides = [write(tmp_path / "a.jsonl", FIRST), write(tmp_path / "b.jsonl", SECOND)]
    files = ["--json", str(tmp_path / "r.json"), "--page", str(tmp_path / "p.html"), "--resamples", "20"]
    assert main(["agree", *sides, *files]) == 0
    shown = capsys.readouterr().out
    assert "| BodySite | 1 | 1 | 1.000 (1.000 to 1.000)" in shown and "| a.jsonl | b.jsonl |" in shown
    assert "1 missing, 1 superfluous, 1 label, 0 boundary, 0 label and boundary" in shown
    report = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(report)["all"]["entity_f1"]["value"] == pytest.approx(1 / 3, abs=1e-5) and "红斑" not in report
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert page.text_of("h1") == "1 of 2 documents differ" and page.text_of("h2") == "a"
    assert page.text_of("div", "text", without="chip") == TEXT * 2
    framed = ["differs" in one["class"].split() for one in page.with_class("entity")]
    assert framed == [False, True, True, False, True, True]
    rows = page.text_of("tbody")
    assert all(word in rows for word in ("红斑", "Disease", "missing", "皮疹", "superfluous", "瘙痒", "12–14"))
    assert "script" not in page.tags and "b" not in page.tags[page.tags.index("article") :]


def test_annotations_that_are_the_same(tmp_path, capsys):
    side = write(tmp_path / "a.jsonl", FIRST)
    assert main(["agree", side, side, "--resamples", "5", "--page", str(tmp_path / "p.html")]) == 0
    assert "0 missing, 0 superfluous" in capsys.readouterr().out
    assert "There is no difference." in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_other_texts_are_told_by_document(tmp_path, capsys):
    write_documents([Document("a", TEXT.replace("红", "丘"), FIRST), Document("same", "无")], tmp_path / "b.jsonl")
    assert main(["agree", write(tmp_path / "a.jsonl", FIRST), str(tmp_path / "b.jsonl")]) == 1
    assert "b.jsonl, record 'a': the texts differ from character 2 on" in capsys.readouterr().err
    assert main(["agree", write(tmp_path / "a.jsonl", FIRST), write(tmp_path / "c.jsonl", FIRST, "c")]) == 1
    assert "c.jsonl: 1 documents are not in it, beginning with 'a'" in capsys.readouterr().err


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="first has no documents"):
        compare_annotations([], [])
