"""AdnerCRF against brute-force enumeration of all paths and against torchcrf; edges of its input and its errors."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import torchcrf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hf_adner.model.crf_adner import AdnerCRF, StateSpan
from hf_adner.model.labels_adner import allowed_transitions, state_names

from .crf import assert_equal, make_crf, make_emissions, make_mask

SIZES = [(states, length) for states in range(1, 7) for length in range(1, 7)]
BIOES = state_names(["Disease", "Drug"], "bioes")
BIO = state_names(["Disease", "Drug"], "bio")


class Allowed(NamedTuple):
    """Constraints written out."""

    starts: list[bool]
    ends: list[bool]
    transitions: list[list[bool]]


class Paths(NamedTuple):
    """Every path of one row and its score (differentiable, float64)."""

    states: Tensor
    scores: Tensor

    @property
    def probabilities(self) -> Tensor:
        return self.scores.softmax(0)


def make_torchcrf(crf: AdnerCRF) -> torchcrf.CRF:
    theirs = torchcrf.CRF(crf.num_tags, batch_first=True)
    theirs.load_state_dict(crf.state_dict())
    return theirs


def enumerate_paths(crf: AdnerCRF, emissions: Tensor, length: int) -> Paths:
    """All allowed paths over the first ``length`` rows of ``emissions`` (length, states)."""
    states = torch.cartesian_prod(*[torch.arange(crf.num_tags)] * length).view(-1, length)
    starts, ends, transitions = (
        side.double() if penalty is None else side.double().masked_fill(penalty < 0, -torch.inf)
        for side, penalty in (
            (crf.start_transitions, crf.start_penalties),
            (crf.end_transitions, crf.end_penalties),
            (crf.transitions, crf.transition_penalties),
        )
    )
    scores = emissions[:length].double().gather(1, states.T).sum(0) + starts[states[:, 0]] + ends[states[:, -1]]
    scores = scores + transitions[states[:, :-1], states[:, 1:]].sum(1)
    allowed = scores > -torch.inf
    return Paths(states[allowed], scores[allowed])


def gradients(loss: Tensor, crf: torchcrf.CRF, emissions: Tensor) -> list[Tensor]:
    inputs = [emissions, *crf.parameters()]
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(side) if grad is None else grad for side, grad in zip(inputs, grads)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# Against enumeration and torchcrf


@pytest.mark.parametrize(("states", "length"), SIZES)
def test_log_likelihood_and_gradient_equal_torchcrf(states, length):
    crf, emissions = make_crf(states), make_emissions(3, length, states)
    mask = make_mask([length, (length + 1) // 2, 1])
    tags, weights = torch.randint(states, (3, length)), torch.randn(3)
    theirs = make_torchcrf(crf)
    ours, other = crf.log_likelihood(emissions, tags, mask), theirs(emissions, tags, mask, reduction="none")
    assert_equal(ours, other)
    for grad, expected in zip(
        gradients((ours * weights).sum(), crf, emissions), gradients((other * weights).sum(), theirs, emissions)
    ):
        assert_equal(grad, expected)
    assert crf.decode(emissions, mask) == theirs.decode(emissions, mask)


@pytest.mark.parametrize(("states", "length"), SIZES)
def test_log_partition_and_gradient_equal_enumeration(states, length, space):
    crf, emissions = make_crf(states), make_emissions(2, length, states)
    lengths = [length, length // 2]
    ours = crf.log_partition(emissions, make_mask(lengths, length))
    rows = [enumerate_paths(crf, row, n).scores.logsumexp(0) for row, n in zip(emissions, lengths) if n]
    assert_equal(ours[: len(rows)], torch.stack(rows))
    for grad, expected in zip(gradients(ours.sum(), crf, emissions), gradients(sum(rows), crf, emissions)):
        assert_equal(grad, expected)


@pytest.mark.parametrize(("states", "length"), SIZES)
def test_marginals_and_gradient_equal_enumeration(states, length, space):
    crf, emissions = make_crf(states), make_emissions(1, length, states)
    paths = enumerate_paths(crf, emissions[0], length)
    one_hot = torch.nn.functional.one_hot(paths.states, states).double()  # (paths, length, states)
    expected = torch.einsum("n,nts->ts", paths.probabilities, one_hot)
    ours = crf.log_marginals(emissions)[0]
    assert_equal(ours.exp(), expected)
    weights = torch.randn(length, states)
    loss, expected_loss = (ours * weights).sum(), (expected.log() * weights).sum()
    for grad, other in zip(gradients(loss, crf, emissions), gradients(expected_loss, crf, emissions)):
        assert_equal(grad, other, atol=1e-4)


@pytest.mark.parametrize("names", [BIOES[:5], BIO], ids=["bioes", "bio"])
@pytest.mark.parametrize("length", range(1, 6))
def test_constrained_crf_equals_enumeration(names, length, space):
    crf, emissions = make_crf(len(names), allowed_transitions(names)), make_emissions(1, length, len(names))
    paths = enumerate_paths(crf, emissions[0], length)
    assert_equal(crf.log_partition(emissions)[0], paths.scores.logsumexp(0))
    one_hot = torch.nn.functional.one_hot(paths.states, len(names)).double()
    expected = torch.einsum("n,nts->ts", paths.probabilities, one_hot)
    assert_equal(crf.log_marginals(emissions)[0].exp(), expected)
    assert_equal(crf.viterbi(emissions)[1][0], paths.scores.max())


@settings(max_examples=25)
@given(st.integers(1, 5), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.floats(0, 60), st.integers(0, 1000))
def test_any_ragged_batch_equals_its_rows(states, lengths, scale, seed):
    torch.manual_seed(seed)
    crf, length = make_crf(states), max(lengths)
    emissions = make_emissions(len(lengths), length, states, scale)
    mask = make_mask(lengths, length) if length else torch.zeros(len(lengths), 0, dtype=torch.bool)
    together, marginals = crf.log_partition(emissions, mask), crf.log_marginals(emissions, mask)
    paths = crf.decode(emissions, mask)
    for row, n in enumerate(lengths):
        alone = emissions[row : row + 1, :n]
        assert_equal(together[row : row + 1], crf.log_partition(alone))
        assert_equal(marginals[row, :n].exp(), crf.log_marginals(alone)[0].exp())
        assert paths[row] == crf.decode(alone)[0]
        assert len(paths[row]) == n


# Unobserved tags


@pytest.mark.parametrize("names", [BIOES[:5], BIO], ids=["bioes", "bio"])
def test_unobserved_tags_are_summed_over(names, space):
    crf, length = make_crf(len(names), allowed_transitions(names)), 5
    emissions = make_emissions(1, length, len(names))
    paths = enumerate_paths(crf, emissions[0], length)
    tags = paths.states[paths.scores.argmax()].clone()
    tags[[1, 3]] = -100
    agrees = ((paths.states == tags) | (tags == -100)).all(1)
    expected = paths.scores[agrees].logsumexp(0) - paths.scores.logsumexp(0)
    ours = crf.log_likelihood(emissions, tags.unsqueeze(0))
    assert_equal(ours[0], expected)
    for grad, other in zip(gradients(ours.sum(), crf, emissions), gradients(expected, crf, emissions)):
        assert_equal(grad, other)


def test_wholly_unobserved_row_has_likelihood_one():
    crf, emissions = make_crf(4), make_emissions(2, 5, 4)
    likelihood = crf.log_likelihood(emissions, torch.full((2, 5), -100), make_mask([5, 3]))
    assert_equal(likelihood, torch.zeros(2))
    assert all(grad.abs().max() < 1e-6 for grad in gradients(likelihood.sum(), crf, emissions))


def test_tags_in_padding_do_not_matter():
    crf, emissions, mask = make_crf(4), make_emissions(2, 5, 4), make_mask([5, 3])
    tags = torch.randint(4, (2, 5))
    expected = crf.log_likelihood(emissions, tags, mask)
    for padding in (-100, 99):
        assert torch.equal(crf.log_likelihood(emissions, tags.masked_fill(~mask, padding), mask), expected)


@pytest.mark.parametrize("middle", [-100, BIOES.index("O")])
def test_forbidden_gold_is_finite_and_very_unlikely(middle):
    crf, emissions = make_crf(len(BIOES), allowed_transitions(BIOES)), make_emissions(1, 3, len(BIOES))
    tags = torch.tensor([[BIOES.index("E-Drug"), middle, BIOES.index("O")]])
    likelihood = crf.log_likelihood(emissions, tags)
    assert torch.isfinite(likelihood).all() and likelihood < -9e5
    assert all(grad.isfinite().all() for grad in gradients(likelihood.sum(), crf, emissions))


# StateSpan posteriors


@pytest.mark.parametrize(
    ("names", "spans"),
    [
        (
            BIOES[:5],
            [
                StateSpan(0, 1, 3, (1, 3)),
                StateSpan(0, 0, 1, (4,)),
                StateSpan(0, 2, 5, (1, 2, 3)),
                StateSpan(0, 0, 2, (0, 0)),
            ],
        ),
        (
            BIO[:3],
            [StateSpan(0, 1, 3, (1, 2), (2,)), StateSpan(0, 0, 1, (1,), (2,)), StateSpan(0, 2, 5, (1, 2, 2), (2,))],
        ),
    ],
    ids=["bioes", "bio"],
)
def test_span_posteriors_equal_enumeration(names, spans, space):
    crf, emissions = make_crf(len(names), allowed_transitions(names)), make_emissions(1, 5, len(names))
    paths = enumerate_paths(crf, emissions[0], 5)
    expected = []
    for span in spans:
        holds = (paths.states[:, span.start : span.end] == torch.tensor(span.states)).all(1)
        if span.end < 5:
            holds &= ~torch.isin(paths.states[:, span.end], torch.tensor(span.forbidden_next, dtype=torch.long))
        expected.append(paths.probabilities[holds].sum().log())
    ours, expected = crf.span_log_posteriors(emissions, None, spans), torch.stack(expected)
    assert_equal(ours, expected)
    weights = torch.randn(len(spans))
    for grad, other in zip(
        gradients((ours * weights).sum(), crf, emissions), gradients((expected * weights).sum(), crf, emissions)
    ):
        assert_equal(grad, other, atol=1e-4)


def test_span_posteriors_of_a_padded_batch():
    crf, emissions = make_crf(len(BIO), allowed_transitions(BIO)), make_emissions(2, 6, len(BIO))
    mask = make_mask([6, 3])
    spans = [StateSpan(1, 1, 3, (1, 2), (2,)), StateSpan(0, 0, 2, (3, 4), (4,))]
    together = crf.span_log_posteriors(emissions, mask, spans)
    alone = crf.span_log_posteriors(emissions[1:, :3], None, [spans[0]._replace(row=0)])
    assert_equal(together[:1], alone)
    assert crf.span_log_posteriors(emissions, mask, []).shape == (0,)


def test_impossible_span_is_finite():
    crf, emissions = make_crf(len(BIOES), allowed_transitions(BIOES)), make_emissions(1, 4, len(BIOES))
    posterior = crf.span_log_posteriors(emissions, None, [StateSpan(0, 1, 3, (1, 1)), StateSpan(0, 0, 1, (2,))])
    assert (posterior == -1e6).all()


# Edges of the input


def test_empty_rows():
    crf, emissions, mask = make_crf(4), make_emissions(3, 5, 4), make_mask([0, 5, 0])
    tags = torch.randint(4, (3, 5))
    likelihood = crf.log_likelihood(emissions, tags, mask)
    assert (likelihood[[0, 2]] == 0).all() and likelihood[1] < 0
    emission = gradients(likelihood.sum(), crf, emissions)[0]
    assert (emission[[0, 2]] == 0).all() and (emission[1] != 0).any()
    assert (crf.log_partition(emissions, mask)[[0, 2]] == 0).all()
    assert [len(path) for path in crf.decode(emissions, mask)] == [0, 5, 0]
    assert (crf.viterbi(emissions, mask)[1][[0, 2]] == 0).all()


def test_batch_without_positions():
    crf, emissions = make_crf(4), torch.zeros(2, 0, 4, requires_grad=True)
    tags, mask = torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, dtype=torch.bool)
    likelihood = crf.log_likelihood(emissions, tags, mask)
    likelihood.sum().backward()
    assert likelihood.tolist() == [0, 0] and emissions.grad.shape == (2, 0, 4)
    assert all(parameter.grad.abs().max() == 0 for parameter in crf.parameters())
    assert crf.log_marginals(emissions, mask).shape == (2, 0, 4)
    assert crf.decode(emissions, mask) == [[], []]


def test_padding_may_hold_anything():
    crf, mask, tags = make_crf(4), make_mask([5, 3]), torch.randint(4, (2, 5))
    emissions = make_emissions(2, 5, 4)
    dirty = emissions.detach().masked_fill(~mask.unsqueeze(-1), torch.nan).requires_grad_()
    for method in (crf.log_marginals, crf.log_partition, lambda e, m: crf.log_likelihood(e, tags, m)):
        assert torch.equal(method(dirty, mask), method(emissions, mask))
    grads = gradients(crf.log_likelihood(dirty, tags, mask).sum() + crf.log_marginals(dirty, mask).sum(), crf, dirty)
    assert all(grad.isfinite().all() for grad in grads)
    assert (grads[0][1, 3:] == 0).all()
    assert crf.decode(dirty, mask) == crf.decode(emissions, mask)


def test_constraints_that_never_mix_use_log_space():
    # State 1 absorbs, and only a row that starts in state 0 may end there.
    allowed = Allowed([True, False, True], [True, True, False], [[True, True, False], [False, True, False], [True] * 3])
    crf, emissions = make_crf(3, allowed), make_emissions(1, 5, 3, scale=5.0)
    paths = enumerate_paths(crf, emissions[0], 5)
    assert_equal(crf.log_partition(emissions)[0], paths.scores.logsumexp(0))
    assert_equal(crf.viterbi(emissions)[1][0], paths.scores.max())


def test_row_without_an_allowed_path_is_finite():
    # 0 -> 1 -> 0 -> 1: a row of odd length has no allowed path from 0 to 1.
    allowed = Allowed([True, False], [False, True], [[False, True], [True, False]])
    crf, emissions = make_crf(2, allowed), make_emissions(1, 3, 2)
    assert_equal(crf.log_partition(emissions[:, :2]), enumerate_paths(crf, emissions[0], 2).scores)
    assert crf.log_partition(emissions) < -9e5
    assert crf.log_marginals(emissions).isfinite().all()


@pytest.mark.parametrize("side", ["starts", "ends"])
def test_start_and_end_constraints_alone(side):
    everything = Allowed([True] * 3, [True] * 3, [[True] * 3 for _ in range(3)])
    crf, emissions = make_crf(3, everything._replace(**{side: [False, True, False]})), make_emissions(2, 4, 3)
    position = 0 if side == "starts" else -1
    assert_equal(crf.log_marginals(emissions).exp()[:, position], torch.tensor([[0.0, 1.0, 0.0]] * 2))
    assert all(path[position] == 1 for path in crf.decode(emissions))


# The module


def test_state_dict_is_that_of_torchcrf():
    constrained = AdnerCRF(len(BIOES), allowed_transitions(BIOES))
    theirs = torchcrf.CRF(len(BIOES), batch_first=True)
    assert list(constrained.state_dict()) == list(theirs.state_dict())
    constrained.load_state_dict(theirs.state_dict(), strict=True)
    assert [name for name, _ in constrained.named_buffers()]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "token_mean"])
@pytest.mark.parametrize("masked", [False, True])
def test_forward_reduces_like_torchcrf(reduction, masked):
    crf, emissions, tags = make_crf(4), make_emissions(3, 5, 4), torch.randint(4, (3, 5))
    mask = make_mask([5, 2, 1] if masked else [5, 5, 5])
    expected = make_torchcrf(crf)(emissions, tags, mask, reduction)
    assert_equal(crf(emissions, tags, mask if masked else None, reduction), expected)


def test_built_on_the_meta_device():
    with torch.device("meta"):
        crf = AdnerCRF(len(BIOES), allowed_transitions(BIOES))
    assert crf.transitions.is_meta and crf.transition_penalties.is_meta
    crf = crf.to_empty(device="cpu")
    for parameter in crf.parameters():
        torch.nn.init.zeros_(parameter)
    for buffer in crf.buffers():
        buffer.fill_(torch.nan)
    crf.fill_constraints()
    expected = AdnerCRF(len(BIOES), allowed_transitions(BIOES))
    for name, buffer in expected.named_buffers():
        assert torch.equal(crf.get_buffer(name), buffer)
    assert crf.log_partition(torch.zeros(1, 3, len(BIOES))).isfinite().all()


def test_penalties_are_zero_or_forbidding():
    constraints = allowed_transitions(BIO)
    crf = AdnerCRF(len(BIO), constraints)
    assert torch.equal(crf.transition_penalties == 0, torch.tensor(constraints.transitions))
    assert set(crf.transition_penalties.unique().tolist()) == {0.0, -1e6}
    AdnerCRF(3).fill_constraints()  # nothing to fill


# Errors


@pytest.mark.parametrize(
    ("emissions", "mask", "message"),
    [
        (torch.zeros(2, 3), None, r"shape \(batch > 0, length, 4\), found \(2, 3\)"),
        (torch.zeros(2, 3, 5), None, r"found \(2, 3, 5\)"),
        (torch.zeros(0, 3, 4), None, r"found \(0, 3, 4\)"),
        (torch.zeros(2, 3, 4), torch.ones(2, 2, dtype=torch.bool), r"mask must have shape \(2, 3\), found \(2, 2\)"),
        (torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [True, False, True]]), "found a gap in row 1"),
        (torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [False, True, True]]), "found a gap in row 1"),
        (torch.tensor([[[0.0] * 4, [torch.nan] * 4]]), None, "emissions must be finite.* row 0, position 1"),
        (torch.tensor([[[0.0] * 4], [[torch.inf] * 4]]), None, "emissions must be finite.* row 1, position 0"),
    ],
)
def test_wrong_emissions_and_masks(emissions, mask, message):
    crf = make_crf(4)
    tags = torch.zeros(emissions.shape[:2], dtype=torch.long)
    calls = (
        lambda: crf.log_likelihood(emissions, tags, mask),
        lambda: crf.log_marginals(emissions, mask),
        lambda: crf.viterbi(emissions, mask),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("constrained", [False, True])
def test_weights_that_are_not_finite(value, constrained):
    crf = make_crf(4, Allowed([True] * 4, [True] * 4, [[True] * 4] * 4) if constrained else None)
    with torch.no_grad():
        crf.transitions[1, 2] = value
    for call in (crf.log_partition, crf.log_marginals, crf.viterbi):
        with pytest.raises(ValueError, match="transitions must be finite"):
            call(torch.zeros(1, 3, 4))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.long), r"tags must have shape \(2, 3\), found \(2, 2\)"),
        (torch.tensor([[0, 1, 2], [0, 4, 0]]), "found 4 at row 1, position 1"),
        (torch.tensor([[0, 1, -1], [0, 0, 0]]), "0 to 3 or -100, found -1 at row 0, position 2"),
    ],
)
def test_wrong_tags(tags, message):
    with pytest.raises(ValueError, match=message):
        make_crf(4).log_likelihood(torch.zeros(2, 3, 4), tags)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (StateSpan(2, 0, 1, (0,)), "span 0: row must be 0 to 1, found 2"),
        (StateSpan(0, 1, 1, ()), "found 1 to 1"),
        (StateSpan(1, 1, 3, (0, 0)), "must lie within 0 to 2, found 1 to 3"),
        (StateSpan(0, 0, 2, (0,)), "must have 2 states, found 1"),
        (StateSpan(0, 0, 1, (4,)), "states must be 0 to 3"),
        (StateSpan(0, 0, 1, (0,), (-1,)), "states must be 0 to 3"),
    ],
)
def test_wrong_spans(span, message):
    with pytest.raises(ValueError, match=message):
        make_crf(4).span_log_posteriors(torch.zeros(2, 3, 4), make_mask([3, 2]), [span])


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        (Allowed([True], [True] * 2, [[True] * 2] * 2), "constraints.starts must have 2 entries, found 1"),
        (Allowed([True] * 2, [True] * 3, [[True] * 2] * 2), "constraints.ends must have 2 entries, found 3"),
        (Allowed([True] * 2, [True] * 2, [[True] * 2]), "constraints.transitions must have 2 entries, found 1"),
        (Allowed([True] * 2, [True] * 2, [[True] * 2, [True]]), r"2 entries, found \[1, 2\]"),
        (Allowed([False] * 2, [True] * 2, [[True] * 2] * 2), "allow no start"),
        (Allowed([True] * 2, [False] * 2, [[True] * 2] * 2), "allow no end"),
        (Allowed([True] * 2, [True] * 2, [[False] * 2] * 2), "allow no transition"),
    ],
)
def test_wrong_constraints(constraints, message):
    with pytest.raises(ValueError, match=message):
        AdnerCRF(2, constraints)


def test_other_wrong_arguments():
    with pytest.raises(ValueError, match="invalid number of tags"):
        AdnerCRF(0)
    crf = make_crf(2)
    with pytest.raises(ValueError, match="invalid reduction: average"):
        crf(torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.long), reduction="average")
