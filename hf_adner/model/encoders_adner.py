"""Hugging Face encoders: building and loading them, and how many tokens they take at once.

An encoder with a table of absolute positions takes as many tokens as the table has rows; others (relative or rotary
positions, recurrent networks) have no such limit.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from .loading_adner import load_complete, named_errors

HUB_OPTIONS = "cache_dir force_download local_files_only revision subfolder token trust_remote_code".split()
POSITION_TABLES = {"position_embeddings", "embed_positions", "wpe", "char_position_embeddings"}
"""Names that transformers gives to tables of absolute positions."""
NO_LIMIT = 10**6
"""Tokenizers without a length limit state a larger number."""


def build_encoder(config: Any) -> PreTrainedModel:
    """Return a randomly initialised encoder for a Hugging Face configuration, without a pooling layer."""
    with named_errors("encoder_config (of config.json)"):
        encoder_class = MODEL_MAPPING[type(config)]
        encoder_class = encoder_class[0] if isinstance(encoder_class, tuple) else encoder_class
        return encoder_class._from_config(config, **_no_pooling(encoder_class))


def _no_pooling(encoder_class: type) -> dict[str, bool]:
    has_pooling = "add_pooling_layer" in inspect.signature(encoder_class.__init__).parameters
    return {"add_pooling_layer": False} if has_pooling else {}


def load_encoder(name_or_path: str, encoder_kwargs: dict[str, Any] | None = None) -> PreTrainedModel:
    """Load a pretrained encoder in float32 (unless `encoder_kwargs` sets a dtype), without its pooling layer.

    Raises:
        ValueError: it is a tagger of ours, which has an encoder of its own.
    """
    kwargs = {"dtype": torch.float32, **(encoder_kwargs or {})}
    hub_options = hub_options_of(kwargs)
    config = kwargs.pop("config", None) or AutoConfig.from_pretrained(name_or_path, **hub_options)
    if config.model_type == "adner" and any("TokenClassification" in name for name in config.architectures or ()):
        raise ValueError(
            f"{name_or_path} is a trained tagger, expected an encoder; to train it on, load it with "
            "AdnerForTokenClassification.from_pretrained and give it to AdnerTrainer"
        )
    if type(config) in MODEL_MAPPING:
        encoder_class = MODEL_MAPPING[type(config)]
        kwargs = {**_no_pooling(encoder_class if isinstance(encoder_class, type) else encoder_class[0]), **kwargs}
    return load_complete(AutoModel, name_or_path, config=config, **kwargs)


def hub_options_of(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that tell `from_pretrained` where to find files."""
    return {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}


def first_position(table: nn.Module) -> int:
    """Return the first token's row in a table of absolute positions.

    RoBERTa-like encoders number positions from `padding_idx` + 1, BART-like ones from `offset`.
    """
    padding = getattr(table, "padding_idx", None)
    return getattr(table, "offset", 0) if padding is None else padding + 1


def encoder_first_position(encoder: nn.Module) -> int | None:
    """Return the first token's row in the table of absolute positions to which an encoder takes `position_ids`.

    None if it has no such table. Left to themselves, RoBERTa-like encoders would derive the positions from the input
    ids and mistake some of our tokenizer's ids for padding.
    """
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    return first_position(table) if isinstance(table, nn.Embedding) else None


def position_limit(model: nn.Module) -> int | None:
    """Return the most tokens that a model has absolute positions for; None without such a table."""
    tables = [part for name, part in model.named_modules() if name.rpartition(".")[2] in POSITION_TABLES]
    sized = [table for table in tables if getattr(getattr(table, "weight", None), "ndim", 0) == 2]
    return min((len(table.weight) - first_position(table) for table in sized), default=None)


def token_limit(model: nn.Module, tokenizer: Any) -> int | None:
    """Return how many tokens, special ones included, both model and tokenizer take at once; None without a limit."""
    limits = (position_limit(model), tokenizer.model_max_length)
    return min((limit for limit in limits if limit and limit < NO_LIMIT), default=None)


def longest_text(model: nn.Module, tokenizer: Any) -> int | None:
    """Return how many characters, a token each, both model and tokenizer take at once; None without a limit."""
    limit = token_limit(model, tokenizer)
    return None if limit is None else limit - tokenizer.num_special_tokens_to_add()


def limit_tokenizer(tokenizer: Any, model: nn.Module) -> None:
    """Lower a tokenizer's `model_max_length` to what the model takes, so that it is saved with the tokenizer."""
    limit = token_limit(model, tokenizer)
    if limit is not None:
        tokenizer.model_max_length = limit


def limit_of_checkpoint(name_or_path: Any, **hub_options: Any) -> int | None:
    """Return `position_limit` of the model whose configuration lies beside a tokenizer; None if there is none.

    The configuration is read as JSON and the network built without weights, so that no code of the checkpoint runs.
    """
    try:
        settings, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub_options)
        settings = settings.get("encoder_config") if settings.get("model_type") == "adner" else settings
        config = AutoConfig.for_model(**settings)
        with torch.device("meta"):
            return position_limit(AutoModel.from_config(config))
    except Exception:  # a tokenizer needs no model: what is wrong with its configuration, loading the model tells
        return None
