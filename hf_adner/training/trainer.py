"""`AdnerTrainer`, the Trainer of plain runs, with its optimizer groups, sampler and validation metrics.

Also `trainer_facts`: the figures of a run that a trainer knows without reading a document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from hf_adner.cards.card import write_card
from hf_adner.cards.record import CardOptions, hardware, public_name, record_of_run, versions
from hf_adner.data.encoding import AdnerDataCollator
from hf_adner.hub.trainer_push import CheckpointPush
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.model.labels_adner import UNOBSERVED, entity_types, tags_to_spans
from hf_adner.training.arguments import AdnerTrainingArguments
from hf_adner.training.averaging import AveragedTrainer
from hf_adner.training.resume import CheckedResume

_CRF_PARAMETERS = {"start_transitions", "end_transitions", "transitions"}

_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")
"""The number of a layer in the name of a parameter, in the naming of the encoders of transformers."""

_SEED_STRIDE = 1_000_003
"""Distance between the generator seeds of two runs, so that no epoch of one run has the order of another's."""

_REPORTED_ARGUMENTS = (
    "learning_rate", "head_learning_rate", "crf_learning_rate", "encoder_layer_decay", "ema_decay", "swa_epochs",
    "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "warmup_steps", "weight_decay",
    "early_stopping_patience", "seed", "bf16",
)  # fmt: skip


class AdnerTrainer(CheckedResume, AveragedTrainer, CheckpointPush):
    """`Trainer` with separate learning rates for encoder, head and CRF (`AdnerTrainingArguments`).

    Works for our models and for any `AutoModelForTokenClassification`. Without `data_collator` batches are padded by
    `AdnerDataCollator`; without `compute_metrics` and `preprocess_logits_for_metrics` evaluation reports strict entity
    precision, recall and F1 (`eval_f1`) of a model with BIO labels.

    Args:
        model, args, data_collator, positional, options: as for `Trainer`.

    Attributes:
        measured: figures for the model card beyond `trainer_facts`, with the keys of `metrics.json` (`statistics`,
            `test`, `calibration`, `explanations`, `robustness`, `examples`, ...).
        card_options: statements of the card that no run can measure.

    Raises:
        ValueError: label smoothing of a CRF.
    """

    measured: Mapping[str, Any] | None = None
    card_options: CardOptions | None = None

    def __init__(
        self, model: Any = None, args: Any = None, data_collator: Any = None, *positional: Any, **options: Any
    ) -> None:
        super().__init__(model, args, data_collator, *positional, **options)
        if data_collator is None and isinstance(self.processing_class, PreTrainedTokenizerBase):
            self.data_collator = AdnerDataCollator(self.processing_class)
        names = _bio_names(self._model_config())
        if names and self.compute_metrics is None and self.preprocess_logits_for_metrics is None:
            self.compute_metrics, self.preprocess_logits_for_metrics = span_scores(names), predicted_labels

    def _model_config(self) -> Any:
        return getattr(self.accelerator.unwrap_model(self.model), "config", None)

    def _validate_args(self) -> None:
        super()._validate_args()
        if self.label_smoother is not None and getattr(self._model_config(), "use_crf", False):
            raise ValueError(
                f"label_smoothing_factor={self.args.label_smoothing_factor} (--label-smoothing-factor) is not defined "
                "for a CRF, which gives forbidden labels a probability of 0; use --architecture bert-softmax"
            )

    def learned_settings(self) -> dict[str, Any]:
        """Return what a resumed run must not change: the fields that a subclass adds, averages and decay by depth."""
        later = self.args.later_settings() if isinstance(self.args, AdnerTrainingArguments) else {}
        return {name: getattr(self.args, name) for name in added_arguments(self.args)} | later

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create AdamW (or the optimizer that `args.optim` names) over `parameter_groups`."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = self.get_decay_parameter_names(model)
            groups = parameter_groups(self.accelerator.unwrap_model(model), self.args, decayed)
            optimizer_class, kwargs = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(groups, **kwargs)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy != "group_by_length" or not hasattr(self.train_dataset, "__len__"):
            return super()._get_train_sampler(train_dataset)  # "random" already depends on seed and epoch alone
        size = self.get_total_train_batch_size(self.args)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # self.train_dataset: the argument may have lost its lengths along with the columns that the model does not take
        return SeededLengthGroupedSampler(self._lengths(), size, seed)

    def _lengths(self) -> list[int]:
        """Return the number of tokens of each training row."""
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
        """Write the model card to `output_dir/README.md`; called by `push_to_hub`.

        Args:
            license, model_name, finetuned_from, dataset, dataset_tags: used where `card_options` has no value;
                `dataset_tags` are names on the Hub, `dataset` is the displayed name.
            tags: additional tags.
            language, tasks, dataset_args: ignored; language and task of these models are fixed.
        """
        if not self.is_world_process_zero():
            return
        given = self.card_options or CardOptions()
        options = replace(
            given,
            model_title=given.model_title or model_name,
            model_license=given.model_license or license,
            base_model=given.base_model or finetuned_from,
            dataset_title=given.dataset_title or ", ".join(_as_list(dataset)) or None,
            dataset_ids=given.dataset_ids or _as_list(dataset_tags),
        )
        self.write_model_card(self.args.output_dir, options, _as_list(tags))

    def write_model_card(
        self, folder: str | Path, options: CardOptions | None = None, tags: Sequence[str] = ()
    ) -> Path:
        """Write the card to `folder/README.md` from `trainer_facts` and `measured`, and return its path.

        Args:
            folder: checkpoint folder.
            options: replaces `card_options`.
            tags: additional tags.
        """
        facts = {**trainer_facts(self), **(self.measured or {})}
        record = record_of_run(
            facts, options or self.card_options, model_id=self.hub_model_id or self.args.hub_model_id, tags=tuple(tags)
        )
        return write_card(record, folder)


def _as_list(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def parameter_groups(model: nn.Module, args: Any, decayed: Iterable[str]) -> list[dict[str, Any]]:
    """Return optimizer groups: one per part of the model, with and without weight decay.

    With `encoder_layer_decay` d < 1 the encoder's part has a group for each depth: of n layers the one at depth k,
    counted from 1, learns at `learning_rate * d ** (n - k)`, and the embeddings at depth 0 below it, as in ELECTRA
    (Clark et al. 2020, appendix A); what is no layer (a pooler, a last normalisation) learns as the last layer.

    Args:
        model: unwrapped model.
        args: `AdnerTrainingArguments`; plain `TrainingArguments` have one learning rate for all parts.
        decayed: names of the parameters with weight decay. Embeddings are excluded, because decay would pull the
            vectors of words that never occur towards zero.

    Raises:
        ValueError: a decay by depth, and an encoder without layers.
    """
    head, crf = (getattr(args, f"{part}_learning_rate", None) for part in ("head", "crf"))  # not in stock arguments
    head = args.learning_rate if head is None else head
    rates = {"encoder": args.learning_rate, "head": head, "crf": head if crf is None else crf}
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    decayed = set(decayed) - embeddings
    below = _layers_below_top(model, getattr(args, "encoder_layer_decay", 1.0))
    groups: dict[tuple[str, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((model_part(model, name), below.get(name, 0), name in decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rates[part] * (args.encoder_layer_decay**layers if layers else 1),
            "weight_decay": args.weight_decay if decays else 0.0,
        }
        for (part, layers, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _layers_below_top(model: nn.Module, decay: float) -> dict[str, int]:
    """Return how many layers above it a parameter of the encoder has; nothing where all layers learn alike."""
    if decay == 1:
        return {}
    names = [name for name, _ in model.named_parameters() if model_part(model, name) == "encoder"]
    depths = {name: int(found[1]) + 1 for name in names if (found := _LAYER.search(name))}
    if not depths:
        raise ValueError(
            f"encoder_layer_decay (--encoder-layer-decay) is {decay}, and the model has no pretrained encoder of "
            "numbered layers; leave it at 1"
        )
    top = max(depths.values())
    return {name: top - depths.get(name, 0 if "embed" in name else top) for name in names}


def model_part(model: nn.Module, parameter_name: str) -> str:
    """Return `"crf"`, `"encoder"` or `"head"` for a parameter.

    The encoder is the pretrained part: `adner.encoder` of our models that have one, and everything under
    `base_model_prefix` in any other token classifier.
    """
    if parameter_name.rsplit(".", 1)[-1] in _CRF_PARAMETERS:
        return "crf"
    prefix = getattr(model, "base_model_prefix", "")
    if prefix == "adner":
        in_encoder = model.config.use_encoder and parameter_name.startswith("adner.encoder.")
        return "encoder" if in_encoder else "head"
    return "encoder" if prefix and parameter_name.startswith(f"{prefix}.") else "head"


class SeededLengthGroupedSampler(Sampler[int]):
    """Sample all rows in a random order that puts rows of similar length together.

    The order depends on seed and epoch alone. The Trainer's own `group_by_length` draws from the global random
    numbers, so arms of a comparison, which consume different amounts of them, would read their documents in different
    orders, and a run resumed within an epoch would differ from an uninterrupted one.

    Args:
        lengths: length of each row.
        batch_size: rows per optimizer step.
        seed: seed of all orders.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed = list(lengths), batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; called by the data loader."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * _SEED_STRIDE + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


def predicted_labels(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return predicted label ids, (batch, length): the Viterbi path if the model returns one, else the argmax.

    Those of a per-label model are (batch, length, types).

    For the Trainer's `preprocess_logits_for_metrics`, so that it does not collect the logits of the whole split.
    """
    logits, *others = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    if others and isinstance(others[0], torch.Tensor) and others[0].dtype == torch.long:
        return others[0]
    return logits.argmax(-1)


def span_scores(labels: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """Return a `compute_metrics` function: strict entity precision, recall and F1 per window, in [0, 1].

    Args:
        labels: BIO labels in id order.
    """

    def compute(evaluated: Any) -> dict[str, float]:
        predictions, label_ids = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
        pairs = [_row_spans(*row, labels) for row in zip(predictions, label_ids, strict=True)]
        scores = entity_f1([predicted for predicted, _ in pairs], [gold for _, gold in pairs])
        return {name: scores[name] for name in ("precision", "recall", "f1")}

    return compute


def _row_spans(predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> tuple[list, list]:
    """Return the predicted and the gold spans of a row, (length,) or per-label (length, types)."""
    if label_ids.ndim == 2:
        columns = [_row_spans(*column, labels) for column in zip(predictions.T, label_ids.T, strict=True)]
        return tuple([span for spans in side for span in spans] for side in zip(*columns))
    observed = label_ids != UNOBSERVED
    return (
        tags_to_spans([labels[max(index, 0)] for index in predictions[observed]]),
        tags_to_spans([labels[index] for index in label_ids[observed]]),
    )


def trainer_facts(trainer: Trainer) -> dict[str, Any]:
    """Return labels, architecture, settings, sizes, time, hardware and versions with the keys of `metrics.json`."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    config = model.config
    encoder = getattr(getattr(config, "encoder_config", None) or config, "name_or_path", None) or None
    return {
        "labels": _label_names([config.id2label[index] for index in sorted(config.id2label)]),
        "model": {
            "architecture": getattr(config, "architecture", None) or type(model).__name__,
            "encoder": encoder,
            **({"tagging": config.tagging} if hasattr(config, "tagging") else {}),
        },
        "base_model": public_name(encoder),
        "training": reported_arguments(trainer.args),
        "parameters": model.num_parameters(),
        "steps": trainer.state.global_step,
        "train_seconds": last_logged(trainer, "train_runtime"),
        "hardware": hardware(),
        "versions": versions(),
    }


def reported_arguments(args: TrainingArguments) -> dict[str, Any]:
    """Return the arguments that shape a model: common ones, and all that a subclass of ours adds."""
    return {name: getattr(args, name) for name in (*_REPORTED_ARGUMENTS, *added_arguments(args)) if hasattr(args, name)}


def added_arguments(args: TrainingArguments) -> list[str]:
    """Return the fields of arguments that `AdnerTrainingArguments` does not have."""
    inherited = {field.name for field in fields(AdnerTrainingArguments)}
    return [field.name for field in fields(args) if field.name not in inherited]


def last_logged(trainer: Trainer, name: str) -> float | None:
    """Return the latest value of a figure in the trainer's log, or None if it was never logged."""
    values = (entry[name] for entry in reversed(trainer.state.log_history) if name in entry)
    return next(values, None)


def _bio_names(config: Any) -> list[str] | None:
    """Return the labels of a configuration in id order if they are BIO labels, else None."""
    names = [config.id2label[index] for index in sorted(getattr(config, "id2label", None) or {})]
    try:
        return names if entity_types(names) else None
    except ValueError:
        return None


def _label_names(labels: Sequence[str]) -> list[str]:
    """Return the entity types of BIO labels; other labels unchanged."""
    try:
        return entity_types(labels)
    except ValueError:
        return list(labels)
