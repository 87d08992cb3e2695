"""Model families of a comparison: our architectures, and the stock token classifier of transformers."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel

from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import bio_labels
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import ModelArguments
from hf_adner.training.preparation import build_model, build_tokenizer, pretrained_config, random_config

STOCK = "stock"
"""The encoder's own `AutoModelForTokenClassification`: one linear layer and a softmax."""

FAMILIES = (STOCK, *ARCHITECTURES)


def family_arguments(args: ModelArguments, family: str) -> ModelArguments:
    """The model arguments of a family; the lexicon stays only where the network reads it.

    Raises:
        ValueError: an unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"no model {family[:30]!r}; there are {', '.join(FAMILIES)}")
    switches = ARCHITECTURES.get(family, {})
    reads_lexicon = switches.get("use_dual_stream") or switches.get("use_lexicon_edges")
    architecture = "bert-softmax" if family == STOCK else family
    return replace(args, architecture=architecture, lexicon=args.lexicon if reads_lexicon else None)


def family_tokenizer(args: ModelArguments, family: str, train: Dataset) -> AdnerTokenizer:
    """The tokenizer of a family: one token per character for the stock classifier too, so that all see the same."""
    return build_tokenizer(family_arguments(args, family), train)


def family_model(args: ModelArguments, family: str, tokenizer: AdnerTokenizer, types: Sequence[str]) -> PreTrainedModel:
    """A new model of a family.

    Raises:
        ValueError: an unknown family, more encoder layers than there are, or what `AdnerConfig` refuses.
    """
    if family == STOCK:
        return _stock_model(args, tokenizer, types)
    return build_model(family_arguments(args, family), tokenizer, types)


def _stock_model(args: ModelArguments, tokenizer: AdnerTokenizer, types: Sequence[str]) -> PreTrainedModel:
    names = bio_labels(types)
    labels = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }
    if args.encoder is None:
        config = AutoConfig.for_model(**random_config(args), vocab_size=len(tokenizer), **labels)
        return AutoModelForTokenClassification.from_config(config)
    config = pretrained_config(args)
    config.update(labels)
    return AutoModelForTokenClassification.from_pretrained(args.encoder, config=config, dtype=torch.float32)
