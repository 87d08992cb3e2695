"""Explaining the entities in focus of a training step: the new local map, what is remembered, and the table, fused."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hf_adner.explain.fusion import FusionInputs
from hf_adner.explain.targets import EntityTokens, LabelTable, Target
from hf_adner.training.guidance import Guidance, Recollection
from hf_adner.training.guided_batch import GuidedBatch
from hf_adner.training.saliency import perturbation_variance, saliency_logs
from hf_adner.training.saliency_cache import Key, Observation, blend


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


class StepExplainer:
    """Explains the entities in focus of a batch.

    Args:
        guidance: of the run, as it stands in the epoch.
        labels: of the tagger.
        device: where batches are.
    """

    def __init__(self, guidance: Guidance, labels: LabelTable, device: torch.device):
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
        """What is known together with a new map."""
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
