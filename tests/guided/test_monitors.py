"""Logged figures and warnings."""

import numpy as np
import pytest
import torch

from hf_adner.guided.monitors import EpochFigures, RunningTerms, alarms, best_of, development_alarms, last_figures

HEALTHY = {
    "explanation_entropy": 0.6,
    "explanation_icc": 0.7,
    "local_weight": 0.5,
    "teacher_correct": 0.9,
    "divergence": 0.1,
}


def test_terms_are_means_over_steps_and_shares_over_all_they_count():
    terms = RunningTerms()
    for value in (1.0, 2.0, 3.0, 4.0):  # two batches in each of two steps
        terms.add(ner=torch.tensor(value, requires_grad=True))
        terms.count(right=(torch.tensor(value), torch.tensor(10)))
    assert terms.read(2, lambda sums: sums) == {"loss_ner": 5.0, "right": 0.25}
    terms.add(ner=torch.tensor(3.0))
    assert terms.read(5, lambda sums: 2 * sums) == {"loss_ner": 2.0}
    assert terms.read(5, lambda sums: sums) == {}


def test_figures_of_processes_are_joined():
    one, two = EpochFigures(), EpochFigures()
    one.add(local_weight=torch.tensor([0.2, 0.4]), nothing=torch.zeros(0))
    two.add(local_weight=torch.tensor([0.9]))
    torch.manual_seed(0)
    apart = torch.rand(20, 5)
    one.add_pairs(apart, apart + 0.01 * torch.rand(20, 5))
    other = (two.sums, two.pairs)
    figures = one.take(lambda own: [own, other])
    assert figures["local_weight"] == pytest.approx(0.5) and np.isnan(figures["nothing"])
    assert figures["explanation_icc"] > 0.9
    assert one.take(lambda own: [own]) == {}


def test_maps_that_are_the_same_for_all_entities_have_no_correlation_within_them():
    figures = EpochFigures()
    template = torch.tensor([[0.2, 0.3, 0.1, 0.3, 0.1]])
    figures.add_pairs(template.expand(30, 5), template.expand(30, 5))
    found = figures.take(lambda own: [own])
    assert found["explanation_icc"] == 0
    assert any("template" in line for line in alarms(found, {}))


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("explanation_entropy", 0.1, "stability_weight"),
        ("explanation_entropy", 0.99, "saliency_interval"),
        ("explanation_icc", 0.05, "plain_share"),
        ("local_weight", 0.02, "view_share"),
        ("teacher_correct", 0.1, "plain_share"),
        ("divergence", 0.4, "explainer_learning_rate"),
    ],
)
def test_each_collapse_is_told_with_what_to_do(name, value, advice):
    assert alarms(HEALTHY, HEALTHY) == []
    [line] = alarms({**HEALTHY, name: value}, HEALTHY)
    assert advice in line and f"{value:.2f}" in line
    assert alarms({**HEALTHY, "explanation_icc": float("nan")}, {}) == []


def test_validation_that_gets_worse_is_told():
    best = {"eval_recall": 0.9, "eval_ece": 0.05, "eval_unseen_recall": 0.6}
    assert development_alarms({"eval_recall": 0.88, "eval_ece": 0.055, "eval_unseen_recall": 0.58}, best) == []
    lines = development_alarms({"eval_recall": 0.8, "eval_ece": 0.07, "eval_unseen_recall": 0.5}, best)
    assert [line.split()[0] for line in lines] == ["eval_unseen_recall", "eval_recall", "eval_ece"]
    assert development_alarms({"eval_loss": 9.0}, {}) == []


def test_a_resumed_run_knows_what_was_logged():
    history = [
        {"epoch_divergence": 0.5, "epoch": 1.0, "step": 2},
        {"eval_recall": 0.9, "eval_ece": 0.1, "step": 2},
        {"epoch_divergence": 0.4, "epoch_explanation_icc": 0.8, "epoch": 2.0, "step": 4},
        {"eval_recall": 0.7, "eval_ece": 0.05, "step": 4},
        {"loss": 0.3, "step": 5},
    ]
    assert last_figures(history) == {"divergence": 0.4, "explanation_icc": 0.8} and last_figures([]) == {}
    assert best_of(history) == {"eval_recall": 0.9, "eval_ece": 0.05}
