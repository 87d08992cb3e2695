"""What is explained: values against probabilities computed by hand, gradients, and errors."""

import math

import pytest
import torch

from hf_adner.explain.targets import SMALLEST, EntityTokens, LabelTable, Tagging, Target, log_odds

LABELS = ["O", "B-Disease", "I-Disease", "B-Drug", "I-Drug"]


@pytest.fixture
def tagging() -> Tagging:
    torch.manual_seed(0)
    return Tagging((3 * torch.randn(2, 6, 5)).log_softmax(-1))


def logit(p: float) -> float:
    p = SMALLEST + (1 - 2 * SMALLEST) * p
    return math.log(p) - math.log(1 - p)


def test_label_sums_the_log_odds_of_the_entitys_labels(tagging):
    places = [EntityTokens(0, 1, 4, "Disease", 4), EntityTokens(1, 2, 3, "Drug", 3)]
    probs = tagging.log_probs.double().exp()
    expected = [sum(logit(float(probs[0, t, k])) for t, k in ((1, 1), (2, 2), (3, 2))), logit(float(probs[1, 2, 3]))]
    assert Target("label", LabelTable(LABELS))(tagging, places).tolist() == pytest.approx(expected, rel=1e-5)


def test_log_odds_are_bounded_and_keep_a_gradient():
    logits = torch.tensor([[30.0, 0.0, 0.0], [-60.0, 0.0, 0.0], [16.0, 0.0, 0.0]], requires_grad=True)
    odds = log_odds(logits.log_softmax(-1), [0, 0, 0])
    bound = math.log((1 - SMALLEST) / SMALLEST)
    assert odds[:2].tolist() == pytest.approx([bound, -bound], rel=1e-4)
    (gradient,) = torch.autograd.grad(odds.sum(), logits)
    assert gradient.isfinite().all() and gradient[2, 0] > 0.1


def test_log_odds_near_one_keep_their_digits():
    logits = torch.tensor([[11.0, 0.0, 0.0]])  # 1 - P = 3.3e-5, of which float32 differences keep three digits
    assert float(log_odds(logits.log_softmax(-1), [0])) == pytest.approx(logit(1 / (1 + 2 * math.exp(-11))), rel=1e-5)


def test_start_contrasts_with_outside_and_inside(tagging):
    place = EntityTokens(0, 2, 4, "Disease", 4)
    o, b, i = tagging.log_probs[0, 2, :3].tolist()
    assert Target("start", LabelTable(LABELS))(tagging, [place]).item() == pytest.approx(b - max(o, i), abs=1e-3)


def test_end_of_independent_tokens(tagging):
    place = EntityTokens(0, 2, 4, "Disease", 4)
    probs = tagging.log_probs[0].exp().tolist()
    within, goes_on = probs[3][1] + probs[3][2], probs[4][2]
    expected = math.log(within * (1 - goes_on)) - math.log(max(probs[3][0], within * goes_on))
    assert Target("end", LabelTable(LABELS))(tagging, [place]).item() == pytest.approx(expected, abs=1e-3)


def test_end_of_the_text_cannot_go_on(tagging):
    place = EntityTokens(0, 2, 4, "Disease", -1)
    probs = tagging.log_probs[0, 3].exp().tolist()
    expected = math.log(probs[1] + probs[2]) - math.log(probs[0])
    assert Target("end", LabelTable(LABELS))(tagging, [place]).item() == pytest.approx(expected, abs=1e-3)


def test_boundaries_are_the_crfs_own(build):
    """The end of a chain follows from unigram marginals; the model has it from its BIOES states."""
    model, tokenizer, texts, _ = case = build("bert-crf")
    inputs = tokenizer([texts[2]], return_tensors="pt")
    outputs = model(**inputs)
    target = Target("label", case.tagger.labels)
    is_text = torch.tensor([False] + [True] * len(texts[2]) + [False])
    pairs = [target.boundaries(outputs.logits[0].float(), is_text, label) for label in ("Disease", "Drug")]
    torch.testing.assert_close(sum(starts for starts, _ in pairs), outputs.start_probs[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(sum(ends for _, ends in pairs), outputs.end_probs[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax"])
def test_span_is_the_pipelines_score(build, architecture):
    from hf_adner import AdnerPipeline

    case = build(architecture)
    found = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)(case.texts[4])
    assert found
    spans = [(one["start"], one["end"], one["entity_group"]) for one in found]
    tagger = case.tagger
    batch = tagger.encode(case.texts, tagger.windows(4, case.texts[4], spans))
    target = Target("span", tagger.labels, case.model.entity_log_posteriors)
    values = target(tagger.tag(batch.inputs), [batch.tokens_of(0, span) for span in spans])
    assert values.exp().tolist() == pytest.approx([one["score"] for one in found], abs=1e-5)


@pytest.mark.parametrize("name", ["label", "start", "end"])
def test_many_entities_are_scored_as_each_alone(tagging, name):
    target = Target(name, LabelTable(LABELS, is_chain=True))
    places = [EntityTokens(0, 1, 4, "Disease", 4), EntityTokens(1, 2, 3, "Drug", -1), EntityTokens(0, 4, 5, "Drug", 5)]
    together = target(tagging, places)
    assert together.tolist() == pytest.approx([target(tagging, [place]).item() for place in places], abs=1e-6)
    assert target(tagging, []).shape == (0,)


@pytest.mark.parametrize("is_chain", [True, False])
def test_edges_are_the_boundaries_at_the_entitys_own_tokens(tagging, is_chain):
    target = Target("label", LabelTable(LABELS, is_chain=is_chain))
    places = [EntityTokens(0, 1, 4, "Disease", 4), EntityTokens(1, 2, 3, "Drug", 3)]
    everything = torch.ones(tagging.log_probs.shape[1], dtype=torch.bool)
    starts, ends = target.edges(tagging, places)
    for place, start, end in zip(places, starts, ends):
        all_starts, all_ends = target.boundaries(tagging.log_probs[place.row], everything, place.label)
        assert start.item() == pytest.approx(all_starts[place.start].item(), abs=1e-6)
        assert end.item() == pytest.approx(all_ends[place.end - 1].item(), abs=1e-6)
    assert [values.shape for values in target.edges(tagging, [])] == [(0,), (0,)]


def test_errors():
    table = LabelTable(LABELS)
    with pytest.raises(ValueError, match="'probability' is unknown"):
        Target("probability", table)
    with pytest.raises(ValueError, match="needs an AdnerForTokenClassification"):
        Target("span", table)
    with pytest.raises(ValueError, match="does not have the label 'Tumour'.*Disease"):
        table.check("Tumour")
    with pytest.raises(ValueError, match="BIO labels"):
        LabelTable(["O", "B-x", "I-x", "E-x"])
    with pytest.raises(ValueError, match="LABEL_0"):
        LabelTable(["LABEL_0", "LABEL_1"])
    with pytest.raises(ValueError, match="B-x and I-x"):
        LabelTable(["O", "I-x"])
