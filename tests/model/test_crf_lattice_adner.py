"""The lattices at their numerical limits (long rows, huge and forbidden scores, dtypes, derivatives); best paths."""

from __future__ import annotations

import copy

import pytest
import torch
import torchcrf
from torch import Tensor

from hf_adner.model import crf_adner
from hf_adner.model.crf_adner import AdnerCRF, StateSpan
from hf_adner.model.crf_lattice_adner import LogLattice, ScaledLattice, reversal, scaled_period
from hf_adner.model.crf_paths_adner import EntityRuns, best_paths
from hf_adner.model.labels_adner import allowed_transitions, state_names

from .crf import assert_equal, make_crf, make_emissions, make_mask

BIOES = state_names(["Disease", "Drug"], "bioes")


def gradients(loss: Tensor, crf: AdnerCRF, emissions: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [emissions, *crf.parameters()])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def reference_lattice(crf: AdnerCRF, emissions: Tensor) -> tuple[Tensor, Tensor]:
    """log Z and marginals of one row in float64, by the textbook recursions in log space."""
    starts, ends, transitions = (side.detach().double() for side in crf.parameters())
    if crf.transition_penalties is not None:
        starts, ends = starts + crf.start_penalties, ends + crf.end_penalties
        transitions = transitions + crf.transition_penalties
    rows = emissions.detach().double()
    forward, backward = [starts + rows[0]], [ends]
    for row in rows[1:]:
        forward.append((forward[-1].unsqueeze(1) + transitions).logsumexp(0) + row)
    for row in rows.flip(0)[:-1]:
        backward.append((transitions + row + backward[-1]).logsumexp(1))
    log_partition = (forward[-1] + ends).logsumexp(0)
    return log_partition, (torch.stack(forward) + torch.stack(backward[::-1]) - log_partition).exp()


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("scale", [1.0, 20.0, 300.0])
def test_long_rows_equal_a_float64_reference(constrained, scale):
    crf = make_crf(9, allowed_transitions(BIOES) if constrained else None)
    emissions = make_emissions(2, 512, 9, scale)
    log_partition, marginals = reference_lattice(crf, emissions[0])
    torch.testing.assert_close(crf.log_partition(emissions)[0].double(), log_partition, rtol=1e-5, atol=0)
    assert (crf.log_marginals(emissions)[0].exp() - marginals).abs().max() < 1e-5
    (grad,) = torch.autograd.grad(crf.log_partition(emissions)[0], emissions)
    assert (grad[0] - marginals).abs().max() < 1e-5


def test_scaled_lattice_is_left_when_scores_need_it():
    crf, mask = make_crf(9, allowed_transitions(BIOES)), torch.ones(1, 64, dtype=torch.bool)
    chosen = {scale: crf._lattice(make_emissions(1, 64, 9, scale), mask) for scale in (5.0, 300.0)}
    assert isinstance(chosen[5.0], ScaledLattice)
    assert isinstance(chosen[300.0], LogLattice)


def test_detour_that_no_scaled_message_would_find():
    # Entering and leaving the entity underflows by itself, its long inside outweighs both.
    names = BIOES[:5]
    crf, emissions = make_crf(5, allowed_transitions(names), 0.1), torch.zeros(1, 200, 5)
    emissions[0, 20, 1] = emissions[0, 180, 3] = -800
    emissions[0, 21:180, 2] = 20.0
    emissions[0, :20, 1] = emissions[0, 181:, 3] = -5000
    _, marginals = reference_lattice(crf, emissions[0])
    assert marginals[100, 2] > 0.999
    assert (crf.log_marginals(emissions)[0].exp() - marginals).abs().max() < 1e-5


@pytest.mark.parametrize("length", [3, 512])
def test_huge_scores_stay_finite_and_never_beat_a_constraint(length):
    crf = make_crf(len(BIOES), allowed_transitions(BIOES), scale=1e4)
    sign = torch.randint(2, (2, length, len(BIOES))) * 2.0 - 1
    sign[1], sign[1, :, BIOES.index("I-Drug")] = -1, 1  # a row that wants to be inside from its start to its end
    emissions = (sign * 1e4).requires_grad_()
    path = crf.viterbi(emissions)[0]
    allowed = torch.tensor(allowed_transitions(BIOES).transitions)
    assert allowed[path[:, :-1], path[:, 1:]].all()
    assert all(BIOES[state][0] in "OBS" for state in path[:, 0])
    assert all(BIOES[state][0] in "OES" for state in path[:, -1])
    likelihood, marginals = crf.log_likelihood_and_marginals(emissions, path)
    assert likelihood.isfinite().all() and (likelihood <= 1e-3).all()
    assert marginals.isfinite().all()
    assert marginals[:, 0, BIOES.index("I-Drug")].exp().max() == 0
    losses = (crf.log_likelihood(emissions, path).sum(), crf.log_marginals(emissions).exp()[..., 0].sum())
    for loss in losses:
        assert all(grad.isfinite().all() for grad in gradients(loss, crf, emissions))


def test_unconstrained_forbidden_by_parameters():
    crf, emissions = make_crf(4), make_emissions(2, 6, 4)
    with torch.no_grad():
        crf.transitions[0, 1] = crf.start_transitions[2] = -1e6
    assert crf.log_marginals(emissions).exp()[:, 0, 2].max() == 0
    for loss in (crf.log_partition(emissions).sum(), crf.log_marginals(emissions)[..., 3].sum()):
        grads = gradients(loss, crf, emissions)
        assert all(grad.isfinite().all() for grad in grads)
        assert grads[3][0, 1] == 0 and grads[1][2] == 0


def test_gradient_of_forbidden_scores_is_zero(space):
    crf, emissions = make_crf(len(BIOES), allowed_transitions(BIOES)), make_emissions(2, 6, len(BIOES))
    tags = crf.viterbi(emissions)[0]
    losses = (
        crf.log_partition(emissions).sum(),
        crf.log_likelihood(emissions, tags).sum(),
        crf.log_marginals(emissions)[..., 0].sum(),
    )
    for loss in losses:
        emission, start, end, transition = gradients(loss, crf, emissions)
        assert emission.isfinite().all()
        for grad, penalty in (
            (start, crf.start_penalties),
            (end, crf.end_penalties),
            (transition, crf.transition_penalties),
        ):
            assert grad.isfinite().all() and (grad[penalty < 0] == 0).all() and (grad != 0).any()


@pytest.mark.parametrize("constrained", [False, True])
def test_gradcheck(constrained, space):
    crf = make_crf(5, allowed_transitions(BIOES[:5]) if constrained else None).double()
    emissions = torch.randn(2, 3, 5, dtype=torch.double, requires_grad=True)
    mask, spans = make_mask([3, 1]), [StateSpan(0, 1, 3, (1, 3)), StateSpan(1, 0, 1, (4,), (2,))]
    tags = torch.tensor([[0, -100, 0], [4, 0, 0]])

    def results(emissions: Tensor, *_) -> tuple[Tensor, ...]:
        marginals = crf.log_marginals(emissions, mask)
        return (
            crf.log_likelihood(emissions, tags, mask),
            crf.log_likelihood(emissions, tags.clamp_min(0), mask),
            marginals[marginals > -1e5],
            crf.span_log_posteriors(emissions, mask, spans),
        )

    assert torch.autograd.gradcheck(results, (emissions, *crf.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_autocast_and_half_precision_leave_the_counting_alone(dtype):
    crf, mask = make_crf(5), make_mask([6, 4])
    emissions, tags = torch.randn(2, 6, 5).to(dtype).requires_grad_(), torch.randint(5, (2, 6))
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            likelihood = crf.log_likelihood(emissions, tags, mask)
            marginals = crf.log_marginals(emissions, mask)
            results.append((likelihood, marginals, crf.log_partition(emissions, mask)))
            loss = likelihood.sum() + marginals[0].sum()
            assert gradients(loss, crf, emissions)[0].dtype == dtype
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    for plain, cast in zip(*results):
        assert plain.dtype == cast.dtype == expected
        assert torch.equal(plain, cast)
    reference = crf.log_likelihood(emissions.detach().double(), tags, mask)
    assert_equal(results[0][0], reference)


def test_half_precision_parameters():
    crf, emissions = make_crf(len(BIOES), allowed_transitions(BIOES)), make_emissions(1, 6, len(BIOES))
    path = crf.viterbi(emissions)[0]
    half = copy.deepcopy(crf).bfloat16()
    likelihood = half.log_likelihood(emissions, path)
    assert likelihood.dtype == torch.float32
    assert_equal(likelihood, crf.log_likelihood(emissions, path), atol=0.1)


def test_without_gradient():
    crf, emissions, tags = make_crf(5), make_emissions(2, 6, 5), torch.randint(5, (2, 6))
    expected = crf.log_likelihood(emissions, tags)
    with torch.no_grad():
        likelihood = crf.log_likelihood(emissions, tags)
        assert not crf.log_marginals(emissions).requires_grad
    assert not likelihood.requires_grad
    assert torch.equal(likelihood, expected)
    with torch.inference_mode():
        assert torch.equal(crf.log_likelihood(emissions, tags), expected)


def test_second_derivative_is_refused():
    crf, emissions = make_crf(3), make_emissions(1, 4, 3)
    for loss in (crf.log_partition(emissions).sum(), crf.log_marginals(emissions)[..., 0].sum()):
        (grad,) = torch.autograd.grad(loss, emissions, create_graph=True)
        assert grad.isfinite().all()
        with pytest.raises(RuntimeError, match="differentiable once"):
            (grad.sum() + emissions.sum()).backward()


def test_backward_twice_over_a_retained_graph():
    crf, emissions = make_crf(4), make_emissions(2, 5, 4)
    for loss in (crf.log_partition(emissions).sum(), crf.log_marginals(emissions)[..., 0].sum()):
        (first,) = torch.autograd.grad(loss, emissions, retain_graph=True)
        (second,) = torch.autograd.grad(loss, emissions)
        assert torch.equal(first, second)


def test_marginals_of_the_likelihood_pass():
    crf, mask = make_crf(len(BIOES), allowed_transitions(BIOES)), make_mask([6, 3, 0])
    emissions, tags = make_emissions(3, 6, len(BIOES)), torch.zeros(3, 6, dtype=torch.long)
    likelihood, marginals = crf.log_likelihood_and_marginals(emissions, tags, mask)
    assert likelihood.requires_grad and not marginals.requires_grad
    assert torch.equal(likelihood, crf.log_likelihood(emissions, tags, mask))
    assert torch.equal(marginals, crf.log_marginals(emissions, mask))
    assert_equal(marginals.exp().sum(-1), torch.ones(3, 6))
    assert (marginals[~mask][:, 0] == 0).all() and (marginals[~mask][:, 1:] == -1e6).all()
    assert (marginals[mask] >= -1e6).all() and (marginals[:2, 0, BIOES.index("I-Drug")] == -1e6).all()


def test_reversal_leaves_padding_and_undoes_itself():
    mask = make_mask([4, 2, 0])
    order = reversal(mask)
    positions = torch.arange(4).unsqueeze(1).expand(4, 3).flatten()
    expected = torch.tensor([[3, 1, 0], [2, 0, 1], [1, 2, 2], [0, 3, 3]])
    assert torch.equal(positions[order].view(4, 3), expected)
    assert torch.equal(order[order], torch.arange(12))


def test_period_shrinks_as_scores_spread():
    periods = [scaled_period(spread, 3, torch.float64) for spread in (0.0, 10.0, 50.0, 80.0, 100.0, torch.inf)]
    assert periods == [8, 8, 4, 1, 0, 0]
    assert scaled_period(10.0, 3, torch.float32) == 1


@pytest.mark.parametrize("period", [1, 2, 8])
def test_period_does_not_change_the_result(period):
    crf, mask = make_crf(9, allowed_transitions(BIOES)), make_mask([30, 17, 8])
    scores, _ = crf._scores(make_emissions(3, 30, 9, 5.0), mask)
    scaled, log = ScaledLattice(scores, period), LogLattice(scores)
    assert_equal(scaled.log_partition(), log.log_partition())
    for found, expected in zip(scaled.expected_counts(torch.ones(3)), log.expected_counts(torch.ones(3))):
        assert_equal(found, expected)


def test_observed_stretches_in_scaled_form(monkeypatch):
    crf = make_crf(9, allowed_transitions(BIOES))
    emissions, mask = make_emissions(4, 60, 9, 10.0), make_mask([60, 41, 30, 5])
    likely, other = crf.viterbi(emissions, mask)[0], crf.viterbi(make_emissions(4, 60, 9, 10.0), mask)[0]
    tags = torch.cat((likely[:2], other[2:])).masked_fill(torch.rand(4, 60) < 0.6, -100)
    scaled = crf.log_likelihood(emissions, tags, mask)
    grads = gradients(scaled.sum(), crf, emissions)
    monkeypatch.setattr(crf_adner, "scaled_period", lambda spread, window, dtype: 0)
    log = crf.log_likelihood(emissions, tags, mask)
    assert_equal(scaled, log)
    for grad, expected in zip(grads, gradients(log.sum(), crf, emissions)):
        assert_equal(grad, expected)


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
