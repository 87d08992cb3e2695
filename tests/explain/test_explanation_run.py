"""From documents to a page, JSON or lines."""

import json

import pytest

from hf_adner import Document
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.view.output import run_explanations


@pytest.fixture(scope="module")
def checkpoint(build):
    case = build("bert-crf")
    return ExplainedCheckpoint(case.model, case.tokenizer)


DOCUMENTS = [Document("a", "反复红斑伴瘙痒"), Document("b", "他克莫司软膏外用")]


def test_lines_are_printed(checkpoint, capsys):
    run_explanations(checkpoint, DOCUMENTS, stability_views=0)
    out = capsys.readouterr().out
    assert "a: " in out and "b: " in out and "grad-x-input" in out and "#" in out


def test_a_file_holds_the_first_documents(checkpoint, tmp_path):
    path = tmp_path / "found.jsonl"
    options = {"explainer": "occlusion", "target": "start", "batch_size": 2, "limit": 1, "stability_views": 0}
    run_explanations(checkpoint, iter(DOCUMENTS), path, **options)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {(row["note"], row["method"], row["target"]) for row in rows} == {("a", "occlusion", "start")}
    assert any(row["probes"] for row in rows)
    run_explanations(checkpoint, DOCUMENTS, path, probes=[], stability_views=0)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert {row["note"] for row in rows} == {"a", "b"} and not any(row["probes"] for row in rows)
