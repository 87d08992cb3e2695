"""Loss of a guided batch: one forward pass over windows and views, one more backward pass to explain, all terms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch._functorch.config
from torch import Tensor, nn

from hf_adner.explain.explanation import ROLES
from hf_adner.explain.fusion import EmpiricalBayes
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import LabelTable, last_states
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments, GuidedSchedule
from hf_adner.guided.batches import GUIDANCE, GuidedBatch, StepTotals
from hf_adner.guided.explanation_state import EdgeScale, ExplanationState
from hf_adner.guided.losses import (
    BoundaryMarginals,
    boundary_marginals,
    boundary_moves,
    consistency_loss,
    edge_mass,
    entropy_share,
    invariance_loss,
    jensen_shannon,
    margin_loss,
    r_drop_loss,
    smoothing_loss,
    stability_loss,
    tagging_loss,
    unseen_weight,
)
from hf_adner.guided.monitors import EpochFigures, RunningTerms
from hf_adner.guided.online_explainer import Explained, OnlineExplainer


class GuidedObjective:
    """Computes the loss of guided batches and takes note of its terms.

    Args:
        args: weights.
        tagger: the unwrapped model and its tokenizer.
        guidance: explanations of the run.
        schedule: of the run.
        head: the explainer head as Accelerate prepared it.
        first_step: optimizer steps that were done before, by the run that is resumed.
    """

    def __init__(
        self,
        args: ExplanationGuidedTrainingArguments,
        tagger: Tagger,
        guidance: ExplanationState,
        schedule: GuidedSchedule,
        head: nn.Module,
        first_step: int = 0,
    ):
        self.args, self.tagger, self.guidance, self.schedule, self.head = args, tagger, guidance, schedule, head
        self.copies = int(args.r_drop_weight > 0)
        self.terms, self.figures = RunningTerms(first_step), EpochFigures()
        self._crf_head = tagger.model.head if tagger.labels.is_chain else None
        self._open = ExitStack()
        self._states = self._open.enter_context(last_states(tagger.model)) if args.stability_weight else None
        # a compiled backward that may run once only, as it does by default, could not explain and teach as well
        self._open.enter_context(torch._functorch.config.patch(donated_buffer=False))
        # and the compiler's cache does not tell the one kind of backward from the other by itself
        self._open.enter_context(torch.compiler.config.patch(cache_key_tag="hf_adner backward runs twice"))
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Explain with what the guidance knows now."""
        self._explainer = OnlineExplainer(self.guidance, self.tagger.labels, self.args.device)

    def close(self) -> None:
        """Leave the model and torch as they were."""
        self._open.close()

    @property
    def labels(self) -> Any:
        """Label table of the tagger."""
        return self.tagger.labels

    def __call__(self, model: Callable[..., Any], inputs: dict[str, Any], totals: StepTotals, step: int) -> Tensor:
        """The batch's part of the step's loss.

        Args:
            model: the model as Accelerate prepared it.
            inputs: a batch of `GuidedCollator`.
            totals: of the optimizer step.
            step: optimizer steps done so far.
        """
        inputs = dict(inputs)
        batch = GuidedBatch(inputs.pop(GUIDANCE), inputs.pop("labels"), self.labels.types, self.copies)
        part = LossTerms(batch, self._forward(model, inputs), self.labels, totals)
        loss = self._tagging(part)
        if self.args.r_drop_weight:
            loss = loss + self.args.r_drop_weight * self._noted(r_drop=part.r_drop())
        if self.args.uses_explanations and self.guidance.is_ready:
            loss = loss + self.schedule.ramp(step) * self._guided(part, step)
        return loss

    def _forward(self, model: Callable[..., Any], inputs: dict[str, Any]) -> Forward:
        embeds = self.tagger.model.get_input_embeddings()(inputs.pop("input_ids"))
        if not embeds.requires_grad:  # a frozen table is explained all the same
            embeds.requires_grad_()
        outputs = model(inputs_embeds=embeds, **inputs)
        states = None if self._states is None else self._states.take()
        return Forward(embeds, states, self.tagger.read(outputs).log_probs, outputs, inputs["attention_mask"])

    def _tagging(self, part: LossTerms) -> Tensor:
        """The tagging loss per token of windows and views, a view's token counting `view_ner_weight`."""
        windows, views = part.tagging(self._crf_head, self.args.boundary_smoothing)
        self._noted(ner=windows)
        if not self.args.uses_views:
            return windows
        self._noted(view_ner=views)
        tokens, seen = part.totals.tokens, self.args.view_ner_weight * part.totals.view_tokens
        return (tokens * windows + seen * views) / max(tokens + seen, 1.0)

    def _guided(self, part: LossTerms, step: int) -> Tensor:
        forward, args = part.forward, self.args
        anew = self.schedule.explains_anew(step)
        explained = self._explainer(part.batch, forward.embeds, forward.log_probs, anew)
        self.guidance.cache.pending.update(explained.observed)
        loss = forward.log_probs.new_zeros(())
        if args.stability_weight:
            maps = part.head_maps(self.head)
            loss = loss + args.stability_weight * self._noted(stability=part.stability(maps, explained))
            self._watch_maps(part, maps, explained)
        if args.boundary_weight:
            boundary = part.boundary(explained, self.guidance.edges)
            loss = loss + args.boundary_weight * self._noted(boundary=boundary)
        if args.consistency_weight:
            loss = loss + args.consistency_weight * self._noted(consistency=part.consistency())
        self._watch(part, explained)
        return loss

    # ---- monitors -----------------------------------------------------------------------------------------------

    def _noted(self, **term: Tensor) -> Tensor:
        self.terms.add(**term)
        [value] = term.values()
        return value

    @torch.no_grad()
    def _watch(self, part: LossTerms, explained: Explained) -> None:
        text = part.batch.is_text[: part.batch.windows].sum()
        self.terms.count(
            teacher_correct_tokens=(part.correct.sum(), text),
            local_weight=(explained.local_weight.sum(), text.new_tensor(len(explained.local_weight))),
        )
        self.figures.add(teacher_correct=part.found)
        if self.args.fusion == EmpiricalBayes.name:  # the weights of the others are what they were told to be
            self.figures.add(local_weight=explained.local_weight)

    @torch.no_grad()
    def _watch_maps(self, part: LossTerms, maps: HeadMaps, explained: Explained) -> None:
        batch = part.batch
        if not len(batch.focus_rows):
            return
        divergence = jensen_shannon(maps.windows, explained.shares.clamp(min=1e-9).log(), explained.mask)
        self.figures.add(explanation_entropy=entropy_share(maps.windows, explained.mask), divergence=divergence)
        windows = _role_masses(maps.windows, explained.mask, batch.spans)[batch.kept_entities]
        in_views = batch.is_text[batch.first_view + batch.kept_views]
        self.figures.add_pairs(windows, _role_masses(maps.views, in_views, batch.kept_spans))


class LossTerms:
    """One batch of a guided run after its forward pass. Every term is a sum over the batch divided by a total.

    Args:
        batch: its rows.
        forward: what the model says of them.
        labels: of the tagger.
        totals: of the optimizer step.
    """

    def __init__(self, batch: GuidedBatch, forward: Forward, labels: LabelTable, totals: StepTotals):
        self.batch, self.forward, self.labels, self.totals = batch, forward, labels, totals

    # ---- terms without explanations -----------------------------------------------------------------------------

    def tagging(self, crf_head: Any, smoothing: float) -> tuple[Tensor, Tensor]:
        """Mean tagging loss per token of the windows (and their copies), and of the views.

        Args:
            crf_head: the model's head if it has a CRF, else None.
            smoothing: share of boundary smoothing.
        """
        batch, forward = self.batch, self.forward
        losses = tagging_loss(crf_head, forward.outputs, forward.log_probs, batch.labels, forward.attention_mask)
        if smoothing:
            losses = losses + smoothing_loss(forward.log_probs, batch.labels, self._moves(), smoothing)
        windows, views = losses[: batch.first_view].sum(), losses[batch.first_view :].sum()
        return windows / _at_least(self.totals.tokens * (1 + batch.copies)), views / _at_least(self.totals.view_tokens)

    def _moves(self) -> Tensor:
        begins = {self.labels.begin(name): self.labels.inside(name) for name in self.labels.types}
        moves = boundary_moves(self.batch.labels.tolist(), begins, self.labels.outside)
        return torch.tensor(moves, dtype=torch.long, device=self.batch.device).view(-1, 3)

    def r_drop(self) -> Tensor:
        """Mean R-Drop divergence per token."""
        rows, log_probs = self.batch.windows, self.forward.log_probs
        parts = r_drop_loss(log_probs[:rows], log_probs[rows : 2 * rows], self.batch.is_text[:rows])
        return parts.sum() / _at_least(self.totals.tokens)

    # ---- the teacher --------------------------------------------------------------------------------------------

    @cached_property
    def correct(self) -> Tensor:
        """(windows, tokens) text that the model labels rightly."""
        rows = self.batch.windows
        best = self.forward.log_probs[:rows].detach().argmax(-1)
        return (best == self.batch.labels[:rows]) & self.batch.is_text[:rows]

    @cached_property
    def found(self) -> Tensor:
        """(entities,) whether all tokens of the entity in focus are labelled rightly."""
        starts, ends, _ = self.batch.spans
        places = torch.arange(self.correct.shape[1], device=self.batch.device)
        inside = (places >= starts[:, None]) & (places < ends[:, None])
        return (self.correct[self.batch.focus_rows] | ~inside).all(1)

    # ---- terms with explanations --------------------------------------------------------------------------------

    def consistency(self) -> Tensor:
        """Mean divergence per token that views left as it was; 0 for tokens that the teacher gets wrong."""
        batch, log_probs = self.batch, self.forward.log_probs
        views = batch.at_windows(log_probs[batch.first_view :], batch.aligned)
        counted = (batch.aligned >= 0) & self.correct[batch.viewed_rows]
        return consistency_loss(log_probs[batch.viewed_rows], views, counted).sum() / _at_least(self.totals.aligned)

    def head_maps(self, head: Callable[..., Tensor]) -> HeadMaps:
        """Let the explainer head explain all entities in focus, of windows and views, in one call.

        It is called even where there is none, on the first row, so that every process takes part in its gradients.
        """
        batch, states = self.batch, self.forward.states
        rows = torch.cat([batch.focus_rows, batch.first_view + batch.kept_views])
        spans = [torch.cat(pair) for pair in zip(batch.spans, batch.kept_spans)]
        if not len(rows):
            nothing = rows.new_zeros(1)
            maps = head(states[:1].float(), nothing, nothing + 1, nothing, batch.is_text[:1])[:, :] * 0
            return HeadMaps(maps, maps[:0])
        maps = head(states[rows].float(), *spans, batch.is_text[rows])
        return HeadMaps(*maps.split([len(batch.focus_rows), len(batch.kept)]))

    def stability(self, maps: HeadMaps, explained: Explained) -> Tensor:
        """Mean divergence of the head's maps from the fused ones, on windows and views, of entities that are found."""
        batch = self.batch
        if not len(batch.focus_rows):
            return maps.windows.sum()
        counted = self.found & explained.has_map
        own = stability_loss(maps.windows, explained.shares, explained.mask)
        entities = batch.kept_entities
        views = stability_loss(
            batch.at_windows(maps.views, batch.kept_aligned),
            explained.shares[entities],
            explained.mask[entities] & (batch.kept_aligned >= 0),
        )
        total = torch.where(counted, own, 0).sum() + torch.where(counted[entities], views, 0).sum()
        return total / _at_least(self.totals.entities + self.totals.kept)

    def boundary(self, explained: Explained, edges: EdgeScale) -> Tensor:
        """Margins at the boundaries of the entities in focus, and invariance of the views there."""
        marginals = boundary_marginals(self.forward.log_probs, self.batch.is_text, self.labels)
        margins = self._margins(marginals, explained, edges).sum() / _at_least(self.totals.entities)
        return margins + self._invariance(marginals).sum() / _at_least(self.totals.kept)

    def _margins(self, marginals: BoundaryMarginals, explained: Explained, edges: EdgeScale) -> Tensor:
        """(entities,) mean margin loss of both sides."""
        rows, (starts, ends, _) = self.batch.focus_rows, self.batch.spans
        is_text = self.batch.is_text[rows]
        gold_starts, gold_ends = self._gold_boundaries
        parts = []
        for side, gold, places, pair, scale in (
            (marginals.starts, gold_starts, starts, (starts - 1, starts), edges.start),
            (marginals.ends, gold_ends, ends - 1, (ends - 1, ends), edges.end),
        ):
            weights = unseen_weight(edge_mass(explained.shares, pair), scale)
            weights = torch.where(explained.has_map, weights, 1.0)
            parts.append(margin_loss(side[rows], places, is_text & ~gold[rows], weights))
        return (parts[0] + parts[1]) / 2

    @cached_property
    def _gold_boundaries(self) -> tuple[Tensor, Tensor]:
        """(rows, tokens) bool: an entity of the gold starts, or ends, with the token."""
        gold = self.batch.labels
        begins = torch.zeros_like(gold, dtype=torch.bool)
        goes_on = torch.zeros_like(begins)
        following = torch.nn.functional.pad(gold[:, 1:], (0, 1), value=self.labels.outside)
        is_entity = begins.clone()
        for name in self.labels.types:
            begin, inside = self.labels.begin(name), self.labels.inside(name)
            own = (gold == begin) | (gold == inside)
            begins |= gold == begin
            is_entity |= own
            goes_on |= own & (following == inside)
        return begins, is_entity & ~goes_on

    def _invariance(self, marginals: BoundaryMarginals) -> Tensor:
        """(kept,) mean invariance loss of both sides."""
        batch = self.batch
        rows, views = batch.focus_rows[batch.kept_entities], batch.first_view + batch.kept_views
        counted = (batch.kept_aligned >= 0) & self.correct[rows]
        places = torch.arange(counted.shape[1], device=batch.device)
        starts, ends, _ = (one[batch.kept_entities] for one in batch.spans)
        parts = [
            invariance_loss(
                side[rows],
                batch.at_windows(side[views], batch.kept_aligned),
                counted & ((places - place[:, None]).abs() <= 1),
            )
            for side, place in ((marginals.starts, starts), (marginals.ends, ends - 1))
        ]
        return (parts[0] + parts[1]) / 2


class Forward(NamedTuple):
    """One forward pass over all rows of a batch.

    Attributes:
        embeds: (rows, tokens, size) word embeddings that it began with.
        states: (rows, tokens, hidden) in front of the classifier.
        log_probs: (rows, tokens, labels) float32.
        outputs: what the model returned.
        attention_mask: (rows, tokens).
    """

    embeds: Tensor
    states: Tensor
    log_probs: Tensor
    outputs: Any
    attention_mask: Tensor


class HeadMaps(NamedTuple):
    """Maps of the explainer head: (entities, tokens) of the windows, (kept, tokens) of the views that kept theirs."""

    windows: Tensor
    views: Tensor


def _at_least(total: float) -> float:
    return max(total, 1.0)


def _role_masses(maps: Tensor, mask: Tensor, spans: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """(entities, roles) mass of maps (entities, tokens) in each role of `ROLES`."""
    shares = torch.where(mask, maps.exp(), 0) / mask.sum(1, keepdim=True).clamp(min=1)
    places = torch.arange(maps.shape[1], device=maps.device)
    starts, ends = spans[0][:, None], spans[1][:, None]
    left, right = places < starts, places >= ends
    first, last = places == starts, (places == ends - 1) & (places > starts)
    parts = (left, first, ~(left | right | first | last), last, right)
    assert len(parts) == len(ROLES)
    return torch.stack([torch.where(part, shares, 0).sum(1) for part in parts], 1)
