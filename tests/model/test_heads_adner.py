"""Both heads against enumeration of every label sequence."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner import AdnerConfig
from hf_adner.model.heads_adner import CrfHead, LabelStates, SoftmaxHead
from hf_adner.model.labels_adner import (
    allowed_transitions,
    bio_labels,
    bio_to_bioes,
    repair_bio,
    state_names,
    tags_to_spans,
)
from hf_adner.model.layers_adner import locate_text

LABELS = bio_labels(["x", "y"])
LENGTHS = [4, 2, 0, 1]
TOLERANCE = {"atol": 1e-5, "rtol": 0}
SCHEMES = pytest.mark.parametrize("scheme", ["bioes", "bio"])
GOLD = st.lists(st.sampled_from([-100, 0, 1, 2, 3, 4]), min_size=4, max_size=4)


def configure(scheme: str = "bioes", **kwargs) -> AdnerConfig:
    id2label = dict(enumerate(LABELS))
    return AdnerConfig(architecture="bilstm-crf", bilstm_size=6, id2label=id2label, tag_scheme=scheme, **kwargs)


def crf_head(scheme: str) -> CrfHead:
    torch.manual_seed(0)
    head = CrfHead(configure(scheme)).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def softmax_head() -> SoftmaxHead:
    torch.manual_seed(1)
    head = SoftmaxHead(configure(use_crf=False)).eval()
    with torch.no_grad():
        head.classifier.weight.normal_()
    return head


def hidden() -> torch.Tensor:
    return torch.randn(len(LENGTHS), max(LENGTHS), 6, generator=torch.Generator().manual_seed(2))


def text_mask() -> torch.Tensor:
    return torch.tensor([[position < length for position in range(max(LENGTHS))] for length in LENGTHS])


def gold(*rows: list[int]) -> torch.Tensor:
    """Label ids (batch, text), -100 behind each row."""
    return torch.tensor([[*row[:length], *[-100] * (max(LENGTHS) - length)] for row, length in zip(rows, LENGTHS)])


def names(ids) -> list[str]:
    return [LABELS[index] for index in ids]


def total(paths, condition) -> float:
    """Probability of the label sequences that meet a condition."""
    return sum(probability for tags, probability in paths if condition(tags))


def independent_paths(log_probs: torch.Tensor) -> list[tuple[tuple[str, ...], float]]:
    """Every label sequence of one row with its probability when the positions are independent."""
    rows = log_probs.detach().double().exp().tolist()
    return [
        (tuple(names(path)), math.prod(row[label] for row, label in zip(rows, path)))
        for path in itertools.product(range(len(LABELS)), repeat=len(rows))
    ]


@pytest.fixture(params=["bioes", "bio", "softmax"])
def answered(request, label_paths):
    """A head, its answer in eval mode, and the label sequences of each row with their probabilities."""
    head = softmax_head() if request.param == "softmax" else crf_head(request.param)
    output = head(hidden(), text_mask(), None)
    rows = [emissions[:length] for emissions, length in zip(output.emissions, LENGTHS)]
    find = independent_paths if request.param == "softmax" else lambda row: label_paths(head, row)
    return head, output, [find(row) for row in rows]


def test_label_probabilities_sum_over_sequences(answered):
    _, output, rows = answered
    torch.testing.assert_close(output.log_probs.exp().sum(-1), torch.ones(len(LENGTHS), max(LENGTHS)), **TOLERANCE)
    for row, paths in enumerate(rows):
        for position in range(LENGTHS[row]):
            expected = [total(paths, lambda tags: tags[position] == label) for label in LABELS]  # noqa: B023
            assert output.log_probs[row, position].exp().tolist() == pytest.approx(expected, abs=1e-5)


def test_boundary_probabilities_sum_over_sequences(answered):
    _, output, rows = answered
    assert not output.start_probs[~text_mask()].any() and not output.end_probs[~text_mask()].any()
    assert 0 <= output.end_probs.min() and output.end_probs.max() <= 1 + 1e-6
    for row, paths in enumerate(rows):
        for position in range(LENGTHS[row]):
            starts = total(paths, lambda tags: tags[position][0] == "B")  # noqa: B023
            ends = total(paths, lambda tags: ends_at(tags, position))  # noqa: B023
            assert output.start_probs[row, position].item() == pytest.approx(starts, abs=1e-5)
            assert output.end_probs[row, position].item() == pytest.approx(ends, abs=1e-5)


def ends_at(tags, position: int) -> bool:
    """Whether an entity's last character stands there: no I- of its type follows."""
    following = tags[position + 1] if position + 1 < len(tags) else "O"
    return tags[position] != "O" and following != f"I-{tags[position][2:]}"


def test_predictions_are_the_likeliest_sequence(answered):
    _, output, rows = answered
    assert (output.predictions[~text_mask()] == -100).all()
    for row, paths in enumerate(rows):
        best = max(paths, key=lambda path: path[1])[0]
        assert names(output.predictions[row, : LENGTHS[row]].tolist()) == repair_bio(best)[0]


def test_softmax_arg_max_is_repaired():
    head = softmax_head()
    with torch.no_grad():
        head.classifier.weight.zero_()
        head.classifier.bias.copy_(torch.tensor([0.0, 0, 5, 0, 0]))  # I-x everywhere
    assert names(head(hidden(), text_mask(), None).predictions[0].tolist()) == ["B-x", "I-x", "I-x", "I-x"]


def entities_of(lengths) -> list[tuple[int, int, int, str]]:
    """Every span of every row with every type."""
    return [
        (row, start, end, name)
        for row, length in enumerate(lengths)
        for start, end in itertools.combinations(range(length + 1), 2)
        for name in ("x", "y")
    ]


@SCHEMES
def test_crf_entity_posteriors_sum_over_sequences(scheme, label_paths):
    head = crf_head(scheme)
    output = head(hidden(), text_mask(), None)
    entities = entities_of(LENGTHS)
    posteriors = head.entity_log_posteriors(output.emissions, text_mask(), entities).exp().tolist()
    for (row, *span), posterior in zip(entities, posteriors, strict=True):
        paths = label_paths(head, output.emissions[row, : LENGTHS[row]])
        assert posterior == pytest.approx(total(paths, lambda tags: tuple(span) in tags_to_spans(tags)), abs=1e-5)  # noqa: B023
    assert head.entity_log_posteriors(output.emissions, text_mask(), []).shape == (0,)


def test_softmax_entity_posteriors_are_products():
    head = softmax_head()
    output = head(hidden(), text_mask(), None)
    entities = entities_of(LENGTHS)
    posteriors = head.entity_log_posteriors(output.emissions, text_mask(), entities).exp().tolist()
    probabilities = output.log_probs.exp().tolist()
    for (row, start, end, name), posterior in zip(entities, posteriors, strict=True):
        wanted = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
        factors = [probabilities[row][start + offset][LABELS.index(label)] for offset, label in enumerate(wanted)]
        assert posterior == pytest.approx(math.prod(factors), rel=1e-4)
    assert head.entity_log_posteriors(output.emissions, text_mask(), []).shape == (0,)


def is_consistent(tags, observed: list[int], scheme: str) -> bool:
    """Whether a sequence may be what was observed, -100 being anything.

    In BIOES a label also tells whether its entity goes on; in front of a gap nobody knows, and the label is dropped.
    """
    known = [None if label == -100 else LABELS[label] for label in observed] + ["O"]
    for position, (label, following) in enumerate(itertools.pairwise(known)):
        if label is None or (scheme == "bioes" and following is None and label != "O"):
            continue
        before = known[position - 1] if position else "O"
        if label[0] == "I" and before is not None and before[2:] != label[2:]:
            label = f"B-{label[2:]}"
        if tags[position] != label:
            return False
        inside = f"I-{label[2:]}"
        if following is not None and ([*tags, "O"][position + 1] == inside) != (following == inside):
            return False
    return True


@SCHEMES
@given(observed=GOLD)
@settings(max_examples=30)
def test_crf_likelihood_sums_over_what_was_not_observed(scheme, observed, label_paths):
    head = crf_head(scheme)
    rows = gold(observed, observed[1:], [], [4])
    likelihood = head(hidden(), text_mask(), rows).likelihood
    emissions = head(hidden(), text_mask(), None).emissions
    for row, length in enumerate(LENGTHS):
        paths = label_paths(head, emissions[row, :length])
        wanted = rows[row, :length].tolist()
        expected = math.log(total(paths, lambda tags: is_consistent(tags, wanted, scheme)))  # noqa: B023
        assert likelihood[row].item() == pytest.approx(expected, abs=2e-5)
    assert likelihood[2].item() == 0


@given(observed=GOLD)
@settings(max_examples=20)
def test_softmax_likelihood_is_the_sum_over_observed_tokens(observed):
    head = softmax_head()
    rows = gold(observed, observed[2:], [], [2])
    output = head(hidden(), text_mask(), rows)
    expected = -torch.nn.functional.cross_entropy(
        output.log_probs.transpose(1, 2), rows, ignore_index=-100, reduction="none"
    ).sum(1)
    torch.testing.assert_close(output.likelihood, expected, **TOLERANCE)


@SCHEMES
def test_every_way_through_the_crf_head_says_the_same(scheme):
    head, labels = crf_head(scheme), gold([1, 2, 0, 3], [0, 4], [], [1])
    plain = head(hidden(), text_mask(), None)
    with_gold = head(hidden(), text_mask(), labels)
    trained = head.train()(hidden(), text_mask(), labels)
    with torch.no_grad():
        evaluated = head.eval()(hidden(), text_mask(), labels)
    for output in (with_gold, trained, evaluated):
        torch.testing.assert_close(output.log_probs.exp(), plain.log_probs.exp(), **TOLERANCE)
        torch.testing.assert_close(output.start_probs, plain.start_probs, **TOLERANCE)
        torch.testing.assert_close(output.end_probs, plain.end_probs, **TOLERANCE)
        torch.testing.assert_close(output.likelihood, with_gold.likelihood, **TOLERANCE)
    assert plain.likelihood is None and trained.predictions is None
    assert torch.equal(evaluated.predictions, plain.predictions)
    assert with_gold.log_probs.requires_grad and trained.likelihood.requires_grad
    assert not trained.log_probs.requires_grad  # a by-product of the likelihood


@pytest.mark.parametrize("head", [crf_head("bioes"), crf_head("bio"), softmax_head()], ids=["bioes", "bio", "softmax"])
def test_marginals_are_differentiable(head):
    states = hidden().requires_grad_()
    output = head(states, text_mask(), None)
    (output.start_probs[0, 1] + output.end_probs[0, 2] + output.log_probs[0, 0, 0]).backward()
    assert states.grad.isfinite().all() and (states.grad[0].abs().sum(-1) > 0).sum() >= 3
    assert not states.grad[~text_mask()].any() and not states.grad[1:].any()


def test_special_tokens_and_padding_say_o():
    head = crf_head("bioes")
    attention_mask = torch.tensor([[0] * (4 - length) + [1] * (length + 2) for length in LENGTHS])
    positions = locate_text(attention_mask)
    output = head(hidden(), positions.mask, None)
    spread = output.at_tokens(positions, attention_mask.shape[1])
    for row, length in enumerate(LENGTHS):
        start = 4 - length + 1
        text = range(start, start + length)
        others = [token for token in range(6) if token not in text]
        assert torch.equal(spread["logits"][row, start : start + length], output.log_probs[row, :length])
        outside = torch.eye(len(LABELS))[0].expand(len(others), -1)
        torch.testing.assert_close(spread["logits"][row, others].exp(), outside, atol=1e-30, rtol=0)
        assert (spread["predictions"][row, others] == -100).all()
        assert not spread["start_probs"][row, others].any() and not spread["end_probs"][row, others].any()
        assert torch.equal(spread["end_probs"][row, start : start + length], output.end_probs[row, :length])


@SCHEMES
@given(tags=st.lists(st.sampled_from(LABELS), min_size=1, max_size=9))
def test_gold_becomes_the_states_of_the_repaired_tags(scheme, tags):
    states = state_names(["x", "y"], scheme)
    ids = torch.tensor([[LABELS.index(tag) for tag in tags]])
    converted = LabelStates(LABELS, states).to_states(ids, torch.ones_like(ids, dtype=torch.bool))
    expected = bio_to_bioes(tags) if scheme == "bioes" else repair_bio(tags)[0]
    assert [states[state] for state in converted[0].tolist()] == expected


def test_gold_outside_the_mask_is_unobserved():
    ids = torch.tensor([[1, 2, 2, 2]])
    converted = LabelStates(LABELS, state_names(["x", "y"], "bioes")).to_states(
        ids.where(text_mask()[1:2], torch.tensor(-100)), text_mask()[1:2]
    )
    assert converted.tolist() == [[1, 3, -100, -100]]  # B-x E-x


@pytest.mark.parametrize("label", [-1, 5, -99])
def test_labels_that_do_not_exist_are_refused(label):
    tables = LabelStates(LABELS, LABELS)
    tables.check(torch.tensor([[0, 4, -100]]))
    with pytest.raises(ValueError, match=f"must be 0 to 4 or -100, found {label} at row 1, text position 0"):
        tables.check(torch.tensor([[0, 0], [label, 0]]))


@pytest.mark.parametrize("head", [crf_head("bioes"), softmax_head()], ids=["crf", "softmax"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_an_error_that_says_where(head, value):
    states = hidden()
    states[1, 1] = value
    with pytest.raises(ValueError, match="emissions must be finite, found nan or infinity at row 1, .*position 1"):
        head(states, text_mask(), None)
    with torch.no_grad(), pytest.raises(ValueError, match="must be finite"):
        head(states, text_mask(), gold([0] * 4, [0] * 2, [], [0]))


def test_nan_transitions_are_an_error():
    head = crf_head("bioes")
    head.crf.transitions.data[0, 1] = math.nan
    with pytest.raises(ValueError, match="transitions must be finite"):
        head(hidden(), text_mask(), None)


def test_tables_are_written_again_after_the_meta_device():
    states = state_names(["x", "y"], "bioes")
    with torch.device("meta"):
        tables = LabelStates(LABELS, states)
    tables.to_empty(device="cpu")
    tables.fill()
    for name, table in LabelStates(LABELS, states).named_buffers():
        assert torch.equal(table, getattr(tables, name)), name


@SCHEMES
def test_the_crf_is_constrained_to_the_scheme(scheme):
    crf = crf_head(scheme).crf
    allowed = allowed_transitions(state_names(["x", "y"], scheme))
    assert (crf.transition_penalties == 0).tolist() == allowed.transitions
    assert (crf.start_penalties == 0).tolist() == allowed.starts
    assert (crf.end_penalties == 0).tolist() == allowed.ends
