"""Guided runs with several processes, compiled models or bfloat16 equal the plain ones within rounding."""

import pytest
import torch
from safetensors.torch import load_file

from ..corpora import largest_difference, run_distributed, write_corpus
from .guided import WITHOUT_DROPOUT, logged, setting, weights
from .test_trainer import PLAIN_DESCENT, fitted

FIGURES = ("consistency_divergence", "edge_norm_share", "loss", "perturbed_share", "token_weight")


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["token-weight", "adaptive-direction"])
def test_two_processes_equal_one(tmp_path, fusion):
    """Weights and visits; of two processes, which accumulate, each sees half of the windows."""
    arguments = write_corpus(tmp_path)
    for name, processes, batch, accumulated in (("one", 1, 8, 1), ("two", 2, 2, 2)):
        flags = {
            "dataset": arguments.dataset, "test": arguments.test, "validation_share": 0.25, "encoder_size": 32,
            "encoder_layers": 1, "encoder_dropout": 0.0, "lexicon": "train", "config_overrides": "head_dropout=0.0",
            "output_dir": tmp_path / name, "max_steps": 8, "per_device_train_batch_size": batch, "fusion": fusion,
            "learning_rate": 1e-3, "head_learning_rate": 1e-3, "crf_learning_rate": 1e-3, "use_cpu": True,
            "disable_tqdm": True, "save_strategy": "steps", "save_steps": 8, "eval_strategy": "no",
            "load_best_model_at_end": False, "gradient_accumulation_steps": accumulated, "ramp_share": 0,
            "optim": "sgd",
        }  # fmt: skip
        done = run_distributed("train-guided", flags, processes)
        assert done.returncode == 0, done.stderr[-3000:]
    for file, tolerance in {"model/model.safetensors": 1e-6, "checkpoint-8/private/visits.safetensors": 2e-3}.items():
        one, two = (load_file(tmp_path / name / file) for name in ("one", "two"))
        assert largest_difference(without_nan(one), without_nan(two)) < tolerance, file


def without_nan(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Windows that were seen once have no agreement; halves have no norms beside them."""
    filled = {name: value for name, value in tensors.items() if value.numel()}
    return {name: value.nan_to_num(-2) if value.is_floating_point() else value for name, value in filled.items()}


@pytest.mark.slow
def test_one_process_with_nothing_finite_ends_all(tmp_path):
    """A rate that blows one up: both end with an error, neither waits for the other."""
    arguments = write_corpus(tmp_path)
    flags = {
        "dataset": arguments.dataset, "validation_share": 0, "encoder_size": 32, "encoder_layers": 1,
        "architecture": "bert-softmax", "output_dir": tmp_path / "run", "max_steps": 8,
        "per_device_train_batch_size": 4, "learning_rate": 1e30, "head_learning_rate": 1e30, "max_grad_norm": 0,
        "warmup_steps": 0, "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "eval_strategy": "no",
        "load_best_model_at_end": False,
    }  # fmt: skip
    done = run_distributed("train-guided", flags, 2)
    assert done.returncode != 0 and "finite" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoder", "whole"])
def test_compiled_models_change_next_to_nothing(tmp_path, part):
    """The encoder by the compiler's own code, the whole model traced: within 1e-6."""
    torch.compiler.reset()
    given = fitted("bert-softmax")
    eager = given.trained(tmp_path, **PLAIN_DESCENT)
    whole = {"torch_compile": True, "torch_compile_backend": "aot_eager"} if part == "whole" else {}
    compiled = given.trainer(tmp_path, **PLAIN_DESCENT, **whole)
    if part == "encoder":
        compiled.model.adner.encoder.compile(dynamic=True)
    compiled.train()
    assert largest_difference(weights(eager), weights(compiled)) < 1e-6
    for name in FIGURES:
        assert logged(compiled, name) == pytest.approx(logged(eager, name), abs=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["bert-crf", "m-dscmg"])
def test_bfloat16_does_the_same(tmp_path, architecture):
    """Within 5 % or 0.02 of every figure: bfloat16 has three digits."""
    given = setting(architecture, **WITHOUT_DROPOUT)
    whole = given.trained(tmp_path, **PLAIN_DESCENT)
    half = given.trained(tmp_path, **PLAIN_DESCENT, bf16=True)
    for name in FIGURES:
        assert logged(half, name) == pytest.approx(logged(whole, name), rel=0.05, abs=0.02), name
