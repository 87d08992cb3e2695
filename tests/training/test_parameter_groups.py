"""Learning rates by part of the network."""

import pytest
from transformers import BertConfig, BertForTokenClassification

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.training.trainer import AdnerTrainer, parameter_groups, part_of

from .corpus import quick

ENCODER = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def model():
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"], lexicon=Lexicon(["红斑"]))
    return AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "m-dscmg", encoder_config=ENCODER)


def test_each_part_has_its_rate_and_every_parameter_one_group(model, tmp_path):
    args = quick(tmp_path, learning_rate=1e-5, head_learning_rate=2e-4, crf_learning_rate=3e-3, weight_decay=0.1)
    optimizer = AdnerTrainer(model=model, args=args).create_optimizer()
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(rate) == len(list(model.parameters()))
    expected = {"encoder": 1e-5, "head": 2e-4, "crf": 3e-3}
    for name, parameter in model.named_parameters():
        assert rate[id(parameter)] == expected[part_of(model, name)], name
    assert {part_of(model, name) for name, _ in model.named_parameters()} == set(expected)
    assert part_of(model, "head.crf.transitions") == "crf"
    assert part_of(model, "adner.graph.update.weight_ih") == "head"


def test_rates_left_out_fall_back_on_the_part_below(model, tmp_path):
    args = quick(tmp_path, learning_rate=1e-5, head_learning_rate=None, crf_learning_rate=None)
    assert {group["lr"] for group in parameter_groups(model, args, [])} == {1e-5}


def test_embeddings_biases_and_norms_do_not_decay(model, tmp_path):
    trainer = AdnerTrainer(model=model, args=quick(tmp_path, weight_decay=0.1))
    groups = [group for group in trainer.create_optimizer().param_groups if group["weight_decay"]]
    decays = {id(parameter) for group in groups for parameter in group["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decays}
    assert "adner.graph.message.weight" in names
    assert not any("embeddings.weight" in name or "bias" in name or "norm" in name.lower() for name in names)


def test_a_model_without_encoder_is_all_head(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"])
    assert {part_of(model, name) for name, _ in model.named_parameters()} == {"head", "crf"}


def test_a_stock_model_is_parted_by_its_prefix():
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    model = BertForTokenClassification(config)
    assert part_of(model, "bert.embeddings.word_embeddings.weight") == "encoder"
    assert part_of(model, "classifier.weight") == "head"
