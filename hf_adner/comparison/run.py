"""Single runs of a comparison: train a model of a family in an arm and record all its figures.

Also `PeakMemory`, a context manager that measures the peak memory of training.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import hashlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments, set_seed

from hf_adner.audit.prediction import ScoredSpan, scored_spans
from hf_adner.comparison.arms import Arm, family_arguments, family_model, family_tokenizer
from hf_adner.comparison.corpus import ComparedCorpus, count_matches
from hf_adner.comparison.record import BOUNDARY, CLEAN, SEEN, UNSEEN, RunRecord
from hf_adner.data.encoding import AdnerDataCollator, encode_dataset
from hf_adner.guided.trainer import ExplanationGuidedTrainer
from hf_adner.metrics.calibration import calibration
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.training.arguments import LATER_SETTINGS, AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.trainer import predicted_labels, span_scores

SETTINGS = (
    "learning_rate", "num_train_epochs", "max_steps", "warmup_steps", "weight_decay", "per_device_train_batch_size",
    "gradient_accumulation_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "adam_beta1",
    "adam_beta2", "adam_epsilon", "max_grad_norm", "label_smoothing_factor", "neftune_noise_alpha", "eval_strategy",
    "eval_steps", "load_best_model_at_end", "metric_for_best_model", "greater_is_better", "train_sampling_strategy",
    "gradient_checkpointing", "torch_compile", "bf16", "fp16", "tf32",
)  # fmt: skip
"""Fields of `TrainingArguments` that change what is learned; so do all fields that our subclasses add."""

Explain = Callable[[PreTrainedModel, Any], Mapping[str, Any]]
"""Measures explanations of a trained model, given its tokenizer."""


@dataclass(frozen=True)
class Trained:
    """Trained model and the cost of training.

    Attributes:
        model: trained model.
        initial_weights: hash of the initial weights.
        steps: optimizer steps.
        seconds: wall-clock seconds, including the trainer's setup.
        processor_seconds: CPU time of this process over the same period, summed over cores.
        memory: peak memory of training.
    """

    model: PreTrainedModel
    initial_weights: str
    steps: int
    seconds: float
    processor_seconds: float
    memory: PeakMemory


class ArmRunner:
    """Runs arms with one corpus and one model family; encodes the corpus once and draws weights once per seed.

    Args:
        corpus: corpus.
        family: name of the model family.
        model_args: sizes of the models.
        dataset_args: window length and overlap.
        explain: measures explanations for every record; None omits them.
    """

    def __init__(
        self,
        corpus: ComparedCorpus,
        family: str,
        model_args: ModelArguments,
        dataset_args: DatasetArguments,
        explain: Explain | None = None,
    ):
        self.corpus, self.family = corpus, family
        self.model_args, self.dataset_args, self.explain = model_args, dataset_args, explain
        self.tokenizer = family_tokenizer(model_args, family, corpus.splits["train"])
        self._initial: tuple[int, PreTrainedModel] | None = None
        self._encoded: dict[str, Dataset] = {}

    def run(self, arm: Arm, seed: int, args: AdnerTrainingArguments, work: Path) -> RunRecord:
        """Train a model in an arm and return the record of all figures; checkpoints are not kept.

        Args:
            arm: arm.
            seed: seed of initial weights, document order and dropout.
            args: training arguments of all runs.
            work: folder for checkpoints, removed at the end.
        """
        try:
            return self._record(arm, seed, args, self.train(arm, seed, args, work))
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def train(self, arm: Arm, seed: int, args: AdnerTrainingArguments, work: Path) -> Trained:
        """Train a model in an arm; arguments as for `run`, but `work` is not removed."""
        arm_args = arm.apply(args, seed=seed, data_seed=seed, output_dir=str(work), disable_tqdm=True)
        model = self.initial_model(seed)
        digest = weights_digest(model)
        splits = {"train_dataset": self.encoded("train", model), "eval_dataset": self.encoded("validation", model)}
        with PeakMemory(arm_args.device) as memory:
            began, worked = time.perf_counter(), time.process_time()
            trainer = self._trainer(model, arm_args, splits)
            trainer.train()
            if arm_args.device.type == "cuda":
                torch.cuda.synchronize(arm_args.device)
            seconds, processor_seconds = time.perf_counter() - began, time.process_time() - worked
        return Trained(trainer.model, digest, trainer.state.global_step, seconds, processor_seconds, memory)

    def initial_model(self, seed: int) -> PreTrainedModel:
        """Return a new model with the initial weights that all arms of a seed share."""
        if self._initial is None or self._initial[0] != seed:
            set_seed(seed)
            model = family_model(self.model_args, self.family, self.tokenizer, self.corpus.types)
            self._initial = seed, model
        return copy.deepcopy(self._initial[1])

    def encoded(self, split: str, model: PreTrainedModel) -> Dataset | None:
        """Return a split as model inputs with window lengths; None if there is no such split."""
        if split not in self._encoded and split in self.corpus.splits:
            args = self.dataset_args
            rows = encode_dataset(
                self.corpus.splits[split],
                self.tokenizer,
                model.config.label2id,
                max_length=args.max_length,
                overlap=args.window_overlap,
                tagging=getattr(model.config, "tagging", "flat"),  # the stock classifier has no such field
            )
            self._encoded[split] = rows.add_column("length", [len(ids) for ids in rows["input_ids"]])
        return self._encoded.get(split)

    def settings(self, arm: Arm, args: AdnerTrainingArguments) -> dict[str, Any]:
        """Return all settings that the figures depend on, with base names of files and a hash of the documents."""
        family = family_arguments(self.model_args, self.family)
        return {
            "dataset": {name: _file_names(value) for name, value in asdict(self.dataset_args).items()},
            **self.corpus.digests,
            "model": {name: _file_names(value) for name, value in asdict(family).items()},
            "training": training_settings(arm.apply(args)),
        }

    def _trainer(self, model: PreTrainedModel, args: AdnerTrainingArguments, splits: Mapping[str, Any]) -> Trainer:
        names = [model.config.id2label[index] for index in range(len(model.config.id2label))]
        trainer = ExplanationGuidedTrainer(
            model=model,
            args=args,
            processing_class=self.tokenizer,
            data_collator=AdnerDataCollator(self.tokenizer),
            compute_metrics=span_scores(names),
            preprocess_logits_for_metrics=predicted_labels,
            **splits,
        )
        trainer.remove_callback(PrinterCallback)  # a comparison has one progress bar for all runs
        return trainer

    def _record(self, arm: Arm, seed: int, args: AdnerTrainingArguments, trained: Trained) -> RunRecord:
        corpus, size = self.corpus, args.per_device_eval_batch_size
        predicted = scored_spans(trained.model, self.tokenizer, [document.text for document in corpus.test], size)
        spans = [[entity.span for entity in entities] for entities in predicted]
        scores = entity_f1(spans, [document.spans for document in corpus.test])
        counts = {
            CLEAN: corpus.strict_counts(spans),
            BOUNDARY: corpus.boundary_counts(spans),
            SEEN: corpus.recall_counts(spans, seen=True),
            UNSEEN: corpus.recall_counts(spans, seen=False),
            **self._perturbed_counts(trained.model, size),
        }
        return RunRecord(
            corpus=corpus.name,
            model=self.family,
            arm=arm.name,
            seed=seed,
            settings=self.settings(arm, args),
            initial_weights=trained.initial_weights,
            documents={split: len(rows) for split, rows in corpus.splits.items()},
            steps=trained.steps,
            train_seconds=round(trained.seconds, 3),
            peak_memory=trained.memory.peak,
            counts=counts,
            perturbed={family: sorted(documents) for family, documents in corpus.perturbed.items()},
            scores=scores,
            calibration=self._calibration(predicted),
            explanations=self._explanations(trained.model) if scores["correct"] else {},
            device=args.device.type,
        )

    def _explanations(self, model: PreTrainedModel) -> Mapping[str, Any]:
        return {} if self.explain is None else self.explain(model, self.tokenizer)

    def _perturbed_counts(self, model: PreTrainedModel, batch_size: int) -> dict[str, list[list[int]]]:
        counts = {}
        for family, documents in self.corpus.perturbed.items():
            ordered = [documents[number] for number in sorted(documents)]
            predicted = scored_spans(model, self.tokenizer, [document.text for document in ordered], batch_size)
            counts[family] = [
                count_matches([entity.span for entity in entities], document.spans)
                for entities, document in zip(predicted, ordered, strict=True)
            ]
        return counts

    def _calibration(self, predicted: list[list[ScoredSpan]]) -> dict[str, Any]:
        pairs = [
            (entity.score, entity.span in document.spans)
            for entities, document in zip(predicted, self.corpus.test, strict=True)
            for entity in entities
        ]
        return calibration([score for score, _ in pairs], [is_correct for _, is_correct in pairs])


def _file_names(value: Any) -> Any:
    """Return a path, or several joined by '+', without folders; other values unchanged."""
    return "+".join(Path(part).name for part in value.split("+")) if isinstance(value, str) else value


def training_settings(args: AdnerTrainingArguments) -> dict[str, Any]:
    """Return the training arguments that change what is learned, without the seed; `LATER_SETTINGS` only if they do."""
    added = {field.name for field in fields(args)} - {field.name for field in fields(TrainingArguments)}
    added -= LATER_SETTINGS.keys() - args.later_settings().keys()
    return {name: _plain(_file_names(getattr(args, name))) for name in sorted(added | set(SETTINGS))}


def _plain(value: Any) -> Any:
    return value if value is None or type(value) in (int, float, bool, str) else str(getattr(value, "value", value))


def weights_digest(model: torch.nn.Module) -> str:
    """Return a hash of all weights and buffers that a checkpoint would hold."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()[:16]


class PeakMemory:
    """Context manager that measures the peak memory of its body.

    On a GPU this is the memory allocated by PyTorch; on the CPU the resident set of the process, interpreter and
    libraries included, sampled every few milliseconds.

    Args:
        device: device to measure.
        interval: seconds between two samples.

    Attributes:
        before: bytes at the start.
        peak: peak bytes so far.
    """

    def __init__(self, device: torch.device | str = "cpu", interval: float = 0.02):
        self.device, self.interval = torch.device(device), interval
        self.before = self.peak = 0
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    @property
    def growth(self) -> int:
        """Peak bytes above those at the start."""
        return self.peak - self.before

    def __enter__(self) -> PeakMemory:
        release_memory()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = self.peak = torch.cuda.memory_allocated(self.device)
        else:
            self.before = self.peak = psutil.Process().memory_info().rss
            self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self.device)
            return
        self._stop.set()
        self._sampler.join()
        self.peak = max(self.peak, psutil.Process().memory_info().rss)

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(self.interval):
            self.peak = max(self.peak, process.memory_info().rss)


def release_memory() -> None:
    """Return unused memory to the system, so that it does not count for the next measurement."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc has it, other C libraries do not
        trim(0)
