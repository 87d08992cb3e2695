"""Attention x gradient: what the entity's tokens attend to, weighted by how much it matters for the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.gradient import entity_gradients
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens


class AttentionTimesGradient(LocalExplainer):
    """Sum over heads of |attention x gradient| (Barkan et al. 2021; Chefer et al. 2021 name the idea).

    The rows of the entity's tokens are averaged, and the last layers of the encoder. Scores are 0 or more. Weights are
    only to be had from eager attention: the model is switched to it for the call, and back.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`.
        layers: how many of the last layers.

    Raises:
        ValueError: as for `LocalExplainer`, no layers, or a model without attention in its encoder.
    """

    name = "attention"

    def __init__(self, tagger: Tagger, target: str = "label", batch_size: int = 16, layers: int = 4):
        super().__init__(tagger, target, batch_size)
        if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
            raise ValueError(f"layers must be an integer of 1 or more, found {layers!r}")
        if tagger.is_adner and not tagger.model.config.use_encoder:
            raise ValueError(
                f"a {tagger.model.config.architecture} model has no encoder whose attention could be explained"
            )
        self.layers = layers

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        with eager_attention(self.tagger.model):
            embeds = self.tagger.embed(batch.inputs["input_ids"]).requires_grad_()
            outputs = self.tagger.run(batch.inputs, embeds, output_attentions=True)
        attentions = outputs.attentions
        if not attentions or attentions[-1] is None:
            raise ValueError(f"{type(self.tagger.model).__name__} gives no attention weights")
        attentions = attentions[-self.layers :]
        tagging = self.tagger.read(outputs)
        log_probs = tagging.log_probs.detach()
        found: list[list[Attribution]] = [[] for _ in places]
        for members, values, gradients in entity_gradients(self.target, tagging, places, attentions):
            for place, value in zip(members, values):
                scores = _entity_rows(attentions, gradients, place).cpu()
                details = {"layers": len(attentions)}
                found[place.row].append(Attribution(scores, None, value, log_probs[place.row], details))
        return found


def _entity_rows(attentions: Sequence[Tensor], gradients: Sequence[Tensor], place: EntityTokens) -> Tensor:
    """Mean over layers and the entity's tokens of the sum over heads of |attention x gradient|, (tokens,)."""
    rows = [
        (weights[place.row, :, place.start : place.end].detach() * slopes[place.row, :, place.start : place.end])
        .float()
        .abs()
        .sum(0)
        .mean(0)
        for weights, slopes in zip(attentions, gradients)
    ]
    return torch.stack(rows).mean(0)


@contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """Eager attention in the model and all its parts, and afterwards what each of them had."""
    configs = {}
    for part in model.modules():
        for config in _with_parts(getattr(part, "config", None)):
            configs.setdefault(id(config), config)
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for config, _ in before:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, implementation in before:  # the whole first, its parts after it: setting the whole sets its parts
            config._attn_implementation = implementation


def _with_parts(config: Any) -> Iterator[PreTrainedConfig]:
    """A model's configuration and those of its parts, the whole first."""
    if isinstance(config, PreTrainedConfig):
        yield config
        for name in config.sub_configs:
            yield from _with_parts(getattr(config, name, None))
