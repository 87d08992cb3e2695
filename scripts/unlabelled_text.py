"""Does unlabelled text help guided training? Development text, as the settings were chosen.

    python scripts/unlabelled_text.py --data FOLDER [--work runs/unlabelled] [--seeds 3]

Guided training on labelled documents, and the same with other documents of the corpus without their labels:

* `consistency`: every step also reads unlabelled windows, plain and moved along the gradient of their last visit's
  divergence, and adds the divergence of the two readings (virtual adversarial training, Miyato et al. 2019, with a
  stale direction in place of the power iteration).
* `self-training`: the trained model labels the unlabelled windows, the most confident ones join the labelled ones, and
  a new model is trained on both, with the control that takes random ones.
* `longer`: as many steps as self-training, on the labelled documents alone.

The options are those of `scripts/comparison.py`; records go to a subfolder of `--work` for each variant, runs that have
one are skipped, and the report is printed.
"""

from __future__ import annotations

import random
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import torch
from comparison_corpora import write_parts
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from trainer_variants import Variant, parse, run_variants

from hf_adner.comparison.rendering import report_markdown
from hf_adner.comparison.report import ComparisonReport
from hf_adner.data.encoding import encode_dataset
from hf_adner.guided.consistency import label_log_probs
from hf_adner.guided.global_direction import unit
from hf_adner.guided.trainer import ExplanationGuidedTrainer
from hf_adner.model.layers_adner import locate_text
from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import load_splits

POOL, KEPT, BATCH = 600, 300, 8
"""Unlabelled documents, those of them that self-training keeps, and windows of a step."""


class LongerTrainer(ExplanationGuidedTrainer):
    """Guided training with twice the epochs."""

    def train(self, *args: Any, **settings: Any) -> Any:
        """Train."""
        self.args.num_train_epochs *= 2
        return super().train(*args, **settings)


class UnlabelledTrainer(ExplanationGuidedTrainer):
    """Guided training that has further windows of the corpus, without their labels."""

    file: Path
    """Training documents of the corpus; those in the training set are left out."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        documents = load_splits(DatasetArguments(str(self.file), validation_share=0.0))["train"]
        rows = encode_dataset(documents, self.processing_class, self.model.config.label2id)
        labelled = {tuple(ids) for ids in self.train_dataset["input_ids"]}
        free = [number for number, ids in enumerate(rows["input_ids"]) if tuple(ids) not in labelled]
        random.Random(self.args.seed).shuffle(free)
        pool = rows.select(free[:POOL])
        self.pool = pool.add_column("length", [len(ids) for ids in pool["input_ids"]])

    def collated(self, numbers: list[int]) -> dict[str, Tensor]:
        """Return windows of the pool as a batch without labels."""
        batch = self.data_collator([self.pool[number] for number in numbers])
        return {name: value.to(self.args.device) for name, value in batch.items() if name != "labels"}


class ConsistencyTrainer(UnlabelledTrainer):
    """Adds the divergence of a plain and a moved reading of unlabelled windows to every step."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.directions: dict[int, Tensor] = {}

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Do a step, then add the gradient of the divergence."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        ramp, first = self.args.ramp(self.state.global_step, self.state.max_steps), self.state.global_step * BATCH
        numbers = [(first + row) % len(self.pool) for row in range(BATCH)]
        if not ramp:
            return loss
        batch = self.collated(numbers)
        positions = locate_text(batch["attention_mask"])
        with torch.no_grad():
            expected = label_log_probs(model, model(**batch), positions)
        embeddings = model.get_input_embeddings()(batch.pop("input_ids"))
        moved = embeddings + self._offset_of(numbers, embeddings, positions, ramp)
        moved.retain_grad()
        found = label_log_probs(model, model(**batch, inputs_embeds=moved), positions)
        divergence = (expected.exp() * (expected - found)).nan_to_num(0.0).sum(-1) * positions.mask
        added = ramp * divergence.sum() / positions.mask.sum()
        self.accelerator.backward(added)
        for row, number in enumerate(numbers):
            self.directions[number] = positions.take(moved.grad)[row][positions.mask[row]]
        return loss + added.detach()

    def _offset_of(self, numbers: list[int], embeddings: Tensor, positions: Any, ramp: float) -> Tensor:
        directions = torch.zeros(*positions.mask.shape, embeddings.shape[2])
        for row, number in enumerate(numbers):
            length = int(positions.mask[row].sum())
            known = self.directions.get(number)
            directions[row, :length] = torch.randn(length, embeddings.shape[2]) if known is None else known
        norms = ramp * self.args.perturbation_size * self.vector_norm * positions.mask.sum(1).sqrt()
        return positions.put(unit(directions) * norms[:, None, None], torch.zeros_like(embeddings))


class SelfTrainer(UnlabelledTrainer):
    """Labels the pool with the trained model, and trains a new one on both, twice as many steps."""

    is_random = False
    """Whether random windows are kept, not the most confident ones."""

    def train(self, *args: Any, **settings: Any) -> Any:
        """Train a teacher, then the model that is scored."""
        start = deepcopy(self.model.state_dict())
        super().train(*args, **settings)
        labelled = len(self.train_dataset)
        self.train_dataset = concatenate_datasets([self.train_dataset, self._labelled_pool()])
        self.args.num_train_epochs *= 2 * labelled / len(self.train_dataset)
        self.model.load_state_dict(start)
        self.optimizer = self.lr_scheduler = None
        self._set_up()
        return super().train(*args, **settings)

    @torch.no_grad()
    def _labelled_pool(self) -> Dataset:
        self.model.eval()
        read = [self._read(number) for number in range(len(self.pool))]
        outside = self.model.config.label2id["O"]
        found = [number for number, (labels, _) in enumerate(read) if any(label != outside for label in labels)]
        if not found:
            return self.train_dataset.select([])
        if self.is_random:
            random.Random(self.args.seed).shuffle(found)
        else:
            found.sort(key=lambda number: -read[number][1])
        kept = self.pool.select(found[:KEPT])
        labels = [[-100, *read[number][0], -100] for number in found[:KEPT]]
        columns = self.train_dataset.features
        return kept.remove_columns("labels").add_column("labels", labels).select_columns(list(columns)).cast(columns)

    def _read(self, number: int) -> tuple[list[int], float]:
        """Return the labels of a window, and the smallest of their marginal probabilities."""
        batch = self.collated([number])
        positions, outputs = locate_text(batch["attention_mask"]), self.model(**batch)
        marginals = label_log_probs(self.model, outputs, positions)[0]
        labels = positions.take(outputs["logits"])[0].argmax(-1)
        return labels.tolist(), float(marginals.gather(1, labels[:, None]).min())


class RandomSelfTrainer(SelfTrainer):
    """The control: any windows in which the teacher finds an entity."""

    is_random = True


VARIANTS = {
    "plain": Variant("plain"),
    "full": Variant(),
    "longer": Variant(trainer=LongerTrainer),
    "consistency": Variant(trainer=ConsistencyTrainer),
    "self-training": Variant(trainer=SelfTrainer),
    "self-training-random": Variant(trainer=RandomSelfTrainer),
}


def main() -> None:
    """Do the missing runs of every variant, corpus by corpus, then report."""
    args, records = parse("runs/unlabelled"), []
    for corpus in args.corpora:
        options = copy(args)
        options.corpora, options.work = [corpus], args.work / corpus
        UnlabelledTrainer.file = write_parts(corpus, args.data, options.work / "corpora", True).train
        records += run_variants(VARIANTS, options)
    for candidate in ("consistency", "self-training"):
        print(report_markdown(ComparisonReport.of(records, "full", candidate), level=3))


if __name__ == "__main__":
    main()
