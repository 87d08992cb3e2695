"""Checks of a model's inputs: errors of the caller, told before PyTorch stumbles over them.

Shapes cost nothing to check. Values are checked on the CPU only: elsewhere reading them would wait for the device in
every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def batch_shape(input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Size:
    """Return (batch, tokens).

    Raises:
        ValueError: not exactly one of ids and embeddings, another number of dimensions, or no row or token.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ValueError("give exactly one of input_ids and inputs_embeds")
    given, axes = (input_ids, "(batch, tokens)") if inputs_embeds is None else (inputs_embeds, "(batch, tokens, size)")
    if given.dim() != axes.count(",") + 1:
        raise ValueError(f"the input has the shape {tuple(given.shape)}, expected {axes}")
    if 0 in given.shape[:2]:
        raise ValueError(f"the input has the shape {tuple(given.shape)}: expected at least one row and one token")
    return given.shape[:2]


def check_shapes(shape: torch.Size, **tensors: torch.Tensor | None) -> None:
    """Check tensors that have one value per token.

    Raises:
        ValueError: a tensor has another shape than (batch, tokens).
    """
    for name, tensor in tensors.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, expected that of the input, {tuple(shape)}")


def check_labels(shape: torch.Size, labels: torch.Tensor | None, types: int | None) -> None:
    """Check the shape of gold labels.

    Args:
        shape: (batch, tokens).
        labels: gold label ids, or None.
        types: entity types of a per-label model, which have a column each; None for a flat model.

    Raises:
        ValueError: the shape is not (batch, tokens), or (batch, tokens, types) of a per-label model.
    """
    expected = tuple(shape) if types is None else (*shape, types)
    if labels is None or labels.shape == expected:
        return
    if labels.dim() == len(expected):
        raise ValueError(f"labels has the shape {tuple(labels.shape)}, expected that of the input, {expected}")
    tagging = "flat" if types is None else "per-label"
    raise ValueError(
        f"labels has the shape {tuple(labels.shape)}, expected {expected}: the model's tagging is {tagging!r} "
        f"(encode_dataset makes such labels with tagging={tagging!r})"
    )


def check_length(tokens: int, limit: int | None) -> None:
    """Check that an encoder has a position for each token.

    Raises:
        ValueError: there are more tokens than positions.
    """
    if limit is not None and tokens > limit:
        raise ValueError(
            f"the input has {tokens} tokens, the encoder has positions for {limit}: split the text into windows, as "
            "AdnerPipeline does, or give the tokenizer truncation=True"
        )


def check_matches(shape: torch.Size, words: int, matches: Mapping[str, Any]) -> None:
    """Check matched words.

    Args:
        shape: (batch, tokens).
        words: word ids that the model has, padding included.
        matches: `lexicon_ids`, `lexicon_starts` and `lexicon_ends`, each (batch, words).

    Raises:
        ValueError: a tensor is missing, shapes differ, an id that the lexicon does not have, or a position outside the
            tokens.
    """
    shapes = {name: None if tensor is None else tuple(tensor.shape) for name, tensor in matches.items()}
    found = set(shapes.values())
    if len(found) > 1 or None in found or len(shapes["lexicon_ids"]) != 2 or shapes["lexicon_ids"][0] != shape[0]:
        raise ValueError(f"lexicon inputs must be three tensors of the shape ({shape[0]}, words), found {shapes}")
    check_values("lexicon_ids", matches["lexicon_ids"], words, f"the model's lexicon has {words - 1} words")
    for name in ("lexicon_starts", "lexicon_ends"):
        check_values(name, matches[name], shape[1] + 1, f"the input has {shape[1]} tokens")


def check_values(name: str, values: torch.Tensor | None, size: int, reason: str) -> None:
    """Check that ids or positions are integers of 0 to `size` - 1; values on other devices than the CPU are not read.

    Raises:
        ValueError: another type, or a value out of range.
    """
    if values is None:
        return
    if values.is_floating_point():
        raise ValueError(f"{name} must be integers, found {values.dtype}")
    if values.device.type != "cpu" or not values.numel() or torch.compiler.is_compiling():
        return
    low, high = (value.item() for value in values.aminmax())
    if low < 0 or high >= size:
        raise ValueError(f"{name} contains {low if low < 0 else high}, expected 0 to {size - 1}: {reason}")
