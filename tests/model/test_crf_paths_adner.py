"""Viterbi and k-best against enumeration, the BIOES blocks against the dense recursion, and ties."""

from __future__ import annotations

import pytest
import torch
import torchcrf

from hf_adner.model.crf_adner import AdnerCRF
from hf_adner.model.crf_paths_adner import EntityRuns, best_paths
from hf_adner.model.labels_adner import allowed_transitions, state_names


def make_crf(states: int, constraints=None) -> AdnerCRF:
    crf = AdnerCRF(states, constraints)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("length", range(1, 7))
@pytest.mark.parametrize("states", range(1, 7))
def test_best_paths_equal_enumeration(states, length):
    crf, emissions = make_crf(states), torch.randn(1, length, states)
    paths = torch.cartesian_prod(*[torch.arange(states)] * length).view(-1, length)
    pairs = crf.transitions[paths[:, :-1], paths[:, 1:]].sum(1)
    scores = emissions[0].gather(1, paths.T).sum(0) + pairs
    scores = scores + crf.start_transitions[paths[:, 0]] + crf.end_transitions[paths[:, -1]]
    best, order = scores.detach().sort(descending=True)
    found, score = crf.viterbi(emissions)
    torch.testing.assert_close(score, best[:1])
    assert found[0].tolist() == paths[order[0]].tolist()
    found, found_scores = crf.k_best(emissions, None, 5)
    count = min(5, len(best))
    torch.testing.assert_close(found_scores[0, :count], best[:count])
    assert found[0, :count].tolist() == paths[order[:count]].tolist()
    assert found_scores[0, count:].isneginf().all()
    assert (found[0, count:] == -1).all()


@pytest.mark.parametrize("types", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3])
def test_entity_runs_find_the_same_paths(types, batch):
    names = state_names([f"type-{index}" for index in range(types)], "bioes")
    crf = make_crf(len(names), allowed_transitions(names))
    emissions, lengths = torch.randn(batch, 40, len(names)) * 3, torch.randint(1, 41, (batch, 1))
    lengths[0] = 40
    scores, _ = crf._scores(emissions, torch.arange(40) < lengths)
    assert crf._runs is not None
    paths = best_paths(scores, crf._runs)
    assert torch.equal(paths, best_paths(scores))
    assert torch.equal(paths, crf.viterbi(emissions, scores.mask)[0])


def test_entity_runs_of_shuffled_states():
    names = state_names(["Disease", "Drug"], "bioes")
    order = torch.randperm(len(names)).tolist()
    shuffled = [names[index] for index in order]
    allowed = torch.tensor(allowed_transitions(names).transitions)[order][:, order].tolist()
    runs = EntityRuns.find(allowed)
    ordered = [shuffled[state] for state in runs.order]
    assert runs.types == 2
    assert [name[0] for name in ordered[:4]] == ["I", "I", "E", "E"]
    assert {name[0] for name in ordered[4:7]} == {"O", "S"}
    assert [name[0] for name in ordered[7:]] == ["B", "B"]
    assert len({tuple(name[2:] for name in ordered[start : start + 2]) for start in (0, 2, 7)}) == 1


def test_entity_runs_refuse_other_forms():
    bioes = allowed_transitions(state_names(["Disease", "Drug"], "bioes")).transitions
    bio = allowed_transitions(state_names(["Disease", "Drug"], "bio")).transitions
    assert EntityRuns.find(bioes) is not None
    for other in (bio, [[True] * 5] * 5, [[True]], [[False, True], [True, False]], [[True, True], [True, True]]):
        assert EntityRuns.find(other) is None
    for row in range(9):
        for column in range(9):
            changed = [list(side) for side in bioes]
            changed[row][column] = not changed[row][column]
            assert EntityRuns.find(changed) is None


@pytest.mark.parametrize("constrained", [False, True])
def test_ties_go_to_the_lower_state_like_torchcrf(constrained):
    names = state_names(["Disease"], "bioes")
    crf = AdnerCRF(5, allowed_transitions(names) if constrained else None)
    theirs = torchcrf.CRF(5, batch_first=True)
    with torch.no_grad():
        for parameter, other in zip(crf.parameters(), theirs.parameters()):
            parameter.zero_()
            other.zero_()
        if constrained:
            theirs.start_transitions += crf.start_penalties
            theirs.end_transitions += crf.end_penalties
            theirs.transitions += crf.transition_penalties
    emissions = torch.randint(2, (8, 12, 5)).float()
    assert crf.decode(emissions) == theirs.decode(emissions, torch.ones(8, 12, dtype=torch.bool))


def test_k_best_of_a_ragged_batch_are_distinct_and_sorted():
    names = state_names(["Disease", "Drug"], "bioes")
    constraints = allowed_transitions(names)
    crf, lengths = make_crf(9, constraints), torch.tensor([7, 4, 1])
    emissions, mask = torch.randn(3, 7, 9), torch.arange(7) < lengths.unsqueeze(1)
    paths, scores = crf.k_best(emissions, mask, 6)
    best, best_scores = crf.viterbi(emissions, mask)
    assert torch.equal(paths[:, 0], best)
    torch.testing.assert_close(scores[:, 0], best_scores)
    for row, length in enumerate(lengths.tolist()):
        found = [tuple(path[:length]) for path, score in zip(paths[row].tolist(), scores[row]) if score.isfinite()]
        assert len(set(found)) == len(found) == (6 if length > 1 else 3)
        assert (scores[row].diff()[: len(found) - 1] <= 0).all()
        for path, score in zip(found, scores[row]):
            assert all(constraints.transitions[a][b] for a, b in zip(path, path[1:]))
            alone = emissions[row : row + 1, :length]
            likelihood = crf.log_likelihood(alone, torch.tensor([path]))
            torch.testing.assert_close(score - crf.log_partition(alone)[0], likelihood[0], atol=1e-4, rtol=1e-4)
