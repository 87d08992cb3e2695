"""The explainer head as an explainer: one forward pass for all entities of a text, no gradient."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from hf_adner.explain.explainer import DEFAULT_BATCH_SIZE, Attribution, LocalExplainer, Places
from hf_adner.explain.head import ExplainerHead
from hf_adner.explain.states import last_states
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens


class AmortisedExplainer(LocalExplainer):
    """What the explainer head of a guided training run says; scores are shares that sum to 1 over the text.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`; the head was taught the target ``label``.
        head: the head, or the folder of a checkpoint that holds one; default: the model's own folder.

    Raises:
        ValueError: a head for other states or other entity types than the model's.
        FileNotFoundError: the folder holds no head.
    """

    name = "amortised"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        head: ExplainerHead | str | os.PathLike[str] | None = None,
    ):
        super().__init__(tagger, target, batch_size)
        if not isinstance(head, ExplainerHead):
            head = ExplainerHead.from_pretrained(tagger.model.config._name_or_path if head is None else head)
        if head.types != tagger.labels.types:
            raise ValueError(f"the head explains entities of {head.types}, the model finds {tagger.labels.types}")
        self.head = head.to(tagger.device).eval()

    @torch.no_grad()
    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        with last_states(self.tagger.model) as noted:
            tagging = self.tagger.tag(batch.inputs)
        flat = [place for row in places for place in row]
        shares = self._shares(noted.take(), batch.is_text, flat) if flat else ()
        values = self.target(tagging, flat).tolist()
        found: list[list[Attribution]] = [[] for _ in places]
        for place, share, value in zip(flat, shares, values):
            found[place.row].append(Attribution(share, None, value, tagging.log_probs[place.row]))
        return found

    def _shares(self, states: Tensor, is_text: Tensor, places: list[EntityTokens]) -> Tensor:
        """(entities, tokens) shares."""
        rows = [place.row for place in places]
        types = [self.tagger.labels.types.index(place.label) for place in places]
        columns = ([place.start for place in places], [place.end for place in places], types)
        starts, ends, kinds = (torch.tensor(column, device=states.device) for column in columns)
        mask = is_text[rows]
        logs = self.head(states[rows].float(), starts, ends, kinds, mask)
        return torch.where(mask, logs.exp() / mask.sum(1, keepdim=True).clamp(min=1), 0).cpu()
