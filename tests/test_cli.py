"""The command line: its commands, help, options and messages."""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import adner_cli
from adner_cli import COMMANDS, argument_groups, command_parser, hyphenated
from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Explanation, __version__
from hf_adner import cli as commands
from hf_adner.audit.measures import GROUPS, ExplanationSettings
from hf_adner.audit.predict_files import BLOCK_SIZE, predict_to_file
from hf_adner.audit.ranking import RANKED_FORMATS
from hf_adner.audit.recalibration import calibrate
from hf_adner.cards.card import CARD_FILE
from hf_adner.cards.checkpoint import REPORTS
from hf_adner.cli import main
from hf_adner.data.formats import READERS, WRITERS, read_documents, write_documents
from hf_adner.data.records import Document, Entity
from hf_adner.data.statistics import corpus_statistics
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import EXPLAINERS
from hf_adner.explain.probes import DEFAULT_PROBES
from hf_adner.explain.targets import TARGETS
from hf_adner.hub.push import push_checkpoint
from hf_adner.model.calibration_adner import REVIEW_THRESHOLD
from hf_adner.settings import dataclass_parser, parse_dataclasses
from hf_adner.training.run import run_demo
from hf_adner.view.output import run_explanations

from .corpora import HIDDEN

TEXTS = ["面部红斑伴瘙痒。", "否认发热。"]
WITH_DATACLASSES = [name for name, command in COMMANDS.items() if command.dataclasses]


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
    assert main(["fly"]) == 2
    message = capsys.readouterr().err
    assert "unknown command 'fly'" in message and "cross-validate" in message
    assert main(["train_guide"]) == 2 and "did you mean 'train-guided'?" in capsys.readouterr().err
    assert main([]) == 2


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(command, capsys):
    assert callable(getattr(commands, command.replace("-", "_")))
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code in (0, None) and f"adner {command}" in shown
    assert not re.search(r"--\w+_", shown)
    assert ("--help-all" in shown) == (command in WITH_DATACLASSES and command != "card")


@pytest.mark.parametrize("command", WITH_DATACLASSES)
def test_the_full_help_has_every_option_with_hyphens(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help-all"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and shown.startswith(f"usage: adner {command} {COMMANDS[command].usage}")
    options = [option for action in dataclass_parser(command)._actions for option in action.option_strings]
    assert ("--gradient-accumulation-steps" in options) == (command != "card")
    assert not [option for option in options if "_" in option or option not in shown]


def test_commands_import_names_that_exist():
    for node in ast.walk(ast.parse(Path(commands.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)], node.module


HELP_ONLY = """
import contextlib, io, json, sys
import adner_cli
statuses = []
calls = [["--help"], ["--version"], ["nonsense"], ["predict"], []]
calls += [[name, "--help"] for name in adner_cli.COMMANDS]
calls += [[name, "--no-such"] for name, command in adner_cli.COMMANDS.items() if not command.dataclasses]
for call in calls:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = adner_cli.main(call)
        except SystemExit as stop:
            status = stop.code or 0
    statuses.append((call, status))
print(json.dumps({"statuses": statuses, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_help_and_usage_errors_import_no_library():
    root = Path(adner_cli.__file__).parent
    done = subprocess.run([sys.executable, "-c", HELP_ONLY], cwd=root, check=True, capture_output=True, text=True)
    printed = json.loads(done.stdout)
    statuses = {" ".join(call): status for call, status in printed["statuses"]}
    assert [statuses[call] for call in ("", "--help", "--version", "nonsense", "predict")] == [2, 0, 0, 2, 2]
    assert {status for call, status in statuses.items() if "no-such" in call} == {2}
    assert {status for call, status in statuses.items() if "--help" in call} == {0}
    assert not {"hf_adner", "torch", "transformers", "numpy"} & set(printed["modules"])


def test_names_and_defaults_are_those_of_the_package():
    for names, reference in (
        (EXPLAINERS, "explain.explainers:EXPLAINERS"),
        (READERS, "data.formats.reading:READERS"),
        (WRITERS, "data.formats.writing:WRITERS"),
        (RANKED_FORMATS, "audit.ranking:RANKED_FORMATS"),
        (TARGETS, "explain.targets:TARGETS"),
        (DEFAULT_PROBES, "explain.probes:DEFAULT_PROBES"),
        (GROUPS, "audit.measures:GROUPS"),
        (CONTROL_EXPLAINERS, "explain.controls:CONTROL_EXPLAINERS"),
        (REPORTS, "cards.checkpoint:REPORTS"),
    ):
        assert adner_cli.names_in(reference) == list(names)
    assert CARD_FILE in adner_cli.dataclass_help("card")

    def defaults(command, *options):
        return [command_parser(command).get_default(option) for option in options]

    assert defaults("predict", "block_size") == [BLOCK_SIZE]
    assert f"else {REVIEW_THRESHOLD}" in " ".join(command_parser("predict").format_help().split())
    assert defaults("audit", "max_entities") == [ExplanationSettings.max_entities]
    assert set(defaults("audit", "explainers")[0]) <= set(EXPLAINERS)
    for command, option, function, parameter in (
        ("predict", "batch_size", predict_to_file, "batch_size"),
        ("calibrate", "batch_size", calibrate, "batch_size"),
        ("explain", "stability_views", run_explanations, "stability_views"),
        ("explain", "budget", run_explanations, "budget"),
        ("explain", "entities", run_explanations, "entities"),
        ("explain", "seed", run_explanations, "seed"),
        ("stats", "threshold", corpus_statistics, "threshold"),
        ("push", "message", push_checkpoint, "commit_message"),
        ("demo", "seed", run_demo, "seed"),
    ):
        assert defaults(command, option) == [inspect.signature(function).parameters[parameter].default]


@pytest.mark.parametrize("reference", sorted({name for command in COMMANDS.values() for name in command.dataclasses}))
def test_the_short_help_has_the_fields_of_the_dataclasses(reference):
    declared = {field.name: field for _, fields in argument_groups(reference) for field in fields}
    dataclass = pkgutil.resolve_name(reference)
    inherited = {field.name for base in dataclass.__mro__ if base.__module__.startswith("transformers")
                 if dataclasses.is_dataclass(base) for field in dataclasses.fields(base)}  # fmt: skip
    fields = {field.name: field for field in dataclasses.fields(dataclass)}
    assert set(fields) - inherited <= set(declared) <= set(fields)
    for name, field in declared.items():
        assert field.help == fields[name].metadata["help"] and field.choices == fields[name].metadata.get("choices")
        if name != "dataloader_pin_memory":  # a function of torch
            factory = fields[name].default_factory
            default = fields[name].default if factory is dataclasses.MISSING else factory()
            assert field.default == (None if default in ([], dataclasses.MISSING) else default), name


def test_underscores_are_accepted_in_options(checkpoint, tmp_path):
    assert hyphenated(["--a_b=c_d", "x_y", "--a_b c", "--", "--a_b"]) == ["--a-b=c_d", "x_y", "--a_b c", "--", "--a_b"]
    assert main(["predict", checkpoint, "--text", TEXTS[0], "--batch_size", "2", "--device", "cpu"]) == 0
    options = ["--dataset", "a_b", f"--output_dir={tmp_path}", "--no_lexicon_counts", "--num-train_epochs", "2"]
    dataset, model, training, _ = parse_dataclasses("train", hyphenated(options))
    assert (dataset.dataset, model.lexicon_counts, training.num_train_epochs) == ("a_b", False, 2)
    assert training.output_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("train", [], "--dataset"),
        ("train", ["--dataset", "a", "--output-dir", "b", "--max_speed", "3"], "unknown arguments: --max-speed 3"),
        ("train", ["--dataset", "a", "--columns", "note"], "columns (--columns): 'note' is not NAME=COLUMN"),
        ("cross-validate", ["--dataset", "a", "--folds", "few"], "invalid int value: 'few'"),
        ("compare", ["--dataset", "a", "--eval-strategy", "often"], "often is not a valid IntervalStrategy"),
        ("card", ["folder", "--base-model", "no/hub/name"], "'no/hub/name' is not a Hub name"),
        ("pretrain", ["a.txt", "--from-scratch"], "no folder for the result: give --output DIR"),
        ("pretrain", ["encoder", "--output", "b"], "no text was given"),
        ("pretrain", ["a", "b", "--output", "c", "--longest-word", "0"], "longest_word is 0, expected 1 or more"),
    ],
)
def test_wrong_options_of_dataclass_commands_have_status_2(command, options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, *options])
    assert stop.value.code == 2
    assert f"adner {command}: error: " in (shown := capsys.readouterr().err) and message in shown


@pytest.mark.parametrize("budget", ["none", "-3", "2.5", ""])
def test_a_wrong_budget_is_told_in_words_of_the_command(budget, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explain", "model", "notes.jsonl", "--budget", budget])
    expected = f"argument --budget: expected a number of 0 or more, or all, found {budget!r}"
    assert stop.value.code == 2 and expected in capsys.readouterr().err


FAILURES = [
    (ValueError("two\n  lines"), "ValueError: two lines", 1),
    (FileNotFoundError(2, "No such file or directory", "a.txt"), "No such file or directory: 'a.txt'", 1),
    (KeyError("x"), "KeyError: 'x' (adner --debug stats ... shows where)", 1),
    (RecursionError("maximum recursion depth exceeded"), "RecursionError: maximum recursion depth exceeded (", 1),
    (BrokenPipeError(32, "Broken pipe", "out.fifo"), "Broken pipe: 'out.fifo'", 1),
    (BrokenPipeError(32, "Broken pipe"), "", 141),
    (KeyboardInterrupt(), "adner stats: interrupted", 130),
]


@pytest.mark.parametrize(("error", "message", "status"), FAILURES)
@pytest.mark.parametrize("debug", [["--debug", "stats", "a"], ["stats", "--debug", "a"], ["stats", "a", "--debug"]])
def test_any_failure_is_one_line_and_a_traceback_only_with_debug(error, message, status, debug, capsys, monkeypatch):
    def fail(name, arguments):
        raise error

    monkeypatch.setattr(commands, "run", fail)
    assert main(["stats", "a"]) == status
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == bool(message)
    with pytest.raises(type(error)):
        main(debug)


def test_debug_of_transformers_is_left_to_it():
    options = ["train", "--dataset", "--debug", "underflow_overflow", "--", "--debug"]
    assert adner_cli._without_debug(options) == (options, False)
    assert adner_cli._without_debug(["a", "--debug"]) == (["a"], True)


def test_output_that_nobody_reads_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    call = [sys.executable, adner_cli.__file__, "--help"]
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_options_may_come_between_the_inputs(checkpoint, gold, tmp_path):
    output = ["--output", str(tmp_path / "tagged.jsonl")]
    assert main(["predict", checkpoint, *output, "--device", "cpu", gold]) == 0
    assert main(["predict", *output, "--device", "cpu", "--", checkpoint, gold]) == 0
    assert [document.text for document in read_documents(tmp_path / "tagged.jsonl")] == TEXTS


def test_predict_a_text_and_a_file(checkpoint, gold, tmp_path, capsys):
    assert main(["predict", checkpoint, "--text", TEXTS[0], "--device", "cpu"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["text"] == TEXTS[0] and isinstance(line["entities"], list)
    output = tmp_path / "found.jsonl"
    assert main(["predict", checkpoint, gold, "--output", str(output), "--device", "cpu"]) == 0
    assert [document.text for document in read_documents(output)] == TEXTS


def test_the_terminal_gets_no_controls(checkpoint, capsys):
    assert main(["predict", checkpoint, "--text", f"红斑{HIDDEN}", "--device", "cpu"]) == 0
    line = capsys.readouterr().out
    assert json.loads(line)["text"] == f"红斑{HIDDEN}" and not set(HIDDEN) & set(line)


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


@pytest.mark.parametrize("split", [[], ["--split", "dev"]])
def test_the_synthetic_corpus_is_read_where_a_file_is(monkeypatch, split):
    corpus = {name: [Document(name, text, (Entity(0, 1, "Symptom"),))] for name, text in zip(("train", "dev"), TEXTS)}
    monkeypatch.setattr("hf_adner.data.synthetic.generate_corpus", lambda: corpus)
    args = command_parser("evaluate").parse_args(["model", "ad-synthetic", *split])
    found = commands.open_documents(args)
    assert [document.id for document in found] == (["dev"] if split else ["train", "dev"])


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
    dataset, model, training, _ = parse_dataclasses("train", [str(tmp_path / "run.yaml"), "--seed", "6"])
    assert (dataset.dataset, model.architecture, training.seed) == ("a.jsonl", "bert-crf", 6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"dataset: a\nspeed: 5\n7: x\n", "unknown settings ['7', 'speed']"),
        ("a.yaml", b"- a\n", "expected a mapping of settings, found list"),
        ("a.yaml", b"", "expected a mapping of settings, found NoneType"),
        ("a.yaml", b"a: [\n", "not YAML: while parsing"),
        ("a.yml", "dataset: 数据".encode("gb18030"), "not YAML: 'utf-8' codec"),
        ("a.yaml", b"seed: 1\nseed: 2\n", "settings ['seed'] are given twice"),
        ("a.yaml", b"seed: many\n", "argument --seed: invalid int value: 'many'"),
        ("a.yaml", b"seed: [1]\n", "setting seed must be a single value, found list"),
        ("a.yaml", b"skip_invalid: {a: b}\n", "setting skip_invalid must be a single value, found dict"),
        ("a.yaml", b"columns: {text: note}\n", "setting columns must be a list, found dict"),
        ("a.yaml", b"architecture: bert\n", "argument --architecture: invalid choice: 'bert'"),
        ("a.yaml", b"overlaps: some\n", "argument --overlaps: invalid choice: 'some'"),
        ("a.json", b'{"seed": 1', "not JSON: Expecting"),
        ("a.json", b"[1]", "expected a JSON object, found list"),
        ("a.json", b"[" * 100_000, "not JSON: maximum recursion depth"),
    ],
)
def test_a_broken_file_of_settings_is_named(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert main(["train", str(tmp_path / name), "--dataset", "a", "--output-dir", str(tmp_path)]) == 1
    assert f"adner train: ValueError: {tmp_path / name}: {message}" in capsys.readouterr().err


def test_settings_of_every_kind(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "dataset: a\ncolumns: [text=note, label=type]\nlexicon_counts: false\nlearning_rate: 1e-4\nmax_steps: -1\n"
        "head_learning_rate: null\nlr_scheduler_kwargs: {num_cycles: 2}\nreport_to: [none]\nencoder_layers: 2\n"
    )
    dataset, model, training, _ = parse_dataclasses("train", [str(tmp_path / "a.yaml"), "--output-dir", str(tmp_path)])
    assert dataset.columns == ["text=note", "label=type"] and (model.lexicon_counts, model.encoder_layers) == (False, 2)
    assert (training.learning_rate, training.max_steps, training.head_learning_rate) == (1e-4, -1, None)
    assert training.lr_scheduler_kwargs == {"num_cycles": 2}


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
    assert main(["explain", checkpoint, gold, *table, *options, "--budget", "0"]) == 0
    (row,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert row["method"] == "grad-x-input" and not row["probes"]
    fast = ["--build-table", gold, "--explainer", "fused-fast", "--table-documents", "1"]
    assert main(["explain", checkpoint, *fast, *table]) == 0
    assert main(["explain", checkpoint, gold, *table, *options, "--explainer", "fused"]) == 1
    assert "take fused-fast, or build a table of occlusion's maps" in capsys.readouterr().err
    assert main(["explain", checkpoint, gold, *table, *options, "--explainer", "fused-fast", "--budget", "all"]) == 0
    (row,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert row["method"] == "fused-fast" and row["probes"]


def test_explain_says_what_is_wrong(checkpoint, gold, tmp_path, capsys):
    assert main(["explain", checkpoint, gold, "--output", str(tmp_path / "found.txt")]) == 1
    assert main(["explain", checkpoint]) == 1 and main(["explain", checkpoint, gold, "--text", "x"]) == 1
    assert main(["explain", checkpoint, gold, "--explainer", "magic", "--device", "cpu"]) == 1
    errors = capsys.readouterr().err
    assert "must end in .html" in errors and errors.count("either an input or --text") == 2 and "'magic'" in errors


def test_a_text_has_no_gold_entities_to_explain(checkpoint, capsys):
    assert main(["explain", checkpoint, "--text", TEXTS[0], "--entities", "gold"]) == 1
    assert "a text (--text) has no gold entities; --entities predicted" in capsys.readouterr().err


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


def test_stats_prints_a_table_and_writes_json_and_a_plot(gold, tmp_path, capsys):
    plot, written = tmp_path / "corpus.png", tmp_path / "stats.json"
    assert main(["stats", gold, "--plot", str(plot), "--json", str(written)]) == 0
    assert "Symptom" in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    splits = {"train": list(read_documents(gold))}
    assert json.loads(written.read_text(encoding="utf-8")) == json.loads(
        json.dumps(corpus_statistics(splits).to_dict())
    )


@pytest.mark.slow
def test_help_of_a_module_and_of_the_command_are_the_same(capsys):
    assert adner_cli.main(["--help"]) == 0
    overview = capsys.readouterr().out
    done = subprocess.run([sys.executable, "-m", "hf_adner.cli", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == overview


# ---- assertion ---------------------------------------------------------------------------------------------------

DENIED = "患者无发热、咳嗽、胸痛、皮疹、瘙痒，父亲曾患哮喘、湿疹、鼻炎。"


@pytest.fixture(scope="module")
def finding_checkpoint(tmp_path_factory) -> str:
    """A checkpoint with random weights that finds entities after 无."""
    folder = tmp_path_factory.mktemp("finding")
    torch.manual_seed(10)
    tokenizer = AdnerTokenizer.from_texts([DENIED, "", "建议外用激素"])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["甲", "乙"], "bilstm-crf", **sizes)
    with torch.no_grad():
        model.head.classifier.weight.mul_(60)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_predictions_carry_their_assertion(finding_checkpoint, tmp_path, capsys):
    call = ["predict", finding_checkpoint, "--text", DENIED, "--device", "cpu"]
    assert main([*call, "--assertion"]) == 0
    entities = json.loads(capsys.readouterr().out)["entities"]
    negated = [entity for entity in entities if entity["meta"]["assertion"] == ["negated"]]
    assert negated and {DENIED[cue["start"] : cue["end"]] for cue in negated[0]["meta"]["assertion_cues"]} == {"无"}
    (tmp_path / "rules.tsv").write_text("none\t无\n", encoding="utf-8")
    assert main([*call, "--assertion-rules", str(tmp_path / "rules.tsv")]) == 0
    entities = json.loads(capsys.readouterr().out)["entities"]
    assert not any("negated" in entity["meta"]["assertion"] for entity in entities)
    assert main(call) == 0
    assert "assertion" not in capsys.readouterr().out
    output = tmp_path / "tagged.jsonl"
    assert main([*call, "--assertion", "--output", str(output)]) == 0
    written = next(read_documents(output)).entities
    assert [entity.meta["assertion"] for entity in written if entity.meta["assertion"] == ["negated"]]


def test_explanations_carry_their_assertion(finding_checkpoint, tmp_path):
    path = tmp_path / "why.jsonl"
    call = ["explain", finding_checkpoint, "--text", DENIED, "--probes", "none", "--stability-views", "0"]
    assert main([*call, "--assertion", "--output", str(path)]) == 0
    details = [json.loads(line)["details"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert ["negated"] in [one["assertion"] for one in details]


@pytest.fixture
def tables(tmp_path):
    """A table of constraints and one of codes, as options."""
    (tmp_path / "table.tsv").write_text("发热\t甲\n皮疹\t乙\n咳嗽\t*\tforbid\n", encoding="utf-8")
    (tmp_path / "codes.tsv").write_text("發熱\tR50.9\n", encoding="utf-8")
    return ["--constraints", str(tmp_path / "table.tsv"), "--code-table", str(tmp_path / "codes.tsv")]


def test_predictions_obey_constraints_and_have_codes(finding_checkpoint, tables, tmp_path, capsys):
    call = ["predict", finding_checkpoint, "--text", DENIED, "--device", "cpu"]
    assert main([*call, *tables]) == 0
    entities = json.loads(capsys.readouterr().out)["entities"]
    forced = {(one["start"], one["end"], one["label"]): one["meta"] for one in entities if one["meta"]["forced"]}
    assert forced.keys() == {(3, 5, "甲"), (12, 14, "乙")} and "咳嗽" not in [one["text"] for one in entities]
    assert forced[3, 5, "甲"]["code"] == "R50.9" and forced[3, 5, "甲"]["code_match"] == "normalised"
    assert "code" not in forced[12, 14, "乙"]
    output = tmp_path / "tagged.jsonl"
    assert main([*call, *tables, "--output", str(output)]) == 0
    assert [entity.meta for entity in next(read_documents(output)).entities] == [one["meta"] for one in entities]
    assert main([*call, "--codes"]) == 1 and "the checkpoint has no table of codes" in capsys.readouterr().err
    (tmp_path / "table.tsv").write_text("发热\t丙\n", encoding="utf-8")
    assert main([*call, *tables]) == 1
    assert "table.tsv:1: the model does not have the label '丙'" in capsys.readouterr().err


def test_explanations_obey_constraints_and_have_codes(finding_checkpoint, tables, tmp_path):
    path = tmp_path / "why.jsonl"
    call = ["explain", finding_checkpoint, "--text", DENIED, "--probes", "none", "--output", str(path)]
    assert main([*call, *tables]) == 0
    found = {one["entity"]["start"]: one for one in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    assert found[3]["details"]["forced"] is True and found[3]["details"]["code"] == "R50.9"
    assert found[12]["details"]["forced"] is True and "code" not in found[12]["details"]


def test_assertions_of_gold_entities_are_scored(checkpoint, tmp_path, capsys):
    text, path, report = "面部红斑，无瘙痒。", tmp_path / "gold.jsonl", tmp_path / "report.json"
    affirmed = Entity(2, 4, "Symptom", meta={"assertion": []})
    negated = Entity(6, 8, "Symptom", meta={"assertion": ["negated"]})
    write_documents([Document("a", text, (affirmed, negated))], path)
    assert main(["evaluate", checkpoint, str(path), "--assertion", "--json", str(report)]) == 0
    assert "| negated | 1.0000 |" in capsys.readouterr().out
    assert json.loads(report.read_text())["assertion"]["scores"]["f1"] == 1
    write_documents([Document("a", text, (affirmed, Entity(0, 2, "BodySite")))], path)
    assert main(["evaluate", checkpoint, str(path), "--assertion"]) == 1
    assert "entity 0-2 has no assertion in its meta" in capsys.readouterr().err
    call = ["evaluate", checkpoint, str(path), "--assertion", "--assertion-leave-out", "BodySite"]
    assert main(call) == 0
