"""The recipe for Ray Data in the documentation, run as it stands in a cluster of one machine."""

import json
import re
from pathlib import Path

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer

PAGE = Path(__file__).parents[2] / "docs" / "large_corpora.md"
TEXTS = ["患者反复红斑三年", None, "瘙痒", "", "外用他克莫司软膏后好转"]
"""Texts of documents; one has none."""


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    texts = [text for text in TEXTS if text]
    tokenizer = AdnerTokenizer.from_texts(texts)
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["病"], "bilstm-crf", bilstm_size=8)
    with torch.no_grad():
        model.head.classifier.weight.mul_(20)
    return AdnerPipeline(model, tokenizer, device="cpu")


@pytest.fixture
def ray(monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("ray.data", reason="ray is installed without its extra data")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def run_recipe(folder):
    """Run the code of the page with the files of a folder, and return its rows by id."""
    (code,) = re.findall(r"```python\n(import json\n\nimport ray\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for written, here in (("notes.jsonl", "notes.jsonl"), ("runs/quickstart/model", "model"), ("tagged", "tagged")):
        assert f'"{written}"' in code
        code = code.replace(f'"{written}"', repr(str(folder / here)))
    exec(compile(code, str(PAGE), "exec"), {"__name__": "recipe"})
    lines = [line for path in (folder / "tagged").iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    assert len(rows) == len(TEXTS)
    return {row["id"]: row for row in rows}


def without_digits(entities):
    """Scores depend on the batch in the last digits."""
    return [{name: round(x, 4) if isinstance(x, float) else x for name, x in one.items()} for one in entities]


@pytest.mark.slow
def test_the_recipe_tags_like_the_pipeline(ray, pipe, tmp_path):
    for part in (pipe.model, pipe.tokenizer):
        part.save_pretrained(tmp_path / "model")
    lines = [json.dumps({"id": str(number), "text": text}, ensure_ascii=False) for number, text in enumerate(TEXTS)]
    (tmp_path / "notes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = run_recipe(tmp_path)
    expected = pipe([text or "" for text in TEXTS])
    assert any(expected)
    for number, (text, entities) in enumerate(zip(TEXTS, expected, strict=True)):
        row = rows[str(number)]
        assert row["text"] == text
        if text is None:
            assert row["entities"] is None and row["error"] == "no text"
        else:
            assert row.get("error") is None
            assert without_digits(json.loads(row["entities"])) == without_digits(entities)
