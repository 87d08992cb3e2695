"""Log attributions and shares."""

import math

import pytest
import torch

from hf_adner.explain.cells import log_attributions, simplex


def test_the_logarithm_of_the_share_times_the_length():
    scores = torch.tensor([[1.0, -2.0, 5.0, 0.0], [3.0, 1.0, 7.0, 7.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    found = log_attributions(scores, mask)
    expected = [[math.log(4 / 8), math.log(8 / 8), math.log(20 / 8), -5.0], [math.log(1.5), math.log(0.5), 0, 0]]
    assert found.flatten().tolist() == pytest.approx(sum(expected, []), abs=1e-6)


def test_scale_and_sign_do_not_matter_and_extremes_are_clipped():
    scores = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 9, dtype=torch.bool)
    assert torch.allclose(log_attributions(scores, mask), log_attributions(-1e-12 * scores, mask), atol=1e-4)
    extreme = log_attributions(torch.tensor([1e30] + [1e-30] * 999), torch.ones(1000, dtype=torch.bool))
    assert extreme.unique().tolist() == [-5.0, 5.0]


def test_a_zero_map_and_an_empty_mask_are_zero():
    assert not log_attributions(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)).any()
    assert not log_attributions(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).any()
    assert not simplex(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shares_are_the_inverse(dtype):
    scores = torch.rand(4, 7, generator=torch.Generator().manual_seed(1)).to(dtype) + 0.1
    mask = torch.arange(7) < torch.tensor([[7], [5], [2], [1]])
    shares = simplex(log_attributions(scores, mask), mask)
    expected = scores.float() * mask / (scores.float() * mask).sum(-1, keepdim=True)
    assert shares.dtype == torch.float32 and torch.allclose(shares, expected, atol=1e-6)
    assert not shares[~mask].any()
