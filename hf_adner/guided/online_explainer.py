"""Explanations inside training: gradient x input of the entities in focus, fused with remembered maps and the table.

Local maps cost one more first-order backward pass. `sweep` makes the first ones for cache and table.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_adner.explain.fusion import FusionInputs
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import EntityTokens, LabelTable, Tagging, Target
from hf_adner.explain.unit_statistics import log_attributions
from hf_adner.guided.batches import GuidedBatch, GuidedDataset
from hf_adner.guided.explanation_state import ExplanationState, Recollection
from hf_adner.guided.saliency_cache import Key, Observation, blend


class OnlineExplainer:
    """Explains the entities in focus of a batch.

    Args:
        guidance: of the run, as it stands in the epoch.
        labels: of the tagger.
        device: where batches are.
    """

    def __init__(self, guidance: ExplanationState, labels: LabelTable, device: torch.device):
        self.guidance, self.labels = guidance, labels
        self.target = Target("label", labels)
        self.fusion = copy.deepcopy(guidance.fusion).to(device)

    def __call__(self, batch: GuidedBatch, embeds: Tensor, log_probs: Tensor, explains_anew: bool) -> Explained:
        """Explain.

        Args:
            batch: its rows.
            embeds, log_probs: (rows, tokens, ...) of the forward pass.
            explains_anew: make new local maps; otherwise the remembered ones do.
        """
        observed = self.observe(batch, embeds, log_probs) if explains_anew else {}
        keys = [one.key for one in batch.focused]
        known = [self._updated(one.known, observed.get(one.key)) for one in batch.focused]
        inputs = self.guidance.inputs(keys, known, batch.labels.shape[1])
        inputs = FusionInputs(*(one if one is None else one.to(batch.device) for one in inputs))
        with torch.no_grad():
            fused = self.fusion(inputs)
        return Explained(
            shares=self._controlled(fused.scores, keys),
            mask=inputs.mask,
            has_map=torch.tensor([self.guidance.has_map(one) for one in known], dtype=torch.bool, device=batch.device),
            local_weight=fused.local_weight.sum(1) / inputs.mask.sum(1).clamp(min=1),
            observed=observed,
        )

    def observe(self, batch: GuidedBatch, embeds: Tensor, log_probs: Tensor) -> dict[Key, Observation]:
        """New local maps of the entities in focus, with their variance where a view kept the entity."""
        logs = saliency_logs(embeds, log_probs, batch.is_text, self._places(batch), self.target)  # (rows, tokens)
        own = logs[batch.focus_rows]
        variance = own.new_full((len(own),), float("nan"))
        if batch.kept:
            views = batch.at_windows(logs[batch.first_view + batch.kept_views], batch.kept_aligned)
            counted = (batch.kept_aligned >= 0) & batch.is_text[batch.focus_rows[batch.kept_entities]]
            variance[batch.kept_entities] = perturbation_variance(own[batch.kept_entities], views, counted)
        rows, variances = own.cpu().numpy(), variance.tolist()
        return {
            one.key: Observation(row[: self._length(one.window)].copy(), value)
            for one, row, value in zip(batch.focused, rows, variances)
        }

    def _length(self, window: int) -> int:
        return len(self.guidance.windows[window].tokens)

    def _places(self, batch: GuidedBatch) -> list[EntityTokens]:
        places = [EntityTokens(row, *one.span) for row, one in zip(batch.focus_rows.tolist(), batch.focused)]
        for view, entity, (start, end) in batch.kept:
            places.append(EntityTokens(batch.first_view + view, start, end, batch.focused[entity].span[2]))
        return places

    def _updated(self, known: Recollection, seen: Observation | None) -> Recollection:
        """Combine what is remembered with a new map."""
        if seen is None:
            return known
        memory = blend(known.memory, seen)
        return known._replace(memory=memory)

    def _controlled(self, shares: Tensor, keys: list[Key]) -> Tensor:
        if self.guidance.control is None:
            return shares
        replaced = np.zeros_like(shares.cpu().numpy())
        for row, (own, key) in enumerate(zip(shares.cpu().numpy(), keys)):
            length = self._length(key[0])
            replaced[row, :length] = self.guidance.substitute(own[:length], key)
        return torch.from_numpy(replaced).to(shares)


@dataclass(frozen=True, eq=False)
class Explained:
    """Maps of the entities in focus; nothing of it takes a gradient.

    Attributes:
        shares: (entities, tokens) fused maps, or what a control put in their place.
        mask: (entities, tokens) text.
        has_map: (entities,) whether there was anything to explain the entity by.
        local_weight: (entities,) mean weight of the local map in the fusion, 0..1.
        observed: the new local maps.
    """

    shares: Tensor
    mask: Tensor
    has_map: Tensor
    local_weight: Tensor
    observed: dict[Key, Observation] = field(default_factory=dict)


def saliency_logs(
    embeds: Tensor, log_probs: Tensor, is_text: Tensor, places: Sequence[EntityTokens], target: Target
) -> Tensor:
    """Log attributions of one entity of each row, (rows, tokens), detached; zeros in rows without one.

    The graph stays for the training step's own backward pass. Rows do not depend on one another, so one backward pass
    serves all of them; nothing is differentiated twice.

    Args:
        embeds: (rows, tokens, size) word embeddings that the forward pass began with.
        log_probs: (rows, tokens, labels).
        is_text: (rows, tokens).
        places: entities, at most one per row.
        target: the score that is explained.
    """
    if not places:
        return embeds.new_zeros(embeds.shape[:2], dtype=torch.float32)
    total = target(Tagging(log_probs), places).sum()
    (gradient,) = torch.autograd.grad(total, embeds, retain_graph=True)
    scores = torch.linalg.vector_norm(embeds.detach().float() * gradient.float(), dim=-1)
    return log_attributions(scores, is_text)


def perturbation_variance(text: Tensor, view: Tensor, counted: Tensor) -> Tensor:
    """Half the mean squared difference of two maps, (rows,): the variance of each if both were draws of one.

    Args:
        text, view: (rows, tokens) log attributions, at the text's positions.
        counted: (rows, tokens); NaN where nothing counts.
    """
    squares = torch.where(counted, (text - view).square(), 0).sum(1)
    return squares / (2 * counted.sum(1))


def sweep(
    tagger: Tagger,
    dataset: GuidedDataset,
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    windows: Sequence[int],
    batch_size: int,
    explainer: OnlineExplainer,
) -> dict[Key, Observation]:
    """Explain one entity of each window, the one that the coming epoch has in focus.

    The model is left in evaluation mode; a `Trainer` begins each step in training mode. No random number is drawn.

    Args:
        tagger: the unwrapped model and its tokenizer.
        dataset: of the run.
        collate: makes batches of its examples.
        windows: numbers of rows.
        batch_size: windows per forward pass.
        explainer: of the guidance's epoch.
    """
    found: dict[Key, Observation] = {}
    with tagger.eval_mode():
        starts = range(0, len(windows), batch_size)
        for first in tqdm(starts, desc="Explaining windows", unit="batch", disable=None, leave=False):
            examples = dataset.plain(list(windows[first : first + batch_size]))
            inputs = {name: one.to(tagger.device) for name, one in collate([one.features for one in examples]).items()}
            batch = GuidedBatch(examples, inputs.pop("labels"), tagger.labels.types)
            embeds = tagger.embed(inputs["input_ids"]).requires_grad_()
            tagging = tagger.tag(inputs, embeds)
            found.update(explainer.observe(batch, embeds, tagging.log_probs))
    return found


def swept_windows(guidance: ExplanationState, most: int) -> list[int]:
    """The windows that a sweep explains, drawn by the run's seed from those with entities, sorted by length.

    Args:
        guidance: of the run.
        most: how many at most.
    """
    own = [number for number, window in enumerate(guidance.windows) if window.spans]
    if len(own) > most:
        own = random.Random(f"sweep {guidance.seed}").sample(own, most)
    return sorted(own, key=lambda number: (len(guidance.windows[number].tokens), number))
