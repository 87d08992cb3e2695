"""What a trainer tells of its run."""

from dataclasses import dataclass

import pytest
from transformers import BertConfig, BertForTokenClassification, Trainer, TrainingArguments

from hf_adner.training.arguments import AdnerTrainingArguments
from hf_adner.training.trainer import last_logged, told_arguments, trainer_facts


@dataclass
class GuidedArguments(AdnerTrainingArguments):
    stability: float = 0.5


def test_arguments_of_subclasses_are_told_too(tmp_path):
    told = told_arguments(GuidedArguments(output_dir=str(tmp_path), seed=7))
    assert told["seed"] == 7 and told["stability"] == 0.5 and "output_dir" not in told
    assert "stability" not in told_arguments(AdnerTrainingArguments(output_dir=str(tmp_path)))
    assert "head_learning_rate" not in told_arguments(TrainingArguments(output_dir=str(tmp_path)))


@pytest.fixture
def trainer(tmp_path) -> Trainer:
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    return Trainer(BertForTokenClassification(config), TrainingArguments(output_dir=str(tmp_path), use_cpu=True))


def test_facts_of_a_stock_model(trainer):
    facts = trainer_facts(trainer)
    assert facts["labels"] == ["LABEL_0", "LABEL_1"]  # no BIO labels: as they are
    assert facts["model"] == {"architecture": "BertForTokenClassification", "encoder": None}
    assert facts["base_model"] is None and facts["steps"] == 0 and facts["train_seconds"] is None
    assert facts["parameters"] == trainer.model.num_parameters() and facts["versions"]["Python"]
    assert facts["hardware"]["cores"] >= 1


def test_last_logged(trainer):
    trainer.state.log_history = [{"loss": 2.0}, {"loss": 1.0}, {"f1": 0.5}]
    assert last_logged(trainer, "loss") == 1.0 and last_logged(trainer, "missing") is None
