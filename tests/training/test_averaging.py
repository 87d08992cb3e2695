"""Averages of weights: what they are of, what is saved and evaluated, and that training itself stays as it is."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from hf_adner.comparison.run import training_settings
from hf_adner.training import trainer as trainer_module
from hf_adner.training.arguments import LATER_SETTINGS
from hf_adner.training.averaging import RAW_WEIGHTS_FILE
from hf_adner.training.run import METRICS_FILE, run_training
from hf_adner.training.trainer import AdnerTrainer

from ..corpora import InterruptAfterSave, largest_difference, quick, run_distributed, tiny_model, write_corpus

STEPS = 6
EPOCHS = {"max_steps": -1, "num_train_epochs": 4, "per_device_train_batch_size": 12}
"""Four epochs of two steps, on 24 documents."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


class Watched(AdnerTrainer):
    """Keeps the weights that training goes on with, after each step and each epoch."""

    steps: list
    epochs: list

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "callbacks": [Watch(), *kwargs.get("callbacks", ())]})


class Watch(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        Watched.steps.append(copy_of(model))

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        Watched.epochs.append(copy_of(model))


def copy_of(model) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def train(corpus, tmp_path, monkeypatch):
    """Return a function that trains a run by name and returns its final weights and what was watched."""

    def run(name: str, **options):
        Watched.steps, Watched.epochs = [], []
        monkeypatch.setattr(trainer_module, "AdnerTrainer", Watched)
        run_training(corpus, tiny_model(), quick(tmp_path / name, **options))
        return weights(tmp_path / name), Watched.steps, Watched.epochs

    return run


def test_a_moving_average_is_that_of_the_steps_and_leaves_training_alone(train):
    plain, steps, _ = train("plain")
    averaged, again, _ = train("ema", ema_decay=0.75)
    assert len(steps) == STEPS and largest_difference(steps[-1], again[-1]) == 0.0
    assert all(torch.equal(plain[name], steps[-1][name]) for name in steps[-1])
    for name, expected in steps[0].items():
        for later in steps[1:]:
            expected = 0.75 * expected + 0.25 * later[name]
        assert torch.allclose(averaged[name], expected, atol=1e-6), name
    assert largest_difference(averaged, plain) > 1e-3


def test_an_average_that_keeps_nothing_is_the_last_step(train):
    plain, _, _ = train("plain")
    assert largest_difference(plain, train("ema", ema_decay=0.0)[0]) == 0.0


def test_the_mean_of_the_last_epochs(train):
    mean, steps, epochs = train("swa", swa_epochs=3, **EPOCHS)
    assert len(epochs) == 4 and len(steps) == 8
    for name in epochs[0]:
        expected = (epochs[1][name] + epochs[2][name] + epochs[3][name]) / 3
        assert torch.allclose(mean[name], expected, atol=1e-6), name
    last, _, _ = train("one", swa_epochs=1, **EPOCHS)
    assert all(torch.equal(last[name], epochs[-1][name]) for name in epochs[-1])


@pytest.mark.parametrize("average", [{"ema_decay": 0.5}, {"swa_epochs": 3}], ids=["ema", "swa"])
def test_checkpoints_and_scores_are_of_the_average_and_a_resumed_run_is_the_whole_one(
    average, train, corpus, tmp_path, monkeypatch
):
    saving = {**EPOCHS, **average, "save_strategy": "epoch", "eval_strategy": "epoch"}
    whole, _, epochs = train("whole", **saving)
    third, last = tmp_path / "whole/checkpoint-6", tmp_path / "whole/checkpoint-8"
    assert largest_difference(load_file(last / "model.safetensors"), whole) == 0.0
    raw = load_file(third / RAW_WEIGHTS_FILE)
    assert all(torch.equal(raw[name], epochs[2][name]) for name in epochs[2])
    assert largest_difference(load_file(third / "model.safetensors"), whole) > 0

    class Interrupted(AdnerTrainer):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "callbacks": [InterruptAfterSave(6)]})

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer_module, "AdnerTrainer", Interrupted)
        run_training(corpus, tiny_model(), quick(tmp_path / "half", **saving))
    resumed, _, _ = train("half", resume_from_checkpoint="auto", **saving)
    assert largest_difference(whole, resumed) == 0.0
    history = [json.loads((tmp_path / name / METRICS_FILE).read_text())["history"] for name in ("whole", "half")]
    losses = [[entry["eval_loss"] for entry in entries] for entries in history]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    with pytest.raises(ValueError, match=r"is of another run.*(ema_decay|swa_epochs)"):
        train("half", resume_from_checkpoint="auto", **{**saving, **dict.fromkeys(average)})


def test_the_best_epoch_is_that_of_the_averages(train, tmp_path):
    best = {"save_strategy": "epoch", "eval_strategy": "epoch", "load_best_model_at_end": True}
    final, _, _ = train("best", **EPOCHS, **best, ema_decay=0.9, metric_for_best_model="loss", learning_rate=0.0)
    state = json.loads((tmp_path / "best/checkpoint-8/trainer_state.json").read_text())
    chosen = tmp_path / "best" / Path(state["best_model_checkpoint"]).name / "model.safetensors"
    assert largest_difference(final, load_file(chosen)) == 0.0


@pytest.mark.slow
def test_two_processes_average_as_one(corpus, tmp_path):
    for name, processes, batch in (("one", 1, 8), ("two", 2, 4)):
        flags = {
            "dataset": corpus.dataset, "test": corpus.test, "validation_share": 0.25, "encoder_size": 32,
            "encoder_layers": 1, "encoder_dropout": 0.0, "lexicon": "train", "config_overrides": "head_dropout=0.0",
            "output_dir": tmp_path / name, "max_steps": 3, "per_device_train_batch_size": batch, "ema_decay": 0.5,
            "learning_rate": 3e-3, "head_learning_rate": 3e-3, "use_cpu": True, "disable_tqdm": True,
            "encoder_layer_decay": 0.5, "save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False,
            "train_sampling_strategy": "sequential",
        }  # fmt: skip
        done = run_distributed("train", flags, processes)
        assert done.returncode == 0, done.stderr[-3000:]
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5


def test_settings_that_are_off_are_not_in_the_records_of_runs(tmp_path):
    """Records of earlier versions do not have them, and must still be those of the same settings."""
    assert not LATER_SETTINGS.keys() & training_settings(quick(tmp_path)).keys()
    on = {"ema_decay": 0.5, "encoder_layer_decay": 0.9}
    assert on.items() <= training_settings(quick(tmp_path, **on)).items()


@pytest.mark.parametrize(
    "options, told",
    [
        ({"ema_decay": 1.0}, r"ema_decay \(--ema-decay\) is 1.0, expected 0 or more and less than 1"),
        ({"swa_epochs": 0}, r"swa_epochs \(--swa-epochs\) is 0, expected 1 or more"),
        ({"ema_decay": 0.9, "swa_epochs": 2}, "are two averages; give one of them"),
        ({"encoder_layer_decay": 0.0}, r"encoder_layer_decay \(--encoder-layer-decay\) is 0.0, expected more than 0"),
        ({"encoder_layer_decay": 1.5}, "expected more than 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        quick(tmp_path, **options)
