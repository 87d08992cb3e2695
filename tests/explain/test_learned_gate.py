"""The learned gate: where it starts, what it learns, its file."""

import pytest
import torch

from hf_adner.explain.fusion import EmpiricalBayes, LearnedGate, make_fusion

from .fusion_inputs import random_inputs

TAU2 = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_untrained_it_is_empirical_bayes():
    inputs = random_inputs(5, 9)
    found, expected = LearnedGate(TAU2)(inputs), EmpiricalBayes(TAU2)(inputs)
    assert torch.allclose(found.local_weight, expected.local_weight, atol=1e-5)
    assert torch.allclose(found.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize(("right", "weight"), [("local", 0.9), ("global", 0.1)])
def test_it_learns_which_map_is_faithful(right, weight):
    inputs = random_inputs(40, 9)
    gate, losses = trained(inputs, right)
    mean = gate(inputs).local_weight[inputs.mask].mean().item()
    assert mean > weight if right == "local" else mean < weight
    assert len(losses) == 201 and losses[-1] < 0.1 * losses[0]
    fresh = random_inputs(40, 9, seed=1)
    shares = make_fusion(right)(fresh).scores
    assert (gate(fresh).scores - shares).abs().max() < 0.1 < (make_fusion("equal")(fresh).scores - shares).abs().max()


def trained(inputs, right="local"):
    gate = LearnedGate(TAU2)
    # signs and scale of effects do not matter, entities without one teach nothing
    effects = -3 * make_fusion(right)(inputs).scores
    effects[0] = 0
    return gate, gate.fit(inputs, effects)


def test_training_takes_no_random_numbers_and_leaves_tau2():
    inputs, state = random_inputs(10, 9), torch.get_rng_state()
    first, second = trained(inputs)[0], trained(inputs)[0]
    assert torch.get_rng_state().equal(state)
    assert all(torch.equal(one, two) for one, two in zip(first.state_dict().values(), second.state_dict().values()))
    assert first.start.tau2.tolist() == pytest.approx(TAU2)


def test_features_that_training_did_not_have_are_not_read():
    inputs = random_inputs(10, 9)
    entropy = torch.rand(10, 9)
    gate, _ = trained(inputs)
    assert torch.equal(gate(inputs._replace(entropy=entropy)).scores, gate(inputs).scores)
    with pytest.raises(ValueError, match="trained with counts, which is missing"):
        gate(inputs._replace(counts=None))
    full = inputs._replace(entropy=entropy, boundary_sensitivity=torch.rand(10))
    gate, _ = trained(full)
    assert not torch.equal(gate(full._replace(entropy=2 * entropy)).scores, gate(full).scores)
    assert not torch.equal(gate(full._replace(boundary_sensitivity=torch.zeros(10))).scores, gate(full).scores)


def test_the_file(tmp_path):
    inputs = random_inputs(10, 9)
    gate, _ = trained(inputs)
    gate.save_pretrained(tmp_path / "new")
    again = LearnedGate.from_pretrained(tmp_path / "new")
    assert torch.equal(again(inputs).scores, gate(inputs).scores)
    with pytest.raises(FileNotFoundError, match="holds no learned_gate.safetensors"):
        LearnedGate.from_pretrained(tmp_path)
    (tmp_path / "learned_gate.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="is no learned gate"):
        LearnedGate.from_pretrained(tmp_path)


def test_bad_training_data():
    inputs = random_inputs(3, 9)
    with pytest.raises(ValueError, match=r"effects have the shape \(3, 8\)"):
        LearnedGate().fit(inputs, torch.ones(3, 8))
    with pytest.raises(ValueError, match="none of the entities depends on a character"):
        LearnedGate().fit(inputs, torch.zeros(3, 9))
    with pytest.raises(ValueError, match="size must be 1 or more"):
        LearnedGate(size=0)
