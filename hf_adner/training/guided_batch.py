"""What a guided batch holds, as tensors; and what is counted of it before the forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.training.guided_examples import GUIDANCE, GuidedExample

TokenSpan = tuple[int, int]


@dataclass
class StepTotals:
    """What the terms of an optimizer step are divided by, summed over its batches and all processes.

    Attributes:
        tokens: labelled tokens of the windows.
        view_tokens: those of their views.
        entities: windows with an entity in focus.
        kept: views that kept it.
        aligned: tokens that views left as they were.
    """

    tokens: float = 0.0
    view_tokens: float = 0.0
    entities: float = 0.0
    kept: float = 0.0
    aligned: float = 0.0

    @classmethod
    def of(cls, batches: Sequence[dict[str, Any]], copies: int) -> StepTotals:
        """Those of the batches of one process."""
        total = cls()
        for batch in batches:
            examples: list[GuidedExample] = batch[GUIDANCE]
            labelled = (batch["labels"] != UNOBSERVED).sum(1)
            views = [one.view for one in examples if one.view is not None]
            total.tokens += float(labelled[: len(examples)].sum())
            total.view_tokens += float(labelled[len(examples) * (1 + copies) :].sum())
            total.entities += sum(one.focus is not None for one in examples)
            total.kept += sum(view.focus is not None for view in views)
            total.aligned += float(sum((view.aligned >= 0).sum() for view in views))
        return total

    def to_tensor(self, device: torch.device) -> Tensor:
        """(5,) in the order of the fields."""
        return torch.tensor([getattr(self, one.name) for one in fields(self)], dtype=torch.float64, device=device)

    @classmethod
    def from_tensor(cls, values: Tensor) -> StepTotals:
        """Inverse of `to_tensor`."""
        return cls(*values.tolist())


class GuidedBatch:
    """A guided batch on its device: windows, then copies of them, then views.

    Args:
        examples: of the windows, in their order.
        labels: (rows, tokens) gold of all rows, -100 where there is none.
        types: entity types by number.
        copies: how many times the windows come in again.
    """

    def __init__(self, examples: Sequence[GuidedExample], labels: Tensor, types: Sequence[str], copies: int = 0):
        self.examples, self.labels, self.types = examples, labels, types
        self.windows, self.copies = len(examples), copies
        self.is_text = labels != UNOBSERVED  # (rows, tokens)

    @property
    def first_view(self) -> int:
        """Row of the first view."""
        return self.windows * (1 + self.copies)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.labels.device

    def _indices(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)

    # ---- entities in focus --------------------------------------------------------------------------------------

    @cached_property
    def focused(self) -> list[GuidedExample]:
        """Examples with an entity in focus; `entities` below counts them."""
        return [one for one in self.examples if one.focus is not None]

    @cached_property
    def focus_rows(self) -> Tensor:
        """(entities,) row of each."""
        return self._indices([row for row, one in enumerate(self.examples) if one.focus is not None])

    @cached_property
    def spans(self) -> tuple[Tensor, Tensor, Tensor]:
        """(entities,) each: first token, token behind the last, number of the type."""
        spans = [one.span for one in self.focused]
        starts, ends = ([span[side] for span in spans] for side in (0, 1))
        return self._indices(starts), self._indices(ends), self._indices([self.types.index(span[2]) for span in spans])

    # ---- views --------------------------------------------------------------------------------------------------

    @cached_property
    def viewed_rows(self) -> Tensor:
        """(views,) row of the window that each view is of."""
        return self._indices([row for row, one in enumerate(self.examples) if one.view is not None])

    @cached_property
    def aligned(self) -> Tensor:
        """(views, tokens) token of the view for each of the window's, -1 where there is none."""
        views = [one.view for one in self.examples if one.view is not None]
        table = np.full((len(views), self.labels.shape[1]), -1, dtype=np.int64)
        for row, view in enumerate(views):
            table[row, : len(view.aligned)] = view.aligned
        return torch.from_numpy(table).to(self.device)

    @cached_property
    def kept(self) -> list[tuple[int, int, TokenSpan]]:
        """(number among the views, number among the focused, the entity's tokens in the view) where a view kept it."""
        found, view_number, entity_number = [], 0, 0
        for one in self.examples:
            if one.view is not None and one.view.focus is not None:
                found.append((view_number, entity_number, one.view.focus))
            view_number += one.view is not None
            entity_number += one.focus is not None
        return found

    @cached_property
    def kept_spans(self) -> tuple[Tensor, Tensor, Tensor]:
        """(kept,) each: the entity's tokens in the view, as `spans`."""
        starts, ends = (self._indices([span[side] for _, _, span in self.kept]) for side in (0, 1))
        return starts, ends, self.spans[2][self.kept_entities]

    @cached_property
    def kept_aligned(self) -> Tensor:
        """(kept, tokens) `aligned` of those views."""
        return self.aligned[self.kept_views]

    @cached_property
    def kept_views(self) -> Tensor:
        """(kept,) number of the view."""
        return self._indices([view for view, _, _ in self.kept])

    @cached_property
    def kept_entities(self) -> Tensor:
        """(kept,) number of the entity among the focused."""
        return self._indices([entity for _, entity, _ in self.kept])

    def at_windows(self, views: Tensor, aligned: Tensor) -> Tensor:
        """Values of views (views, tokens, ...) at the tokens of their windows; arbitrary where `aligned` is -1."""
        index = aligned.clamp(min=0)
        if views.dim() == 3:
            return views.gather(1, index[..., None].expand(-1, -1, views.shape[2]))
        return views.gather(1, index)
