"""Boundary marginals, and what wins the boundary terms."""

import itertools
import math

import pytest
import torch

from hf_adner.explain.targets import LabelTable
from hf_adner.guided.losses import boundary_marginals, edge_mass, invariance_loss, margin_loss, unseen_weight

LABELS = ["O", "B-D", "I-D", "B-S", "I-S"]
TEXT = torch.ones(1, 3, dtype=torch.bool)


def enumerated(paths: dict[tuple[int, ...], float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token marginals, start and end probabilities of a distribution over BIO paths."""
    marginals, starts, ends = torch.zeros(3, 5), torch.zeros(3), torch.zeros(3)
    for path, weight in paths.items():
        for place, label in enumerate(path):
            marginals[place, label] += weight
            starts[place] += weight * (label in (1, 3))
            following = path[place + 1] if place < 2 else 0
            ends[place] += weight * (label > 0 and following not in (2, 4))
    return marginals, starts, ends


def valid_paths() -> dict[tuple[int, ...], float]:
    torch.manual_seed(0)
    allowed = [
        path
        for path in itertools.product(range(5), repeat=3)
        if all(after not in (2, 4) or before in (after - 1, after) for before, after in zip((0, *path), path))
    ]
    weights = torch.rand(len(allowed)).double()
    return dict(zip(allowed, (weights / weights.sum()).tolist()))


def test_the_marginals_of_a_chain_are_exact():
    marginals, starts, ends = enumerated(valid_paths())
    found = boundary_marginals(marginals[None].log(), TEXT, LabelTable(LABELS, is_chain=True))
    assert torch.allclose(found.starts[0], starts, atol=1e-6) and torch.allclose(found.ends[0], ends, atol=1e-6)


def test_independent_tokens_are_taken_as_independent():
    probs = torch.tensor([[[0.1, 0.9, 0, 0, 0], [0.2, 0, 0.8, 0, 0], [0.7, 0, 0.3, 0, 0]]])
    found = boundary_marginals(probs.clamp(min=1e-9).log(), TEXT, LabelTable(LABELS))
    assert found.starts[0].tolist() == pytest.approx([0.9, 0, 0], abs=1e-6)
    assert found.ends[0].tolist() == pytest.approx([0.9 * 0.2, 0.8 * 0.7, 0.3], abs=1e-6)
    outside = boundary_marginals(probs.log(), torch.tensor([[False, True, False]]), LabelTable(LABELS))
    assert outside.starts[0].tolist() == [0, 0, 0] and outside.ends[0, [0, 2]].tolist() == [0, 0]


def margin(marginals: list[float], place: int, rivals: list[int], weight: float = 1.0) -> float:
    allowed = torch.zeros(1, len(marginals), dtype=torch.bool)
    allowed[0, rivals] = True
    return margin_loss(torch.tensor([marginals]), torch.tensor([place]), allowed, torch.tensor([weight])).item()


def test_a_clear_boundary_costs_next_to_nothing_and_a_missed_one_much():
    everywhere = range(5)
    clear = margin([0.0, 0.0, 1.0, 0.0, 0.0], 2, [0, 1, 3, 4])
    missed = margin([0.0, 1.0, 0.0, 0.0, 0.0], 2, [0, 1, 3, 4])
    assert clear < 1e-9 < 20 < missed
    for value in (0.0, 0.3, 1.0):  # a model that says nowhere, or everywhere
        same = margin([value] * 5, 2, [one for one in everywhere if one != 2])
        assert same == pytest.approx(math.log1p(math.exp(2)), abs=1e-4)


def test_only_near_rivals_count_and_gold_boundaries_are_none():
    far = margin([0.0, 0, 1, 0, 0, 0.999, 0], 2, [0, 1, 3, 4, 5, 6])
    assert far < 1e-9
    assert margin([0.0, 0, 1, 1, 0], 2, [0, 1, 4]) < 1e-9 < 1 < margin([0.0, 0, 1, 1, 0], 2, [0, 1, 3, 4])
    assert margin([1.0], 0, []) == 0
    assert margin([0.0, 0.5, 0.0], 1, [0, 2], weight=2.0) == 2 * margin([0.0, 0.5, 0.0], 1, [0, 2])


def test_the_margin_has_a_gradient_where_the_model_is_surely_wrong():
    marginals = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    rivals = torch.tensor([[True, True, False]])
    margin_loss(marginals, torch.tensor([2]), rivals, torch.ones(1)).sum().backward()
    assert marginals.grad[0, 2] < 0 < marginals.grad[0, 1]


def test_invariance_is_zero_for_equal_marginals_and_teaches_the_view_alone():
    counted = torch.tensor([[True, True, False], [False] * 3])
    text = torch.rand(2, 3, requires_grad=True)
    view = torch.rand(2, 3, requires_grad=True)
    assert invariance_loss(text, text, counted).abs().max() < 1e-6
    value = invariance_loss(text, view, counted)
    value.sum().backward()
    assert value[0] > 0 and value[1] == 0 and text.grad is None
    assert view.grad[0, :2].abs().min() > 0 and view.grad[0, 2] == view.grad[1].abs().max() == 0


def test_edges_that_the_explanation_does_not_see_weigh_more():
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 3, requires_grad=True)
    mass = edge_mass(shares, (torch.tensor([1, -1, 3]), torch.tensor([2, 0, 4])))
    assert mass.tolist() == pytest.approx([0.5, 0.1, 0.4])
    weight = unseen_weight(mass, 0.5)
    assert weight.tolist() == pytest.approx([1, 1.8, 1.2]) and not weight.requires_grad
    assert unseen_weight(torch.tensor([0.0, 9.0]), 0.0).tolist() == [2, 1]
