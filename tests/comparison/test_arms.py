"""Arms and their variants, and model families of a comparison."""

from dataclasses import fields

import pytest
import torch
from transformers import BertConfig, BertModel

from hf_adner import AdnerForTokenClassification
from hf_adner.comparison.arms import (
    ARMS,
    CONTROL_ARMS,
    CORE,
    MODEL_FAMILIES,
    STOCK,
    family_arguments,
    family_model,
    family_tokenizer,
    make_arm,
    make_arms,
)
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments

from ..corpora import note, tiny_model

DEFAULTS = ExplanationGuidedTrainingArguments


def arguments(tmp_path, **options):
    return DEFAULTS(output_dir=str(tmp_path), use_cpu=True, **options)


@pytest.mark.parametrize("name", list(ARMS))
def test_every_arm_can_be_applied_without_changing_the_arguments(name, tmp_path):
    before = arguments(tmp_path, learning_rate=3e-4)
    after = ARMS[name].apply(before, seed=7)
    assert {field: getattr(after, field) for field in ARMS[name].overrides} == dict(ARMS[name].overrides)
    assert (after.seed, before.seed, after.learning_rate) == (7, 42, 3e-4)
    assert before.stability_share == DEFAULTS.stability_share


def test_arms_differ_from_each_other(tmp_path):
    def overridden_values(name):
        args = ARMS[name].apply(arguments(tmp_path))
        return tuple(getattr(args, field.name) for field in fields(args) if field.init and field.name in overridden)

    overridden = {name for arm in ARMS.values() for name in arm.overrides}
    assert len({overridden_values(name) for name in ARMS}) == len(ARMS)


def test_plain_is_plain_whatever_the_shared_arguments_are(tmp_path):
    args = ARMS["plain"].apply(arguments(tmp_path, edited_share=0.5, boundary_scale=3.0))
    assert not args.is_guided
    for name in ("fgm", "free-adversarial", "r-drop", "augmentation-only"):
        args = ARMS[name].apply(arguments(tmp_path))
        assert args.is_guided and not args.remembers, name
    assert ARMS["full-without-stability"].apply(arguments(tmp_path)).remembers


def test_core_and_controls_are_arms():
    assert {*CORE, *CONTROL_ARMS} <= set(ARMS)


def test_a_variant_extends_its_base():
    arm = make_arm("full-without-stability:ramp_share=0.25,fusion=none")
    assert arm.overrides == {"stability_share": 0.0, "ramp_share": 0.25, "fusion": "none"}
    assert arm.slug == "full-without-stability-ramp-share=0.25-fusion=none"


@pytest.mark.parametrize(
    ("spec", "message"),
    [("fuller", "unknown arm 'fuller', expected one of plain"), ("full:ramp_share", "name=value")],
)
def test_invalid_specifications_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_arm(spec)


def test_unknown_fields_and_repeated_arms_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sets \['speed'\], which ExplanationGuidedTrainingArguments does not have"):
        make_arm("full:speed=9").apply(arguments(tmp_path))
    with pytest.raises(ValueError, match="different names"):
        make_arms(["full", "full"])


TYPES = ["Disease", "Symptom"]


@pytest.fixture(scope="module")
def train():
    return dataset_from_documents(map(note, range(8)))


@pytest.mark.parametrize("family", [STOCK, "bert-crf", "bilstm-crf", "m-dscmg"])
def test_every_family_reads_the_same_characters(family, train):
    args = tiny_model()
    tokenizer = family_tokenizer(args, family, train)
    model = family_model(args, family, tokenizer, TYPES)
    assert (tokenizer.lexicon is not None) == (family == "m-dscmg")
    assert isinstance(model, AdnerForTokenClassification) == (family != STOCK)
    text = note(1).text
    batch = tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        assert model(**batch).logits.shape == (1, len(text) + 2, 5)
    assert model.config.id2label[1] == "B-Disease" and model.config.label2id["I-Symptom"] == 4


def test_the_stock_classifier_uses_the_pretrained_encoder(train, tmp_path):
    tokenizer = family_tokenizer(tiny_model(), STOCK, train)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    encoder = BertModel(config)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    args = tiny_model(encoder=str(tmp_path), encoder_layers=2, encoder_dropout=0.0)
    model = family_model(args, STOCK, family_tokenizer(args, STOCK, train), TYPES)
    assert type(model).__name__ == "BertForTokenClassification" and len(model.bert.encoder.layer) == 2
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight)
    assert model.config.hidden_dropout_prob == 0.0 and model.num_labels == 5


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="unknown model family 'gpt', expected one of stock, m-dscmg"):
        family_arguments(tiny_model(), "gpt")
    assert set(MODEL_FAMILIES) > {"stock", "m-dscmg", "bilstm-crf"}
