"""Guided runs of a tiny model on a tiny corpus."""

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

from ..corpora import note, tiny_model

NO_TERMS = dict.fromkeys(("stability_weight", "boundary_weight", "consistency_weight", "view_ner_weight"), 0.0)
SMALL = "stream_size=16,bilstm_size=48,num_stream_heads=2,lexicon_embedding_size=8,character_embedding_size=48"
STILL = {"config_overrides": f"{SMALL},head_dropout=0.0", "encoder_dropout": 0.0}


class Setting(NamedTuple):
    """A model that a run starts with, and what it trains on."""

    model: torch.nn.Module
    tokenizer: Any
    documents: Dataset
    rows: Dataset

    def trainer(self, output: Path, eval_dataset: Any = None, **options: Any) -> ExplanationGuidedTrainer:
        """A trainer of a copy of the model; two steps per epoch, the second epoch is guided."""
        set_seed(0)
        return ExplanationGuidedTrainer(
            model=copy.deepcopy(self.model),
            args=arguments(output, **options),
            train_dataset=self.rows,
            eval_dataset=eval_dataset,
            train_documents=self.documents,
            processing_class=self.tokenizer,
        )

    def trained(self, output: Path, **options: Any) -> ExplanationGuidedTrainer:
        """The trainer after its run."""
        trainer = self.trainer(output, **options)
        trainer.train()
        return trainer


def setting(architecture: str = "bert-crf", documents: int = 16, **options: Any) -> Setting:
    """One of our models and the first sentences of the corpus."""
    data = dataset_from_documents(map(note, range(documents)))
    reads_words = architecture.startswith("m-dscmg")
    defaults = {"lexicon": "train" if reads_words else None, "config_overrides": SMALL}
    given = tiny_model(architecture=architecture, **{**defaults, **options})
    set_seed(0)
    tokenizer = build_tokenizer(given, data)
    model = build_model(given, tokenizer, ["Disease", "Symptom"])
    return Setting(model, tokenizer, data, encoded(data, tokenizer, model))


def encoded(data: Dataset, tokenizer: AdnerTokenizer, model: torch.nn.Module) -> Dataset:
    """Model inputs of documents."""
    return encode_dataset(data, tokenizer, model.config.label2id)


def arguments(output: Path, **options: Any) -> ExplanationGuidedTrainingArguments:
    """Six steps in three epochs, explained in each, all terms at once in the second."""
    defaults = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 3e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "logging_steps": 1,
        "warmup_steps": 0,
        "train_sampling_strategy": "sequential",
        "view_share": 0.75,
        "edited_share": 0.3,
        "stability_weight": 0.1,
        "boundary_weight": 0.2,
        "ramp_share": 0.0,
        "sweep_share": 1.0,
        "explainer_learning_rate": 1e-2,
    }
    return ExplanationGuidedTrainingArguments(output_dir=str(output), **{**defaults, **options})


def weights(trainer: ExplanationGuidedTrainer) -> dict[str, torch.Tensor]:
    """All that a run learns: the model's weights and the head's."""
    found = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
    if trainer.head is not None:
        found |= {f"explainer_head.{name}": value.detach().clone() for name, value in trainer.head.state_dict().items()}
    return found


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """Over all tensors; NaN where any number is none."""
    assert first.keys() == second.keys()
    return torch.stack([(first[name].double() - second[name].double()).abs().max() for name in first]).max().item()
