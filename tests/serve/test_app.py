"""The app in the browser: notes, files, limits and what it is started with."""

import json
import re
import sys
from html import unescape
from pathlib import Path

import pytest
import torch

from hf_adner import AdnerForTokenClassification, AdnerTokenizer
from hf_adner.cli import main
from hf_adner.data.formats import read_documents
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.model.assertion_adner import assertion_record, choose_rules

gradio = pytest.importorskip("gradio")
from hf_adner.serve import app as app_module  # noqa: E402
from hf_adner.serve.app import EXAMPLE, FORMATS, TRADITIONAL_EXAMPLE, NoteReader, build_app, serve_app  # noqa: E402

TEXT = "患者无发热、咳嗽、胸痛、皮疹、瘙痒，父亲曾患哮喘、湿疹、鼻炎。"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reader() -> NoteReader:
    """A reader whose model has random weights and finds entities."""
    torch.manual_seed(10)
    tokenizer = AdnerTokenizer.from_texts([TEXT, EXAMPLE])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["甲", "乙"], "bilstm-crf", **sizes).eval()
    with torch.no_grad():
        model.head.classifier.weight.mul_(60)
    return NoteReader(ExplainedCheckpoint(model, tokenizer), max_characters=200, max_documents=3)


def page_of(frame: str) -> str:
    assert frame.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts"' in frame and frame.count("<") == 2
    return unescape(re.search('srcdoc="(.*?)"', frame, re.DOTALL)[1])


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("text", [TEXT, EXAMPLE, TRADITIONAL_EXAMPLE, f"<script>alert(1)</script>{TEXT}"])
def test_a_note_is_shown_with_its_entities(reader, text, explain):
    frame, rows = reader.read_note(text, explain)
    page = page_of(frame)
    assert "<script>alert" not in page and "default-src 'none'" in unescape(page)
    assert page.count('class="reason"' if explain else "<mark") == len(rows)
    for surface, label, start, end, score, _, check in rows:
        assert text[start:end] == surface and label in ("甲", "乙") and 0 <= score <= 1 and check in ("yes", "")


def test_what_is_asserted_is_told(reader):
    frame, rows = reader.read_note(TEXT, True)
    rules = choose_rules(True, reader.checkpoint.tokenizer)
    cues = rules(TEXT, [(start, end, label) for _, label, start, end, *_ in rows])
    found = [assertion_record(one)["assertion"] for one in cues]
    assert [row[5] for row in rows] == [", ".join(one) or "affirmed" for one in found]
    assert page_of(frame).count("data-assertion=") >= len(rows)


@pytest.mark.parametrize(
    ("text", "told"), [("", "empty"), (" \n", "empty"), (None, "empty"), ("红" * 201, "limit is 200")]
)
def test_notes_out_of_limits_are_refused(reader, text, told):
    with pytest.raises(gradio.Error, match=told) as caught:
        reader.read_note(text, True)
    assert caught.value.print_exception is False and "红红" not in str(caught.value)


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_file_comes_back_with_entities(reader, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "notes.txt").write_text(f"{TEXT}\n{EXAMPLE}\n", encoding="utf-8")
    counted = []
    path, told = reader.read_file(str(tmp_path / "notes.txt"), kind, lambda done, unit: counted.append(done))
    assert Path(path).name == f"notes-entities{FORMATS[kind]}" and (tmp_path / "own") in Path(path).parents
    assert counted[-1][0] == counted[-1][1] and told.startswith(f"{counted[-1][1]} documents")
    if kind != "page (HTML)":
        assert [document.text for document in read_documents(path)][0].startswith("患者无发热")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("many.jsonl", '{"text": "红"}\n' * 4, "more than 3 documents"),
        ("long.jsonl", json.dumps({"text": "红" * 201}), "Document 1 has 201 characters; the limit is 200"),
        (
            "broken.jsonl",
            '{"text": "红斑", "entities": [{"start": 0, "end": 9, "label": "x"}]}',
            "cannot be read: the file",
        ),
        ("unknown.jsonl", '{"a": 1}', "the format of the JSON records is unknown"),
    ],
)
def test_files_out_of_limits_are_refused(reader, name, content, told, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(gradio.Error, match=told) as caught:
        reader.read_file(str(tmp_path / name), "JSON lines")
    assert str(tmp_path) not in str(caught.value) and "--" not in str(caught.value)
    with pytest.raises(gradio.Error, match="Choose a file first"):
        reader.read_file(None, "JSON lines")


def test_constraints_and_codes_are_those_of_the_pipeline(reader, tmp_path):
    (tmp_path / "words.tsv").write_text("发热\t甲\n皮疹\t*\tforbid\n", encoding="utf-8")
    (tmp_path / "codes.tsv").write_text("发热\tR50.9\n", encoding="utf-8")
    words = {"constraints": str(tmp_path / "words.tsv"), "codes": str(tmp_path / "codes.tsv")}
    given = NoteReader(reader.checkpoint, **words)
    found = given.pipe(TEXT, **words)
    assert given.heads[-1] == "code" and reader.heads[-1] == "check"
    for explain in (True, False):
        frame, rows = given.read_note(TEXT, explain)
        assert [tuple(row[1:4]) for row in rows] == [(one["entity_group"], one["start"], one["end"]) for one in found]
        assert [row[-1] for row in rows] == [one["code"] or "" for one in found]
        assert "R50.9" in page_of(frame)
    row = next(row for row in rows if row[0] == "发热")
    assert row[4] == 1 and row[-1] == "R50.9" and not any(one[0] == "皮疹" for one in rows)
    (tmp_path / "notes.txt").write_text(TEXT, encoding="utf-8")
    path, _ = given.read_file(str(tmp_path / "notes.txt"), "JSON lines")
    (document,) = read_documents(path)
    assert [one.meta.get("code") for one in document.entities] == [one["code"] for one in found]
    (tmp_path / "words.tsv").write_text("发热\t丙\n", encoding="utf-8")
    with pytest.raises(ValueError, match="words.tsv:1: the model does not have the label"):
        NoteReader(reader.checkpoint, **words)


def test_limits_are_checked(reader):
    with pytest.raises(ValueError, match="limits must be at least 1"):
        NoteReader(reader.checkpoint, max_documents=0)


def test_the_last_result_is_gone_before_the_next_is_read(reader):
    functions = build_app(reader).fns
    reading = [function for function in functions.values() if function.trigger_after is not None]
    assert len(reading) == 2 and all(function.queue for function in reading)
    for function in reading:
        before = functions[function.trigger_after]
        assert before.outputs == function.outputs and not any(before.fn()) and not before.queue


def test_the_app_queues_and_sends_nothing(reader):
    app = build_app(reader)
    assert app.analytics_enabled is False and app.max_queue_size if hasattr(app, "max_queue_size") else True
    assert app._queue.max_size == app_module.WAITING and app._queue.default_concurrency_limit == 1
    assert app.delete_cache == (app_module.CACHE_SECONDS, app_module.CACHE_SECONDS)
    kinds = {block.get_block_name() for block in app.blocks.values()}
    assert {"textbox", "button", "html", "dataframe", "file", "checkbox"} <= kinds


def test_it_listens_to_this_computer_alone(reader, monkeypatch, caplog):
    started = []
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")

    def launch(self, **options):
        folder = Path(app_module.os.environ["GRADIO_TEMP_DIR"])
        started.append((options, folder, folder.stat().st_mode & 0o777))

    monkeypatch.setattr(gradio.Blocks, "launch", launch)
    serve_app(reader, max_megabytes=2)
    options, folder, mode = started[0]
    assert options["server_name"] == "127.0.0.1" and options["share"] is False and options["max_file_size"] == "2mb"
    assert mode == 0o700 and not folder.exists() and not caplog.records
    serve_app(reader, host="0.0.0.0")
    assert "can be reached from other computers" in caplog.text


def test_no_text_goes_into_logs(reader, caplog, capfd):
    caplog.set_level(0)
    reader.read_note(TEXT, True)
    with pytest.raises(gradio.Error):
        reader.read_note("红斑" * 200, True)
    shown = capfd.readouterr()
    assert not any(word in caplog.text + shown.out + shown.err for word in ("发热", "红斑"))


def test_without_gradio_the_command_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "hf_adner.serve.app")
    assert main(["app", str(tmp_path)]) == 1
    assert "ImportError: gradio is missing; pip install '.[app]'" in capsys.readouterr().err


def test_the_space_installs_what_the_package_needs():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"].split()
    listed = (ROOT / "scripts" / "space" / "requirements.txt").read_text().split()
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert sorted(listed) == sorted([*needed, f"gradio=={pinned['gradio']}"])
    front = (ROOT / "scripts" / "space" / "README.md").read_text(encoding="utf-8").split("---")[1]
    yaml = pytest.importorskip("yaml")
    settings = yaml.safe_load(front)
    assert (settings["sdk"], settings["sdk_version"], settings["app_file"]) == ("gradio", pinned["gradio"], "app.py")
    assert settings["license"] == "apache-2.0" and len(settings["short_description"]) <= 60


def test_the_space_wants_a_checkpoint(monkeypatch):
    import runpy

    monkeypatch.delenv("ADNER_MODEL", raising=False)
    with pytest.raises(SystemExit, match="set the variable ADNER_MODEL"):
        runpy.run_path(str(ROOT / "scripts" / "space" / "app.py"))
