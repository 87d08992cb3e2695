"""Trainer of explanation-guided runs, its callback, and the files that it adds to checkpoints.

Next to the model these are `explainer_head.safetensors` and the published `global_table/`. `private/` holds the raw
table and all else that a resumed run needs: it describes single documents and is never pushed.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.data.records import Document
from hf_adner.explain.amortised import HEAD_FILE, ExplainerHead
from hf_adner.explain.fusion import make_fusion
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import PRIVATE_FOLDER, save_checkpoint_table
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import states_size
from hf_adner.files import write_file
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments, GuidedSchedule
from hf_adner.guided.batches import GUIDANCE, GuidedCollator, GuidedDataset, StepTotals, ViewEncoder
from hf_adner.guided.explanation_state import ExplanationState
from hf_adner.guided.monitors import EPOCH, alarms, best_of, development_alarms, last_figures
from hf_adner.guided.objective import GuidedObjective
from hf_adner.guided.online_explainer import OnlineExplainer, sweep, swept_windows
from hf_adner.guided.saliency_cache import SaliencyCache
from hf_adner.guided.views import make_view_maker
from hf_adner.guided.windows import training_windows
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.training.trainer import AdnerTrainer

CACHE_FILE = "private/saliency_cache.safetensors"
STATE_FILE = "private/guidance.json"
_FUSION = "fusion."
logger = logging.getLogger(__name__)


class ExplanationGuidedTrainer(AdnerTrainer):
    """`AdnerTrainer` whose model is also taught by explanations of its own decisions.

    It works for our models and for any `AutoModelForTokenClassification` with BIO labels that takes `inputs_embeds`,
    on any language; a run of several processes, an accumulated and a resumed one are the same run. With all weights at
    zero it is `AdnerTrainer`. What the terms are, `hf_adner.guided.losses` tells; when they act,
    `hf_adner.guided.arguments`.

    A checkpoint gets `explainer_head.safetensors` (`make_explainer("amortised", ...)`), the published `global_table/`,
    and in `private/` what must not leave, which no push carries.

    Args:
        model: the tagger; or `model_init`, which makes it anew for each `train`, as a hyper-parameter search needs.
        args: `ExplanationGuidedTrainingArguments`.
        train_documents: the documents that `train_dataset` was made of by `encode_dataset`, in their order, or the
            dataset of them; without `train_dataset` they are encoded here.
        lexicon: words that views edit as a whole; default: the tokenizer's own, if it has one.
        kwargs: of `AdnerTrainer`; `processing_class` is the fast tokenizer.

    Raises:
        ValueError: documents that are not those of the dataset, or without entities; a model without word embeddings,
            or whose states are unknown; settings that guided runs do not have (says which).
        TypeError: no fast tokenizer.
    """

    head: ExplainerHead | None = None
    guidance: ExplanationState | None = None
    objective: GuidedObjective | None = None

    def __init__(
        self,
        model: Any = None,
        args: ExplanationGuidedTrainingArguments | None = None,
        *,
        train_documents: Iterable[Document] | Any = None,
        lexicon: Lexicon | None = None,
        **kwargs: Any,
    ):
        super().__init__(model, args, **kwargs)
        self._lexicon_of_views = lexicon
        is_stream = train_documents is not None and not hasattr(train_documents, "__len__")
        self._documents = list(train_documents) if is_stream else train_documents
        if self.train_dataset is None and self._documents is not None:
            rows = _as_dataset(self._documents)
            self.train_dataset = encode_dataset(rows, self.processing_class, self.model.config.label2id)
        self._set_up()

    def _set_up(self) -> None:
        """Begin anew with the present model and arguments."""
        self.remove_callback(ExplanationCallback)
        self.head, self.guidance, self.objective = None, None, None
        self.is_guided = isinstance(self.args, ExplanationGuidedTrainingArguments) and self.args.is_guided
        self.loss_is_scaled_for_ga = True if self.is_guided else None
        if self.is_guided:
            self._check()
            self._build(self._documents, self._lexicon_of_views)

    def _hp_search_setup(self, trial: Any) -> None:
        super()._hp_search_setup(trial)
        if self.model_init is not None:  # the model is new, and a trial has its own arguments
            self._set_up()

    @classmethod
    def for_documents(cls, documents: Any, **options: Any) -> ExplanationGuidedTrainer:
        """The trainer of a run on `documents`, which explaining and perturbing need beside the encoded rows."""
        return cls(train_documents=documents, **options)

    def _check(self) -> None:
        args = self.args
        refused = {
            "label_smoothing_factor": args.label_smoothing_factor and "use boundary_smoothing",
            "dataloader_persistent_workers": args.dataloader_persistent_workers and "views change with the epoch",
            "fsdp": bool(args.fsdp) and "explaining needs whole word embeddings; use several processes (DDP)",
            "deepspeed": args.deepspeed is not None and "explaining needs whole word embeddings",
            "several GPUs in one process": args.n_gpu > 1 and "start one process per GPU with torchrun",
            "a scheduler of your own": self.lr_scheduler is not None and "pass optimizers=(optimizer, None)",
            "padding_side=left": self.processing_class.padding_side == "left" and "pad on the right",
        }
        for name, reason in refused.items():
            if reason:
                raise ValueError(f"explanation-guided training does not go with {name}: {reason}")

    def _build(self, documents: Any, lexicon: Lexicon | None) -> None:
        if documents is None or self.train_dataset is None:
            raise ValueError("explanation-guided training needs train_documents, whose texts views are made of")
        model, tokenizer, args = self.model, self.processing_class, self.args
        self.tagger = Tagger(model, tokenizer)
        embeddings = _word_embeddings(model)
        names = self.tagger.labels.names
        windows = training_windows(self.train_dataset, documents, tokenizer, names)
        if not any(window.spans for window in windows):
            raise ValueError(
                f"none of the {len(windows)} training windows holds an entity: there is nothing to explain"
            )
        self.guidance = ExplanationState(
            windows, make_fusion(args.fusion), GlobalTable(), args.explanation_control, args.seed
        )
        maker = None
        if args.uses_views:
            sources = [window.document for window in windows]
            maker = make_view_maker(args, sources, tokenizer, embeddings.weight.detach(), lexicon)
        encoder = ViewEncoder(tokenizer, model.config.label2id, self.tagger.mask_id, self.tagger.max_tokens)
        self.guided_dataset = GuidedDataset(self.train_dataset, self.guidance, maker, encoder)
        with torch.random.fork_rng():  # the model's own random numbers stay those of a plain run
            torch.manual_seed(args.seed)
            self.head = ExplainerHead(states_size(model), len(self.tagger.labels.types), types=self.tagger.labels.types)
        self.head.to(args.device)
        self._best: dict[str, float] = {}
        self._figures: dict[str, float] = {}
        self.add_callback(ExplanationCallback(self))

    # ---- batches ------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> Any:
        """Batches of windows with their views; plain ones where nothing guides the run."""
        if not self.is_guided:
            return super().get_train_dataloader()
        return self._get_dataloader(
            dataset=self.guided_dataset,
            description="Training",
            batch_size=self._train_batch_size,
            sampler_fn=lambda _: self._get_train_sampler(self.train_dataset),
            is_training=True,
        )

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        collator = super()._get_collator_with_removed_columns(data_collator, description)
        if self.is_guided and description == "Training":
            return GuidedCollator(collator, copies=int(self.args.r_drop_weight > 0))
        return collator

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, StepTotals | Any]:
        """Batches of an optimizer step, and what its terms are divided by."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not self.is_guided:
            return batches, items
        totals = StepTotals.of(batches, self.objective.copies).to_tensor(device)
        return batches, StepTotals.from_tensor(self.accelerator.reduce(totals, "sum"))

    # ---- the loss -----------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The guided loss of a training batch; the model's own loss of any other.

        Raises:
            FloatingPointError: it is not a finite number, on any process.
        """
        if GUIDANCE not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = self.objective(model, inputs, num_items_in_batch, self.state.global_step)
        self._check_finite(loss)
        return loss * self.accelerator.num_processes  # gradients are averaged over processes, and the sums are global

    def _check_finite(self, loss: Tensor) -> None:
        wrong = (~loss.detach().isfinite()).float()
        if self.accelerator.num_processes > 1:
            wrong = self.accelerator.reduce(wrong, "sum")
        if wrong > 0:
            raise FloatingPointError(
                f"the loss of step {self.state.global_step} is not finite; lower the learning rate, or train in float32"
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means of all terms since the last time."""
        if self.is_guided and "loss" in logs:
            logs.update(self.objective.terms.read(self.state.global_step, lambda sums: self.accelerator.reduce(sums)))
        super().log(logs, start_time)

    # ---- the explainer head -------------------------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer of `AdnerTrainer`, or your own, with a group for the explainer head."""
        optimizer = super().create_optimizer(model)
        if self.is_guided and not self._has_head(optimizer):
            rate = self.args.explainer_learning_rate
            optimizer.add_param_group({"params": list(self.head.parameters()), "lr": rate, "weight_decay": 0.0})
        return optimizer

    def _has_head(self, optimizer: torch.optim.Optimizer) -> bool:
        known = {id(one) for group in optimizer.param_groups for one in group["params"]}
        return all(id(one) in known for one in self.head.parameters())

    def clip_head(self) -> None:
        """Clip the head's gradients by themselves, so that they do not change how far the model steps."""
        if self.args.max_grad_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.args.max_grad_norm)

    # ---- from epoch to epoch ------------------------------------------------------------------------------------

    def begin_guidance(self, train_dataloader: Any) -> None:
        """Plan the run; called when training begins."""
        steps = max(-(-len(train_dataloader) // self.args.gradient_accumulation_steps), 1)
        self.schedule = GuidedSchedule.of(self.args, self.state.max_steps, steps)
        if self.args.uses_explanations and not self.schedule.has_guided_phase:
            logger.warning(
                "explanations will not be used: the first %d steps are plain, and the run has only %d; train for more "
                "epochs",
                self.schedule.plain_steps,
                self.schedule.total_steps,
            )
        head = self.accelerator.prepare_model(self.head)
        done = self.state.global_step
        self.objective = GuidedObjective(self.args, self.tagger, self.guidance, self.schedule, head, done)
        self._best, self._figures = best_of(self.state.log_history), last_figures(self.state.log_history)

    def advance_guidance(self) -> None:
        """Take in what the last epoch has seen; called when an epoch begins, also the one that is resumed in."""
        epoch = self.schedule.epoch_of(self.state.global_step)
        if epoch == self.guidance.epoch:
            return
        self._report()
        self.guidance.epoch = epoch  # what the sweep explains is what this epoch has in focus
        if self.args.uses_explanations and not self.guidance.is_ready and epoch >= self.schedule.plain_epochs:
            self.guidance.cache.pending.update(self._sweep())
        self.guidance.cache.join(gathered(self.guidance.cache.pending))
        self.guidance.advance(epoch)
        self.objective.begin_epoch()

    def _sweep(self) -> dict[Any, Any]:
        args = self.args
        rows = self.state.max_steps * self.get_total_train_batch_size(args)
        most = max(round(args.sweep_share * rows), args.train_batch_size)
        windows = swept_windows(self.guidance, most)[args.process_index :: args.world_size]
        collate = super()._get_collator_with_removed_columns(self.data_collator, "Sweep")
        explainer = OnlineExplainer(self.guidance, self.tagger.labels, args.device)
        return sweep(self.tagger, self.guided_dataset, collate, windows, args.train_batch_size, explainer)

    def _report(self) -> None:
        figures = self.objective.figures.take(gathered)
        if not figures:
            return
        if self.schedule.is_settled(self.state.global_step):
            for line in alarms(figures, self._figures):
                logger.warning("%s", line)
        self._figures = figures
        self.log({f"{EPOCH}{name}": value for name, value in figures.items()})

    def watch_validation(self, metrics: dict[str, float]) -> None:
        """Warn of validation figures that got worse."""
        if self.guidance.is_ready:
            for line in development_alarms(metrics, self._best):
                logger.warning("%s", line)
        self._best = best_of([self._best, metrics])

    def end_guidance(self) -> None:
        """Report on the last epoch; called when training ends."""
        self._report()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `Trainer` does; whatever happens, the model is left without our hooks."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self.is_guided and self.objective is not None:
                self.objective.close()

    # ---- checkpoints --------------------------------------------------------------------------------------------

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.is_guided and self.args.should_save:
            head = self.head if self.args.stability_weight else None
            save_explanations(output_dir or self.args.output_dir, head, self.guidance)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.is_guided:
            self.guidance.cache.join(gathered(self.guidance.cache.pending))
            if self.args.should_save:
                folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
                save_guidance(folder, self.guidance)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.is_guided:
            load_guidance(resume_from_checkpoint, self.head, self.guidance)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.is_guided:
            load_guidance(self.state.best_model_checkpoint, self.head, self.guidance)


def _as_dataset(documents: Any) -> Any:
    return documents if hasattr(documents, "column_names") else dataset_from_documents(documents)


def _word_embeddings(model: Any) -> torch.nn.Module:
    """The table that explanations differentiate by.

    Raises:
        ValueError: the model has none, or does not take embeddings in the place of ids.
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


class ExplanationCallback(TrainerCallback):
    """Tells the trainer of beginnings and ends; the head is stepped along with the model.

    Args:
        trainer: the guided trainer.
    """

    def __init__(self, trainer: ExplanationGuidedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Plan the run."""
        self.trainer.begin_guidance(kwargs["train_dataloader"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in what the last epoch has seen."""
        self.trainer.advance_guidance()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip the head's gradients."""
        self.trainer.clip_head()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the head's gradients."""
        self.trainer.head.zero_grad()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Warn of what validation shows."""
        self.trainer.watch_validation(metrics or {})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report on the last epoch."""
        self.trainer.end_guidance()


def save_explanations(folder: str | Path, head: ExplainerHead | None, guidance: ExplanationState) -> None:
    """Write what explains a checkpoint's entities, once there is something: the table, and the head.

    Args:
        folder: of the checkpoint.
        head: the explainer head; None where nothing teaches it.
        guidance: of the run.
    """
    if not guidance.is_ready:
        return
    save_checkpoint_table(folder, guidance.table)
    if head is not None:
        head.save_pretrained(folder)


def save_guidance(folder: str | Path, guidance: ExplanationState) -> None:
    """Write what a resumed run needs beside the head and the table."""
    path = Path(folder) / CACHE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fusion = {f"{_FUSION}{name}": value.contiguous() for name, value in guidance.fusion.state_dict().items()}
    save_file({**guidance.cache.to_tensors(), **fusion}, path)
    write_file(Path(folder) / STATE_FILE, [json.dumps(guidance.state(), indent=2), "\n"], "utf-8")


def load_guidance(folder: str | Path, head: ExplainerHead, guidance: ExplanationState) -> None:
    """Bring head and guidance into the state of a checkpoint.

    A checkpoint that came without `private/`, as pushed ones do, has the head alone; the rest begins anew. One of the
    plain phase has no head yet.

    Raises:
        FileNotFoundError: the checkpoint is not of a guided run.
    """
    folder = Path(folder)
    if (folder / HEAD_FILE).is_file() or not (folder / STATE_FILE).is_file():
        head.load_state_dict(ExplainerHead.from_pretrained(folder).state_dict())
    if not (folder / STATE_FILE).is_file():
        logger.warning("%s has no %s: maps and global table begin anew", folder, STATE_FILE)
        return
    guidance.load_state(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    tensors = load_file(folder / CACHE_FILE)
    guidance.cache = SaliencyCache.from_tensors(tensors)
    fusion = {name.removeprefix(_FUSION): value for name, value in tensors.items() if name.startswith(_FUSION)}
    guidance.fusion.load_state_dict(fusion)
    if guidance.is_ready:
        guidance.table = GlobalTable.load(folder / PRIVATE_FOLDER)


def gathered(own: object) -> list:
    """The same object of every process, in their order; of this one alone where there are no others."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [own]
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found
