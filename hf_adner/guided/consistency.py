"""Consistency with a window's own earlier label marginals (temporal ensembling), and R-Drop.

The consistency term has the gradient P - Q at the scores of labels, P being the marginals of this visit and Q those
remembered: that of the cross-entropy between both if tokens were independent. It needs no second pass through model or
CRF. The divergence itself is reported beside it.

A per-label model has a distribution over O, B and I of each label at a token. They are treated alike: labels below then
stands for types x 3, and each label of a token counts by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hf_adner.guided.visit_cache import Memory
from hf_adner.model.layers_adner import TextPositions


class Reading(NamedTuple):
    """What a model says of the text tokens of a batch.

    Attributes:
        scores: (batch, text, labels) float32, differentiable: log-sum-exp of the emissions of a label's states, or the
            logits of a softmax model.
        log_probs: (batch, text, labels) float32, detached label marginals.
    """

    scores: Tensor
    log_probs: Tensor


def read_outputs(model: nn.Module, outputs: Any, positions: TextPositions) -> Reading:
    """Read the outputs of a training step.

    Args:
        model: the unwrapped model.
        outputs: of its forward, with labels.
        positions: of the text in the batch.
    """
    if _is_per_label(model):
        log_probs = positions.take(outputs["chain_log_probs"]).detach().float()
        return Reading(model.head.chain_scores(outputs["emissions"].float()), log_probs)
    if hasattr(model, "head") and hasattr(model.head, "crf"):
        scores = model.head.label_states.to_label_log_probs(outputs["emissions"].float())
        return Reading(scores, positions.take(outputs["logits"]).detach().float())
    scores = positions.take(outputs["logits"]).float()
    return Reading(scores, scores.detach().log_softmax(-1))


def label_log_probs(model: nn.Module, outputs: Any, positions: TextPositions) -> Tensor:
    """Return differentiable label log marginals (batch, text, labels) of a training step; a pass through the CRF."""
    if _is_per_label(model):
        return model.head.chain_log_marginals(outputs["emissions"], positions.mask)
    if hasattr(model, "head") and hasattr(model.head, "crf"):
        marginals = model.head.crf.log_marginals(outputs["emissions"], positions.mask)
        return model.head.label_states.to_label_log_probs(marginals)
    return positions.take(outputs["logits"]).float().log_softmax(-1)


def label_places(model: nn.Module, gold: Tensor) -> Tensor:
    """Return where gold label ids are in the distributions of `read_outputs`; -100 stays."""
    return model.head.chain_labels.to_chains(gold) if _is_per_label(model) else gold


def _is_per_label(model: nn.Module) -> bool:
    return getattr(model.config, "tagging", "flat") == "per-label"


class Consistency(NamedTuple):
    """Sums over the tokens that count.

    Attributes:
        surrogate: differentiable, with the gradient P - Q.
        divergence: KL(Q || P), detached.
        tokens: number of tokens that count.
    """

    surrogate: Tensor
    divergence: Tensor
    tokens: Tensor


def consistency(reading: Reading, remembered: Sequence[Memory | None], gold: Tensor) -> Consistency:
    """Compare a batch with what is remembered; only tokens count that the remembered marginals label rightly.

    Args:
        reading: of the batch.
        remembered: memory of each row.
        gold: (batch, text) places of the gold labels in the distributions (`label_places`), -100 where there is none;
            of a per-label model (batch, text, types).
    """
    targets = _targets(remembered, reading.log_probs)
    counts = (targets.sum(-1) > 0) & (targets.argmax(-1) == gold)
    difference = torch.where(counts[..., None], reading.log_probs.exp() - targets, 0.0)
    log_ratio = targets.clamp(min=1e-6).log() - reading.log_probs.clamp(min=-20)
    divergence = torch.where(counts[..., None], targets * log_ratio, 0.0)
    return Consistency((reading.scores * difference).sum(), divergence.sum(), counts.sum())


def _targets(remembered: Sequence[Memory | None], like: Tensor) -> Tensor:
    """Return remembered marginals (batch, text, labels), zero where there are none."""
    nothing = like.new_zeros(0, *like.shape[2:])
    known = [nothing if one is None or one.marginals is None else one.marginals.float() for one in remembered]
    padded = pad_sequence(known, batch_first=True)
    padded = padded / padded.sum(-1, keepdim=True).clamp(min=0.5)  # the sums were rounded to half precision
    others = (0, 0) * (like.dim() - 2)
    return torch.nn.functional.pad(padded, (*others, 0, like.shape[1] - padded.shape[1]))


def symmetric_divergence(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over tokens of the mean KL divergence in both directions (R-Drop, Wu et al. 2021).

    Args:
        first, second: (batch, text, labels) log probabilities.
        mask: (batch, text) bool.
    """
    difference = (first.exp() - second.exp()) * (first.clamp(min=-20) - second.clamp(min=-20))
    return difference.sum(-1)[mask].sum() / 2


def predicted_log_odds(log_probs: Tensor, mask: Tensor, outside: int) -> Tensor:
    """Return the sum of the log-odds of the predicted labels of entities.

    Args:
        log_probs: (batch, text, labels).
        mask: (batch, text) bool.
        outside: id of O.
    """
    best, label = log_probs.detach().max(-1)
    chosen = log_probs.gather(-1, label[..., None])[..., 0]
    probability = 1e-6 + (1 - 2e-6) * chosen.exp()
    odds = probability.log() - (1 - probability).log()
    is_text = mask.view(*mask.shape, *[1] * (label.dim() - 2))
    return odds[is_text & (label != outside)].sum()
