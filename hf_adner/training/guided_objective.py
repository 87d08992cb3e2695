"""The loss of a guided batch: one forward pass over windows and views, one more backward to explain, all terms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn

from hf_adner.explain.fusion import USES_TAU2
from hf_adner.explain.roles import ROLES
from hf_adner.explain.states import last_states
from hf_adner.explain.tagger import Tagger
from hf_adner.training.guidance import Guidance
from hf_adner.training.guided_arguments import ExplanationGuidedTrainingArguments
from hf_adner.training.guided_batch import GuidedBatch, StepTotals
from hf_adner.training.guided_examples import GUIDANCE
from hf_adner.training.guided_step import Forward, GuidedStep, HeadMaps
from hf_adner.training.losses.divergences import jensen_shannon
from hf_adner.training.losses.stability import entropy_share
from hf_adner.training.monitors import EpochFigures, RunningTerms
from hf_adner.training.schedule import GuidedSchedule
from hf_adner.training.step_explainer import Explained, StepExplainer


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
        guidance: Guidance,
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
        self._explainer = StepExplainer(self.guidance, self.tagger.labels, self.args.device)

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
        part = GuidedStep(batch, self._forward(model, inputs), self.labels, totals)
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

    def _tagging(self, part: GuidedStep) -> Tensor:
        """The tagging loss per token of windows and views, a view's token counting `view_ner_weight`."""
        windows, views = part.tagging(self._crf_head, self.args.boundary_smoothing)
        self._noted(ner=windows)
        if not self.args.uses_views:
            return windows
        self._noted(view_ner=views)
        tokens, seen = part.totals.tokens, self.args.view_ner_weight * part.totals.view_tokens
        return (tokens * windows + seen * views) / max(tokens + seen, 1.0)

    def _guided(self, part: GuidedStep, step: int) -> Tensor:
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
    def _watch(self, part: GuidedStep, explained: Explained) -> None:
        text = part.batch.is_text[: part.batch.windows].sum()
        self.terms.count(
            teacher_correct_tokens=(part.correct.sum(), text),
            local_weight=(explained.local_weight.sum(), text.new_tensor(len(explained.local_weight))),
        )
        self.figures.add(teacher_correct=part.found)
        if self.args.fusion in USES_TAU2:  # the weights of the others are what they were told to be
            self.figures.add(local_weight=explained.local_weight)

    @torch.no_grad()
    def _watch_maps(self, part: GuidedStep, maps: HeadMaps, explained: Explained) -> None:
        batch = part.batch
        if not len(batch.focus_rows):
            return
        divergence = jensen_shannon(maps.windows, explained.shares.clamp(min=1e-9).log(), explained.mask)
        self.figures.add(explanation_entropy=entropy_share(maps.windows, explained.mask), divergence=divergence)
        windows = _role_masses(maps.windows, explained.mask, batch.spans)[batch.kept_entities]
        in_views = batch.is_text[batch.first_view + batch.kept_views]
        self.figures.add_pairs(windows, _role_masses(maps.views, in_views, batch.kept_spans))


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
