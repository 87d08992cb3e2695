"""What a trainer knows of its run without reading a document: settings, sizes, time, machine and versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from transformers import Trainer, TrainingArguments

from hf_adner.cards.environment import hardware, versions
from hf_adner.cards.titles import base_model_of
from hf_adner.model.labels_adner import entity_types
from hf_adner.training.arguments import AdnerTrainingArguments

_TOLD = (
    "learning_rate", "head_learning_rate", "crf_learning_rate", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "warmup_steps", "weight_decay",
    "early_stopping_patience", "seed", "bf16",
)  # fmt: skip


def trainer_facts(trainer: Trainer) -> dict[str, Any]:
    """Labels, architecture, settings, parameters, steps, seconds, machine and versions, named as in `metrics.json`."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.config
    encoder = getattr(getattr(config, "encoder_config", None) or config, "name_or_path", None) or None
    return {
        "labels": _label_names([config.id2label[index] for index in sorted(config.id2label)]),
        "model": {"architecture": getattr(config, "architecture", None) or type(model).__name__, "encoder": encoder},
        "base_model": base_model_of(encoder),
        "training": told_arguments(trainer.args),
        "parameters": model.num_parameters(),
        "steps": trainer.state.global_step,
        "train_seconds": last_logged(trainer, "train_runtime"),
        "hardware": hardware(),
        "versions": versions(),
    }


def told_arguments(args: TrainingArguments) -> dict[str, Any]:
    """The arguments that shape a model: the usual ones, and all that a subclass adds to `AdnerTrainingArguments`."""
    plain = {field.name for field in fields(AdnerTrainingArguments)}
    added = [field.name for field in fields(args) if field.name not in plain]
    return {name: getattr(args, name) for name in (*_TOLD, *added) if hasattr(args, name)}


def last_logged(trainer: Trainer, name: str) -> float | None:
    """The latest value of a figure in the trainer's log, None if it was never logged."""
    logged = (entry[name] for entry in reversed(trainer.state.log_history) if name in entry)
    return next(logged, None)


def _label_names(labels: Sequence[str]) -> list[str]:
    """Entity types of BIO labels; other labels as they are."""
    try:
        return entity_types(labels)
    except ValueError:
        return list(labels)
