"""Batches of like length in an order that depends on the seed and the epoch alone.

The Trainer's own `group_by_length` draws from the global random numbers, of which arms use more or fewer; after the
first epoch they would read their documents in different orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from hf_adner.training.guided_trainer import ExplanationGuidedTrainer

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


class PairedTrainer(ExplanationGuidedTrainer):
    """`ExplanationGuidedTrainer` that reads its documents in the same order whatever the arm."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)  # "random" is drawn by seed and epoch already
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # what is passed has lost its lengths with all columns that the model does not take
        return LengthGroupedOrder(self.train_dataset[self.args.length_column_name], size, seed)
