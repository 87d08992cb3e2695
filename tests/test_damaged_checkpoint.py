"""A checkpoint with a damaged file either finds what it found before, or ends in one error that names the file."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.cli import main
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.explain.global_table import GlobalTable
from hf_adner.hub.checkpoint_files import checkpoint_to_publish
from hf_adner.training.run import run_training

from .corpora import note, quick, tiny_model, write_corpus

TEXTS = [note(number).text for number in range(50, 53)]
SETTINGS = ("config.json", "tokenizer_config.json", "tokenizer.json", "lexicon.json", "script_map.json")
FILES = (*SETTINGS, "model.safetensors")
OTHER_KINDS = st.sampled_from([None, -1, 0.5, "x", [], {}, ["x"], {"x": 1}, 10**30])
GARBAGE = {
    "empty": b"",
    "garbage": bytes(range(256)) * 4,
    "list": b"[]",
    "deep": b"[" * 50_000,
    "huge": b'{"version": ' + b"9" * 5000 + b"}",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train as `adner train` does, and add what guided training and the explain command leave."""
    folder = tmp_path_factory.mktemp("trained")
    overrides = "stream_size=16,lexicon_embedding_size=6"
    run_training(write_corpus(folder), tiny_model(config_overrides=overrides), quick(folder / "run", max_steps=30))
    model = folder / "run" / "model"
    table = GlobalTable()
    for number in range(6):
        table.add("瘙痒", (0, 2, "Symptom"), [0.5, -0.5], document=f"note-{number}")
    table.publish().save(model / "global_table")
    return model


@pytest.fixture(scope="module")
def expected(trained):
    return entities(trained)


@pytest.fixture
def damaged(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "damaged")


def entities(folder: Path) -> Any:
    model = AdnerForTokenClassification.from_pretrained(folder)
    return AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(folder))(TEXTS)


def named_or_equal(folder: Path, name: str, expected: Any) -> None:
    try:
        found = entities(folder)
    except (ValueError, OSError) as error:
        assert name in str(error), error
    else:
        assert found == expected


def places(value: Any, place: tuple = ()) -> Iterator[tuple]:
    """Every place of a JSON value but the single entries of a vocabulary, which say nothing of themselves."""
    if place:
        yield place
    if isinstance(value, (dict, list)) and "vocab" not in place:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*place, key))


def test_the_model_found_something_before(expected):
    assert all(expected)


@pytest.mark.parametrize("content", [*GARBAGE.values(), "half", None], ids=[*GARBAGE, "half", "missing"])
@pytest.mark.parametrize("name", FILES)
def test_whole_files(name, content, damaged, expected):
    path = damaged / name
    if content is None:
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    try:
        entities(damaged)
    except (ValueError, OSError) as error:
        assert name in str(error), error
    else:
        pytest.fail(f"{name} was not missed")


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=12)
@given(data=st.data())
def test_any_value_at_any_place(name, trained, expected, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    content = json.loads((trained / name).read_text(encoding="utf-8"))
    place = data.draw(st.sampled_from(list(places(content))))
    parent = changed = copy.deepcopy(content)
    for key in place[:-1]:
        parent = parent[key]
    if data.draw(st.booleans()):
        parent[place[-1]] = data.draw(OTHER_KINDS)
    else:
        del parent[place[-1]]
    for other in FILES:
        (folder / other).symlink_to(trained / other)
    (folder / name).unlink()
    (folder / name).write_text(json.dumps(changed), encoding="utf-8")
    named_or_equal(folder, name, expected)
    shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 4, "half"], ids=["empty", "garbage", "half"])
def test_what_explainers_read(content, damaged, expected):
    path = damaged / "global_table" / "global_table.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    for damage in (lambda: GlobalTable.load(path.parent), lambda: checkpoint_to_publish(damaged, True)):
        with pytest.raises(ValueError, match=path.name.partition(".")[0]):
            damage()
    assert entities(damaged) == expected


@pytest.mark.parametrize("name", FILES)
def test_nothing_damaged_is_pushed(name, damaged):
    assert name in checkpoint_to_publish(damaged, allow_document_lexicon=True)
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=name):
        checkpoint_to_publish(damaged, allow_document_lexicon=True)


@pytest.mark.parametrize("name", FILES)
def test_the_commands_say_it_in_one_line(name, damaged, capfd):
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    for command in (["predict", str(damaged), "--text", TEXTS[0]], ["explain", str(damaged), "--text", TEXTS[0]]):
        assert main(command) == 1
        last = capfd.readouterr().err.strip().splitlines()[-1]
        assert last.startswith(f"adner {command[0]}: ") and name in last


def test_an_explainable_checkpoint_still_loads(damaged):
    assert ExplainedCheckpoint.load(str(damaged)).table is not None
