"""Batches of like length in an order that depends on the seed and the epoch alone.

The Trainer's own `group_by_length` draws from the global random numbers: arms of a comparison, which use more or fewer
of them, would read their documents in different orders, and a run that is resumed within an epoch would read another
order than the one that was not interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

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
