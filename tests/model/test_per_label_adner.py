"""The per-label head against enumeration of each chain, torchcrf, and the flat head where the two must agree."""

import itertools
import math

import pytest
import torch
import torchcrf

from hf_adner import AdnerConfig
from hf_adner.model.heads_adner import CrfHead
from hf_adner.model.labels_adner import UNOBSERVED, allowed_transitions, bio_labels, spans_to_bio, tags_to_spans
from hf_adner.model.per_label_adner import PerLabelHead

TYPES = ["x", "y", "z"]
LABELS = bio_labels(TYPES)
LENGTHS = [3, 2, 0, 1]
SCHEMES = pytest.mark.parametrize("scheme", ["bioes", "bio"])
TOLERANCE = {"atol": 1e-5, "rtol": 0}


def configure(scheme: str, types=TYPES, **kwargs) -> AdnerConfig:
    id2label = dict(enumerate(bio_labels(types)))
    return AdnerConfig(architecture="bilstm-crf", bilstm_size=6, id2label=id2label, tag_scheme=scheme, **kwargs)


def random_head(kind, config, seed: int = 0):
    torch.manual_seed(seed)
    head = kind(config).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def hidden(rows: int = len(LENGTHS), length: int = max(LENGTHS)) -> torch.Tensor:
    return torch.randn(rows, length, 6, generator=torch.Generator().manual_seed(2))


def text_mask() -> torch.Tensor:
    return torch.tensor([[position < length for position in range(max(LENGTHS))] for length in LENGTHS])


def chain(output, row: int, number: int, types: int = len(TYPES)) -> torch.Tensor:
    """Emissions (length, states) of one type's chain in one row."""
    return output.emissions[row, : LENGTHS[row]].unflatten(-1, (types, -1))[:, number]


def own(tags: tuple[str, ...], name: str) -> list[str]:
    """Tags of a chain, of `entity`, in the names of its type."""
    return [tag.replace("entity", name) for tag in tags]


@pytest.fixture(params=["bioes", "bio"])
def answered(request, label_paths):
    """A head, its answer, and per row and type the label sequences of the chain with their probabilities."""
    head = random_head(PerLabelHead, configure(request.param, tagging="per-label"))
    output = head(hidden(), text_mask(), None)
    paths = [
        [
            [(own(tags, name), value) for tags, value in label_paths(head, chain(output, row, number))]
            for number, name in enumerate(TYPES)
        ]
        for row in range(len(LENGTHS))
    ]
    return head, output, paths


def places(lengths=LENGTHS):
    return [(row, number, name) for row in range(len(lengths)) for number, name in enumerate(TYPES)]


def test_marginals_of_each_chain_sum_over_its_sequences(answered):
    _, output, paths = answered
    for row, number, name in places():
        for position in range(LENGTHS[row]):
            expected = [
                sum(value for tags, value in paths[row][number] if tags[position] == label)
                for label in ("O", f"B-{name}", f"I-{name}")
            ]
            found = output.chain_log_probs[row, position, number].exp().tolist()
            assert found == pytest.approx(expected, abs=1e-5)


def test_boundaries_of_each_label_sum_over_its_sequences(answered):
    _, output, paths = answered
    assert not output.start_probs[~text_mask()].any() and not output.end_probs[~text_mask()].any()
    for row, number, _ in places():
        for position in range(LENGTHS[row]):
            spans = [(tags_to_spans(tags), value) for tags, value in paths[row][number]]
            starts = sum(value for found, value in spans if position in {start for start, _, _ in found})
            ends = sum(value for found, value in spans if position + 1 in {end for _, end, _ in found})
            assert output.start_probs[row, position, number].item() == pytest.approx(starts, abs=1e-5)
            assert output.end_probs[row, position, number].item() == pytest.approx(ends, abs=1e-5)


def test_path_of_each_label_is_its_likeliest_sequence(answered):
    _, output, paths = answered
    for row, number, _ in places():
        best = max(paths[row][number], key=lambda pair: pair[1])[0]
        found = output.predictions[row, :, number].tolist()
        assert [LABELS[index] for index in found[: LENGTHS[row]]] == best
        assert set(found[LENGTHS[row] :]) <= {UNOBSERVED}


def test_span_posteriors_and_candidates_sum_over_sequences(answered):
    head, output, paths = answered
    expected = {}
    for row, number, name in places():
        for start, end in itertools.combinations(range(LENGTHS[row] + 1), 2):
            span = (start, end, name)
            expected[row, *span] = sum(value for tags, value in paths[row][number] if span in tags_to_spans(tags))
    found = head.entity_log_posteriors(output.emissions, text_mask(), list(expected)).exp().tolist()
    assert found == pytest.approx(list(expected.values()), abs=1e-5)
    likely = head.likely_entities(output.emissions, text_mask(), 0.1)
    assert {one[:4]: one.posterior for one in likely} == pytest.approx(
        {entity: value for entity, value in expected.items() if value > 0.1}, abs=1e-5
    )
    assert [one[:3] for one in likely] == sorted(one[:3] for one in likely)
    for one in likely:
        number = TYPES.index(one.type)
        assert one.start_prob == pytest.approx(output.start_probs[one.row, one.start, number].item())
        assert one.end_prob == pytest.approx(output.end_probs[one.row, one.end - 1, number].item())
    assert head.entity_log_posteriors(output.emissions, text_mask(), []).shape == (0,)


def test_flat_reading_is_the_joint_distribution_of_disjoint_entities(answered):
    """Of all combinations of the chains' sequences those without overlap, their probabilities made to sum to 1."""
    _, output, paths = answered
    for row, length in enumerate(LENGTHS):
        marginals, total = torch.zeros(length, len(LABELS)), 0.0
        for combination in itertools.product(*paths[row]):
            columns = list(zip(*(tags for tags, _ in combination)))
            if all(sum(tag != "O" for tag in column) <= 1 for column in columns):
                probability = math.prod(value for _, value in combination)
                total += probability
                for position, column in enumerate(columns):
                    marginals[position, LABELS.index(max(column, key=lambda tag: tag != "O"))] += probability
        torch.testing.assert_close(output.log_probs[row, :length].exp(), marginals / total, **TOLERANCE)
    assert torch.equal(output.log_probs[~text_mask()].argmax(-1), torch.zeros(6, dtype=torch.long))


def gold(*rows: dict[str, list[tuple[int, int]]]) -> torch.Tensor:
    """Label ids (batch, text, types) of the spans of each type, -100 behind each row."""
    labels = torch.full((len(rows), max(LENGTHS), len(TYPES)), UNOBSERVED)
    for row, spans in enumerate(rows):
        for number, name in enumerate(TYPES):
            tags = spans_to_bio([(*span, name) for span in spans.get(name, [])], LENGTHS[row])
            labels[row, : LENGTHS[row], number] = torch.tensor([LABELS.index(tag) for tag in tags], dtype=torch.long)
    return labels


NESTED = gold(
    {"x": [(0, 3)], "y": [(1, 2), (2, 3)]}, {"x": [(0, 1)], "y": [(0, 2)], "z": [(1, 2)]}, {}, {"z": [(0, 1)]}
)


def test_likelihood_is_the_product_of_the_chains(answered):
    head, _, paths = answered
    with torch.no_grad():
        likelihood = head(hidden(), text_mask(), NESTED).likelihood
    for row, length in enumerate(LENGTHS):
        sequences = [[LABELS[index] for index in NESTED[row, :length, number]] for number in range(len(TYPES))]
        expected = sum(
            math.log(next(value for tags, value in paths[row][number] if tags == tagged))
            for number, tagged in enumerate(sequences)
        )
        assert likelihood[row].item() == pytest.approx(expected, abs=1e-4)


def test_unobserved_labels_are_summed_over(answered):
    head, _, paths = answered
    partly = NESTED.clone()
    partly[0, 1, 1] = UNOBSERVED
    with torch.no_grad():
        observed, found = (head(hidden(), text_mask(), labels).likelihood[0] for labels in (NESTED, partly))
    fits = [value for tags, value in paths[0][1] if tags[0] == "O" and tags[2] == "B-y"]
    exact = next(value for tags, value in paths[0][1] if tags == ["O", "B-y", "B-y"])
    assert (found - observed).item() == pytest.approx(math.log(sum(fits) / exact), abs=1e-4)


@SCHEMES
def test_likelihood_and_gradient_are_those_of_torchcrf_per_label(scheme):
    head = random_head(PerLabelHead, configure(scheme, tagging="per-label")).train()
    states = head.label_states.states
    stock = torchcrf.CRF(len(states), batch_first=True)
    allowed = allowed_transitions(states)
    with torch.no_grad():
        for name in ("start_transitions", "end_transitions", "transitions"):
            side = {"start_transitions": allowed.starts, "end_transitions": allowed.ends}.get(name, allowed.transitions)
            getattr(stock, name).copy_(getattr(head.crf, name).masked_fill(~torch.tensor(side), -1e6))
    rows = torch.tensor([0, 1, 3])  # torchcrf takes no empty text
    inputs, mask, labels = hidden()[rows].requires_grad_(), text_mask()[rows], NESTED[rows]
    output = head(inputs, mask, labels)
    emissions = head.classifier(inputs).unflatten(-1, (len(TYPES), -1))
    expected = 0.0
    for number in range(len(TYPES)):
        tags = head.label_states.to_states(head.chain_labels.to_chains(labels)[..., number], mask).clamp(min=0)
        expected = expected + stock(emissions[:, :, number], tags, mask, reduction="none")
    torch.testing.assert_close(output.likelihood, expected, atol=1e-4, rtol=1e-5)
    found, wanted = (torch.autograd.grad(side.sum(), inputs, retain_graph=True)[0] for side in (output[0], expected))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert output.log_probs is None and output.predictions is None  # nobody needs them in training


@SCHEMES
def test_one_label_is_the_flat_tagger(scheme):
    """With the same weights: loss and its gradient, path, marginals, boundaries, posteriors and candidates."""
    labels = gold({"x": [(0, 3)]}, {"x": [(0, 1), (1, 2)]}, {}, {})[..., 0]
    flat = random_head(CrfHead, configure(scheme, ["x"]))
    nested = PerLabelHead(configure(scheme, ["x"], tagging="per-label")).eval()
    nested.load_state_dict(flat.state_dict())
    one, other = flat(hidden(), text_mask(), labels), nested(hidden(), text_mask(), labels[..., None])
    for name in ("likelihood", "emissions"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("predictions", "start_probs", "end_probs"):
        assert torch.equal(getattr(one, name), getattr(other, name)[..., 0]), name
    assert torch.equal(one.log_probs, other.chain_log_probs[:, :, 0])
    torch.testing.assert_close(one.log_probs[text_mask()].exp(), other.log_probs[text_mask()].exp(), **TOLERANCE)
    entities = [(0, 0, 3, "x"), (1, 0, 1, "x"), (3, 0, 1, "x")]
    assert torch.equal(*(head.entity_log_posteriors(one.emissions, text_mask(), entities) for head in (flat, nested)))
    assert flat.likely_entities(one.emissions, text_mask(), 0.05) == nested.likely_entities(
        one.emissions, text_mask(), 0.05
    )
    for side, head in ((one, flat), (other, nested)):
        side.likelihood.sum().backward()
        assert head.classifier.weight.grad.any()
    for (name, left), (_, right) in zip(flat.named_parameters(), nested.named_parameters(), strict=True):
        assert torch.equal(left.grad, right.grad), name


def test_flat_reading_passes_its_gradient_on():
    """Captum and others explain `logits`: numerically, also through the scores that follow from the transitions."""
    head = random_head(PerLabelHead, configure("bioes", tagging="per-label")).double()
    weights = torch.randn(2, 3, len(LABELS), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mask = torch.tensor([[True, True, True], [True, True, False]])
    inputs = hidden(2, 3).double()

    def value() -> torch.Tensor:
        emissions = head.classifier(inputs)
        return (head.flat_reading(emissions, mask, head.crf).exp() * weights).sum()

    value().backward()
    for parameter in (head.crf.transitions, head.crf.start_transitions, head.classifier.bias):
        for index in [(0,) * parameter.dim(), (1,) * parameter.dim(), (*(1,) * (parameter.dim() - 1), 2)]:
            with torch.no_grad():
                before = parameter[index].item()
                sides = []
                for step in (1e-5, -1e-5):
                    parameter[index] = before + step
                    sides.append(value().item())
                parameter[index] = before
            expected = (sides[0] - sides[1]) / 2e-5
            assert parameter.grad[index].item() == pytest.approx(expected, abs=1e-6)


def test_gold_of_another_label_is_refused():
    head = random_head(PerLabelHead, configure("bioes", tagging="per-label"))
    wrong = NESTED.clone()
    wrong[1, 0, 2] = LABELS.index("B-x")
    with pytest.raises(ValueError, match=r"column 2 of labels must be \[0, 5, 6\] or -100, found 1 at row 1, text pos"):
        head.check(wrong)
    head.check(NESTED)


def test_unknown_type_is_refused():
    head = random_head(PerLabelHead, configure("bioes", tagging="per-label"))
    with pytest.raises(ValueError, match=r"entity type 'entity' is unknown; the model has \['x', 'y', 'z'\]"):
        head.entity_log_posteriors(torch.zeros(1, 3, 15), torch.ones(1, 3, dtype=torch.bool), [(0, 0, 1, "entity")])


def test_no_head_without_crf_or_label():
    with pytest.raises(ValueError, match="tagging='per-label' needs a CRF"):
        configure("bioes", tagging="per-label", use_crf=False)
    with pytest.raises(ValueError, match="needs an entity type, id2label has none"):
        configure("bioes", [], tagging="per-label")
    with pytest.raises(ValueError, match="tagging='nested' is unknown; expected one of"):
        configure("bioes", tagging="nested")
    assert configure("bio", tagging="per-label").states == [
        state for name in TYPES for state in ("O", f"B-{name}", f"I-{name}")
    ]
