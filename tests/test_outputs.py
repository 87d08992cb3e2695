"""Commands refuse an output, a checkpoint or a report that cannot work before any long work."""

import csv
import json
import logging
import os

import pytest

from hf_adner import DatasetArguments, write_documents
from hf_adner import cli as commands
from hf_adner.cli import main
from hf_adner.comparison.comparison import ComparisonArguments
from hf_adner.comparison.cross_validation import _load_finished
from hf_adner.comparison.record import RunRecord
from hf_adner.data.formats import read_documents
from hf_adner.data.records import Document, Entity
from hf_adner.pretraining.arguments import PretrainingArguments
from hf_adner.pretraining.run import check_text, divide_text, load_tokenizer
from hf_adner.training.preparation import load_splits
from tests.comparison.records import record

NOWHERE = "file/out"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with documents, in which no command gets as far as reading or loading."""
    monkeypatch.chdir(tmp_path)
    documents = [Document(f"d{number}", "=1+1 红斑", (Entity(5, 7, "@Symptom"),)) for number in range(3)]
    write_documents(documents, "gold.jsonl")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("kept")
    return tmp_path


@pytest.fixture
def no_work(monkeypatch):
    def work(*args, **options):
        raise AssertionError("the command went to work")

    for name in ("load_pipeline", "open_documents", "load_dataset"):
        monkeypatch.setattr(commands, name, work)
    monkeypatch.setattr("hf_adner.hub.reachable._ask", lambda name, revision: None)  # the Hub has every model
    monkeypatch.setattr("hf_adner.data.dataset.load_ner_dataset", work)
    monkeypatch.setattr("hf_adner.training.run.run_training", work)
    monkeypatch.setattr("hf_adner.training.run.run_demo", work)
    monkeypatch.setattr("hf_adner.comparison.comparison.compare", work)
    monkeypatch.setattr("hf_adner.comparison.cross_validation.cross_validate", work)
    monkeypatch.setattr("hf_adner.pretraining.run.run_command", work)
    monkeypatch.setattr("hf_adner.explain.documents.ExplainedCheckpoint.load", work)


RUN = ["--dataset", "gold.jsonl", "--use-cpu", "true", "--output-dir"]
REFUSED = [
    (["evaluate", "m", "gold.jsonl", "--json", NOWHERE], "file/out"),
    (["audit", "m", "gold.jsonl", "--json", NOWHERE], "file/out"),
    (["audit", "m", "gold.jsonl", "--calibration", NOWHERE], "file/out"),
    (["audit", "m", "gold.jsonl", "--robustness", NOWHERE], "file/out"),
    (["audit", "m", "gold.jsonl", "--plot", f"{NOWHERE}.png"], "file/out.png"),
    (["audit", "m", "gold.jsonl", "--plot", "a.xyz"], "a.xyz: no figure has this suffix"),
    (["audit", "m", "gold.jsonl", "--plot", "a.png", "--groups", "stability"], "groups discrimination and contrast"),
    (["audit", "m", "gold.jsonl", "--json", "a", "--calibration", "./a"], "./a is named for two outputs"),
    (["explain", "m", "gold.jsonl", "--output", f"{NOWHERE}.html"], "file/out.html"),
    (["explain", "m", "--build-table", "gold.jsonl", "--global-table", "full"], "full holds other files"),
    (["explain", "m", "--build-table", "gold.jsonl", "--global-table", NOWHERE], "file/out"),
    (["predict", "m", "gold.jsonl", "--output", f"{NOWHERE}.jsonl"], "file/out.jsonl"),
    (["predict", "m", "gold.jsonl", "--output", "full", "--output-format", "brat"], "full exists and is not an empty"),
    (["predict", "m", "gold.jsonl", "--output", "out.unknown"], "--output-format"),
    (["predict", "m", "gold.jsonl", "--output", "out.jsonl", "--escape-formulas"], "(--escape-formulas)"),
    (["rank", "m", "gold.jsonl", "--output", NOWHERE], "file/out"),
    (["export", "m", "full"], "full exists and is not an empty folder"),
    (["stats", "gold.jsonl", "--json", NOWHERE], "file/out"),
    (["stats", "gold.jsonl", "--plot", "new"], "no figure has this suffix"),
    (["card", "full", "--output", NOWHERE, "--training", "gold.jsonl"], "file/out"),
    (["demo", "--output", NOWHERE], "file/out"),
    (["train", *RUN, NOWHERE], "file/out"),
    (["train-guided", *RUN, NOWHERE], "file/out"),
    (["cross-validate", *RUN, NOWHERE], "file/out"),
    (["compare", *RUN, NOWHERE], "file/out"),
    (["pretrain", "a.txt", "--from-scratch", "--output", NOWHERE], "file/out"),
    (["train", *RUN, "runs", "--encoder", "./encoder"], "there is no folder ./encoder"),
    (["compare", *RUN, "runs", "--encoder", "a/b/encoder"], "there is no folder a/b/encoder"),
    (["pretrain", "../encoder", "a.txt", "--output", "out"], "there is no folder ../encoder"),
    (["explain", "/no/model", "gold.jsonl"], "there is no folder /no/model"),
    (["explain", "file", "gold.jsonl"], "file is a file, expected the folder of a checkpoint"),
]


@pytest.mark.parametrize(
    ("call", "message"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_what_cannot_work_is_told_before_any_work(call, message, folder, no_work, capsys):
    before = sorted(folder.rglob("*"))
    assert main(call) == 1
    assert message in (shown := capsys.readouterr().err) and "went to work" not in shown
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["evaluate", "predict", "rank", "export", "audit"])
def test_a_checkpoint_that_is_not_there_is_not_looked_for_on_the_hub(command, capsys):
    outputs = {"rank": ["--output", "out"], "export": ["out"]}
    assert main([command, "./runs/model", *(["gold.jsonl"] * (command != "export")), *outputs.get(command, [])]) == 1
    assert "FileNotFoundError: there is no folder ./runs/model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_formulas_are_escaped_on_request(name, capsys):
    assert main(["convert", "gold.jsonl", "plain-" + name]) == 0
    assert [document.text for document in read_documents("plain-" + name)] == ["=1+1 红斑"] * 3
    assert main(["convert", "gold.jsonl", name, "--escape-formulas"]) == 0
    with open(name, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="," if name.endswith("csv") else "\t"))
    assert [(row["text"], row["start"], row["label"], row["entity"]) for row in rows] == [
        ("'=1+1 红斑", "5", "'@Symptom", "红斑")
    ] * 3


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_every_beginning_of_a_formula_is_escaped(begin):
    document = Document(f"{begin}id", f"{begin}红斑", (Entity(1, 3, f"{begin}S"),))
    write_documents([document], "out.csv", escape_formulas=True)
    with open("out.csv", encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["text"], row["label"], row["entity"]) == (
        f"'{begin}id",
        f"'{begin}红斑",
        f"'{begin}S",
        "红斑",
    )


def test_an_option_that_a_written_format_does_not_have_is_named():
    for name, option in (("jsonl", "escape_formulas"), ("brat", "scheme"), ("csv", "title")):
        with pytest.raises(
            ValueError, match=rf"format '{name}' has no option {option}= \(--{option.replace('_', '-')}\)"
        ):
            write_documents([], "out", name, **{option: True})
    assert not os.path.exists("out")


def test_libraries_do_not_log_the_steps_of_an_export(monkeypatch):
    monkeypatch.setattr(commands, "stats", lambda arguments: None)
    commands.run("stats", None)
    assert not any(
        logging.getLogger(name).isEnabledFor(logging.INFO) for name in ("onnxscript.optimizer", "onnx_ir.passes")
    )


def test_an_arm_to_compare_with_must_be_there():
    for name in ("candidate", "baseline"):
        arms = [{"candidate": "plain", "baseline": "full"}[name], "r-drop"]
        with pytest.raises(ValueError, match=rf"{name} '\w+' is not among the arms .*--{name} \({name}=\)"):
            ComparisonArguments(arms=arms)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_that_leaves_a_split_empty_is_refused(share):
    with pytest.raises(ValueError, match=r"\(--validation-share\) is .*: of 3 documents none is left for"):
        load_splits(DatasetArguments("gold.jsonl", validation_share=share))


def test_a_small_text_from_scratch_needs_another_count(folder):
    (folder / "two.txt").write_text("红斑\n瘙痒\n", encoding="utf-8")
    arguments = PretrainingArguments(lexicon=None)
    assert check_text(None, ["two.txt"], arguments).unknown_rate == 1
    with pytest.raises(ValueError, match=r"occur 2 times or more \(--min-count, min_count=\)"):
        divide_text(["红斑", "瘙痒"], load_tokenizer(None, ["红斑", "瘙痒"], arguments), arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected a JSON object, found list"),
        ("{", "not JSON"),
        ('{"corpus": 3, "speed": 1}', r"wrong \['corpus', 'speed'\], missing \['model', 'arm'"),
    ],
)
def test_a_broken_record_of_a_run_is_named(content, message, folder):
    (folder / "a.json").write_text(content)
    with pytest.raises(ValueError, match=f"a.json.*{message}"):
        RunRecord.load(folder / "a.json")


def test_a_record_comes_back(folder):
    record("full").save(folder / "a.json")
    assert RunRecord.load(folder / "a.json") == record("full")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"arguments": {}}', '{"strict": {}}', '{"strict": 1, "arguments": {}}']
)
def test_broken_scores_of_a_fold_are_named(content, folder):
    (folder / "scores.json").write_text(content)
    with pytest.raises(ValueError, match="scores.json"):
        _load_finished(folder / "scores.json", {})


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("metrics", {"test": {"documents": 1, "gold": 1, "strict": 3, "boundaries": []}}, "not all are reports"),
        ("robustness", {"f1": 1, "families": [1]}, "not all are reports"),
        ("explanations", {"explainers": 3, "population": 4}, "not all are reports"),
        ("calibration", {"f1": 1, "families": {}}, "is not a report of this kind: ece, entities missing"),
        ("robustness", {"ece": 1}, "is not a report of this kind: f1, families missing"),
        ("explanations", {}, "is not a report of this kind: explainers, population missing"),
    ],
)
def test_a_report_of_another_kind_is_named(option, content, message, folder, capsys):
    config = {"architecture": "bert-crf", "id2label": {"0": "O", "1": "B-A", "2": "I-A"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "report.json").write_text(json.dumps(content))
    assert main(["card", str(folder), f"--{option}", "report.json"]) == 1
    shown = capsys.readouterr().err
    assert "report.json" in shown and message in shown and shown.count("\n") == 1
    assert not (folder / "README.md").exists()
