"""What wins the stability term, and what does not."""

import pytest
import torch

from hf_adner.guided.losses import entropy_share, stability_loss

MASK = torch.tensor([[True] * 6, [True] * 5 + [False]])
TEACHER = torch.tensor([[0.5, 0.3, 0.05, 0.05, 0.05, 0.05], [0.05, 0.05, 0.1, 0.1, 0.7, 0.0]])


def test_the_teachers_own_map_costs_nothing():
    assert stability_loss(TEACHER.clamp(min=1e-9).log() + 2.0, TEACHER, MASK).abs().max() < 1e-5


def test_only_the_characters_of_the_mask_are_compared():
    explained = TEACHER.clamp(min=1e-9).log()
    explained[0, 3:] = 7.0
    shared = MASK.clone()
    shared[0, 3:] = False
    assert stability_loss(explained, TEACHER, shared).abs().max() < 1e-5
    assert stability_loss(explained, TEACHER, MASK)[0] > 0.1
    assert stability_loss(explained, TEACHER, torch.zeros_like(MASK)).tolist() == [0, 0]


@pytest.mark.parametrize("constant", [torch.zeros(6), torch.tensor([4.0, 2.0, 1.0, 0.0, 0.0, 0.0])])
def test_one_map_for_all_entities_does_not_win(constant):
    """Neither an even map nor a template by place; the best of them is the mean of the teachers."""
    best = TEACHER.mean(0).clamp(min=1e-9).log().expand(2, 6)
    assert stability_loss(constant.expand(2, 6), TEACHER, MASK).mean() > 0.1
    assert stability_loss(best, TEACHER, MASK).mean() > 0.1


def test_the_teacher_cannot_be_moved():
    teacher = TEACHER.clone().requires_grad_()
    explained = torch.zeros(2, 6, requires_grad=True)
    stability_loss(explained, teacher, MASK).sum().backward()
    assert teacher.grad is None and explained.grad.abs().max() > 0


def test_descending_on_it_finds_the_teacher():
    explained = torch.zeros(2, 6, requires_grad=True)
    optimizer = torch.optim.Adam([explained], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        stability_loss(explained, TEACHER, MASK).sum().backward()
        optimizer.step()
    found = explained.masked_fill(~MASK, -1e9).softmax(-1)
    assert torch.allclose(found, TEACHER, atol=0.02)


def test_entropy_is_one_for_even_maps_and_zero_for_one_character():
    maps = torch.stack([torch.zeros(6), torch.tensor([0.0, 90, 0, 0, 0, 0])])
    assert entropy_share(maps, MASK).tolist() == pytest.approx([1, 0], abs=1e-5)
