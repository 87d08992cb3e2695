"""The consistency term against autograd, R-Drop's divergence, and the log-odds of predictions."""

import pytest
import torch

from hf_adner.guided.consistency import (
    Reading,
    consistency,
    label_log_probs,
    predicted_log_odds,
    read_outputs,
    symmetric_divergence,
)
from hf_adner.guided.visit_cache import Memory
from hf_adner.model.layers_adner import locate_text

from .guided import setting


def remembered(marginals: torch.Tensor) -> Memory:
    return Memory(None, None, float("nan"), marginals.half(), 1)


def test_its_gradient_is_that_of_the_cross_entropy_of_independent_tokens():
    scores = torch.randn(1, 4, 3, requires_grad=True)
    kept = torch.randn(1, 4, 3).softmax(-1).half()
    targets = kept.float() / kept.float().sum(-1, keepdim=True)
    gold = targets.argmax(-1)
    gold[0, 2] = (gold[0, 2] + 1) % 3  # what is remembered is wrong there
    parts = consistency(Reading(scores, scores.detach().log_softmax(-1)), [remembered(kept[0])], gold)
    parts.surrogate.backward()
    expected = scores.grad.clone()
    scores.grad = None
    right = torch.tensor([True, True, False, True])
    (-(targets * scores.log_softmax(-1)).sum(-1)[0][right]).sum().backward()
    assert expected == pytest.approx(scores.grad, abs=1e-5)
    assert int(parts.tokens) == 3
    divergence = torch.nn.functional.kl_div(scores.log_softmax(-1), targets, reduction="none").sum(-1)[0][right].sum()
    assert float(parts.divergence) == pytest.approx(float(divergence), abs=1e-4)


def test_windows_that_were_never_seen_do_not_count():
    scores = torch.randn(2, 3, 3, requires_grad=True)
    gold = torch.zeros(2, 3, dtype=torch.long)
    known = remembered(torch.tensor([[0.8, 0.1, 0.1]]).expand(2, 3))
    parts = consistency(Reading(scores, scores.detach().log_softmax(-1)), [None, known], gold)
    parts.surrogate.backward()
    assert int(parts.tokens) == 2 and not scores.grad[0].any() and not scores.grad[1, 2].any()
    assert scores.grad[1, :2].any()


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax"])
def test_readings_are_the_label_marginals(architecture):
    given = setting(architecture)
    batch = given.tokenizer(["患者反复瘙痒", "诊断湿疹"], padding=True, return_tensors="pt")
    labels = torch.where(batch["attention_mask"].bool(), 0, -100)
    outputs = given.model.train()(**batch, labels=labels)
    positions = locate_text(batch["attention_mask"])
    reading = read_outputs(given.model, outputs, positions)
    exact = label_log_probs(given.model, outputs, positions)
    assert reading.log_probs[positions.mask] == pytest.approx(exact[positions.mask].detach(), abs=1e-5)
    assert reading.scores.requires_grad and exact.requires_grad
    assert reading.log_probs.exp().sum(-1)[positions.mask] == pytest.approx(torch.ones(int(positions.mask.sum())))


def test_symmetric_divergence_is_the_mean_of_both():
    first, second = (torch.randn(2, 3, 4).log_softmax(-1) for _ in range(2))
    mask = torch.tensor([[True, True, False], [True, False, False]])
    one, other = (
        torch.nn.functional.kl_div(a, b, reduction="none", log_target=True).sum(-1)[mask].sum()
        for a, b in ((first, second), (second, first))
    )
    assert float(symmetric_divergence(first, second, mask)) == pytest.approx(float(one + other) / 2, abs=1e-5)


def test_log_odds_of_predicted_entities_only():
    log_probs = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]]).log()
    mask = torch.tensor([[True, True, False]])
    expected = torch.tensor(0.8 / 0.2).log()
    assert float(predicted_log_odds(log_probs, mask, outside=0)) == pytest.approx(float(expected), abs=1e-4)
