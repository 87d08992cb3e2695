"""`adner train --tagging per-label`: nested entities from files to a checkpoint that finds them."""

import json
import random
from pathlib import Path

import pytest

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.cli import main
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity

SITES, SIGNS = ("面部", "手背", "肘窝", "颈部"), ("红斑", "丘疹", "皮炎", "瘙痒")


def nested_note(number: int) -> Document:
    """A sentence with a finding, which contains a site and a sign."""
    draw = random.Random(number)
    site, sign = draw.choice(SITES), draw.choice(SIGNS)
    before = f"患者{'反复' * draw.randrange(3)}"
    start, middle = len(before), len(before) + len(site)
    end = middle + len(sign)
    entities = (Entity(start, end, "Finding"), Entity(start, middle, "Site"), Entity(middle, end, "Sign"))
    return Document(f"note-{number}", f"{before}{site}{sign}{draw.randrange(1, 30)}天。", entities)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run over nested notes."""
    folder = tmp_path_factory.mktemp("nested")
    write_documents(map(nested_note, range(32)), folder / "train.jsonl")
    write_documents(map(nested_note, range(1000, 1008)), folder / "test.jsonl")
    options = {
        "dataset": folder / "train.jsonl", "test": folder / "test.jsonl", "validation-share": 0.25,
        "tagging": "per-label", "architecture": "bilstm-crf", "learning-rate": 1e-2, "head-learning-rate": 1e-2,
        "per-device-train-batch-size": 8, "num-train-epochs": 12, "output-dir": folder / "run", "use-cpu": "true",
        "disable-tqdm": "true",
    }  # fmt: skip
    assert main(["train", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]) == 0
    return folder


def test_nested_entities_are_learned_and_counted_in_full(run):
    metrics = json.loads((run / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["model"]["tagging"] == "per-label"
    test = metrics["test"]
    assert test["gold"] == 24 and test["strict"]["f1"] > 0.95 and test["strict"]["recall"] > 0.95
    assert metrics["validation"]["strict"]["f1"] == pytest.approx(max(one["eval_f1"] for one in metrics["history"]))


def test_the_checkpoint_finds_nested_entities(run):
    folder = run / "run" / "model"
    pipe = AdnerPipeline(
        model=AdnerForTokenClassification.from_pretrained(folder), tokenizer=AdnerTokenizer.from_pretrained(folder)
    )
    assert pipe.model.config.tagging == "per-label"
    wanted = nested_note(1001)
    assert [(one["start"], one["end"], one["entity_group"]) for one in pipe(wanted.text)] == wanted.spans


def test_the_command_predicts_nested_entities(run):
    texts = [Document(document.id, document.text) for document in map(nested_note, range(1000, 1008))]
    write_documents(texts, run / "texts.jsonl")
    command = ["predict", str(run / "run" / "model"), str(run / "texts.jsonl"), "--output", str(run / "found.jsonl")]
    assert main(command) == 0
    found = {document.id: set(document.spans) for document in read_documents(run / "found.jsonl", overlaps="any")}
    gold = {document.id: set(document.spans) for document in map(nested_note, range(1000, 1008))}
    assert sum(len(found[name] & spans) for name, spans in gold.items()) >= 23
    assert any(document.has_overlaps for document in read_documents(run / "found.jsonl", overlaps="any"))


def test_a_softmax_head_is_refused(run, capsys):
    options = ["--tagging", "per-label", "--architecture", "bert-softmax", "--output-dir", str(run / "none")]
    assert main(["train", "--dataset", str(run / "train.jsonl"), *options]) == 1
    assert "tagging='per-label' needs a CRF" in capsys.readouterr().err
