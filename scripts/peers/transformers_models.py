"""`ModelTesterMixin` of transformers over the models of each architecture; run by `scripts/peers.sh`."""

import unittest

import torch
from transformers.models.auto import modeling_auto

from hf_adner import AdnerConfig, AdnerForTokenClassification, AdnerModel
from tests import test_modeling_common as common

# the lists by which the suite knows which of its models are base models, and which labels a model takes
modeling_auto.MODEL_MAPPING_NAMES["adner"] = "AdnerModel"
modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES["adner"] = "AdnerForTokenClassification"

LABELS = ["O", "B-Disease", "I-Disease"]


class Tester:
    """What the mixin asks about a tiny model and its inputs."""

    batch_size, seq_length, hidden_size, num_hidden_layers, num_attention_heads = 3, 7, 32, 2, 2
    is_training, __test__ = True, False

    def __init__(self, architecture: str):
        self.architecture = architecture
        if architecture == "bilstm-crf":
            self.expected_num_hidden_layers = 1

    def get_config(self) -> AdnerConfig:
        """Return a new configuration."""
        encoder = {
            "model_type": "bert",
            "vocab_size": 40,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": 37,
            "max_position_embeddings": 64,
        }
        return AdnerConfig(
            architecture=self.architecture,
            encoder_config=None if self.architecture == "bilstm-crf" else encoder,
            character_vocab_size=40,
            character_embedding_size=32,
            stream_size=32,
            bilstm_size=32,
            lexicon_size=9 if self.architecture == "m-dscmg" else 0,
            lexicon_embedding_size=8,
            id2label=dict(enumerate(LABELS)),
            label2id={name: index for index, name in enumerate(LABELS)},
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[AdnerConfig, dict[str, torch.Tensor]]:
        """Return a configuration and a batch."""
        shape = (self.batch_size, self.seq_length)
        inputs = {"input_ids": torch.randint(5, 40, shape), "attention_mask": torch.ones(shape, dtype=torch.long)}
        if self.architecture == "m-dscmg":
            words = torch.tensor([[1, 5, 0]] * self.batch_size)
            starts, ends = torch.tensor([[1, 2, 0]] * self.batch_size), torch.tensor([[3, 5, 0]] * self.batch_size)
            inputs.update(lexicon_ids=words, lexicon_starts=starts, lexicon_ends=ends)
        return self.get_config(), inputs


def suite(architecture: str) -> type:
    """Return the suite of one architecture."""

    def set_up(self) -> None:
        self.model_tester = Tester(architecture)

    members = {
        "all_model_classes": (AdnerModel, AdnerForTokenClassification),
        "has_attentions": architecture != "bilstm-crf",
        "_is_composite": True,
        "setUp": set_up,
    }
    return type(f"Test_{architecture.replace('-', '_')}", (common.ModelTesterMixin, unittest.TestCase), members)


for name in ("bert-crf", "bert-softmax", "bilstm-crf", "m-dscmg"):
    globals()[f"Test_{name}"] = suite(name)
