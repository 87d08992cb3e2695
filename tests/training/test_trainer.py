"""`AdnerTrainer`: model cards, learning rates per part, facts of a run, sampling order and validation scores."""

import json
import re
from dataclasses import dataclass, fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import BertConfig, BertForTokenClassification, Trainer, TrainingArguments

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon
from hf_adner.cards.examples import sentences
from hf_adner.cards.record import CardOptions
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments, GuidedCommandArguments
from hf_adner.pretraining.arguments import PretrainCommandArguments, PretrainingTrainingArguments
from hf_adner.training.arguments import AdnerTrainingArguments, TrainCommandArguments
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

from ..corpora import QUICK, note, quick, tiny_model, write_corpus


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


def test_layers_of_the_encoder_learn_by_depth(tmp_path):
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, num_labels=3
    )
    model = BertForTokenClassification(config)
    args = AdnerTrainingArguments(output_dir=str(tmp_path), learning_rate=0.8, encoder_layer_decay=0.5)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, args, list(named.values()))
    rates = {named[id(one)]: group["lr"] for group in groups for one in group["params"]}
    assert len(rates) == len(named)
    expected = {"encoder.layer.2.": 0.8, "encoder.layer.1.": 0.4, "encoder.layer.0.": 0.2, "embeddings.": 0.1}
    for name, rate in rates.items():
        part = next((rate for part, rate in expected.items() if part in name), 1e-3)  # the head's default
        assert rate == pytest.approx(part), name


def test_a_decay_of_one_leaves_the_groups_as_they_are(model, tmp_path):
    args = AdnerTrainingArguments(output_dir=str(tmp_path), encoder_layer_decay=1.0)
    groups = parameter_groups(model, args, [])
    assert len(groups) == len({group["lr"] for group in groups}) == 3
    less = AdnerTrainingArguments(output_dir=str(tmp_path), encoder_layer_decay=0.5)
    assert len(parameter_groups(model, less, [])) > 3


def test_a_decay_by_depth_needs_layers(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"])
    args = AdnerTrainingArguments(output_dir=str(tmp_path), encoder_layer_decay=0.9)
    with pytest.raises(ValueError, match="no pretrained encoder of numbered layers"):
        parameter_groups(model, args, [])


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


def evaluated(folder, types=("Disease", "Symptom"), **options):
    """Return a trainer of a small CRF tagger, with encoded notes to train and evaluate on."""
    data = dataset_from_documents(map(note, range(8)))
    tokenizer = AdnerTokenizer.from_texts(data["text"])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    torch.manual_seed(0)
    model = AdnerForTokenClassification.from_scratch(tokenizer, list(types), "bilstm-crf", **sizes)
    rows = encode_dataset(data, tokenizer, model.config.label2id)
    given = {name: options.pop(name) for name in ("compute_metrics", "data_collator", "model_init") if name in options}
    args = AdnerTrainingArguments(str(folder), **{**QUICK, "max_steps": 2, **options})
    own = {} if "model_init" in given else {"model": model}
    return AdnerTrainer(
        **own, args=args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer, **given
    )  # fmt: skip


def test_the_metric_is_strict_f1_without_compute_metrics(tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 8, "save_strategy": "steps", "save_steps": 8, "max_steps": 16}
    options |= {"head_learning_rate": 0.1, "crf_learning_rate": 0.1, "warmup_steps": 0, "load_best_model_at_end": True}
    trainer = evaluated(tmp_path, metric_for_best_model="f1", **options)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "eval_f1" in entry]
    assert len(entries) == 2 and trainer.state.best_metric == max(entry["eval_f1"] for entry in entries) > 0
    names = [trainer.model.config.id2label[index] for index in range(5)]
    explicit = evaluated(tmp_path, compute_metrics=span_scores(names))
    explicit.model, explicit.preprocess_logits_for_metrics = trainer.model, predicted_labels
    ours, theirs = trainer.evaluate(), explicit.evaluate()
    assert [ours[f"eval_{name}"] for name in ("precision", "recall", "f1")] == [
        theirs[f"eval_{name}"] for name in ("precision", "recall", "f1")
    ]


def test_accumulated_and_named_evaluation_is_the_same(tmp_path):
    trainer = evaluated(tmp_path, max_steps=15, head_learning_rate=0.1, crf_learning_rate=0.1, warmup_steps=0)
    trainer.train()
    whole = trainer.evaluate()
    assert whole["eval_f1"] > 0.5  # so that a prediction on padding would show
    for options in ({"eval_accumulation_steps": 1, "per_device_eval_batch_size": 3}, {"label_names": ["labels"]}):
        other = evaluated(tmp_path, **options)
        other.model.load_state_dict(trainer.model.state_dict())
        found = other.evaluate()
        assert found["eval_loss"] == pytest.approx(whole["eval_loss"], rel=1e-2)  # a mean over batches
        assert [found[f"eval_{name}"] for name in ("precision", "recall", "f1")] == [
            whole[f"eval_{name}"] for name in ("precision", "recall", "f1")
        ]


def test_a_metric_of_ones_own_is_kept(tmp_path):
    trainer = evaluated(tmp_path, compute_metrics=lambda evaluated: {"rows": len(evaluated.label_ids)})
    assert trainer.evaluate()["eval_rows"] == 8


def test_labels_that_are_not_bio_have_no_default_metric(tmp_path):
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    assert AdnerTrainer(model=BertForTokenClassification(config), args=quick(tmp_path)).compute_metrics is None


def test_model_init_makes_a_new_model_for_every_training(tmp_path):
    models = []

    def model_init():
        models.append(evaluated(tmp_path).model)
        return models[-1]

    trainer = evaluated(tmp_path, model_init=model_init)
    ends = []
    for rate in (1e-3, 1e-3, 0.0):
        trainer.args.head_learning_rate = trainer.args.crf_learning_rate = rate
        trainer.train()
        assert trainer.model is models[-1]
        assert {group["initial_lr"] for group in trainer.optimizer.param_groups} == {rate}
        ends.append(trainer.model.head.classifier.weight.detach().clone())
    assert len(models) == 4 and torch.equal(ends[0], ends[1]) and not torch.equal(ends[1], ends[2])


def test_label_smoothing_of_a_crf_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="--label-smoothing-factor.*not defined for a CRF.*bert-softmax"):
        evaluated(tmp_path / "run", label_smoothing_factor=0.1)
    assert not (tmp_path / "run").exists()


def test_label_smoothing_of_independent_labels_is_that_of_transformers(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "bert-softmax", encoder_config=ENCODER)
    trainer = AdnerTrainer(model=model.eval(), args=quick(tmp_path, label_smoothing_factor=0.1))
    batch = {**tokenizer(["面部红斑"], return_tensors="pt"), "labels": torch.tensor([[-100, 0, 0, 1, 2, -100]])}
    log_probs = model(**batch).logits[0, 1:-1]  # (tokens, labels)
    gold = log_probs[torch.arange(4), torch.tensor([0, 0, 1, 2])]
    expected = -(0.9 * gold.mean() + 0.1 * log_probs.mean())
    assert trainer.compute_loss(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)


CLASSES = [AdnerTrainingArguments, ExplanationGuidedTrainingArguments, PretrainingTrainingArguments]
COMMANDS = [TrainCommandArguments, GuidedCommandArguments, PretrainCommandArguments]
CHOICES = (
    "eval_strategy", "eval_steps", "save_strategy", "save_steps", "save_total_limit", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better",
)  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_in_python_evaluation_and_saving_are_as_in_transformers(kind, tmp_path):
    for options in ({}, {"save_strategy": "no"}, {"eval_strategy": "epoch"}):
        stock, ours = (one(str(tmp_path), **options) for one in (TrainingArguments, kind))
        assert [getattr(ours, name) for name in CHOICES] == [getattr(stock, name) for name in CHOICES]


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_commands_evaluate_and_save_by_themselves(kind, tmp_path):
    args = kind(str(tmp_path))
    when = "steps" if kind is PretrainCommandArguments else "epoch"
    assert (args.eval_strategy, args.save_strategy, args.save_total_limit) == (when, when, 1)
    python = kind.__mro__[1 if kind is PretrainCommandArguments else 2](str(tmp_path))
    others = {field.name for field in fields(python)} - {*CHOICES, "do_eval"}
    assert {name: getattr(args, name) for name in others} == {name: getattr(python, name) for name in others}
    assert (args.load_best_model_at_end, args.metric_for_best_model) == ((False, None), (True, "f1"))[when == "epoch"]


def test_early_stopping_needs_evaluations(tmp_path):
    for options in ({}, {"eval_strategy": "epoch"}, {"metric_for_best_model": "f1"}):
        with pytest.raises(ValueError, match=r"early_stopping_patience \(--early-stopping-patience\) needs"):
            AdnerTrainingArguments(str(tmp_path), early_stopping_patience=2, **options)
    with pytest.raises(ValueError, match="early_stopping_patience is 0, expected 1 or more"):
        TrainCommandArguments(str(tmp_path), early_stopping_patience=0)


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
    assert torch.equal(predicted_labels((logits, (torch.randn(2, 3, 4),)), path), logits.argmax(-1))  # hidden states


def test_scores_count_whole_entities_and_ignore_padding():
    gold = np.array([[-100, 1, 2, 0, -100, -100], [-100, 3, 0, 1, 2, -100]])
    path = np.array([[-100, 1, 2, 0, -100, 3], [0, 3, 0, 1, 0, 1]])  # the last entity is truncated
    scores = span_scores(LABELS)(SimpleNamespace(predictions=path, label_ids=gold))
    assert scores == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
