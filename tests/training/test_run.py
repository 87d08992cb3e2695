"""Whole runs: outputs, equality of resumed, accumulated and distributed runs, and the quickstart on a small sample."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.data.records import Document, Entity
from hf_adner.training import run as run_module
from hf_adner.training import trainer as trainer_module
from hf_adner.training.resume import METRICS_FILE, checkpoint_to_resume
from hf_adner.training.run import (
    REPORT_FILE,
    SAMPLE_NOTE,
    demo_arguments,
    entity_lines,
    run_demo,
    run_training,
    write_report,
)
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import (
    HIDDEN,
    InterruptAfterSave,
    largest_difference,
    note,
    quick,
    run_distributed,
    tiny_model,
    write_corpus,
)

NO_DROPOUT = "head_dropout=0.0"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of the final checkpoint of a run."""
    return load_file(folder / "model" / "model.safetensors")


def test_a_run_learns_and_writes_metrics_and_model(tmp_path):
    arguments = write_corpus(tmp_path)
    training = quick(
        tmp_path / "run",
        max_steps=-1,
        num_train_epochs=12,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        early_stopping_patience=12,
    )
    metrics = run_training(arguments, tiny_model(), training)
    written = json.loads((tmp_path / "run" / METRICS_FILE).read_text(encoding="utf-8"))
    assert written["test"] == json.loads(json.dumps(metrics["test"]))
    assert metrics["test"]["strict"]["f1"] > 0.9
    assert set(metrics["test"]["strict"]["per_label"]) == {"Disease", "Symptom"}
    assert metrics["documents"] == {"train": 24, "validation": 8, "test": 8}
    best = max(entry["eval_f1"] for entry in metrics["history"])
    assert metrics["validation"]["strict"]["f1"] == pytest.approx(best)
    folder = tmp_path / "run" / "model"
    pipe = AdnerPipeline(
        model=AdnerForTokenClassification.from_pretrained(folder), tokenizer=AdnerTokenizer.from_pretrained(folder)
    )
    predicted = {(entity["start"], entity["end"], entity["entity_group"]) for entity in pipe(note(7).text)}
    assert predicted == set(note(7).spans)


@pytest.mark.parametrize("sampler", ["random", pytest.param("group_by_length", marks=pytest.mark.slow)])
def test_a_resumed_run_has_bitwise_equal_weights(sampler, tmp_path, monkeypatch):
    arguments = write_corpus(tmp_path)
    saving = {"save_strategy": "steps", "save_steps": 2, "train_sampling_strategy": sampler}
    run_training(arguments, tiny_model(), quick(tmp_path / "whole", **saving))

    class InterruptedTrainer(AdnerTrainer):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "callbacks": [InterruptAfterSave(4)]})

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer_module, "AdnerTrainer", InterruptedTrainer)
        run_training(arguments, tiny_model(), quick(tmp_path / "interrupted", **saving))
    assert not (tmp_path / "interrupted" / METRICS_FILE).exists()
    resumed = quick(tmp_path / "interrupted", resume_from_checkpoint="auto", **saving)
    assert checkpoint_to_resume(resumed).endswith("checkpoint-4")
    run_training(arguments, tiny_model(), resumed)
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "interrupted")) == 0.0


@pytest.mark.slow
def test_a_new_run_does_not_write_into_the_folder_of_an_earlier_one(tmp_path):
    arguments = write_corpus(tmp_path)
    run_training(arguments, tiny_model(), quick(tmp_path / "run", max_steps=1))
    with pytest.raises(FileExistsError, match="resume-from-checkpoint auto"):
        run_training(arguments, tiny_model(), quick(tmp_path / "run", max_steps=1))


REFUSED = {
    "no validation": ({"eval_strategy": "epoch"}, {"validation_share": 0.0}, "no validation documents.*--validation"),
    "metric": ({"eval_strategy": "epoch", "metric_for_best_model": "foo"}, {}, "'foo', expected one of f1, precision"),
    "epochs": ({"max_steps": -1, "num_train_epochs": 0}, {}, r"--num-train-epochs\) is 0: nothing would be trained"),
    "overlap": ({}, {"window_overlap": -1}, r"--window-overlap\) is -1, expected 0 or more"),
    "window": ({}, {"max_length": 5}, r"record 'note-\d+': .*more than a window of 3; raise max_length \(--max-length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_before_training(name, tmp_path):
    training, dataset, told = REFUSED[name]
    arguments = replace(write_corpus(tmp_path, train=8, test=2), **dataset)
    network = tiny_model(architecture="bilstm-crf", lexicon=None)
    with pytest.raises(ValueError, match=told):
        run_training(arguments, network, quick(tmp_path / "run", **training))
    assert not (tmp_path / "run").exists()


UNDIVIDED = {"adam_epsilon": 1e-6}
"""Adam divides the smallest gradients by themselves, and so enlarges rounding, which differs between processors."""


@pytest.mark.slow
def test_accumulated_batches_equal_one_batch(tmp_path):
    arguments = write_corpus(tmp_path)
    model = tiny_model(config_overrides=NO_DROPOUT, encoder_dropout=0.0)
    same = {"train_sampling_strategy": "sequential", "max_steps": 3, **UNDIVIDED}
    run_training(arguments, model, quick(tmp_path / "one", **same))
    halves = {**same, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    run_training(arguments, model, quick(tmp_path / "two", **halves))
    no_updates = dict.fromkeys(("learning_rate", "head_learning_rate", "crf_learning_rate"), 0.0)
    run_training(arguments, model, quick(tmp_path / "none", **{**same, **no_updates}))
    whole = weights(tmp_path / "one")
    assert largest_difference(whole, weights(tmp_path / "two")) < 1e-5
    assert largest_difference(whole, weights(tmp_path / "none")) > 1e-3


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    arguments = write_corpus(tmp_path)
    for name, processes, batch in (("one", 1, 8), ("two", 2, 4)):
        flags = {
            "dataset": arguments.dataset, "test": arguments.test, "validation_share": 0.25, "encoder_size": 32,
            "encoder_layers": 1, "encoder_dropout": 0.0, "lexicon": "train", "config_overrides": NO_DROPOUT,
            "output_dir": tmp_path / name, "max_steps": 3, "per_device_train_batch_size": batch,
            "learning_rate": 3e-3, "head_learning_rate": 3e-3, "use_cpu": True, "disable_tqdm": True,
            "save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False,
            "train_sampling_strategy": "sequential", **UNDIVIDED,
        }  # fmt: skip
        done = run_distributed("train", flags, processes)
        assert done.returncode == 0, done.stderr[-3000:]
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5  # three steps of 3e-3
    assert json.loads((tmp_path / "two" / METRICS_FILE).read_text(encoding="utf-8"))["steps"] == 3


@pytest.fixture
def small_demo(monkeypatch):
    """Let the demo train for two steps on a few documents."""
    dataset, model, _ = demo_arguments("unused")
    dataset.max_train_documents = dataset.max_validation_documents = dataset.max_test_documents = 8

    def arguments(output, seed=42):
        training = replace(demo_arguments(output, seed)[2], max_steps=2, use_cpu=True, disable_tqdm=True)
        return dataset, replace(model, encoder_size=32, encoder_layers=1), training

    monkeypatch.setattr(run_module, "demo_arguments", arguments)


@pytest.mark.slow
def test_the_demo_writes_checkpoint_metrics_and_report(small_demo, tmp_path):
    metrics = run_demo(str(tmp_path / "run"))
    assert metrics["documents"] == {"train": 8, "validation": 8, "test": 8}
    assert (tmp_path / "run" / METRICS_FILE).exists()
    page = (tmp_path / "run" / REPORT_FILE).read_text(encoding="utf-8")
    assert SAMPLE_NOTE in re.sub("<[^>]*>", "", page)
    note = write_report(str(tmp_path / "run"))
    assert note.text == SAMPLE_NOTE and len(entity_lines(note)) == len(note.entities)


@pytest.mark.slow
def test_an_interrupted_demo_resumes(small_demo, tmp_path):
    run_demo(str(tmp_path / "run"))
    (tmp_path / "run" / METRICS_FILE).unlink()
    assert checkpoint_to_resume(demo_arguments(str(tmp_path / "run"))[2]) is not None
    assert run_demo(str(tmp_path / "run"))["steps"] == 2


def test_entity_lines_show_label_offsets_posterior_and_surface():
    entity = Entity(0, 2, "BodySite", meta={"score": 0.98765})
    odd = Document("a", f"面{HIDDEN}", (Entity(0, 7, f"x{HIDDEN}", meta={"score": 0.5}),))
    assert not set(HIDDEN) & set(entity_lines(odd)[0])
    assert entity_lines(Document("a", "面部红斑", (entity,))) == ["BodySite      0-2    0.988  面部"]
