"""The encoder of a pretraining run: where it comes from, and the folder it goes to."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel

from hf_adner.data.writers.atomic import write_file
from hf_adner.model.tokenization_adner import SPACE, UNUSED, AdnerTokenizer
from hf_adner.training.preparation import small_encoder


def load_masked_lm(name_or_path: str, tokenizer: AdnerTokenizer, layers: int | None = None) -> PreTrainedModel:
    """An encoder with a masked-language-model head, which is new where the checkpoint has none.

    Args:
        name_or_path: Hub name or folder.
        tokenizer: its vocabulary must fit.
        layers: keep only the first ones.

    Raises:
        ValueError: more layers than there are, more tokens than embeddings, or a checkpoint that lacks weights of the
            encoder itself.
    """
    config = AutoConfig.from_pretrained(name_or_path)
    _check_vocabulary(tokenizer, config, name_or_path)
    if layers is not None:
        if not 1 <= layers <= config.num_hidden_layers:
            raise ValueError(f"encoder_layers={layers}, expected 1 to {config.num_hidden_layers}, as the encoder has")
        config.num_hidden_layers = layers
    model, report = AutoModelForMaskedLM.from_pretrained(
        name_or_path, config=config, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    of_encoder = [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]
    if of_encoder:
        raise ValueError(f"{name_or_path} lacks {len(of_encoder)} weights of the encoder, the first is {of_encoder[0]}")
    if missing:
        logger.warning("%s has no masked-language-model head: a new one begins with random weights", name_or_path)
    return model


def make_masked_lm(tokenizer: AdnerTokenizer, size: int, layers: int, max_length: int) -> PreTrainedModel:
    """A small random encoder with its head, for a vocabulary made from the text."""
    settings = small_encoder(size, layers)
    settings["max_position_embeddings"] = max(max_length, int(settings["max_position_embeddings"]))
    config = AutoConfig.for_model(**settings, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return AutoModelForMaskedLM.from_config(config)


def block_length(asked: int | None, config: PreTrainedConfig) -> int:
    """Tokens of a block: what was asked for, or what the encoder can take, at most 512.

    Raises:
        ValueError: the encoder has not so many positions.
    """
    positions = getattr(config, "max_position_embeddings", None) or 512
    # RoBERTa's relatives count positions from behind their padding row
    positions -= (config.pad_token_id or 0) + 1 if config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    if asked is not None and asked > positions:
        raise ValueError(f"max_length={asked}, but the encoder has only {positions} positions")
    return asked or min(positions, 512)


def _check_vocabulary(tokenizer: AdnerTokenizer, config: PreTrainedConfig, name: str) -> None:
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise ValueError(
            f"{name}: the vocabulary has the id {largest}, but the encoder only {config.vocab_size} embeddings; "
            "vocabulary and weights belong to different encoders"
        )


def save_vocabulary(tokenizer: AdnerTokenizer, folder: Path, *, max_length: int) -> None:
    """Write `vocab.txt` and the configuration of a stock `BertTokenizer`, as BERT and MacBERT repositories have them.

    Args:
        tokenizer: its vocabulary; the entry for white space gets BERT's name for it back.
        folder: where the model lies.
        max_length: tokens that the encoder can take.
    """
    vocabulary = {index: token for token, index in tokenizer.get_vocab().items()}
    tokens = [vocabulary.get(index, f"[unused-{index}]") for index in range(max(vocabulary) + 1)]
    tokens = [UNUSED if token == SPACE and UNUSED not in tokens else token for token in tokens]
    write_file(folder / "vocab.txt", (f"{token}\n" for token in tokens), "utf-8")
    special = {
        name: getattr(tokenizer, name)
        for name in ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
        if getattr(tokenizer, name) is not None
    }
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.do_lower_case,
        "tokenize_chinese_chars": True,
        "strip_accents": False,
        "model_max_length": max_length,
        **special,
    }
    for name, content in (("tokenizer_config.json", settings), ("special_tokens_map.json", special)):
        write_file(folder / name, [json.dumps(content, ensure_ascii=False, indent=2), "\n"], "utf-8")
