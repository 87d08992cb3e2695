"""Weighted ridge regression."""

import pytest
import torch

from hf_adner.explain.removal import WeightedRidge


def test_recovers_a_linear_function():
    torch.manual_seed(0)
    features = (torch.rand(60, 4) < 0.5).float()
    values = features @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    model = WeightedRidge()
    model.fit([(features[:40], values[:40], torch.rand(40)), (features[40:], values[40:], torch.rand(20))])
    assert model.representation()[0].tolist() == pytest.approx([1.0, -2.0, 0.5, 0.0], abs=1e-5)


def test_equals_the_closed_form():
    torch.manual_seed(1)
    features, values, weights = torch.rand(30, 3), torch.rand(30), torch.rand(30)
    model = WeightedRidge(0.7)
    model.fit([(features, values, weights)])
    design = torch.cat((features, torch.ones(30, 1)), 1).double()
    penalty = torch.diag(torch.tensor([0.7, 0.7, 0.7, 0.0], dtype=torch.float64) * float(weights.mean()))
    scaled = design.T * weights.double()
    expected = torch.linalg.solve(scaled @ design + penalty, scaled @ values.double())[:3]
    assert model.representation()[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_units_that_always_go_together_share():
    features = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    model = WeightedRidge()
    model.fit([(features, torch.tensor([2.0, 0.0]), torch.ones(2))])
    assert model.representation()[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
