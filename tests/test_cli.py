"""The command line: what it does, and how it says what is wrong."""

import json
from types import SimpleNamespace

import pytest

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Explanation, __version__
from hf_adner.cli import COMMANDS, main, parse_dataclasses
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments

TEXTS = ["面部红斑伴瘙痒。", "否认发热。"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def gold(tmp_path) -> str:
    documents = [Document("a", TEXTS[0], (Entity(2, 4, "Symptom"),)), Document("b", TEXTS[1])]
    write_documents(documents, tmp_path / "gold.jsonl")
    return str(tmp_path / "gold.jsonl")


def test_overview_version_and_unknown_command(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(name in overview for name in COMMANDS)
    assert main(["--version"]) == 0 and __version__ in capsys.readouterr().out
    assert main(["fly"]) == 2 and "unknown command 'fly'" in capsys.readouterr().err
    assert main([]) == 2


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0 and f"adner {command}" in capsys.readouterr().out


def test_predict_a_text_and_a_file(checkpoint, gold, tmp_path, capsys):
    assert main(["predict", checkpoint, "--text", TEXTS[0], "--device", "cpu"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["text"] == TEXTS[0] and isinstance(line["entities"], list)
    output = tmp_path / "found.jsonl"
    assert main(["predict", checkpoint, gold, "--output", str(output), "--device", "cpu"]) == 0
    assert [document.text for document in read_documents(output)] == TEXTS


def test_predict_a_folder_of_notes(checkpoint, tmp_path, capsys):
    (tmp_path / "notes").mkdir()
    for name, text in zip("ab", TEXTS, strict=True):
        (tmp_path / "notes" / f"{name}.txt").write_text(text, encoding="utf-8")
    assert main(["predict", checkpoint, str(tmp_path / "notes"), "--format", "text", "--device", "cpu"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == TEXTS


def test_predict_wants_exactly_one_input(checkpoint, gold, capsys):
    assert main(["predict", checkpoint]) == 1
    assert main(["predict", checkpoint, gold, "--text", "x"]) == 1
    assert "either an input or --text" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_json(checkpoint, gold, tmp_path, capsys):
    assert main(["evaluate", checkpoint, gold, "--json", str(tmp_path / "report.json"), "--device", "cpu"]) == 0
    assert "| Symptom |" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["gold"] == 1


def test_evaluate_one_split_of_a_folder(checkpoint, tmp_path, capsys):
    for split, texts in (("train", TEXTS), ("test", TEXTS[:1])):
        documents = [Document(text, text, (Entity(0, 1, "Symptom"),)) for text in texts]
        write_documents(documents, tmp_path / f"{split}.jsonl")
    assert main(["evaluate", checkpoint, str(tmp_path), "--split", "test", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("1 documents")
    assert main(["evaluate", checkpoint, str(tmp_path), "--split", "dev", "--device", "cpu"]) == 1
    assert "has no split 'dev', only train, test" in capsys.readouterr().err


def test_convert_to_conll_and_back(gold, tmp_path):
    assert main(["convert", gold, str(tmp_path / "gold.conll")]) == 0
    assert main(["convert", str(tmp_path / "gold.conll"), str(tmp_path / "back.jsonl")]) == 0
    back = list(read_documents(tmp_path / "back.jsonl"))
    assert [(document.text, document.spans) for document in back] == [(TEXTS[0], [(2, 4, "Symptom")]), (TEXTS[1], [])]


def test_broken_input_is_one_line_and_status_1(tmp_path, checkpoint, capsys):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "红斑", "entities": [{"start": 0, "end": 9, "label": "x"}]}\n', encoding="utf-8")
    assert main(["evaluate", checkpoint, str(broken), "--device", "cpu"]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("adner evaluate: DataFormatError") and "broken.jsonl" in message


def test_settings_come_from_yaml_and_flags_win(tmp_path):
    (tmp_path / "run.yaml").write_text(
        f"dataset: a.jsonl\narchitecture: bert-crf\nseed: 5\noutput_dir: {tmp_path}\n", encoding="utf-8"
    )
    types = (DatasetArguments, ModelArguments, AdnerTrainingArguments)
    dataset, model, training = parse_dataclasses(types, [str(tmp_path / "run.yaml"), "--seed", "6"], "train")
    assert (dataset.dataset, model.architecture, training.seed) == ("a.jsonl", "bert-crf", 6)
    (tmp_path / "bad.yaml").write_text("dataset: a\nspeed: 5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"unknown settings \['speed'\]"):
        parse_dataclasses(types, [str(tmp_path / "bad.yaml")], "train")
    (tmp_path / "list.yaml").write_text("- a\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a mapping"):
        parse_dataclasses(types, [str(tmp_path / "list.yaml")], "train")


def test_explain_a_text_and_a_file(checkpoint, gold, tmp_path, capsys):
    common = ["explain", checkpoint, "--device", "cpu", "--stability-views", "1", "--probes", "punctuation"]
    assert main([*common, "--text", TEXTS[0]]) == 0
    assert capsys.readouterr().out.startswith("text: ")
    for name in ("page.html", "found.jsonl"):
        assert main([*common, gold, "--output", str(tmp_path / name), "--entities", "gold", "--limit", "1"]) == 0
    assert "<article" in (tmp_path / "page.html").read_text(encoding="utf-8")
    (row,) = (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()
    assert Explanation.from_dict(json.loads(row)).entity.text == "红斑"


def test_explain_with_a_table_built_first(checkpoint, gold, tmp_path, capsys):
    table = ["--global-table", str(tmp_path / "table"), "--device", "cpu"]
    assert main(["explain", checkpoint, "--build-table", gold, *table]) == 0
    options = ["--entities", "gold", "--stability-views", "0", "--output", str(tmp_path / "found.json")]
    assert main(["explain", checkpoint, gold, *table, *options]) == 0
    (row,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert row["method"] == "fused" and row["fusion_weights"] and row["cues"]


def test_explain_says_what_is_wrong(checkpoint, gold, tmp_path, capsys):
    assert main(["explain", checkpoint, gold, "--output", str(tmp_path / "found.txt")]) == 1
    assert main(["explain", checkpoint]) == 1 and main(["explain", checkpoint, gold, "--text", "x"]) == 1
    assert main(["explain", checkpoint, gold, "--explainer", "magic", "--device", "cpu"]) == 1
    errors = capsys.readouterr().err
    assert "must end in .html" in errors and errors.count("either an input or --text") == 2 and "'magic'" in errors


def test_rank_writes_pre_annotated_documents(checkpoint, gold, tmp_path, capsys):
    output = tmp_path / "ranked.jsonl"
    assert main(["rank", checkpoint, gold, "--output", str(output), "--count", "1", "--device", "cpu"]) == 0
    record = json.loads(output.read_text(encoding="utf-8"))
    assert record["text"] in TEXTS and record["adner_rank"] == 1 and record["adner_reasons"]
    assert main(["rank", checkpoint, gold, "--output", str(output), "--output-format", "brat"]) == 1
    assert "expected one of doccano, label-studio" in capsys.readouterr().err


def test_several_processes_need_an_output(checkpoint, gold, capsys, monkeypatch):
    monkeypatch.setattr("hf_adner.audit.predict_files.join_processes", lambda device: SimpleNamespace(num_processes=2))
    assert main(["predict", checkpoint, gold]) == 1
    assert "2 processes cannot share standard output" in capsys.readouterr().err
