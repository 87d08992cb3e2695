"""The Trainer of plain runs.

Optimizer groups: encoder, head and CRF each with their own learning rate.

Batches of like length in an order that depends on the seed and the epoch alone.

The Trainer's own `group_by_length` draws from the global random numbers: arms of a comparison, which use more or fewer
of them, would read their documents in different orders, and a run that is resumed within an epoch would read another
order than the one that was not interrupted.

What a trainer knows of its run without reading a document: settings, sizes, time, machine and versions.

Validation scores inside the Trainer: label paths against gold labels, window by window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from hf_adner.cards.card import write_card
from hf_adner.cards.record import CardOptions, base_model_of, hardware, record_of_run, versions
from hf_adner.hub.trainer_push import CheckpointPush
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.model.labels_adner import UNOBSERVED, entity_types, tags_to_spans
from hf_adner.training.arguments import AdnerTrainingArguments

_CRF_PARAMETERS = {"start_transitions", "end_transitions", "transitions"}


def part_of(model: nn.Module, name: str) -> str:
    """`"crf"`, `"encoder"` or `"head"` for a parameter's name.

    The encoder is the pretrained part: `adner.encoder` of our models that have one, and whatever stands under
    `base_model_prefix` in any other token classifier.
    """
    if name.rsplit(".", 1)[-1] in _CRF_PARAMETERS:
        return "crf"
    prefix = getattr(model, "base_model_prefix", "")
    if prefix == "adner":
        return "encoder" if model.config.use_encoder and name.startswith("adner.encoder.") else "head"
    return "encoder" if prefix and name.startswith(f"{prefix}.") else "head"


def parameter_groups(model: nn.Module, args: Any, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """Groups for the optimizer: part × with or without weight decay.

    Args:
        model: the unwrapped model.
        args: `AdnerTrainingArguments`.
        decayed: names of the parameters that weight decay is for; embeddings are taken out of them, because decay
            would pull the vectors of words that never occur towards zero.
    """
    head = args.learning_rate if args.head_learning_rate is None else args.head_learning_rate
    rates = {
        "encoder": args.learning_rate,
        "head": head,
        "crf": head if args.crf_learning_rate is None else args.crf_learning_rate,
    }
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    decayed = set(decayed) - embeddings
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((part_of(model, name), name in decayed), []).append(parameter)
    return [
        {"params": parameters, "lr": rates[part], "weight_decay": args.weight_decay if decays else 0.0}
        for (part, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


_EPOCHS = 1_000_003  # seeds stand so far apart that no two share an epoch's order


class LengthGroupedOrder(Sampler[int]):
    """Indices of all rows, rows of like length together, shuffled anew in each epoch.

    Args:
        lengths: of the rows.
        batch_size: rows that an optimizer step reads.
        seed: another one gives other orders.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed = list(lengths), batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * _EPOCHS + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


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


class AdnerTrainer(CheckpointPush):
    """`Trainer` with one learning rate each for encoder, head and CRF (`AdnerTrainingArguments`).

    Works for our models and for any `AutoModelForTokenClassification`.

    Attributes:
        measured: what is known of the run beside what the trainer knows by itself, named as in `metrics.json`
            (`statistics`, `test`, `calibration`, `explanations`, `robustness`, `examples`, ...); for the model card.
        card_options: what the card says that no run measures.
    """

    measured: Mapping[str, Any] | None = None
    card_options: CardOptions | None = None

    @classmethod
    def for_documents(cls, documents: Dataset, **options: Any) -> AdnerTrainer:
        """The trainer of a run on `documents`; plain training needs no more of them than the encoded rows.

        Args:
            documents: of the training split.
            options: of `Trainer`.
        """
        return cls(**options)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW (or what `args.optim` names) over `parameter_groups`."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = self.get_decay_parameter_names(model)
            groups = parameter_groups(self.accelerator.unwrap_model(model), self.args, decayed)
            optimizer_class, kwargs = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(groups, **kwargs)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy != "group_by_length" or not hasattr(self.train_dataset, "__len__"):
            return super()._get_train_sampler(train_dataset)  # "random" is drawn by seed and epoch already
        size = self.get_total_train_batch_size(self.args)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # what is passed may have lost its lengths with all columns that the model does not take
        return LengthGroupedOrder(self._lengths(), size, seed)

    def _lengths(self) -> list[int]:
        """Tokens of each training row."""
        rows = self.train_dataset
        if self.args.length_column_name in getattr(rows, "column_names", ()):
            return list(rows[self.args.length_column_name])
        return [len(row["input_ids"]) for row in rows]

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write our model card to `output_dir/README.md`, as `push_to_hub` asks for it.

        Args:
            license, model_name, finetuned_from, dataset, dataset_tags: go into the card where `card_options` leaves
                them open; `dataset_tags` are names on the Hub, `dataset` is what to call the data.
            tags: tags beyond the usual ones.
            language, tasks, dataset_args: not used; language and task of these models are fixed.
        """
        if not self.is_world_process_zero():
            return
        own = self.card_options or CardOptions()
        options = replace(
            own,
            model_title=own.model_title or model_name,
            model_license=own.model_license or license,
            base_model=own.base_model or finetuned_from,
            dataset_title=own.dataset_title or ", ".join(_listed(dataset)) or None,
            dataset_ids=own.dataset_ids or _listed(dataset_tags),
        )
        self.write_model_card(self.args.output_dir, options, _listed(tags))

    def write_model_card(
        self, folder: str | Path, options: CardOptions | None = None, tags: Sequence[str] = ()
    ) -> Path:
        """Write the card to `folder/README.md` from what the trainer knows and what was `measured`; returns its path.

        Args:
            folder: where a checkpoint lies.
            options: in place of `card_options`.
            tags: tags beyond the usual ones.
        """
        known = {**trainer_facts(self), **(self.measured or {})}
        record = record_of_run(
            known, options or self.card_options, model_id=self.hub_model_id or self.args.hub_model_id, tags=tuple(tags)
        )
        return write_card(record, folder)


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def predicted_labels(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """Label ids of an evaluation step: the model's own path where it has one, else the arg max of its logits.

    Fits `preprocess_logits_for_metrics` of the Trainer; keeps (batch, length) ids instead of all logits.
    """
    if isinstance(outputs, (tuple, list)):
        return outputs[1] if len(outputs) > 1 and outputs[1].dtype == torch.long else outputs[0].argmax(-1)
    return outputs.argmax(-1)


def span_scores(labels: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """A `compute_metrics` for the Trainer: strict entity precision, recall and F1 in [0, 1].

    Args:
        labels: BIO labels in id order.
    """

    def compute(evaluated: Any) -> dict[str, float]:
        paths, gold = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
        pairs = [_spans(*row, labels) for row in zip(paths, gold, strict=True)]
        scores = entity_f1([path for path, _ in pairs], [truth for _, truth in pairs])
        return {name: scores[name] for name in ("precision", "recall", "f1")}

    return compute


def _spans(path: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> tuple[list, list]:
    kept = gold != UNOBSERVED
    return (
        tags_to_spans([labels[max(index, 0)] for index in path[kept]]),
        tags_to_spans([labels[index] for index in gold[kept]]),
    )
