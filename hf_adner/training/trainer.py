"""The Trainer of plain runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hf_adner.cards.card import write_card
from hf_adner.cards.options import CardOptions
from hf_adner.cards.record import record_of_run
from hf_adner.training.checkpoint_push import CheckpointPush
from hf_adner.training.length_order import LengthGroupedOrder
from hf_adner.training.parameter_groups import parameter_groups
from hf_adner.training.run_facts import trainer_facts


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
