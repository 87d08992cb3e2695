"""What transformers expects of models: comparable outputs, hidden states, checkpointing, predictions of batches."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from hf_adner import AdnerForTokenClassification
from hf_adner.data.encoding import AdnerDataCollator

ARCHITECTURES = ["m-dscmg", "bert-crf", "bert-softmax", "bilstm-crf"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tuple_and_dictionary_hold_the_same_numbers(build, tokenizer, texts, architecture):
    model = build(architecture)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        named = model(**inputs, output_hidden_states=True)
        plain = model(**inputs, output_hidden_states=True, return_dict=False)
    assert len(plain) == len(named.to_tuple())
    for one, two in zip(plain, named.to_tuple()):
        one, two = (values if isinstance(values, tuple) else (values,) for values in (one, two))
        assert all((first - second).abs().max() == 0 for first, second in zip(one, two, strict=True))
    assert named.text_mask.tolist() == [[int(place < len(text)) for place in range(9)] for text in texts]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("by_config", [True, False])
def test_hidden_states_are_given_if_asked_for(build, tokenizer, texts, architecture, by_config):
    model = build(architecture)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    assert model(**inputs).hidden_states is None
    if by_config:
        model.config.output_hidden_states = True
    states = model(**inputs, **({} if by_config else {"output_hidden_states": True})).hidden_states
    assert len(states) == (1 if architecture == "bilstm-crf" else 3)
    assert {state.shape[:2] for state in states} == {inputs["input_ids"].shape}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpointing_is_offered_where_an_encoder_does_it(build, tokenizer, texts, architecture):
    model = build(architecture).train()
    if architecture == "bilstm-crf":
        assert not model.supports_gradient_checkpointing and not model.adner.supports_gradient_checkpointing
        with pytest.raises(ValueError, match="does not support"):
            model.activation_checkpointing_enable()
        return
    model.activation_checkpointing_enable()
    assert model.is_activation_checkpointing
    model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.sum().backward()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_modules_kept_in_float32_exist(build, architecture, tmp_path):
    model = build(architecture)
    names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    assert all(any(kept in name.split(".") for name in names) for kept in model._keep_in_fp32_modules_strict)
    model.save_pretrained(tmp_path)
    half = AdnerForTokenClassification.from_pretrained(tmp_path, dtype=torch.float16)
    kept = {name for name, values in half.state_dict().items() if values.dtype == torch.float32}
    assert kept == {name for name in half.state_dict() if "crf" in name or name.endswith("frequencies")}


@pytest.mark.parametrize("options", [{}, {"eval_accumulation_steps": 1}, {"label_names": ["labels"]}])
def test_the_trainers_predictions_of_batches_of_different_lengths(build, tokenizer, texts, tmp_path, options):
    model = build("bert-crf")
    rows = [{**tokenizer(text), "labels": [-100, *[0] * len(text), -100]} for text in texts]
    args = TrainingArguments(tmp_path, per_device_eval_batch_size=1, report_to=[], use_cpu=True, **options)
    trainer = Trainer(model, args, data_collator=AdnerDataCollator(tokenizer))
    (logits, path), labels, _ = trainer.predict(Dataset.from_list(rows))
    longest = max(map(len, texts)) + 2
    assert logits.shape == (len(texts), longest, 5) and path.shape == labels.shape == (len(texts), longest)
    for row, text in enumerate(texts):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt"))
        tokens = len(text) + 2
        np.testing.assert_allclose(logits[row, :tokens], alone.logits[0], atol=1e-5)
        assert path[row, :tokens].tolist() == alone.predictions[0].tolist()
        assert (path[row, tokens:] == -100).all() and (labels[row, tokens:] == -100).all()
