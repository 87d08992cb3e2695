"""Divergences against torch.distributions, and their ends."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical
from torch.distributions import kl_divergence as reference

from hf_adner.guided.losses import bernoulli_divergence, jensen_shannon, kl_divergence, log_odds


def test_kl_is_that_of_categorical_distributions():
    torch.manual_seed(0)
    first, second = torch.randn(3, 4, 5).log_softmax(-1), torch.randn(3, 4, 5).log_softmax(-1)
    expected = reference(Categorical(logits=first), Categorical(logits=second))
    assert torch.allclose(kl_divergence(first, second), expected, atol=1e-6)
    assert torch.equal(kl_divergence(first, first), torch.zeros(3, 4))


def test_what_a_crf_forbids_does_not_blow_up():
    sure = torch.tensor([0.0, -1e6]).requires_grad_()
    spread = torch.tensor([0.5, 0.5]).log()
    assert kl_divergence(sure, spread).item() == pytest.approx(math.log(2), abs=1e-5)
    value = kl_divergence(spread, sure)
    assert 0 < value < 10
    value.backward()
    assert sure.grad.isfinite().all()


def test_bernoulli_is_that_of_torch_and_finite_at_the_ends():
    p, q = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.7, 0.3, 0.5])
    assert torch.allclose(bernoulli_divergence(p, q), reference(Bernoulli(p), Bernoulli(q)), atol=1e-4)
    ends = torch.tensor([0.0, 1.0]).requires_grad_()
    value = bernoulli_divergence(torch.tensor([1.0, 0.0]), ends)
    value.sum().backward()
    assert (value > 10).all() and ends.grad.isfinite().all() and ends.grad.abs().min() > 0
    assert torch.allclose(log_odds(torch.tensor([0.0, 0.5, 1.0])), torch.tensor([-13.8, 0.0, 13.8]), atol=0.1)


def test_jensen_shannon_lies_between_zero_and_one():
    mask = torch.tensor([[True, True, True, False]] * 3)
    first = torch.tensor([[0.0, 1.0, 2.0, 9.0], [0.0, -40.0, -40.0, 0.0], [1.0, 2.0, 3.0, 0.0]])
    second = torch.tensor([[5.0, 6.0, 7.0, -9.0], [-40.0, 0.0, -40.0, 0.0], [3.0, 2.0, 1.0, 7.0]])
    found = jensen_shannon(first, second, mask)
    assert found[0] == pytest.approx(0, abs=1e-6)  # a constant does not count, nor does what the mask leaves out
    assert found[1] == pytest.approx(1, abs=1e-5)
    assert 0 < found[2] < 1 and torch.equal(found[2], jensen_shannon(second, first, mask)[2])
    p, q = first[2, :3].softmax(0), second[2, :3].softmax(0)
    middle = Categorical((p + q) / 2)
    expected = (reference(Categorical(p), middle) + reference(Categorical(q), middle)) / 2 / math.log(2)
    assert found[2] == pytest.approx(expected.item(), abs=1e-6)


def test_an_empty_or_single_mask_gives_zero_and_a_finite_gradient():
    first = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True, False, False]])
    value = jensen_shannon(first, torch.randn(2, 3), mask)
    value.sum().backward()
    assert value.tolist() == [0, 0] and first.grad.abs().max() == 0
