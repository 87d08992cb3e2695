"""Guided runs with several processes, compiled encoders or bfloat16 equal the plain ones within rounding."""

import pytest
import torch
import torch._functorch.config
from safetensors.torch import load_file

from ..corpora import largest_difference, run_distributed, write_corpus
from .guided import WITHOUT_DROPOUT, setting, weights
from .test_trainer import PLAIN_DESCENT, fitted, logged

TERMS = ("loss_stability", "loss_boundary", "loss_consistency", "loss_ner", "loss_view_ner")


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """Weights, head, remembered maps and table; of two processes, which accumulate, each sees half of the windows."""
    arguments = write_corpus(tmp_path)
    for name, processes, batch, accumulated in (("one", 1, 8, 1), ("two", 2, 2, 2)):
        flags = {
            "dataset": arguments.dataset, "test": arguments.test, "validation_share": 0.25, "encoder_size": 32,
            "encoder_layers": 1, "encoder_dropout": 0.0, "lexicon": "train", "config_overrides": "head_dropout=0.0",
            "output_dir": tmp_path / name, "max_steps": 8, "per_device_train_batch_size": batch,
            "learning_rate": 1e-3, "head_learning_rate": 1e-3, "crf_learning_rate": 1e-3, "use_cpu": True,
            "disable_tqdm": True, "save_strategy": "steps", "save_steps": 8, "eval_strategy": "no",
            "load_best_model_at_end": False, "gradient_accumulation_steps": accumulated, "ramp_share": 0,
            "sweep_share": 1, "view_share": 0.75, "saliency_interval": 1,
        }  # fmt: skip
        done = run_distributed("train-guided", flags, processes)
        assert done.returncode == 0, done.stderr[-3000:]
    files = {
        "model/model.safetensors": 1e-6,
        "model/explainer_head.safetensors": 1e-6,
        "checkpoint-8/private/saliency_cache.safetensors": 1e-4,
        "model/private/global_table/global_table.safetensors": 1e-3,
    }
    for file, tolerance in files.items():
        one, two = (sorted_keys(load_file(tmp_path / name / file)) for name in ("one", "two"))
        assert largest_difference(one, two) < tolerance, file


def sorted_keys(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is pending was put together in another order; by key it is the same."""
    if "pending.keys" not in tensors:
        return tensors
    order = sorted(range(len(tensors["pending.keys"])), key=lambda row: tensors["pending.keys"][row].tolist())
    maps = tensors["pending.maps"].split(tensors["pending.lengths"].tolist())
    ordered = {
        **tensors,
        **{f"pending.{name}": tensors[f"pending.{name}"][order] for name in ("keys", "lengths", "variance")},
        "pending.maps": torch.cat([maps[row] for row in order]),
    }
    # maps without a view have no variance
    return {name: value.nan_to_num(-1) if name.endswith("variance") else value for name, value in ordered.items()}


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
    for name in TERMS:
        assert logged(compiled, name) == pytest.approx(logged(eager, name), abs=1e-5)
    assert torch._functorch.config.donated_buffer


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["bert-crf", "m-dscmg"])
def test_bfloat16_trains_the_same_terms(tmp_path, architecture):
    """Within 5 % or 0.02 of every term: bfloat16 has three digits."""
    given = setting(architecture, **WITHOUT_DROPOUT)
    whole = given.trained(tmp_path, **PLAIN_DESCENT)
    half = given.trained(tmp_path, **PLAIN_DESCENT, bf16=True)
    for name in TERMS:
        assert logged(half, name) == pytest.approx(logged(whole, name), rel=0.05, abs=0.02), name
