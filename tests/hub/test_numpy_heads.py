"""The NumPy heads find what the pipeline finds, with the same scores."""

import numpy as np
import pytest
import torch

from hf_adner.model.configuration_adner import AdnerConfig
from hf_adner.model.crf_adner import AdnerCRF
from hf_adner.model.heads_adner import CrfHead, SoftmaxHead
from hf_adner.model.labels_adner import allowed_transitions, bio_labels, span_states, state_names, tags_to_spans
from hf_adner.serve.onnx_tagger import NumpyCrf, make_head

TYPES = ["病", "药"]


def scores(crf):
    return {
        "starts": crf.start_transitions.tolist(),
        "ends": crf.end_transitions.tolist(),
        "transitions": crf.transitions.tolist(),
    }


def random_crf(scheme: str, scale: float) -> tuple[AdnerCRF, list[str]]:
    states = state_names(TYPES, scheme)
    crf = AdnerCRF(len(states), allowed_transitions(states))
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.randn(parameter.shape) * scale)
    return crf, states


@pytest.mark.parametrize("scheme", ["bioes", "bio"])
@pytest.mark.parametrize("length", [1, 2, 13])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_crf_agrees_with_that_of_pytorch(scheme, length, scale):
    torch.manual_seed(length)
    crf, states = random_crf(scheme, scale)
    ours = NumpyCrf(states, scores(crf))
    emissions = torch.randn(9, length, len(states), dtype=torch.float64) * scale
    lengths = torch.arange(9) % length + 1
    mask = torch.arange(length) < lengths[:, None]
    assert ours.best_paths(emissions.numpy(), lengths.numpy()) == crf.decode(emissions, mask)
    marginals = ours.messages(emissions.numpy(), lengths.numpy()).marginals()
    expected = crf.log_marginals(emissions, mask).exp().detach().numpy()
    np.testing.assert_allclose(marginals[mask], expected[mask], atol=1e-6)


def head_and_record(kind: str, scheme: str):
    labels = bio_labels(TYPES)
    config = AdnerConfig(
        architecture="bilstm-crf",
        use_crf=kind == "crf",
        tag_scheme=scheme,
        bilstm_size=8,
        id2label=dict(enumerate(labels)),
    )
    head = (CrfHead if kind == "crf" else SoftmaxHead)(config).eval()
    if kind == "crf":
        head.crf, _ = random_crf(scheme, 1.0)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.randn(head.classifier.weight.shape) * 1.5)
        head.classifier.bias.zero_()
    record = {"labels": labels, "states": config.states, "crf": scores(head.crf) if kind == "crf" else None}
    return head, record


@pytest.mark.parametrize(("kind", "scheme"), [("crf", "bioes"), ("crf", "bio"), ("softmax", "bio")])
def test_entities_and_scores_agree_with_the_models_heads(kind, scheme):
    torch.manual_seed(3)
    head, record = head_and_record(kind, scheme)
    ours, seen = make_head(record), 0
    for _ in range(12):
        hidden, mask = torch.randn(1, 9, 8), torch.ones(1, 9, dtype=torch.bool)
        with torch.no_grad():
            output = head(hidden, mask, None)
            emissions = head.classifier(hidden)[0].numpy()
        spans = tags_to_spans([record["labels"][label] for label in output.predictions[0].tolist()])
        (found,) = ours.entities(emissions[None], np.array([9]))
        assert [(one.start, one.end, one.label) for one in found] == spans
        places = [(0, *span) for span in spans]
        posteriors = head.entity_log_posteriors(output.emissions, mask, places).exp().tolist()
        starts, ends = output.start_probs[0].tolist(), output.end_probs[0].tolist()
        for one, posterior in zip(found, posteriors, strict=True):
            assert one.score == pytest.approx(posterior, abs=1e-5)
            assert one.start_score == pytest.approx(starts[one.start], abs=1e-5)
            assert one.end_score == pytest.approx(ends[one.end - 1], abs=1e-5)
        seen += len(found)
    assert seen > 12


def test_a_span_that_must_not_go_on_is_closed_at_the_end_of_the_row():
    torch.manual_seed(0)
    crf, states = random_crf("bio", 1.0)
    ours, emissions = NumpyCrf(states, scores(crf)), np.random.default_rng(0).normal(size=(3, len(states)))
    wanted, forbidden = span_states(states, "病", 2)
    messages = [one[0] for one in ours.messages(emissions[None], np.array([3]))]
    at_end = ours.span_log_posterior(emissions, messages, 1, wanted, forbidden)
    assert at_end == pytest.approx(ours.span_log_posterior(emissions, messages, 1, wanted))
    before = ours.span_log_posterior(emissions, messages, 0, wanted, forbidden)
    assert before < ours.span_log_posterior(emissions, messages, 0, wanted)


def test_scores_of_another_size_are_refused():
    crf, states = random_crf("bioes", 1.0)
    with pytest.raises(ValueError, match=r"starts of a CRF of 9 states have shape \(2,\)"):
        NumpyCrf(states, {**scores(crf), "starts": [0.0, 0.0]})
    with pytest.raises(ValueError, match=r"transitions of .* \(1, 1\)"):
        NumpyCrf(states, {**scores(crf), "transitions": [[0.0]]})
