"""Cards of saved checkpoints, through the library and the command."""

import json

import pytest

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.cards.checkpoint import record_of_checkpoint
from hf_adner.cards.record import CardOptions, ReportError
from hf_adner.cli import main
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document

from .reports import explanations, metrics, robustness

LABELS = ("Disease", "Symptom")


@pytest.fixture
def run_folder(tmp_path):
    """What a run leaves: `model/` and `metrics.json`."""
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    AdnerForTokenClassification.from_scratch(tokenizer, LABELS, "bilstm-crf").save_pretrained(tmp_path / "model")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics(LABELS)), encoding="utf-8")
    return tmp_path


def test_metrics_of_the_run_are_found(run_folder):
    record = record_of_checkpoint(run_folder / "model", revision="abc")
    assert record.scores and record.revision == "abc" and [one.text for one in record.examples][0] == "面部红斑伴瘙痒。"


def test_without_metrics_the_checkpoint_tells_what_it_can(run_folder):
    (run_folder / "metrics.json").unlink()
    record = record_of_checkpoint(run_folder / "model")
    assert (record.architecture, record.labels, record.scores) == ("bilstm-crf", LABELS, {}) and not record.examples


def test_metrics_of_another_model_are_refused(run_folder):
    (run_folder / "other.json").write_text(json.dumps(metrics(("Drug",))), encoding="utf-8")
    with pytest.raises(ReportError, match="another model"):
        record_of_checkpoint(run_folder / "model", {"metrics": run_folder / "other.json"})


@pytest.mark.parametrize(("content", "told"), [("[1]", "holds list, expected a JSON object"), ("{", "is not JSON")])
def test_broken_reports_are_refused(run_folder, content, told):
    (run_folder / "broken.json").write_text(content, encoding="utf-8")
    with pytest.raises(ReportError, match=told):
        record_of_checkpoint(run_folder / "model", {"robustness": run_folder / "broken.json"})


def test_no_checkpoint_no_card(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        record_of_checkpoint(tmp_path)


def test_example_texts_need_the_training_data(run_folder):
    options = CardOptions(example_texts=["双手湿疹两月。"])
    with pytest.raises(ValueError, match="compared with the training data"):
        record_of_checkpoint(run_folder / "model", options=options)
    record = record_of_checkpoint(run_folder / "model", options=options, training_texts=["面部红斑三年。"])
    assert [(one.text, one.entities) for one in record.examples] == [("双手湿疹两月。", None)]


def test_command(run_folder, capsys):
    for name, report in (("explanations", explanations()), ("robustness", robustness())):
        (run_folder / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    reports = [f"--{name}={run_folder / name}.json" for name in ("explanations", "robustness")]
    command = ["card", str(run_folder / "model"), *reports, "--model_title", "Derma", "--model-id", "me/derma"]
    assert main(command) == 0
    path = run_folder / "model" / "README.md"
    card = path.read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == str(path)
    assert (
        "# Derma\n" in card
        and '"me/derma"' in card
        and "| measure | occlusion | fused |" in card
        and "| confusions |" in card
    )


def test_command_refuses_a_training_sentence(run_folder, capsys):
    write_documents([Document("a", "王某面部红斑三年。")], run_folder / "train.jsonl")
    command = ["card", str(run_folder / "model"), "--training", str(run_folder / "train.jsonl")]
    assert main([*command, "--example_texts", "王某面部红斑三年"]) == 1
    told = capsys.readouterr().err
    assert "sentence of the training data" in told and "王某" not in told
    assert not (run_folder / "model" / "README.md").exists()
