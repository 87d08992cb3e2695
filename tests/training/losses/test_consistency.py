"""What wins the consistency term, and what does not."""

import torch
from torch.nn.functional import cross_entropy

from hf_adner.guided.losses import consistency_loss, r_drop_loss

GOLD = torch.tensor([[0, 1, 2, 0], [0, 0, 1, 0]])


def log_probs(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(2, 4, 3).log_softmax(-1)


def test_equal_marginals_cost_nothing_and_others_something():
    counted = torch.ones(2, 4, dtype=torch.bool)
    assert consistency_loss(log_probs(0), log_probs(0), counted).tolist() == [0, 0]
    assert (consistency_loss(log_probs(0), log_probs(1), counted) > 0.1).all()
    assert (r_drop_loss(log_probs(0), log_probs(1), counted) > 0.1).all()
    assert r_drop_loss(log_probs(0), log_probs(0), counted).tolist() == [0, 0]


def test_tokens_that_do_not_count_do_not():
    counted = torch.tensor([[True, False, False, False], [False] * 4])
    student = log_probs(1).requires_grad_()
    value = consistency_loss(log_probs(0), student, counted)
    value.sum().backward()
    assert value[1] == 0 and student.grad[0, 0].abs().max() > 0
    assert student.grad[0, 1:].abs().max() == student.grad[1].abs().max() == 0


def test_only_the_view_learns_from_consistency_and_both_sides_from_r_drop():
    counted = torch.ones(2, 4, dtype=torch.bool)
    for loss, teacher_learns in ((consistency_loss, False), (r_drop_loss, True)):
        teacher, student = log_probs(0).requires_grad_(), log_probs(1).requires_grad_()
        loss(teacher, student, counted).sum().backward()
        assert (teacher.grad is not None) == teacher_learns and student.grad.abs().max() > 0


def test_r_drop_is_symmetric():
    counted = torch.ones(2, 4, dtype=torch.bool)
    there, back = (r_drop_loss(*pair, counted) for pair in ((log_probs(0), log_probs(1)), (log_probs(1), log_probs(0))))
    assert torch.allclose(there, back)


def test_a_model_that_says_o_everywhere_pays_for_it_in_the_tagging_loss_of_both():
    """It is consistent; the views' own tagging loss is what it cannot escape."""

    def total(texts, views):
        counted = texts.argmax(-1) == GOLD
        tagging = sum(cross_entropy(one.flatten(0, 1), GOLD.flatten()) for one in (texts, views))
        return consistency_loss(texts, views, counted).sum() / 8 + tagging

    outside = torch.tensor([8.0, 0, 0]).expand(2, 4, 3).log_softmax(-1)
    right = (8.0 * torch.nn.functional.one_hot(GOLD, 3)).log_softmax(-1)
    counted = outside.argmax(-1) == GOLD
    assert consistency_loss(outside, outside, counted).sum() == 0
    assert total(outside, outside) > 10 * total(right, right)
