"""Options of the readers, given on the command line or in Python."""

import json
from dataclasses import fields

import pytest

from adner_cli import COMMANDS, command_parser
from hf_adner import DatasetArguments, load_ner_dataset, read_documents
from hf_adner.cli import main
from hf_adner.data.formats import READERS
from hf_adner.data.reading_arguments import ReadingArguments
from hf_adner.pretraining.arguments import PretrainingArguments
from hf_adner.settings import dataclass_parser
from hf_adner.training.preparation import load_splits

GIVEN = {
    "format": "csv", "encoding": "utf-8", "skip_invalid": True, "overlaps": "any", "annotator": "7",
    "text_column": "note", "columns": ["label=type"], "control_tag": "ner", "offset_unit": "utf-16", "scheme": "bio",
    "quoting": "none", "sheet": "2",
}  # fmt: skip
READING = [name for name in COMMANDS if name not in ("demo", "lexicon", "export", "serve", "app", "push")]


def test_only_options_that_were_given_reach_the_reader():
    assert set(GIVEN) == {field.name for field in fields(ReadingArguments)}
    assert ReadingArguments().reading_options() == {}
    assert ReadingArguments(**GIVEN).reading_options() == {**GIVEN, "columns": {"label": "type"}}
    for kind, options in ((DatasetArguments, {"dataset": "a"}), (PretrainingArguments, {})):
        assert kind(**options, **GIVEN).reading_options() == {**GIVEN, "columns": {"label": "type"}}
    assert PretrainingArguments().reading_options() == {"format": "lines"}


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_documents_has_the_options(command):
    parser = dataclass_parser(command) if COMMANDS[command].dataclasses else command_parser(command)
    assert {field.name for field in fields(ReadingArguments)} <= {action.dest for action in parser._actions}


@pytest.mark.parametrize("pairs", (["note"], ["=note"], ["text="], ["text=a", "text=b"]))
def test_columns_are_pairs(pairs):
    with pytest.raises(ValueError, match=r"columns \(--columns\): '(note|=note|text=|text=b)' "):
        ReadingArguments(columns=pairs)


@pytest.mark.parametrize("name", READERS)
def test_an_option_that_a_format_does_not_have_is_named(name, tmp_path):
    (tmp_path / "a").write_text("红斑")
    with pytest.raises(ValueError, match=rf"format '{name}' has no option no_such= \(--no-such\)"):
        list(read_documents(tmp_path / "a", name, no_such=1))


def test_the_synthetic_corpus_has_no_options_of_files():
    with pytest.raises(ValueError, match=r"ad-synthetic has no option scheme= \(--scheme\)"):
        load_ner_dataset("ad-synthetic", scheme="bio")


def test_commands_and_runs_read_with_the_options(tmp_path, capsys):
    table = tmp_path / "notes.csv"
    table.write_text("id,note,start,end,type\na,面部红斑,2,4,Symptom\n", encoding="utf-8")
    columns = ["text=note", "label=type"]
    assert main(["convert", str(table), str(tmp_path / "out.jsonl"), "--format", "csv", "--columns", *columns]) == 0
    record = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert record["text"] == "面部红斑" and record["entities"][0]["label"] == "Symptom"
    splits = load_splits(DatasetArguments(str(table), format="csv", columns=columns, validation_share=0.0))
    assert splits["train"]["text"] == ["面部红斑"]
    assert main(["convert", str(table), str(tmp_path / "b.jsonl"), "--format", "csv", "--scheme", "bio"]) == 1
    assert "format 'csv' has no option scheme= (--scheme)" in capsys.readouterr().err
