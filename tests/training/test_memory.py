"""Peak memory of what runs inside the context."""

import torch

from hf_adner.comparison.run import PeakMemory

MEGABYTE = 1 << 20


def test_the_peak_counts_what_is_gone_again():
    with PeakMemory(interval=0.001) as memory:
        block = torch.ones(64 * MEGABYTE // 4)
        for _ in range(10_000):  # until the watching thread has had its turn
            block += 1
            if memory.growth >= 32 * MEGABYTE:
                break
        del block
    assert memory.growth >= 32 * MEGABYTE
    after = memory.peak
    with PeakMemory() as small:
        torch.ones(MEGABYTE // 4)
    assert small.peak < after
