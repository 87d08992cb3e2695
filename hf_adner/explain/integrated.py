"""Integrated gradients, with the path's forward passes shared by all entities of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.gradient import differentiate
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens

BASELINES = ("mask", "pad", "zero")

Leaves = tuple[Tensor, Tensor | None]


class IntegratedGradients(LocalExplainer):
    """Integrated gradients (Sundararajan et al. 2017) along the straight path from a baseline, by the midpoint rule.

    The path is walked once for all entities of a sentence, which costs one backward pass per entity and batch of steps;
    the values are those of captum's `LayerIntegratedGradients` with ``method="riemann_middle"``. At the baseline every
    character has the vector of the mask token and every matched word of the lexicon the zero vector; special tokens
    stay. Scores are signed. `details` hold ``baseline_value`` and ``completeness_error``: how far the scores of
    characters and words together are from the difference of the target between text and baseline (in its units).

    Args:
        tagger, target, batch_size: as for `LocalExplainer`; `batch_size` steps share a forward pass.
        steps: points of the path.
        baseline: ``mask``, ``pad`` or ``zero``: what stands for an absent character.

    Raises:
        ValueError: as for `LocalExplainer`, fewer than one step, another baseline, or a tokenizer without that token.
    """

    name = "integrated-gradients"

    def __init__(
        self, tagger: Tagger, target: str = "label", batch_size: int = 16, steps: int = 20, baseline: str = "mask"
    ):
        super().__init__(tagger, target, batch_size)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be an integer of 1 or more, found {steps!r}")
        if baseline not in BASELINES:
            raise ValueError(f"baseline must be one of {BASELINES}, found {baseline!r}")
        if baseline == "pad" and tagger.tokenizer.pad_token_id is None:
            raise ValueError(f"{type(tagger.tokenizer).__name__} has no padding token for the baseline")
        self.steps, self.baseline = steps, baseline

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        return [
            self._attribute_row(batch.row(row), [place._replace(row=0) for place in ones])
            for row, ones in enumerate(places)
        ]

    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        text = (self.tagger.embed(row.inputs["input_ids"]), self.tagger.embed_words(row.inputs))
        start = self._baseline(row, text)
        values, start_values, log_probs = self._ends(row, places, text, start)
        slopes = self._mean_slopes(row, places, text, start)
        found = []
        for number in range(len(places)):
            tokens, words = (
                None if end is None else ((end - begin).float() * slope[number]).sum(-1)[0].cpu()
                for end, begin, slope in zip(text, start, slopes)
            )
            total = float(tokens.double().sum()) + (0.0 if words is None else float(words.double().sum()))
            details = {
                "steps": self.steps,
                "baseline": self.baseline,
                "baseline_value": start_values[number],
                "completeness_error": abs(total - (values[number] - start_values[number])),
            }
            found.append(Attribution(tokens, words, values[number], log_probs, details))
        return found

    def _baseline(self, row: TokenBatch, text: Leaves) -> Leaves:
        """Vectors without the text, shaped like those of the text."""
        if self.baseline == "zero":
            absent = torch.zeros_like(text[0])
        else:
            token = self.tagger.mask_id if self.baseline == "mask" else self.tagger.tokenizer.pad_token_id
            absent = self.tagger.embed(torch.full_like(row.inputs["input_ids"], token))
        words = None if text[1] is None else torch.zeros_like(text[1])
        return torch.where(row.is_text[..., None], absent, text[0]), words

    @torch.no_grad()
    def _ends(self, row: TokenBatch, places: Sequence[EntityTokens], text: Leaves, start: Leaves):
        """Target values with and without the text, and the log-probabilities (tokens, labels) of the text."""
        both = [None if end is None else torch.cat((end, begin)) for end, begin in zip(text, start)]
        tagging = self.tagger.tag(row.copies(2), *both)
        scores = [self.target(tagging, [place._replace(row=number) for place in places]) for number in (0, 1)]
        return scores[0].tolist(), scores[1].tolist(), tagging.log_probs[0]

    def _mean_slopes(self, row: TokenBatch, places: Sequence[EntityTokens], text: Leaves, start: Leaves):
        """Mean gradient over the path, for tokens and words: (entities, 1, tokens or words, size), float32."""
        sums = [None if end is None else torch.zeros(len(places), *end.shape, device=end.device) for end in text]
        for steps in torch.arange(self.steps).split(self.batch_size):
            fractions = ((steps + 0.5) / self.steps).to(text[0].device)[:, None, None]
            leaves = [
                None if end is None else (begin + fractions.to(end.dtype) * (end - begin)).requires_grad_()
                for end, begin in zip(text, start)
            ]
            tagging = self.tagger.tag(row.copies(len(steps)), *leaves)
            for number, place in enumerate(places):
                scores = self.target(tagging, [place._replace(row=step) for step in range(len(steps))])
                slopes = differentiate(scores.sum(), leaves, keep_graph=number + 1 < len(places))
                for total, slope in zip(sums, slopes):
                    if total is not None:
                        total[number] += slope.float().sum(0, keepdim=True) / self.steps
        return sums
