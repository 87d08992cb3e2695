"""The order of documents depends on seed and epoch, not on what else was drawn."""

import torch

from hf_adner.training.trainer import LengthGroupedOrder

LENGTHS = [5, 50, 7, 48, 6, 52, 8, 49, 5, 51, 6, 47] * 8


def order(seed: int, epoch: int) -> list[int]:
    sampler = LengthGroupedOrder(LENGTHS, 4, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_row_comes_once_and_like_lengths_stand_together():
    drawn = order(3, 0)
    assert sorted(drawn) == list(range(len(LENGTHS))) and len(LengthGroupedOrder(LENGTHS, 4, 3)) == len(LENGTHS)
    batches = [[LENGTHS[index] for index in drawn[first : first + 4]] for first in range(0, len(drawn), 4)]
    assert sum(max(batch) - min(batch) > 10 for batch in batches) <= 4


def test_the_order_is_the_same_whatever_was_drawn_before():
    torch.manual_seed(0)
    first = order(3, 1)
    torch.rand(1000)
    assert order(3, 1) == first
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
