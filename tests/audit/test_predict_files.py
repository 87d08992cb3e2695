"""Prediction in parts: any number of processes and interruptions give the bytes of one undisturbed process.

Part files: named by what they are made from, complete or absent.
"""

import json
import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from accelerate import PartialState, debug_launcher

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Constraints
from hf_adner.audit import predict_files as sharded_prediction
from hf_adner.audit.predict_files import (
    PartFiles,
    block_digest,
    blocks,
    join_processes,
    pipeline_fingerprint,
    predict_to_file,
)
from hf_adner.audit.prediction import predict_documents
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity

CHARACTERS = "患者反复红斑三年外用他克莫司软膏瘙痒丘疹好转"


def corpus(number: int = 23, changed: str = "") -> list[Document]:
    texts = [CHARACTERS[place % 11 : place % 11 + place % 13 + 1] for place in range(number)]
    return [Document(f"d{place}", text + changed, meta={"turn": place}) for place, text in enumerate(texts)]


@pytest.fixture(scope="module")
def pipe() -> AdnerPipeline:
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([CHARACTERS])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["病", "药"], "bilstm-crf", **sizes)
    with torch.no_grad():
        model.head.classifier.weight.mul_(30)
    return AdnerPipeline(model, tokenizer, device="cpu")


@pytest.fixture(scope="module")
def whole(pipe, tmp_path_factory) -> bytes:
    """What one undisturbed process writes."""
    output = tmp_path_factory.mktemp("whole") / "found.jsonl"
    predict_to_file(pipe, corpus(), output, block_size=4, batch_size=3)
    return output.read_bytes()


def interrupted(documents, after: int):
    """The documents until a kill."""
    yield from documents[:after]
    raise KeyboardInterrupt


def test_one_process_writes_all_in_order(pipe, whole, tmp_path):
    (tmp_path / "whole.jsonl").write_bytes(whole)
    written = list(read_documents(tmp_path / "whole.jsonl"))
    assert [(one.id, one.text, one.meta) for one in written] == [(one.id, one.text, one.meta) for one in corpus()]
    assert [one.spans for one in written] == [one.spans for one in predict_documents(pipe, corpus())]
    assert sum(len(one.entities) for one in written) > 40


def test_an_interrupted_run_goes_on_where_it_stopped(pipe, whole, tmp_path, monkeypatch):
    output = tmp_path / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(pipe, interrupted(corpus(), 10), output, block_size=4, batch_size=3)
    assert not output.exists() and len(list(tmp_path.glob("found.jsonl.parts/part-*"))) == 2
    tagged = []

    def noted(pipe, block, *args, **options):
        tagged.extend(block)
        return predict_documents(pipe, block, *args, **options)

    monkeypatch.setattr(sharded_prediction, "predict_documents", noted)
    predict_to_file(pipe, iter(corpus()), output, block_size=4, batch_size=3)
    assert [one.id for one in tagged] == [one.id for one in corpus()[8:]]
    assert output.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["found.jsonl"]


def killed(documents, after: int):
    """The documents until the process is gone, without a chance to tidy up."""
    yield from documents[:after]
    os.kill(os.getpid(), signal.SIGKILL)


def run_of_one_of_two(pipe, output, kill_after):
    PartialState._reset_state()  # the forked process inherits that of this one
    torch.set_num_threads(1)
    state = join_processes("cpu")
    documents = corpus() if kill_after is None else killed(corpus(), kill_after)
    predict_to_file(pipe, documents, output, state=state, block_size=4, batch_size=3)


def test_two_processes_killed_and_restarted_equal_one(pipe, whole, tmp_path):
    output = tmp_path / "found.jsonl"
    with pytest.raises(Exception, match="SIGKILL"):
        debug_launcher(run_of_one_of_two, (pipe, output, 17), num_processes=2)
    parts = {path.name[:13] for path in tmp_path.glob("found.jsonl.parts/part-*")}
    assert 0 < len(parts) <= 4 and not output.exists()
    debug_launcher(run_of_one_of_two, (pipe, output, None), num_processes=2)
    assert output.read_bytes() == whole
    assert not (tmp_path / "found.jsonl.parts").exists()


def test_any_format_comes_out(pipe, whole, tmp_path):
    (tmp_path / "whole.jsonl").write_bytes(whole)
    predict_to_file(pipe, corpus(), tmp_path / "found.csv", block_size=5, batch_size=3)
    write_documents(read_documents(tmp_path / "whole.jsonl"), tmp_path / "expected.csv")
    found, expected = (list(read_documents(tmp_path / name)) for name in ("found.csv", "expected.csv"))
    assert [one.spans for one in found] == [one.spans for one in expected]


def test_other_settings_model_or_input_do_not_mix(pipe, tmp_path):
    output = tmp_path / "found.jsonl"

    def attempt(documents, pipe=pipe, **changed):
        predict_to_file(pipe, documents, output, **{"block_size": 4, "threshold": 0.1, **changed})

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted(corpus(), 10))
    with pytest.raises(ValueError, match=r"other settings \(threshold was 0.1, now 0.5\).*remove the folder"):
        attempt(corpus(), threshold=0.5)
    with pytest.raises(ValueError, match="block_size was 4, now 5"):
        attempt(corpus(), block_size=5)
    other = AdnerForTokenClassification(pipe.model.config)
    with pytest.raises(ValueError, match="weights was"):
        attempt(corpus(), AdnerPipeline(other, pipe.tokenizer, device="cpu"))
    with pytest.raises(ValueError, match="part 0 .* other documents"):
        attempt(corpus(changed="痒"))
    with pytest.raises(ValueError, match=r"1 blocks, but parts \[\] are missing and \[1\] too many"):
        attempt(corpus(4))
    attempt(corpus())
    assert len(list(read_documents(output))) == 23


@pytest.mark.parametrize("change", ["a lost line", "another label", "nothing left"])
def test_a_part_that_has_changed_is_noticed_and_can_be_made_again(change, pipe, whole, tmp_path):
    output = tmp_path / "found.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(pipe, interrupted(corpus(), 10), output, block_size=4, batch_size=3)
    part = min(tmp_path.glob("found.jsonl.parts/part-*"))
    lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = {"a lost line": lines[:-1], "another label": [*lines[:-1], lines[-1].replace("id", "ID")]}
    part.write_text("".join(changed.get(change, [])), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{part.name}: the part has changed"):
        predict_to_file(pipe, corpus(), output, block_size=4, batch_size=3)
    assert not output.exists()
    part.unlink()
    predict_to_file(pipe, corpus(), output, block_size=4, batch_size=3)
    assert output.read_bytes() == whole


def test_a_part_that_changes_before_it_is_joined_is_noticed(tmp_path):
    parts = PartFiles(tmp_path)
    parts.write(0, "0" * 16, DOCUMENTS[:2])
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the part has changed"):
        parts.documents(1)


def test_tables_that_change_are_told(pipe, tmp_path):
    label = pipe.model.config.entity_types[0]
    table = tmp_path / "table.tsv"
    table.write_text(f"红斑\t{label}\n", encoding="utf-8")

    def attempt(documents, constraints):
        predict_to_file(pipe, documents, tmp_path / "found.jsonl", block_size=4, constraints=constraints)

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted(corpus(), 10), table)
    table.write_text(f"红斑\t{label}\tforbid\n", encoding="utf-8")
    with pytest.raises(ValueError, match="constraints file was '[0-9a-f]{16}', now '[0-9a-f]{16}'"):
        attempt(corpus(), str(table))
    with pytest.raises(ValueError, match="constraints was"):
        attempt(corpus(), Constraints.of(force={"红斑": label}))
    table.write_text(f"红斑\t{label}\n", encoding="utf-8")
    attempt(corpus(), str(table))
    found = [entity for document in read_documents(tmp_path / "found.jsonl") for entity in document.entities]
    assert {entity.text for entity in found if entity.meta["forced"]} <= {"红斑"}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ud800"])
def test_a_broken_manifest_is_named(content, tmp_path):
    (tmp_path / "manifest.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=f"{tmp_path}/manifest.json: .*; remove the folder {tmp_path} to start anew"):
        PartFiles(tmp_path).check({"seed": 1})


def test_a_pipe_is_written_without_parts(pipe, whole, tmp_path):
    os.mkfifo(tmp_path / "found.jsonl")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "found.jsonl").read_bytes()))
    reader.start()
    predict_to_file(pipe, corpus(), tmp_path / "found.jsonl", block_size=4, batch_size=3)
    reader.join()
    assert received == [whole] and [path.name for path in tmp_path.iterdir()] == ["found.jsonl"]
    with pytest.raises(ValueError, match="2 processes cannot share the device or pipe .*found.jsonl; name a file"):
        predict_to_file(pipe, corpus(), tmp_path / "found.jsonl", state=SimpleNamespace(num_processes=2))


def test_an_output_that_cannot_be_written_is_told_before_any_work(pipe, tmp_path):
    (tmp_path / "file").touch()
    for output, format_name in (("file/found.jsonl", None), (".", "jsonl"), ("file", "brat")):
        with pytest.raises(OSError, match=f"{tmp_path}"):
            predict_to_file(pipe, interrupted([], 0), tmp_path / output, format_name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_something_else_is_left_alone(pipe, tmp_path):
    (tmp_path / "found.jsonl.parts").mkdir()
    (tmp_path / "found.jsonl.parts" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="not a folder of parts"):
        predict_to_file(pipe, corpus(), tmp_path / "found.jsonl")
    assert (tmp_path / "found.jsonl.parts" / "thesis.txt").exists()


def test_two_runs_of_one_output_do_not_meet(pipe, tmp_path):
    output = tmp_path / "found.jsonl"
    with PartFiles(tmp_path / "found.jsonl.parts").locked(), pytest.raises(BlockingIOError, match="another run"):
        predict_to_file(pipe, corpus(), output)
    predict_to_file(pipe, corpus(), output)


def test_what_died_while_it_wrote_the_manifest_is_no_obstacle(pipe, tmp_path):
    (tmp_path / "found.jsonl.parts").mkdir()
    (tmp_path / "found.jsonl.parts" / ".manifest.json.x.part").write_text("{")
    predict_to_file(pipe, corpus(5), tmp_path / "found.jsonl")
    assert len((tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()) == 5


def test_what_ended_before_its_first_part_binds_nobody(pipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(pipe, interrupted(corpus(), 2), tmp_path / "found.jsonl", block_size=4)
    predict_to_file(pipe, corpus(5), tmp_path / "found.jsonl", block_size=3)
    assert [one.id for one in read_documents(tmp_path / "found.jsonl")] == [one.id for one in corpus(5)]
    assert not (tmp_path / "found.jsonl.parts").exists()


def test_bad_arguments_come_before_any_work(pipe, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="has no known suffix"):
        predict_to_file(pipe, corpus(), tmp_path / "found")
    with pytest.raises(ValueError, match="block size must be at least 1, found 0"):
        predict_to_file(pipe, corpus(), tmp_path / "found.jsonl", block_size=0)
    assert join_processes("cuda:1") is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="cannot serve several processes"):
        join_processes("cuda:1")


def test_the_fingerprint_is_of_content_not_of_place(pipe, tmp_path):
    pipe.model.save_pretrained(tmp_path)
    pipe.tokenizer.save_pretrained(tmp_path)
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path)
    again = AdnerPipeline(loaded, AdnerTokenizer.from_pretrained(tmp_path), device="cpu")
    assert pipeline_fingerprint(again) == pipeline_fingerprint(pipe)
    assert json.dumps(pipeline_fingerprint(pipe))


DOCUMENTS = [Document("a", "红斑", (Entity(0, 2, "Symptom"),)), Document("b", ""), Document("c", "瘙痒", meta={"x": 1})]


def test_blocks_keep_order_and_the_rest():
    assert [[one.id for one in block] for block in blocks(iter(DOCUMENTS), 2)] == [["a", "b"], ["c"]]
    assert list(blocks([], 2)) == []
    with pytest.raises(ValueError, match="found 0"):
        next(blocks(DOCUMENTS, 0))


def test_a_digest_tells_ids_texts_and_meta_apart_but_not_predictions():
    changed = [Document("A", "红斑"), Document("a", "红疹"), Document("a", "红斑", meta={"x": 2})]
    digests = {block_digest([one]) for one in [DOCUMENTS[0], *changed]}
    assert len(digests) == 4
    assert block_digest([Document("a", "红斑")]) == block_digest(DOCUMENTS[:1])
    assert block_digest(DOCUMENTS[:2]) != block_digest(DOCUMENTS[1::-1])


def test_parts_come_back_in_order(tmp_path):
    parts = PartFiles(tmp_path / "out.parts")
    with parts.locked():
        parts.claim({"seed": 1, "pair": (1, 2)})
        parts.write(1, "f" * 16, DOCUMENTS[2:])
        parts.write(0, "0" * 16, DOCUMENTS[:2])
        assert {number: part.digest for number, part in parts.finished().items()} == {0: "0" * 16, 1: "f" * 16}
        assert list(parts.documents(2)) == DOCUMENTS
        with pytest.raises(ValueError, match=r"3 blocks, but parts \[2\] are missing"):
            parts.documents(3)
    parts.check({"seed": 1, "pair": [1, 2]})
    with pytest.raises(ValueError, match=r"seed was 1, now 2; word was None, now 'x'"):
        parts.check({"seed": 2, "word": "x", "pair": [1, 2]})
    parts.remove()
    assert not list(tmp_path.iterdir())


def test_no_parts_are_no_documents(tmp_path):
    parts = PartFiles(tmp_path / "out.parts")
    with parts.locked():
        parts.claim({})
        assert list(parts.documents(0)) == []
