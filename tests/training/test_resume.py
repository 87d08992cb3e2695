"""Resuming: only from a complete checkpoint, only of the same run; what differs or is damaged is named."""

import errno
import json
import logging
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.files import write_json
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.training.resume import RUN_FILE, checkpoint_fault, checkpoint_to_resume, last_checkpoint, rows_facts
from hf_adner.training.run import run_training
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import QUICK, note, quick, tiny_model, write_corpus

TYPES = ["Disease", "Symptom"]
SIZES = {"character_embedding_size": 16, "bilstm_size": 16}
SAVING = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2}


def trainer_of(
    folder, *, documents=8, types=TYPES, lexicon=None, max_length=None, texts=None, config=None, args=None, **options
):
    """Return a trainer of a small model; keywords change one thing of its run."""
    data = dataset_from_documents(map(note, range(documents)))
    tokenizer = AdnerTokenizer.from_texts(texts or data["text"], lexicon=lexicon)
    sizes = {**SIZES, **(config or {})}
    model = AdnerForTokenClassification.from_scratch(tokenizer, types, "bilstm-crf", **sizes)
    rows = encode_dataset(data, tokenizer, model.config.label2id, max_length=max_length)
    args = args or quick(folder, **{**SAVING, **options})
    trainer = AdnerTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.data_settings = {"max_length": max_length}
    return trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of two steps, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("finished")
    trainer_of(folder, lexicon=Lexicon(["瘙痒"])).train()
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


CHANGED = {
    "labels": ({"types": ["Disease", "Finding", "Symptom"]}, "labels: none → B-Finding, I-Finding"),
    "vocabulary": ({"texts": ["患者反复瘙痒红斑丘疹湿疹皮炎特应性荨麻疹诊断天，。1234567890"]}, "vocabulary: "),
    "words": ({"lexicon": Lexicon(["瘙痒", "红斑"])}, "lexicon: 1 → 2 words"),
    "counts": ({"lexicon": Lexicon(["瘙痒"], [3])}, "lexicon: the same words with other frequencies"),
    "no lexicon": ({"lexicon": None}, "lexicon: 1 → 0 words"),
    "architecture": ({"config": {"bilstm_size": 32}}, "bilstm_size: 16 → 32"),
    "scheme": ({"config": {"tag_scheme": "bio"}}, "tag_scheme: bioes → bio"),
    "window": ({"max_length": 16}, "max_length: None → 16"),
    "documents": ({"documents": 6, "texts": [note(number).text for number in range(8)]}, "train data: 8 rows of "),
}


@pytest.mark.parametrize("change", ["missing", "superfluous"])
def test_weights_that_are_not_the_models_are_refused(change, copied):
    path = copied / "checkpoint-2" / "model.safetensors"
    weights = load_file(path)
    taken = weights.pop("head.crf.transitions") if change == "missing" else weights["head.crf.transitions"].clone()
    weights |= {"head.crf.extra": taken} if change == "superfluous" else {}
    save_file(weights, path, metadata={"format": "pt"})
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]), max_steps=3)
    name = "head.crf.transitions" if change == "missing" else "head.crf.extra"
    with pytest.raises(ValueError, match=rf"not those of the model: 1 are missing or superfluous \({name}\)"):
        trainer.train(resume_from_checkpoint=str(copied / "checkpoint-2"))


@pytest.mark.parametrize("change", CHANGED)
def test_a_checkpoint_of_another_run_is_refused_and_the_difference_named(change, finished, tmp_path):
    options, told = CHANGED[change]
    trainer = trainer_of(tmp_path, **{"lexicon": Lexicon(["瘙痒"]), **options})
    with pytest.raises(ValueError, match="is of another run") as error:
        trainer.train(resume_from_checkpoint=str(finished / "checkpoint-2"))
    assert told in str(error.value)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_labels_in_another_order_are_refused(copied):
    path = copied / "checkpoint-2" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    names = config["id2label"]
    config["id2label"] = dict(zip(names, [names["0"], *[names[key] for key in ("3", "4", "1", "2")]], strict=True))
    config["label2id"] = {label: int(key) for key, label in config["id2label"].items()}
    write_json(path, config)
    with pytest.raises(ValueError, match="labels: the same in another order"):
        trainer_of(copied, lexicon=Lexicon(["瘙痒"])).train(resume_from_checkpoint=True)


def test_epochs_batch_and_saving_may_change_and_kept_arguments_are_told(copied, caplog):
    options = {"max_steps": 3, "per_device_train_batch_size": 4, "save_steps": 5, "head_learning_rate": 1e-4}
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]), **options)
    with caplog.at_level(logging.WARNING, "hf_adner"):
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3
    assert "head_learning_rate: 0.003 → 0.0001" in caplog.text and "keeps its learning rates" in caplog.text


def test_a_checkpoint_that_does_not_know_its_data_is_resumed_with_a_warning(copied, caplog):
    (copied / "checkpoint-2" / RUN_FILE).unlink()
    with caplog.at_level(logging.WARNING, "hf_adner"):
        trainer_of(copied, lexicon=Lexicon(["瘙痒"]), max_steps=3).train(resume_from_checkpoint=True)
    assert f"has no {RUN_FILE}" in caplog.text


def test_settings_of_guided_training_are_compared(copied):
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]))
    trainer.args = ExplanationGuidedTrainingArguments(output_dir=str(copied), **QUICK)
    with pytest.raises(ValueError, match="stability_share: None → 0.7"):
        trainer.train(resume_from_checkpoint=True)


def test_a_checkpoint_of_another_kind_of_model_is_refused(copied):
    write_json(copied / "checkpoint-2" / "config.json", {"model_type": "bert"})
    with pytest.raises(ValueError, match="model_type: bert → adner"):
        trainer_of(copied, lexicon=Lexicon(["瘙痒"])).train(resume_from_checkpoint=True)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


DAMAGES = {
    "interrupted": (lambda folder: (folder / "trainer_state.json").unlink(), "saving it was interrupted"),
    "state cut": (lambda folder: cut(folder / "trainer_state.json"), "trainer_state.json is damaged"),
    "state of another type": (lambda folder: write_json(folder / "trainer_state.json", []), "trainer_state.json is"),
    "state with another key": (lambda folder: write_json(folder / "trainer_state.json", {"a": 1}), "trainer_state"),
    "no step": (lambda folder: write_json(folder / "trainer_state.json", {"global_step": None}), "global_step"),
    "weights cut": (lambda folder: cut(folder / "model.safetensors"), "model.safetensors is cut short"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "optimizer cut": (lambda folder: cut(folder / "optimizer.pt"), "optimizer.pt is cut short"),
    "empty schedule": (lambda folder: (folder / "scheduler.pt").write_bytes(b""), "scheduler.pt is cut short"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_passed_over_and_told(damage, copied, caplog):
    harm, told = DAMAGES[damage]
    harm(copied / "checkpoint-2")
    with caplog.at_level(logging.WARNING, "hf_adner"):
        assert last_checkpoint(copied) == str(copied / "checkpoint-1")
    assert f"{copied / 'checkpoint-2'} is passed over" in caplog.text and told in caplog.text
    named = quick(copied, resume_from_checkpoint=str(copied / "checkpoint-2"))
    with pytest.raises(ValueError, match=f"checkpoint-2 cannot be resumed.*{told}"):
        checkpoint_to_resume(named)
    shutil.rmtree(copied / "checkpoint-1")
    with pytest.raises(ValueError, match=rf"no checkpoint in .* can be resumed \(checkpoint-2: .*{told}"):
        checkpoint_to_resume(quick(copied, resume_from_checkpoint="auto"))


def test_a_run_goes_on_from_the_last_complete_checkpoint_to_the_same_end(finished, copied):
    (copied / "checkpoint-2" / "trainer_state.json").unlink()
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]))
    trainer.train(resume_from_checkpoint=True)
    assert checkpoint_fault(copied / "checkpoint-2") is None
    states = [json.loads((folder / "checkpoint-2" / "trainer_state.json").read_text()) for folder in (finished, copied)]
    assert states[0]["global_step"] == states[1]["global_step"] == 2


def test_saving_again_makes_a_checkpoint_incomplete_until_it_is_whole(copied, monkeypatch):
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]), max_steps=2)

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "_save_optimizer_and_scheduler", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(resume_from_checkpoint=str(copied / "checkpoint-1"))
    assert "saving it was interrupted" in checkpoint_fault(copied / "checkpoint-2")


FULL = [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("[PytorchStreamWriter] failed writing file")]


@pytest.mark.parametrize("error", FULL)
def test_a_full_disk_names_the_checkpoint_and_what_to_do(error, tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path)

    def full(*args, **options):
        raise error

    monkeypatch.setattr(trainer, "_save_optimizer_and_scheduler", full)
    with pytest.raises(OSError, match=r"checkpoint-1 could not be written \(.*make room") as raised:
        trainer.train()
    assert str(error) in str(raised.value)


@pytest.mark.parametrize("name", ["metrics.json", "model/config.json", "config.json", "checkpoint-3/config.json"])
def test_a_folder_with_results_is_not_written_into(name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(FileExistsError, match=rf"holds an earlier run or a model \({name.split('/')[0]}\)"):
        checkpoint_to_resume(quick(tmp_path))


def test_a_finished_run_without_checkpoints_cannot_be_continued(tmp_path):
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds metrics.json, but no checkpoint to continue from"):
        checkpoint_to_resume(quick(tmp_path, resume_from_checkpoint="auto"))


def test_names_that_are_no_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*checkpoint-7.*--resume-from-checkpoint"):
        checkpoint_to_resume(quick(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-7")))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder"):
        checkpoint_to_resume(replace(quick(tmp_path), output_dir=str(tmp_path / "file")))
    assert checkpoint_to_resume(quick(tmp_path / "new", resume_from_checkpoint="auto")) is None
    with pytest.raises(ValueError, match="there is no checkpoint in .* to resume from"):
        trainer_of(tmp_path / "new").train(resume_from_checkpoint=True)


def test_the_digest_of_rows_depends_on_every_token_and_label_alone():
    rows = [{"input_ids": [1, 2], "labels": [0, 1]}, {"input_ids": [3], "labels": [0]}]
    facts = rows_facts(rows)
    assert (facts["rows"], facts["tokens"]) == (2, 3)
    assert rows_facts([{**row, "length": 9} for row in rows]) == facts
    shifted = [{"input_ids": [1], "labels": [0]}, {"input_ids": [2, 3], "labels": [1, 0]}]
    relabelled = [rows[0], {"input_ids": [3], "labels": [1]}]
    digests = {rows_facts(one)["digest"] for one in (rows, rows[::-1], shifted, relabelled)}
    assert len(digests) == 4
    assert rows_facts(None) is rows_facts(iter(rows)) is rows_facts([]) is None


def test_a_whole_run_with_other_labels_is_not_continued(tmp_path):
    arguments = write_corpus(tmp_path, train=12, test=2)
    network = tiny_model(architecture="bilstm-crf", lexicon=None)
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    run_training(arguments, network, quick(tmp_path / "run", **saving))
    for name in ("train", "test"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(path.read_text(encoding="utf-8").replace('"Disease"', '"Finding"'), encoding="utf-8")
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match="labels: B-Disease, I-Disease → B-Finding, I-Finding"):
        run_training(arguments, network, quick(tmp_path / "run", resume_from_checkpoint="auto", **saving))
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before


def test_stock_arguments_can_resume_too(copied):
    args = TrainingArguments(str(copied), max_steps=3, use_cpu=True, disable_tqdm=True, save_strategy="no")
    trainer = trainer_of(copied, lexicon=Lexicon(["瘙痒"]), args=args)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 3
