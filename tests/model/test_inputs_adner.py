"""Inputs that a model cannot take end in an error that names them, not in one of PyTorch."""

import pytest
import torch

from hf_adner.model.encoders_adner import position_limit

WITH_ENCODER = ["m-dscmg", "bert-softmax", "bert-crf"]


@pytest.fixture(scope="module", params=[*WITH_ENCODER, "bilstm-crf"])
def model(request, build):
    return build(request.param)


@pytest.fixture
def inputs(tokenizer, texts):
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


def changed(inputs, name, value):
    """Put a value into the first row of an input."""
    tensor = inputs[name].clone()
    tensor[0, 0] = value
    return {**inputs, name: tensor}


def test_what_is_right_passes(model, inputs):
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize("value", [-1, 10**6])
def test_ids_outside_the_vocabulary(model, inputs, value):
    size = model.config.vocab_size
    with pytest.raises(ValueError, match=rf"input_ids contains {value}, expected 0 to {size - 1}"):
        model(**changed(inputs, "input_ids", value))
    with pytest.raises(ValueError, match="input_ids must be integers, found torch.float32"):
        model(**{**inputs, "input_ids": inputs["input_ids"].float()})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lexicon_ids", 8, "lexicon_ids contains 8, expected 0 to 7: the model's lexicon has 7 words"),
        ("lexicon_ids", -1, "lexicon_ids contains -1"),
        ("lexicon_starts", -1, "lexicon_starts contains -1"),
        ("lexicon_ends", 999, "lexicon_ends contains 999"),
    ],
)
@pytest.mark.parametrize("architecture", ["m-dscmg", "m-dscmg-no-dual-stream"])
def test_words_outside_the_lexicon_or_the_text(build, inputs, name, value, message, architecture):
    model = build(architecture, use_lexicon_edges=True)
    with pytest.raises(ValueError, match=message):
        model(**changed(inputs, name, value))


def test_matches_of_different_shapes(build, inputs):
    model = build("m-dscmg")
    for name in ("lexicon_starts", "lexicon_ends"):
        with pytest.raises(ValueError, match="lexicon inputs must be three tensors"):
            model(**{**inputs, name: inputs[name][:, :-1]})
        with pytest.raises(ValueError, match="lexicon inputs must be three tensors"):
            model(**{**inputs, name: None})


def test_no_row_and_no_token(model, inputs):
    for rows, tokens in ((0, 9), (2, 0)):
        empty = {"input_ids": torch.ones(rows, tokens, dtype=torch.long)}
        with pytest.raises(ValueError, match=rf"the shape \({rows}, {tokens}\): expected at least one row"):
            model(**{**{name: tensor[:rows] for name, tensor in inputs.items()}, **empty, "attention_mask": None})


def test_one_row_without_its_axis(model, inputs):
    with pytest.raises(ValueError, match=r"the input has the shape \(11,\), expected \(batch, tokens\)"):
        model(input_ids=inputs["input_ids"][0])
    for both in ({}, {"input_ids": inputs["input_ids"], "inputs_embeds": torch.zeros(5, 11, 8)}):
        with pytest.raises(ValueError, match="give exactly one of input_ids and inputs_embeds"):
            model(**both)


@pytest.mark.parametrize("name", ["attention_mask", "token_type_ids", "labels"])
def test_other_shapes_than_the_ids(model, inputs, name):
    with pytest.raises(ValueError, match=rf"{name} has the shape \(5, 10\), expected that of the input, \(5, 11\)"):
        model(**{**inputs, name: inputs["input_ids"][:, :-1]})


@pytest.mark.parametrize("architecture", WITH_ENCODER)
@pytest.mark.parametrize("encoder", [{}, {"model_type": "roberta", "pad_token_id": 1}])
def test_more_tokens_than_positions(build, tokenizer, architecture, encoder):
    model = build(architecture, encoder=encoder)
    limit = position_limit(model)
    fitting, longer = (tokenizer(["痒" * (length - 2)], return_tensors="pt") for length in (limit, limit + 1))
    assert model(**fitting).logits.shape[1] == limit
    with pytest.raises(ValueError, match=f"the input has {limit + 1} tokens, the encoder has positions for {limit}"):
        model(**longer)


def test_without_positions_any_length_passes(build, tokenizer):
    inputs = tokenizer(["痒" * 700], return_tensors="pt")
    assert build("bilstm-crf")(**inputs).logits.shape[1] == 702
