"""Guided batches: rows with their views and remembered explanations, their tensors, and the counts of a step.

Examples are made in data-loader workers. `StepTotals` holds the divisors of the loss terms, which are known before the
forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hf_adner.data.records import EntitySpan
from hf_adner.guided.explanation_state import ExplanationState, Recollection
from hf_adner.guided.saliency_cache import Key
from hf_adner.guided.windows import TokenMap, aligned_tokens, tokenize
from hf_adner.model.labels_adner import OUTSIDE, UNOBSERVED
from hf_adner.perturb.perturbation import Perturbed, masked_tokens
from hf_adner.perturb.views import ViewMaker

GUIDANCE = "guidance"
"""Key of a batch that holds the examples its rows are of."""

TokenSpan = tuple[int, int]


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
        """Device of the tensors."""
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


@dataclass
class StepTotals:
    """Divisors of the loss terms of an optimizer step, summed over its batches and all processes.

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


class GuidedDataset(Dataset):
    """The training dataset with views and explanations as they are in the guidance's epoch.

    An item depends on the guidance and the run's seed alone, so it is the same in every worker and process.

    Args:
        rows: what `encode_dataset` made.
        guidance: of the run.
        maker: makes views; None for none.
        encoder: makes model inputs of them.
    """

    def __init__(self, rows: Any, guidance: ExplanationState, maker: ViewMaker | None, encoder: ViewEncoder):
        self.rows, self.guidance, self.maker, self.encoder = rows, guidance, maker, encoder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> GuidedExample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[GuidedExample]:
        """The examples of a batch; the table is asked once for all of them."""
        examples = self.plain([int(index) for index in indices])
        if self.guidance.is_ready:
            examples = self._remembered(examples)
        return examples if self.maker is None else self._with_views(examples)

    def _with_views(self, examples: list[GuidedExample]) -> list[GuidedExample]:
        perturbed = [self._perturbed(*pair) for pair in zip(examples, self._importance(examples))]
        pairs = [(one, own) for one, own in zip(examples, perturbed) if own is not None]
        tokens = [self.guidance.windows[one.window].tokens for one, _ in pairs]
        made = self.encoder([own for _, own in pairs], tokens, [one.focus for one, _ in pairs])
        views = {one.window: view for (one, _), view in zip(pairs, made)}
        return [replace(one, view=views.get(one.window)) for one in examples]

    def plain(self, indices: list[int]) -> list[GuidedExample]:
        """Rows with the entities in focus, without views and without what is remembered of them."""
        rows = [{name: row[name] for name in self.encoder.columns} for row in self.rows.__getitems__(indices)]
        return [self._example(index, row) for index, row in zip(indices, rows)]

    def _example(self, index: int, row: dict[str, Any]) -> GuidedExample:
        focus = self.guidance.focus_of(index)
        span = None if focus is None else self.guidance.windows[index].spans[focus]
        return GuidedExample(index, row, focus, span)

    def _remembered(self, examples: list[GuidedExample]) -> list[GuidedExample]:
        keys = [one.key for one in examples if one.key is not None]
        known = dict(zip(keys, self.guidance.recall(keys)))
        return [replace(one, known=known.get(one.key)) for one in examples]

    def _importance(self, examples: list[GuidedExample]) -> list[np.ndarray | None]:
        """Per example the shares of its characters that are to guide edits, None where there are none."""
        if not self.guidance.is_ready:
            return [None] * len(examples)
        own = [one for one in examples if one.key is not None and self._has_view(one)]
        known = [one.known for one in own]
        shares = dict(zip((one.window for one in own), self.guidance.shares([one.key for one in own], known)))
        return [self._by_character(one, shares.get(one.window)) for one in examples]

    def _by_character(self, example: GuidedExample, shares: np.ndarray | None) -> np.ndarray | None:
        if shares is None:
            return None
        tokens = self.guidance.windows[example.window].tokens
        return np.exp(np.nan_to_num(tokens.to_characters(np.log(shares.clip(min=1e-9))), nan=-np.inf))

    def _has_view(self, example: GuidedExample) -> bool:
        window = self.guidance.windows[example.window]
        return self.maker.has_view(window.document.id, self.guidance.epoch)

    def _perturbed(self, example: GuidedExample, scores: np.ndarray | None) -> Perturbed | None:
        if not self._has_view(example):
            return None
        document = self.guidance.windows[example.window].document
        scores = None if scores is None else scores.tolist()
        return self.maker.make_view(document, self.guidance.epoch, scores=scores, entity=example.focus)


class GuidedCollator:
    """Batches of windows, then their copies where there are any, then their views, all padded to one length.

    Args:
        collate: makes a batch of rows.
        copies: how many times the windows come in again (for R-Drop).
    """

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]], copies: int = 0):
        self.collate, self.copies = collate, copies

    def __call__(self, examples: Sequence[GuidedExample]) -> dict[str, Any]:
        """Model inputs and labels, (rows, tokens), and the examples under `GUIDANCE`, without their features."""
        rows = [one.features for one in examples]
        views = [one.view.features for one in examples if one.view is not None]
        batch = self.collate([*rows * (1 + self.copies), *views])
        return {**batch, GUIDANCE: [_without_features(one) for one in examples]}


def _without_features(example: GuidedExample) -> GuidedExample:
    view = None if example.view is None else replace(example.view, features={})
    return replace(example, features={}, view=view)


@dataclass(frozen=True, eq=False)
class GuidedExample:
    """A row of the training dataset and what guides it.

    Attributes:
        window: number of the row.
        features: the row itself.
        focus: number of the entity that is explained, None without entities.
        span: its tokens and type.
        known: what is remembered of its explanation; None before explanations are used.
        view: its perturbed copy, or None.
    """

    window: int
    features: dict[str, Any] = field(default_factory=dict)
    focus: int | None = None
    span: EntitySpan | None = None
    known: Recollection | None = None
    view: View | None = None

    @property
    def key(self) -> Key | None:
        """Window and entity, None without entity."""
        return None if self.focus is None else (self.window, self.focus)


@dataclass(frozen=True, eq=False)
class View:
    """A perturbed copy of a window as model inputs.

    Attributes:
        features: as a row of the training dataset.
        aligned: (tokens of the window,) token of the view, -1 for those that were edited or moved apart.
        focus: tokens (start, end) of the entity in focus, None where it was exchanged.
    """

    features: dict[str, list[int]]
    aligned: np.ndarray
    focus: tuple[int, int] | None


class ViewEncoder:
    """Makes model inputs of perturbed windows.

    What an edit writes into the context and the tokenizer does not know is masked. A vocabulary that was made from the
    training texts leaves no unknown token in them: views with some would teach that whatever is unknown is no entity.

    Args:
        tokenizer: the run's.
        label2id: ids of the BIO labels.
        mask_id: what stands for a masked token; where that is the unknown token itself, views with one are given up.
        max_tokens: views of more tokens are given up; None for no limit.
    """

    def __init__(self, tokenizer: Any, label2id: dict[str, int], mask_id: int, max_tokens: int | None):
        self.tokenizer, self.label2id, self.mask_id, self.max_tokens = tokenizer, label2id, mask_id, max_tokens
        self.unknown_id = getattr(tokenizer, "unk_token_id", None)
        self.columns = [*tokenizer(""), "labels"]

    def __call__(self, perturbed: Sequence[Perturbed], tokens: Sequence[TokenMap], focus: Sequence[Any]) -> list[Any]:
        """The view of each; None where it is too long, an entity's boundary came to lie inside a token, or a token
        would have to be masked and there is no mask token.

        Args:
            perturbed: of the windows' documents.
            tokens: of the windows.
            focus: number of the entity in focus of each, None where there is none.
        """
        encoded = tokenize(self.tokenizer, [one.document.text for one in perturbed])
        return [self._view(*one, *pair) for one, pair in zip(zip(perturbed, tokens, focus), encoded)]

    def _view(
        self, perturbed: Perturbed, tokens: TokenMap, focus: int | None, features: dict[str, Any], own: TokenMap
    ) -> View | None:
        spans = [own.tokens_of(entity.start, entity.end) for entity in perturbed.document.entities]
        if None in spans or (self.max_tokens is not None and len(own) > self.max_tokens):
            return None
        types = [entity.label for entity in perturbed.document.entities]
        features["labels"] = self._labels(own, zip(spans, types))
        aligned = aligned_tokens(tokens, own, perturbed)
        masked = np.array(masked_tokens(own.offsets.tolist(), perturbed.masked)) | self._unknown(features, aligned)
        if masked.any() and self.mask_id == self.unknown_id:
            return None
        features["input_ids"] = np.where(masked, self.mask_id, features["input_ids"]).tolist()
        kept = focus is not None and focus not in perturbed.changed_entities
        where = spans[perturbed.entity_map[focus]] if kept else None
        return View(features, aligned, where)

    def _unknown(self, features: dict[str, Any], aligned: np.ndarray) -> np.ndarray:
        """(tokens,) bool: unknown tokens that an edit wrote into the context."""
        ids, labels = np.array(features["input_ids"]), np.array(features["labels"])
        found = (ids == self.unknown_id) & (labels == self.label2id[OUTSIDE])
        found[aligned[aligned >= 0]] = False
        return found

    def _labels(self, tokens: TokenMap, entities: Any) -> list[int]:
        labels = np.where(tokens.is_text, self.label2id[OUTSIDE], UNOBSERVED)
        for (start, end), label in entities:
            inside = labels[start:end] != UNOBSERVED
            labels[start:end] = np.where(inside, self.label2id[f"I-{label}"], UNOBSERVED)
            labels[start] = self.label2id[f"B-{label}"]
        return labels.tolist()
