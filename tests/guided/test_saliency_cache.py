"""Cache of local maps."""

import math

import numpy as np
import pytest

from hf_adner.guided.saliency_cache import DECAY, FIRST_VARIANCE, SaliencyCache


def filled() -> SaliencyCache:
    cache = SaliencyCache()
    cache.observe((3, 0), np.array([1.0, 2.0]), float("nan"))
    cache.observe((1, 1), np.array([0.0, 0.0, 3.0]), 0.25)
    return cache


def test_what_is_observed_is_remembered_from_the_next_epoch_on():
    cache = filled()
    assert len(cache) == 0
    assert [key for key, _ in cache.advance()] == [(1, 1), (3, 0)]
    assert len(cache) == 2 and not cache.pending
    assert cache.remembered[3, 0].mean.tolist() == [1, 2] and cache.remembered[3, 0].weight == 1


def test_maps_and_variances_are_averaged_and_weights_decay():
    cache = filled()
    list(cache.advance())
    cache.observe((3, 0), np.array([2.0, 1.0]), 0.5)
    cache.observe((1, 1), np.array([1.0, 0.0, 3.0]), float("nan"))
    list(cache.advance())
    once, twice = cache.remembered[1, 1], cache.remembered[3, 0]
    assert twice.mean.tolist() == pytest.approx([DECAY + (1 - DECAY) * 2, 2 * DECAY + (1 - DECAY)])
    assert twice.weight == pytest.approx(DECAY + 1)
    assert twice.variance == 0.5 and once.variance == 0.25  # a side that was never measured does not count
    list(cache.advance())
    assert cache.remembered[3, 0].weight == pytest.approx(DECAY * (DECAY + 1))


def test_the_mean_variance_is_of_measured_ones():
    assert SaliencyCache().mean_variance == FIRST_VARIANCE
    cache = filled()
    list(cache.advance())
    assert cache.mean_variance == 0.25


def test_processes_join_in_any_order():
    one, two = filled(), SaliencyCache()
    two.observe((0, 0), np.ones(2), 1.0)
    parts = [dict(one.pending), dict(two.pending)]
    one.join(parts)
    two.join(reversed(parts))
    assert sorted(one.pending) == sorted(two.pending) == [(0, 0), (1, 1), (3, 0)]


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_checkpoint_holds_both_parts_exactly(is_empty):
    cache = SaliencyCache() if is_empty else filled()
    if not is_empty:
        list(cache.advance())
        cache.observe((7, 2), np.array([0.1]), float("nan"))
        cache.observe((1, 1), np.array([1 / 3, 0.0, 1.0]), 1 / 7)
    again = SaliencyCache.from_tensors(cache.to_tensors())
    for old, new in ((cache.remembered, again.remembered), (cache.pending, again.pending)):
        assert list(old) == list(new)
        for one, other in zip(old.values(), new.values()):
            assert np.array_equal(one[0], other[0]) and other[0].dtype == np.float32
            assert [str(value) for value in one[1:]] == [str(value) for value in other[1:]]
    assert is_empty or math.isnan(again.pending[7, 2].variance)
