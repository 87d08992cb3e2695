"""Guided runs of tiny models on a small corpus."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import set_seed

from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.guided.trainer import ExplanationGuidedTrainer
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.preparation import build_model, build_tokenizer

from ..corpora import QUICK, note, tiny_model

PLAIN = {"stability_share": 0.0, "consistency_weight": 0.0}
"""Arguments of a plain run."""

SMALL = "stream_size=16,bilstm_size=48,num_stream_heads=2,lexicon_embedding_size=8,character_embedding_size=48"
WITHOUT_DROPOUT = {"config_overrides": f"{SMALL},head_dropout=0.0", "encoder_dropout": 0.0}


class Setting(NamedTuple):
    """Initial model and training data of a run."""

    model: torch.nn.Module
    tokenizer: Any
    documents: Dataset
    rows: Dataset

    def trainer(self, output: Path, eval_dataset: Any = None, **options: Any) -> ExplanationGuidedTrainer:
        """Return a trainer of a copy of the model; two steps per epoch, perturbed from the second epoch."""
        set_seed(0)
        return ExplanationGuidedTrainer(
            model=copy.deepcopy(self.model),
            args=arguments(output, **options),
            train_dataset=self.rows,
            eval_dataset=eval_dataset,
            processing_class=self.tokenizer,
        )

    def trained(self, output: Path, **options: Any) -> ExplanationGuidedTrainer:
        """Train, and return the trainer."""
        trainer = self.trainer(output, **options)
        trainer.train()
        return trainer


def setting(architecture: str = "bert-crf", documents: int = 16, **options: Any) -> Setting:
    """Return one of our models with the first sentences of the corpus."""
    data = dataset_from_documents(map(note, range(documents)))
    reads_words = architecture.startswith("m-dscmg")
    defaults = {"lexicon": "train" if reads_words else None, "config_overrides": SMALL}
    args = tiny_model(architecture=architecture, **{**defaults, **options})
    set_seed(0)
    tokenizer = build_tokenizer(args, data)
    model = build_model(args, tokenizer, ["Disease", "Symptom"])
    return Setting(model, tokenizer, data, encoded(data, tokenizer, model))


def encoded(data: Dataset, tokenizer: AdnerTokenizer, model: torch.nn.Module) -> Dataset:
    """Encode documents as model inputs."""
    return encode_dataset(data, tokenizer, model.config.label2id, tagging=getattr(model.config, "tagging", "flat"))


def arguments(output: Path, **options: Any) -> ExplanationGuidedTrainingArguments:
    """Return the arguments of six steps in three epochs; every window is perturbed from the second epoch on."""
    defaults = {
        **QUICK,
        "logging_steps": 1,
        "warmup_steps": 0,
        "train_sampling_strategy": "sequential",
        "stability_share": 1.0,
        "ramp_share": 0.0,
    }
    return ExplanationGuidedTrainingArguments(output_dir=str(output), **{**defaults, **options})


def weights(trainer: ExplanationGuidedTrainer) -> dict[str, torch.Tensor]:
    """Return the weights of the model."""
    return {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}


def logged(trainer: ExplanationGuidedTrainer, name: str) -> list[float]:
    """Return the values of a figure in the log."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]
