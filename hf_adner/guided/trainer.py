"""Trainer of explanation-guided runs, and what it adds to checkpoints.

`private/` of a training checkpoint holds the visits that a resumed run needs: they describe single documents and are
never pushed.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import TrainerCallback

from hf_adner.files import write_json
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.guided.batches import WINDOW, NumberedCollator, NumberedWindows, ReplayingSampler, edited_ids
from hf_adner.guided.consistency import (
    Reading,
    consistency,
    label_log_probs,
    label_places,
    predicted_log_odds,
    read_outputs,
    symmetric_divergence,
)
from hf_adner.guided.global_direction import GlobalDirection, unit
from hf_adner.guided.monitors import RunningFigures, perturbation_figures
from hf_adner.guided.perturbation import Perturber
from hf_adner.guided.roles import RoleFinder, Roles
from hf_adner.guided.visit_cache import Visit, VisitCache, moved, stored
from hf_adner.model.labels_adner import OUTSIDE, UNOBSERVED
from hf_adner.model.layers_adner import TextPositions, locate_text
from hf_adner.training.trainer import AdnerTrainer

CACHE_FILE = "private/visits.safetensors"
STATE_FILE = "private/guidance.json"

FEW_EPOCHS, FEW_STEPS = 6, 150
"""With fewer epochs or steps a warning is logged: most visits are then the first ones, without or with early gradients,
and moved inputs hold back a model that has yet to learn (`model_cards/results/guided`, few visits)."""

_FIGURES = (
    "consistency_divergence", "consistency_tokens", "edge_norm_share", "loss_added", "perturbed_share", "token_weight",
)  # fmt: skip

logger = logging.getLogger(__name__)


class GuidedBatch(NamedTuple):
    """A training batch in text positions.

    Attributes:
        windows: number of the window of each row.
        positions: of the text.
        gold: (batch, text) label ids, -100 where there is none; of a per-label model (batch, text, types).
        roles: of the text tokens.
    """

    windows: list[int]
    positions: TextPositions
    gold: Tensor
    roles: Roles


class ExplanationGuidedTrainer(AdnerTrainer):
    """`AdnerTrainer` that moves inputs along the gradients of their last visit.

    It works for our models and for any `AutoModelForTokenClassification` with BIO labels that takes `inputs_embeds`,
    with one special token before and one after the text. A run of several processes, an accumulated and a resumed one
    are the same run. `hf_adner.guided.arguments` tells the settings; with all parts off it is `AdnerTrainer`.

    Args:
        model: the tagger; or `model_init`, which makes it anew for each `train`, as a hyper-parameter search needs.
        args: `ExplanationGuidedTrainingArguments`.
        kwargs: of `AdnerTrainer`; `train_dataset` has a column `labels`.

    Raises:
        ValueError: settings that guided runs do not have (says which); a model without word embeddings or with labels
            other than BIO; a training dataset without entities or without a length.
    """

    def __init__(self, model: Any = None, args: ExplanationGuidedTrainingArguments | None = None, **kwargs: Any):
        super().__init__(model, args, **kwargs)
        self._set_up()

    def _set_up(self) -> None:
        """Begin with the present model and arguments, also those of a trial of a hyper-parameter search."""
        self.remove_callback(_EpochCallback)
        self.is_guided = isinstance(self.args, ExplanationGuidedTrainingArguments) and self.args.is_guided
        if not self.is_guided:
            return
        self._check_settings()
        labels = self.model.config.id2label
        self.roles = RoleFinder([labels[index] for index in range(len(labels))])
        _check_dataset(self.train_dataset, {index for index, name in labels.items() if name != OUTSIDE})
        self.cache = VisitCache()
        self.global_direction = GlobalDirection(self.roles.cells)
        self.figures = RunningFigures()
        self.epoch, self.vector_norm = 0, None
        self._visited: tuple[GuidedBatch, Tensor, Tensor | None] | None = None  # batch, input, marginals
        self._gradient: Tensor | None = None  # (batch, tokens, size) in the place of that of the backward pass
        self._replayed: tuple[list[int], Tensor] | None = None  # windows of the last pass, and their directions
        self._watched = -1  # step at which the loss was watched last
        self.add_callback(_EpochCallback(self))

    def _hp_search_setup(self, trial: Any) -> None:
        super()._hp_search_setup(trial)  # sets the arguments of the trial
        self._set_up()

    def _check_settings(self) -> None:
        args = self.args
        _word_embeddings(self.model)
        refused = {
            "fsdp": bool(args.fsdp) and "it needs whole word embeddings; use several processes (DDP)",
            "deepspeed": args.deepspeed is not None and "it needs whole word embeddings; use several processes (DDP)",
            "several GPUs in one process": args.n_gpu > 1 and "start one process per GPU with torchrun",
            "r_drop_weight": args.r_drop_weight and (args.remembers or args.adversarial != "none")
            and "set stability_share and consistency_weight to 0",
            "adversarial training": args.adversarial != "none" and args.consistency_weight
            and "set consistency_weight to 0",
        }  # fmt: skip
        for name, reason in refused.items():
            if reason:
                raise ValueError(f"explanation-guided training does not go with {name}: {reason}")

    # ---- batches ----------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> Any:
        """Return the loader of windows that know their number; the plain one where nothing guides the run."""
        if not self.is_guided:
            return super().get_train_dataloader()
        return self._get_dataloader(
            dataset=NumberedWindows(self.train_dataset),
            description="Training",
            batch_size=self._train_batch_size,
            sampler_fn=lambda _: self._guided_sampler(),
            is_training=True,
        )

    def _guided_sampler(self) -> Any:
        if self.args.adversarial != "free":
            return self._get_train_sampler(self.train_dataset)
        step_size = self.get_total_train_batch_size(self.args)
        return ReplayingSampler(len(self.train_dataset), step_size, self.args.free_replays, self.args.seed)

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        collator = super()._get_collator_with_removed_columns(data_collator, description)
        return NumberedCollator(collator) if self.is_guided and description == "Training" else collator

    def _guided_batch(self, windows: Tensor, inputs: Mapping[str, Tensor]) -> GuidedBatch:
        positions = locate_text(inputs["attention_mask"])
        gold = positions.take(inputs["labels"])
        gold = gold.masked_fill(~positions.mask.view(*positions.mask.shape, *[1] * (gold.dim() - 2)), UNOBSERVED)
        return GuidedBatch(windows.tolist(), positions, gold, self.roles(gold, positions.mask))

    # ---- the loss ---------------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a training batch on its perturbed input, with all terms; that of `Trainer` for any other.

        Raises:
            FloatingPointError: the loss is not a finite number, on any process.
        """
        if WINDOW not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        batch = self._guided_batch(inputs.pop(WINDOW), inputs)
        inputs = self._edited(inputs, batch)
        if self.args.r_drop_weight:
            loss, outputs = self._r_drop(model, inputs, batch, num_items_in_batch)
        else:
            inputs = self._moved(inputs, batch)
            loss, outputs = super().compute_loss(model, dict(inputs), True, num_items_in_batch)
            loss = loss + self._consistency(outputs, batch, num_items_in_batch)
            if self.args.perturbs and self.args.explanation_control == "prediction-gradient":
                self._gradient = self._prediction_gradient(outputs, inputs["inputs_embeds"], batch)
        if self.args.adversarial == "fgm":
            loss = loss / 2  # of two passes
        self._check_finite(loss)
        return (loss, outputs) if return_outputs else loss

    def _edited(self, inputs: dict[str, Any], batch: GuidedBatch) -> dict[str, Any]:
        if not self.args.edited_share:
            return inputs
        outside = self.model.config.label2id[OUTSIDE]
        is_outside = batch.gold == outside
        is_outside = is_outside.all(2) if is_outside.dim() == 3 else is_outside  # of every label
        is_context = batch.positions.put(is_outside, torch.zeros_like(inputs["input_ids"], dtype=torch.bool))
        tokenizer = self.processing_class
        mask_id = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
        share, seed = self.args.edited_share, self.args.seed
        ids = edited_ids(inputs["input_ids"], is_context, batch.windows, share, seed, self.epoch, mask_id)
        return {**inputs, "input_ids": ids}

    def _moved(self, inputs: dict[str, Any], batch: GuidedBatch) -> dict[str, Any]:
        """Replace ids by embeddings, moved along what is remembered; takes note of them for `training_step`."""
        if not (self.args.remembers or self.args.adversarial != "none"):
            return inputs
        inputs = dict(inputs)
        embeddings = _word_embeddings(self.accelerator.unwrap_model(self.model))(inputs.pop("input_ids"))
        offset = self._offset(batch)
        moved_embeddings = embeddings
        if offset is not None:
            padded = embeddings.new_zeros(embeddings.shape)
            moved_embeddings = embeddings + batch.positions.put(offset.to(embeddings.dtype), padded)
            self._watch_loss(inputs, embeddings, moved_embeddings)
        if moved_embeddings.requires_grad:
            moved_embeddings.retain_grad()
        else:  # a frozen table has gradients at its output all the same
            moved_embeddings.requires_grad_()
        self._visited = batch, moved_embeddings, None
        return {**inputs, "inputs_embeds": moved_embeddings}

    def _offset(self, batch: GuidedBatch) -> Tensor | None:
        mask, ramp = batch.positions.mask, self.args.ramp(self.state.global_step, self.state.max_steps)
        if self.args.adversarial != "none":
            if self._replayed is None or self._replayed[0] != batch.windows:
                return None
            norms = ramp * self.args.perturbation_size * self.vector_norm * mask.sum(1).sqrt()
            return unit(self._replayed[1]) * norms[:, None, None]
        if not self.args.perturbs:
            return None
        perturber = Perturber(self.args, self.cache, self.global_direction, self.vector_norm)
        perturbation = perturber(batch.windows, batch.roles, mask, self.epoch, ramp)
        if perturbation is None:
            return None
        self.figures.add(**perturbation_figures(perturbation, batch.roles, mask))
        return perturbation.offset

    def _consistency(self, outputs: Any, batch: GuidedBatch, items: Any) -> Tensor | float:
        if not self.args.consistency_weight:
            return 0.0
        model = self.accelerator.unwrap_model(self.model)
        reading: Reading = read_outputs(model, outputs, batch.positions)
        self._visited = (*self._visited[:2], reading.log_probs)
        remembered = [self.cache.remembered.get(window) for window in batch.windows]
        parts = consistency(reading, remembered, label_places(model, batch.gold))
        tokens = batch.positions.mask.sum()
        self.figures.add(consistency_divergence=(parts.divergence, parts.tokens))
        self.figures.add(consistency_tokens=(parts.tokens, tokens * self._label_columns))
        weight = self.args.consistency_weight * self.args.ramp(self.state.global_step, self.state.max_steps)
        return weight * self._per_token(parts.surrogate, tokens, items)

    def _per_token(self, total: Tensor, tokens: Tensor, items: Any) -> Tensor:
        """Divide a sum over tokens as the Trainer and the model divide the tagging loss.

        The Trainer counts all labels of a token, of which a per-label model has several.
        """
        if items is None or not self.model_accepts_loss_kwargs:
            return total / tokens.clamp(min=1)
        scale = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return total * (scale * self._label_columns) / torch.as_tensor(items, device=total.device).clamp(min=1)

    @property
    def _label_columns(self) -> int:
        config = self._model_config()
        return len(config.entity_types) if getattr(config, "is_per_label", False) else 1

    def _r_drop(self, model: Any, inputs: dict[str, Any], batch: GuidedBatch, items: Any) -> tuple[Tensor, Any]:
        twice = {name: torch.cat([value, value]) for name, value in inputs.items()}
        loss, outputs = super().compute_loss(model, twice, True, items)
        if items is not None and self.model_accepts_loss_kwargs:
            loss = loss / 2  # a sum over twice the tokens, divided by once
        positions = locate_text(twice["attention_mask"])
        first, second = label_log_probs(self.accelerator.unwrap_model(self.model), outputs, positions).chunk(2)
        divergence = symmetric_divergence(first, second, batch.positions.mask)
        return loss + self.args.r_drop_weight * self._per_token(divergence, batch.positions.mask.sum(), items), outputs

    def _prediction_gradient(self, outputs: Any, embeddings: Tensor, batch: GuidedBatch) -> Tensor:
        log_probs = label_log_probs(self.accelerator.unwrap_model(self.model), outputs, batch.positions)
        outside = self.model.config.label2id[OUTSIDE]
        odds = predicted_log_odds(log_probs, batch.positions.mask, outside)
        return torch.autograd.grad(-odds, embeddings, retain_graph=True)[0]

    def _check_finite(self, loss: Tensor) -> None:
        wrong = (~loss.detach().isfinite()).float()
        if self.accelerator.num_processes > 1:
            wrong = self.accelerator.reduce(wrong, "sum")
        if wrong > 0:
            raise FloatingPointError(
                f"the loss of step {self.state.global_step} is not finite; lower the learning rate, or train in float32"
            )

    # ---- the step ---------------------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Do a step as `Trainer`, then take note of the gradient at the input; FGM does a second pass along it."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not self.is_guided or self._visited is None:
            return loss
        self._take_note()
        if self.args.adversarial == "fgm":
            loss = loss + super().training_step(model, inputs, num_items_in_batch)
            self._visited = self._replayed = None
        return loss

    def _take_note(self) -> None:
        (batch, embeddings, marginals), self._visited = self._visited, None
        gradient = embeddings.grad if self._gradient is None else self._gradient
        self._gradient = None
        directions = batch.positions.take(gradient).float() * batch.positions.mask[..., None]
        if self.args.adversarial != "none":
            self._replayed = batch.windows, directions
            return
        usable = directions.flatten(1).isfinite().all(1).tolist()  # loss scaling of float16 may overflow
        for row, (window, length) in enumerate(zip(batch.windows, batch.positions.mask.sum(1).tolist())):
            if usable[row] and length:
                own = stored(directions[row, :length], self.args.cache_precision) if self.args.perturbs else None
                cells = batch.roles.cells[row, :length].short()
                probs = None if marginals is None else marginals[row, :length].exp().half()
                self.cache.add(window, Visit(own, cells if own else None, probs))

    # ---- figures ----------------------------------------------------------------------------------------------------

    def _watch_loss(self, inputs: Mapping[str, Any], embeddings: Tensor, moved_embeddings: Tensor) -> None:
        """Now and then, measure what the perturbation adds to the loss."""
        step = self.state.global_step
        if step == self._watched or step % max(int(self.args.logging_steps), 1):
            return
        self._watched = step
        model = self.accelerator.unwrap_model(self.model)
        losses = []
        for given in (embeddings, moved_embeddings):
            devices = [given.device] if given.device.type == "cuda" else []
            with torch.no_grad(), torch.random.fork_rng(devices):  # the same dropout, and none of the run's numbers
                torch.manual_seed(self.args.seed + step)
                losses.append(model(inputs_embeds=given.detach(), **inputs)["loss"].float())
        self.figures.add(loss_added=(losses[1] - losses[0], torch.ones_like(losses[0])))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means of all figures since the last time."""
        if self.is_guided and "loss" in logs:
            logs.update(self.figures.read(_FIGURES, lambda sums: self.accelerator.reduce(sums), self.args.device))
        super().log(logs, start_time)

    # ---- from epoch to epoch ----------------------------------------------------------------------------------------

    def begin_guidance(self, train_dataloader: Any) -> None:
        """Plan the run; called when training begins."""
        self._epoch_steps = max(-(-len(train_dataloader) // self.args.gradient_accumulation_steps), 1)
        if self.vector_norm is None:
            weight = _word_embeddings(self.accelerator.unwrap_model(self.model)).weight
            self.vector_norm = float(weight.detach().float().norm(dim=1).mean())
        visits = self.state.max_steps / self._epoch_steps
        if self.args.perturbs and (visits < FEW_EPOCHS or self.state.max_steps < FEW_STEPS):
            logger.warning(
                "the run has %d steps and sees every window %.1f times: guided training may lose F1 with fewer than %d "
                "steps or %d visits; train longer, or set stability_share (--stability-share) to 0",
                self.state.max_steps,
                visits,
                FEW_STEPS,
                FEW_EPOCHS,
            )

    def begin_epoch(self) -> None:
        """Take in the visits of the last epoch; called when an epoch begins, also the one that is resumed in."""
        epoch = self.state.global_step // self._epoch_steps
        if epoch == self.epoch:
            return
        self._join_visits()
        self.cache.advance()
        self.global_direction.update(self.cache.remembered)
        self.epoch = epoch

    def _join_visits(self) -> None:
        own = {window: moved(visit, "cpu") for window, visit in self.cache.pending.items()}
        self.cache.join(_gathered(own), self.args.device)

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.is_guided and self.args.remembers:
            self._join_visits()
            if self.args.should_save:
                folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
                (folder / CACHE_FILE).parent.mkdir(parents=True, exist_ok=True)
                save_file(self.cache.to_tensors(), folder / CACHE_FILE)
                write_json(folder / STATE_FILE, {"epoch": self.epoch, "vector_norm": self.vector_norm})
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.is_guided and self.args.remembers:
            self._load_visits(Path(resume_from_checkpoint))

    def _load_visits(self, folder: Path) -> None:
        if not (folder / STATE_FILE).is_file():
            logger.warning("%s has no %s: what was remembered of the windows begins anew", folder, STATE_FILE)
            return
        try:
            state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
            self.epoch, self.vector_norm = int(state["epoch"]), float(state["vector_norm"])
            self.cache = VisitCache.from_tensors(load_file(folder / CACHE_FILE), self.args.device)
        except Exception as error:  # of JSON, safetensors and missing parts
            raise ValueError(
                f"{folder / CACHE_FILE} or {STATE_FILE} is damaged ({type(error).__name__}); resume from an earlier "
                "checkpoint, or remove both to begin what is remembered anew"
            ) from error
        self.global_direction.update(self.cache.remembered)


class _EpochCallback(TrainerCallback):
    """Tells the trainer when training and epochs begin."""

    def __init__(self, trainer: ExplanationGuidedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.begin_guidance(kwargs["train_dataloader"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.begin_epoch()


def _word_embeddings(model: Any) -> torch.nn.Embedding:
    """Return the word embeddings of a model.

    Raises:
        ValueError: it has none, or does not take embeddings in the place of ids.
    """
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        table = None
    if not isinstance(table, torch.nn.Embedding) or "inputs_embeds" not in inspect.signature(model.forward).parameters:
        raise ValueError(
            f"{type(model).__name__} has no word embeddings that could be given as inputs_embeds; explanation-guided "
            "training needs them"
        )
    return table


def _check_dataset(rows: Any, entity_labels: set[int]) -> None:
    """Check that a training dataset can be guided.

    Raises:
        ValueError: it has no length, no labels, or no entity.
    """
    if rows is None or isinstance(rows, IterableDataset) or not hasattr(rows, "__len__"):
        raise ValueError("explanation-guided training needs a train_dataset with a length: windows have numbers")
    labels = rows["labels"] if "labels" in getattr(rows, "column_names", ()) else (row["labels"] for row in rows)
    sequences = (np.ravel(row) for row in labels)  # of a per-label model a list of labels per token
    if not any(label in entity_labels for row in sequences for label in row.tolist()):
        raise ValueError(f"none of the {len(rows)} training windows has an entity: nothing would be explained")


def _gathered(own: object) -> list:
    """Return the same object of every process, in their order; of this one alone where there are no others."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [own]
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found
