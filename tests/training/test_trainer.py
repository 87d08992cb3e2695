"""`AdnerTrainer`: model cards, learning rates per part, facts of a run, sampling order and validation scores."""

import json
import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import BertConfig, BertForTokenClassification, Trainer, TrainingArguments

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.cards.examples import sentences
from hf_adner.cards.record import CardOptions
from hf_adner.training.arguments import AdnerTrainingArguments
from hf_adner.training.run import run_training
from hf_adner.training.trainer import (
    AdnerTrainer,
    SeededLengthGroupedSampler,
    last_logged,
    model_part,
    parameter_groups,
    predicted_labels,
    reported_arguments,
    span_scores,
    trainer_facts,
)

from ..corpora import note, quick, tiny_model, write_corpus


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Output folder and metrics of a short run."""
    folder = tmp_path_factory.mktemp("run")
    options = CardOptions(model_title="Skin tagger", model_license="mit", example_texts=["一篇没有见过的新短文。"])
    metrics = run_training(write_corpus(folder), tiny_model(), quick(folder / "out", max_steps=2), options)
    return folder / "out", metrics


def test_the_card_shows_the_measured_figures(run):
    folder, metrics = run
    card = ModelCard.load(folder / "model" / "README.md")
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results["F1 (strict)"] == round(metrics["test"]["strict"]["f1"], 4)
    assert card.data.license == "mit" and "# Skin tagger\n" in card.text
    assert card.data.widget == [{"text": "一篇没有见过的新短文。"}]
    assert (
        f"| steps | {metrics['steps']} |" in card.text and f"| train | {metrics['documents']['train']} |" in card.text
    )
    assert "words of the training documents" in card.text  # the lexicon was made from them
    assert "## Calibration\n\nNot measured" not in card.text
    assert re.search(r"## Robustness\n\nNot measured", card.text)


def test_neither_card_nor_metrics_contain_a_document(run):
    folder, metrics = run
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    figures = json.dumps({**metrics, "dataset": None}, ensure_ascii=False)
    texts = [note(number).text for number in [*range(32), *range(1000, 1008)]]
    assert not any(sentence in card or sentence in figures for text in texts for sentence in sentences(text))
    assert str(folder.parent) not in card


def test_an_example_from_the_documents_stops_the_run_before_it_starts(tmp_path):
    options = CardOptions(example_texts=[note(1002).text])
    with pytest.raises(ValueError, match="contains a sentence of the training data"):
        run_training(write_corpus(tmp_path), tiny_model(), quick(tmp_path / "out"), options)
    assert not (tmp_path / "out" / "model").exists()


def test_create_model_card_writes_our_card(tmp_path):
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.id2label = {0: "O", 1: "B-Drug", 2: "I-Drug"}
    trainer = AdnerTrainer(model=BertForTokenClassification(config), args=quick(tmp_path, hub_model_id="me/drugs"))
    trainer.card_options = CardOptions(dataset_title="Drug notes")
    trainer.create_model_card(
        model_name="drugs", tags=["extra"], finetuned_from="hfl/base", dataset_tags="me/notes", license="mit"
    )
    card = ModelCard.load(tmp_path / "README.md")
    assert "# drugs\n" in card.text and '"me/drugs"' in card.text and "| trained on | Drug notes |" in card.text
    assert "Finds entities in Chinese medical text: Drug." in card.text
    head = card.data
    assert (head.base_model, head.datasets, head.license) == ("hfl/base", ["me/notes"], "mit")
    assert {"extra", "BertForTokenClassification"} <= set(head.tags)


ENCODER = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def model():
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"], lexicon=Lexicon(["红斑"]))
    return AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "m-dscmg", encoder_config=ENCODER)


def test_each_part_has_its_learning_rate_and_each_parameter_one_group(model, tmp_path):
    args = quick(tmp_path, learning_rate=1e-5, head_learning_rate=2e-4, crf_learning_rate=3e-3, weight_decay=0.1)
    optimizer = AdnerTrainer(model=model, args=args).create_optimizer()
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(rate) == len(list(model.parameters()))
    expected = {"encoder": 1e-5, "head": 2e-4, "crf": 3e-3}
    for name, parameter in model.named_parameters():
        assert rate[id(parameter)] == expected[model_part(model, name)], name
    assert {model_part(model, name) for name, _ in model.named_parameters()} == set(expected)
    assert model_part(model, "head.crf.transitions") == "crf"
    assert model_part(model, "adner.graph.update.weight_ih") == "head"


def test_learning_rates_default_to_those_of_the_part_below(model, tmp_path):
    args = quick(tmp_path, learning_rate=1e-5, head_learning_rate=None, crf_learning_rate=None)
    assert {group["lr"] for group in parameter_groups(model, args, [])} == {1e-5}


def test_embeddings_biases_and_norms_are_not_decayed(model, tmp_path):
    trainer = AdnerTrainer(model=model, args=quick(tmp_path, weight_decay=0.1))
    groups = [group for group in trainer.create_optimizer().param_groups if group["weight_decay"]]
    decays = {id(parameter) for group in groups for parameter in group["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in decays}
    assert "adner.graph.message.weight" in names
    assert not any("embeddings.weight" in name or "bias" in name or "norm" in name.lower() for name in names)


def test_a_model_without_encoder_has_head_and_crf_only(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"])
    assert {model_part(model, name) for name, _ in model.named_parameters()} == {"head", "crf"}


def test_the_encoder_of_a_stock_model_is_its_base_model_prefix():
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    model = BertForTokenClassification(config)
    assert model_part(model, "bert.embeddings.word_embeddings.weight") == "encoder"
    assert model_part(model, "classifier.weight") == "head"


@dataclass
class GuidedArguments(AdnerTrainingArguments):
    stability: float = 0.5


def test_arguments_of_subclasses_are_reported(tmp_path):
    reported = reported_arguments(GuidedArguments(output_dir=str(tmp_path), seed=7))
    assert reported["seed"] == 7 and reported["stability"] == 0.5 and "output_dir" not in reported
    assert "stability" not in reported_arguments(AdnerTrainingArguments(output_dir=str(tmp_path)))
    assert "head_learning_rate" not in reported_arguments(TrainingArguments(output_dir=str(tmp_path)))


@pytest.fixture
def trainer(tmp_path) -> Trainer:
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    return Trainer(BertForTokenClassification(config), TrainingArguments(output_dir=str(tmp_path), use_cpu=True))


def test_facts_of_a_stock_model(trainer):
    facts = trainer_facts(trainer)
    assert facts["labels"] == ["LABEL_0", "LABEL_1"]  # labels without BIO prefixes stay unchanged
    assert facts["model"] == {"architecture": "BertForTokenClassification", "encoder": None}
    assert facts["base_model"] is None and facts["steps"] == 0 and facts["train_seconds"] is None
    assert facts["parameters"] == trainer.model.num_parameters() and facts["versions"]["Python"]
    assert facts["hardware"]["cores"] >= 1


def test_last_logged(trainer):
    trainer.state.log_history = [{"loss": 2.0}, {"loss": 1.0}, {"f1": 0.5}]
    assert last_logged(trainer, "loss") == 1.0 and last_logged(trainer, "missing") is None


LENGTHS = [5, 50, 7, 48, 6, 52, 8, 49, 5, 51, 6, 47] * 8


def order(seed: int, epoch: int) -> list[int]:
    sampler = SeededLengthGroupedSampler(LENGTHS, 4, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_row_is_drawn_once_and_similar_lengths_are_together():
    drawn = order(3, 0)
    assert sorted(drawn) == list(range(len(LENGTHS))) and len(SeededLengthGroupedSampler(LENGTHS, 4, 3)) == len(LENGTHS)
    batches = [[LENGTHS[index] for index in drawn[first : first + 4]] for first in range(0, len(drawn), 4)]
    assert sum(max(batch) - min(batch) > 10 for batch in batches) <= 4


def test_the_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    first = order(3, 1)
    torch.rand(1000)
    assert order(3, 1) == first
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


LABELS = ["O", "B-x", "I-x", "B-y", "I-y"]


def test_predicted_labels_are_the_viterbi_path_if_there_is_one():
    logits, path = torch.randn(2, 3, 5), torch.tensor([[1, 2, 0], [0, 3, 4]])
    assert torch.equal(predicted_labels((logits, path), path), path)
    assert torch.equal(predicted_labels(logits, path), logits.argmax(-1))
    assert torch.equal(predicted_labels((logits, torch.randn(2, 3)), path), logits.argmax(-1))


def test_scores_count_whole_entities_and_ignore_padding():
    gold = np.array([[-100, 1, 2, 0, -100, -100], [-100, 3, 0, 1, 2, -100]])
    path = np.array([[-100, 1, 2, 0, -100, 3], [0, 3, 0, 1, 0, 1]])  # the last entity is truncated
    scores = span_scores(LABELS)(SimpleNamespace(predictions=path, label_ids=gold))
    assert scores == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
