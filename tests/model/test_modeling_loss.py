"""Loss and gradients: every parameter learns, and how a batch is cut or computed makes no difference."""

import pytest
import torch
from torch import nn

from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import spans_to_bio

EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES)
GOLD = {
    "四肢红斑块": [(2, 4, "Disease")],
    "他克莫司软膏": [(0, 4, "Drug"), (4, 6, "Drug")],
    "痒": [(0, 1, "Disease")],
    "反复红斑伴瘙痒3年": [(2, 4, "Disease"), (5, 7, "Disease")],
    "": [],
    "红膏": [],
    "瘙痒反复": [(0, 2, "Disease")],
    "外用他克莫司": [(2, 6, "Drug")],
}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def batch_of(tokenizer, model, texts) -> dict[str, torch.Tensor]:
    inputs = dict(tokenizer(list(texts), padding=True, return_tensors="pt"))
    inputs["labels"] = torch.full_like(inputs["input_ids"], -100)
    for row, text in enumerate(texts):
        tags = spans_to_bio(GOLD[text], len(text))
        inputs["labels"][row, 1 : len(text) + 1] = torch.tensor([model.config.label2id[tag] for tag in tags])
    return inputs


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=0, msg=lambda text: f"{name}: {text}")  # noqa: B023


def step(model, *batches, **kwargs) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for inputs in batches:
        model(**inputs, **kwargs).loss.backward()
    return gradients(model)


@EVERY
@pytest.mark.parametrize("options", [{}, {"word_layer": "transformer", "stream_fusion": "concat"}])
def test_every_parameter_learns(architecture, options, build, tokenizer):
    model = build(architecture, **options).train()
    model(**batch_of(tokenizer, model, GOLD)).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@EVERY
def test_loss_is_the_mean_over_labelled_tokens(architecture, build, tokenizer):
    model = build(architecture)
    together = batch_of(tokenizer, model, GOLD)
    total = sum(model(**batch_of(tokenizer, model, [text])).loss.item() * len(text) for text in GOLD)
    assert model(**together).loss.item() == pytest.approx(total / sum(map(len, GOLD)), abs=1e-5)


def test_softmax_loss_is_cross_entropy(build, tokenizer):
    model = build("bert-softmax")
    inputs = batch_of(tokenizer, model, GOLD)
    output = model(**inputs)
    expected = nn.functional.cross_entropy(output.logits.flatten(0, 1), inputs["labels"].flatten())
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-softmax", "bilstm-crf"])
def test_two_batches_of_four_give_the_gradient_of_eight(architecture, build, tokenizer):
    """With the Trainer's `num_items_in_batch`, whether it comes as a number or a tensor."""
    model = build(architecture, encoder=STILL, head_dropout=0.0).train()
    texts = list(GOLD)
    whole = step(model, batch_of(tokenizer, model, texts))
    halves = [batch_of(tokenizer, model, texts[:4]), batch_of(tokenizer, model, texts[4:])]
    items = sum(int((half["labels"] != -100).sum()) for half in halves)
    assert_close(step(model, *halves, num_items_in_batch=items), whole)
    assert_close(step(model, *halves, num_items_in_batch=torch.tensor(items)), whole)
    apart = step(model, *halves)
    assert max((apart[name] - whole[name]).abs().max() for name in whole) > 1e-3


@EVERY
def test_training_and_evaluation_have_one_loss(architecture, build, tokenizer):
    model = build(architecture, encoder=STILL, head_dropout=0.0)
    inputs = batch_of(tokenizer, model, GOLD)
    evaluated = step(model, inputs)
    loss = model(**inputs).loss
    torch.testing.assert_close(model.train()(**inputs).loss, loss)
    assert_close(step(model, inputs), evaluated)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**inputs).loss, loss)


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-softmax"])
def test_nothing_labelled_is_no_loss(architecture, build, tokenizer):
    model = build(architecture)
    inputs = batch_of(tokenizer, model, GOLD)
    inputs["labels"].fill_(-100)
    for items in (None, 0, torch.tensor(0)):
        model.zero_grad()
        loss = model(**inputs, num_items_in_batch=items).loss
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-5)
        assert all(weight.grad.abs().max() < 1e-5 for weight in model.parameters() if weight.grad is not None)


def test_labels_of_special_tokens_and_padding_do_not_count(build, tokenizer):
    for architecture in ("m-dscmg", "bert-softmax"):
        model = build(architecture)
        inputs = batch_of(tokenizer, model, GOLD)
        other = {**inputs, "labels": inputs["labels"].masked_fill(inputs["attention_mask"] == 0, 3)}
        other["labels"][:, 0] = 1
        torch.testing.assert_close(model(**other).loss, model(**inputs).loss)


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-softmax"])
@pytest.mark.parametrize("label", [5, -1])
def test_labels_that_do_not_exist_are_refused(architecture, label, build, tokenizer):
    model = build(architecture)
    inputs = batch_of(tokenizer, model, GOLD)
    inputs["labels"][1, 3] = label
    with pytest.raises(ValueError, match=f"must be 0 to 4 or -100, found {label} at row 1, text position 2"):
        model(**inputs)


def test_an_i_without_b_is_read_as_b(build, tokenizer):
    model = build("m-dscmg")
    inputs = batch_of(tokenizer, model, ["四肢红斑块"])
    stray = {**inputs, "labels": inputs["labels"].clone()}
    begin, inside = (model.config.label2id[f"{prefix}-Disease"] for prefix in "BI")
    assert stray["labels"][0, 3:5].tolist() == [begin, inside]
    stray["labels"][0, 3] = inside
    assert model(**stray).loss.item() == model(**inputs).loss.item()


def test_an_unobserved_label_is_summed_over(build, tokenizer, label_paths):
    model = build("bert-crf")
    text = "红膏"
    inputs = batch_of(tokenizer, model, [text])  # O O
    inputs["labels"][0, 2] = -100
    output = model(**inputs)
    paths = label_paths(model.head, output.emissions[0, :2])
    expected = -torch.tensor(sum(probability for tags, probability in paths if tags[0] == "O")).log()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)  # one labelled token


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-bilstm-crf"])
def test_activation_checkpointing_changes_no_gradient(architecture, build, tokenizer):
    model = build(architecture, encoder=STILL, head_dropout=0.0).train()
    inputs = batch_of(tokenizer, model, GOLD)
    expected = step(model, inputs)
    calls = []
    model.adner.encoder.encoder.layer[0].attention.self.query.register_forward_pre_hook(lambda *_: calls.append(1))
    step(model, inputs)
    assert len(calls) == 1
    model.activation_checkpointing_enable()
    assert_close(step(model, inputs), expected, tolerance=1e-7)
    assert len(calls) == 3  # once forward, once more for the gradient


@EVERY
def test_autocast_keeps_the_crf_in_float32(architecture, build, tokenizer):
    """Also with an empty text in the batch, whose attention has nothing to look at."""
    model = build(architecture, encoder=STILL, head_dropout=0.0).train()
    inputs = batch_of(tokenizer, model, GOLD)
    exact = model(**inputs).loss.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs)
    assert output.loss.dtype == output.logits.dtype == output.emissions.dtype == torch.float32
    assert output.loss.item() == pytest.approx(exact, rel=0.1)
    torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(output.logits.shape[:2]))
    output.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    if model.config.use_crf:
        tags = torch.zeros(output.text_mask.shape, dtype=torch.long)
        plain = model.head.crf.log_likelihood(output.emissions, tags, output.text_mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model.head.crf.log_likelihood(output.emissions, tags, output.text_mask), plain)


def test_a_gold_that_is_learned(build, tokenizer):
    """A few steps on a few texts make their tags the prediction."""
    model = build("m-dscmg", encoder=STILL, head_dropout=0.0).train()
    inputs = batch_of(tokenizer, model, list(GOLD)[:4])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(model(**inputs).loss)
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 3
    with torch.no_grad():
        output = model.eval()(**inputs)
    right = (output.predictions == inputs["labels"])[inputs["labels"] >= 0]
    assert right.float().mean() > 0.8  # a third are O
