"""Fusions: their values, their registry, and padded batches."""

import numpy as np
import pytest
import torch

from hf_adner.explain.fusion import (
    FUSIONS,
    EmpiricalBayes,
    FusionInputs,
    make_fusion,
    pad_inputs,
    role_errors,
    shrunk_variance,
)
from hf_adner.explain.global_table import TableEntry
from hf_adner.metrics.similarity import spearman

from .inputs import random_inputs

NAMES = {
    "empirical-bayes",
    "equal",
    "product",
    "stability-softmax",
    "local",
    "global",
}


def test_names():
    assert set(FUSIONS) == NAMES and all(fusion.name == name for name, fusion in FUSIONS.items())
    with pytest.raises(ValueError, match="fusion 'mean' is not available; expected one of .*'empirical-bayes'"):
        make_fusion("mean")
    with pytest.raises(TypeError, match="tau2"):
        make_fusion("equal", tau2=[1.0] * 5)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_scores_are_shares_and_weights_sum_to_one(name):
    inputs = random_inputs(4, 9)
    fused = make_fusion(name)(inputs)
    assert torch.allclose(fused.scores.sum(-1), torch.ones(4)) and (fused.scores >= 0).all()
    for part in fused:
        assert part.shape == inputs.local.shape and not part[~inputs.mask].any()
    assert torch.allclose(fused.local_weight + fused.global_weight, inputs.mask.float())
    assert ((fused.local_weight >= 0) & (fused.local_weight <= 1)).all()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_rows_and_padding_do_not_matter_to_one_another(name):
    inputs, fusion = random_inputs(4, 9), make_fusion(name)
    together = fusion(inputs).scores
    for row in range(4):
        length = int(inputs.mask[row].sum())
        alone = fusion(type(inputs)(*(one if one is None else _cut(one[row : row + 1], length) for one in inputs)))
        assert torch.allclose(alone.scores[0], together[row, :length], atol=1e-6)


def _cut(part, length):
    return part[:, :length] if part.dim() > 1 else part


def test_pad_inputs():
    entries = [TableEntry(*(np.full(length, value) for value in (0.5, 0.1, 3.0))) for length in (2, 4)]
    maps, roles = [np.ones(2), np.arange(4.0)], [np.array([1, 3]), np.array([0, 1, 3, 4])]
    inputs = pad_inputs(maps, entries, [0.2, 0.3], roles, [np.array([True, False]), np.ones(4, dtype=bool)])
    assert inputs.local.tolist() == [[1, 1, 0, 0], [0, 1, 2, 3]]
    assert inputs.roles.tolist() == [[1, 3, 0, 0], [0, 1, 3, 4]] and inputs.roles.dtype == torch.int64
    assert inputs.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert inputs.prior[0].tolist() == [0.5, 0.5, 0, 0]
    assert inputs.local_variance.tolist() == pytest.approx([0.2, 0.3])
    assert pad_inputs(maps, entries, [0.2, 0.3], roles, length=6).mask.sum(-1).tolist() == [2, 4]
    assert pad_inputs([], [], [], []).local.shape == (0, 0)


def test_empirical_bayes_by_hand():
    tau2 = [0.1, 0.2, 0.3, 0.4, 0.5]
    inputs, fusion = random_inputs(3, 7), EmpiricalBayes(tau2)
    fused = fusion(inputs)
    for row in range(3):
        places = inputs.mask[row].nonzero()[:, 0].tolist()
        logs = []
        for place in places:
            error = tau2[inputs.roles[row, place]] + inputs.prior_variance[row, place]
            weight = (1 / inputs.local_variance[row]) / (1 / inputs.local_variance[row] + 1 / error)
            assert fused.local_weight[row, place] == pytest.approx(float(weight), abs=1e-6)
            logs.append(weight * inputs.local[row, place] + (1 - weight) * inputs.prior[row, place])
        assert fused.scores[row, places].tolist() == pytest.approx(torch.stack(logs).softmax(0).tolist(), abs=1e-6)


def test_simple_rules_by_hand():
    inputs = random_inputs(2, 6)
    local, prior = (make_fusion(name)(inputs).scores for name in ("local", "global"))
    assert torch.allclose(make_fusion("equal")(inputs).scores, (local + prior) / 2)
    product = (local * prior).sqrt() * inputs.mask
    assert torch.allclose(make_fusion("product")(inputs).scores, product / product.sum(-1, keepdim=True), atol=1e-6)
    assert torch.allclose(make_fusion("product", weight=1.0)(inputs).scores, local, atol=1e-6)
    softmax = make_fusion("stability-softmax", temperature=0.1)(inputs)
    own = 1 / (1 + inputs.local_variance[1])
    other = 1 / (1 + inputs.prior_variance[1][inputs.mask[1]].mean())
    expected = torch.stack([own, other]).div(0.1).softmax(0)[0]
    assert softmax.local_weight[1][inputs.mask[1]].tolist() == pytest.approx(
        [float(expected)] * int(inputs.mask[1].sum())
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("product", {"weight": 1.5}, "weight must lie in"),
        ("stability-softmax", {"temperature": 0.0}, "temperature must be above 0"),
        ("empirical-bayes", {"tau2": [1.0, 2.0]}, "tau2 must be 5 finite numbers"),
        ("empirical-bayes", {"tau2": [1.0, 2.0, 3.0, 4.0, float("nan")]}, "tau2 must be 5 finite numbers"),
        ("empirical-bayes", {"decay": 1.0}, "decay must lie in"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_fusion(name, **options)


def test_role_errors_by_hand():
    inputs = random_inputs(3, 8)
    sums, counts = [0.0] * 5, [0] * 5
    for row, place in inputs.mask.nonzero().tolist():
        difference = float(inputs.local[row, place] - inputs.prior[row, place])
        role = int(inputs.roles[row, place])
        sums[role] += difference**2 - float(inputs.local_variance[row]) - float(inputs.prior_variance[row, place])
        counts[role] += 1
    found = role_errors(inputs)
    assert found[0].tolist() == pytest.approx(sums, abs=1e-4) and found[1].tolist() == counts


def test_updates_are_a_moving_average_that_begins_with_the_first():
    fusion, batches = EmpiricalBayes(), [random_inputs(4, 9, seed) for seed in range(3)]
    assert fusion.tau2.tolist() == [1.0] * 5
    expected = None
    for inputs in batches:
        fusion.update(inputs)
        sums, counts = role_errors(inputs)
        assert (counts > 0).all()
        found = sums / counts
        expected = found if expected is None else 0.9 * expected + 0.1 * found
    assert fusion.tau2.tolist() == pytest.approx(expected.clamp(min=1e-3).tolist(), abs=1e-5)


def test_roles_that_a_batch_does_not_have_stay():
    fusion, inputs = EmpiricalBayes([0.5] * 5), random_inputs(4, 9)
    fusion.update(inputs._replace(roles=torch.full_like(inputs.roles, 2), prior=inputs.local + 3))
    assert fusion.tau2[[0, 1, 3, 4]].tolist() == [0.5] * 4 and fusion.tau2[2] > 0.9


def test_the_state_goes_through_a_dictionary():
    fusion, again = EmpiricalBayes(), EmpiricalBayes([7.0] * 5)
    fusion.update(random_inputs(4, 9))
    again.load_state_dict(fusion.state_dict())
    for one in (fusion, again):
        one.update(random_inputs(4, 9, 1))
    assert fusion.tau2.tolist() == again.tau2.tolist() != [7.0] * 5


def test_a_few_views_move_halfway_to_the_mean():
    assert shrunk_variance(0.4, 0.2) == pytest.approx(0.3)


def toy(prior_of, seed=0, count=400, length=40):
    """Maps with a known truth: what the corpus shares plus each text's own, of which a local map sees a noisy copy."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    shared = normal(1, length)
    truth = shared + 0.7 * normal(count, length)
    spread = torch.rand(count, generator=generator) + 0.2
    local = truth + spread.sqrt()[:, None] * normal(count, length)
    prior, variance = prior_of(shared + 0.1 * normal(1, length))
    return truth, FusionInputs(
        local=local,
        prior=prior.expand(count, length),
        prior_variance=torch.full((count, length), variance),
        local_variance=spread,
        roles=torch.arange(length).expand(count, length) % 5,
        mask=torch.ones(count, length, dtype=torch.bool),
    )


def agreement(name, truth, inputs):
    fusion = make_fusion(name)
    if name == "empirical-bayes":
        fusion.update(inputs)
    fused = fusion(inputs)
    rhos = [spearman(*pair) for pair in zip(truth.numpy(), fused.scores.numpy())]
    return sum(rhos) / len(rhos), float(fused.local_weight.mean())


def test_a_constant_table_takes_the_weight_by_its_stability_and_loses_it_by_its_errors():
    truth, inputs = toy(lambda shared: (torch.zeros_like(shared), 1e-6))
    assert agreement("stability-softmax", truth, inputs)[1] < 0.2
    rho, weight = agreement("empirical-bayes", truth, inputs)
    assert weight > 0.6
    assert rho == pytest.approx(agreement("local", truth, inputs)[0], abs=0.02)  # no prior: the ranks are the map's own


def test_empirical_bayes_follows_the_truth_best_of_all():
    truth, inputs = toy(lambda shared: (shared, 0.01))
    found = {name: agreement(name, truth, inputs) for name in ("local", "global", "equal", "stability-softmax")}
    rho, weight = agreement("empirical-bayes", truth, inputs)
    assert all(rho > other for other, _ in found.values()), (rho, found)
    assert found["stability-softmax"][1] < 0.2 and 0.3 < weight < 0.7
