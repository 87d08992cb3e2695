"""Gradient x input: how the target changes with each character's, and each lexicon word's, vector.

Integrated gradients, with the path's forward passes shared by all entities of a sentence.

Attention x gradient: what the entity's tokens attend to, weighted by how much it matters for the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.model.pipeline_adner import check_count

NORMS = ("l2", "signed")


class GradientTimesInput(LocalExplainer):
    """Gradient x input (Shrikumar et al. 2017), for all entities of many sentences with one forward pass.

    Rows of a batch do not depend on one another, so one backward pass explains one entity of every row. The value of
    each vector is captum's `LayerGradientXActivation` over the embedding layer. Of a model with a lexicon stream the
    matched words' vectors are explained along with the characters'.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`.
        norm: ``l2`` (default): the Euclidean norm of gradient x input per character, 0 or more: how much it matters;
            ``signed``: the sum: to first order, by how much it raises the target.

    Raises:
        ValueError: as for `LocalExplainer`, or another norm.
    """

    name = "grad-x-input"

    def __init__(self, tagger: Tagger, target: str = "label", batch_size: int = 16, norm: str = "l2"):
        super().__init__(tagger, target, batch_size)
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, found {norm!r}")
        self.norm = norm

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        leaves = embedding_leaves(self.tagger, batch.inputs)
        tagging = self.tagger.tag(batch.inputs, *leaves)
        log_probs = tagging.log_probs.detach()
        found: list[list[Attribution]] = [[] for _ in places]
        for members, values, gradients in entity_gradients(self.target, tagging, places, leaves):
            tokens, words = (self._reduced(leaf, slope) for leaf, slope in zip(leaves, gradients))
            for place, value in zip(members, values):
                row = place.row
                row_words = None if words is None else words[row]
                found[row].append(Attribution(tokens[row], row_words, value, log_probs[row], {"norm": self.norm}))
        return found

    def _reduced(self, leaf: Tensor | None, gradient: Tensor | None) -> Tensor | None:
        """Gradient x input (batch, tokens, size) -> one score per token or word, on the CPU."""
        if leaf is None:
            return None
        product = leaf.detach().float() * gradient.float()
        return (product.sum(-1) if self.norm == "signed" else torch.linalg.vector_norm(product, dim=-1)).cpu()


def embedding_leaves(tagger: Tagger, inputs) -> tuple[Tensor, Tensor | None]:
    """Vectors of the tokens and of the matched words (None without a lexicon stream), ready to be differentiated."""
    embeds, words = tagger.embed(inputs["input_ids"]), tagger.embed_words(inputs)
    return embeds.requires_grad_(), None if words is None else words.requires_grad_()


def entity_gradients(target: Target, tagging: Tagging, places: Places, leaves: Sequence[Tensor | None]):
    """Differentiate each row's first entity, then each row's second, and so on: one backward pass per round.

    Yields:
        (entities of the round, their target values, gradients of the leaves), the gradients shaped like the leaves.
    """
    rounds = [list(members) for members in _rounds(places)]
    for number, members in enumerate(rounds, start=1):
        scores = target(tagging, members)
        gradients = differentiate(scores.sum(), leaves, keep_graph=number < len(rounds))
        yield members, scores.detach().tolist(), gradients


def _rounds(places: Places) -> list[list[EntityTokens]]:
    most = max(map(len, places), default=0)
    return [[row[number] for row in places if number < len(row)] for number in range(most)]


def differentiate(total: Tensor, leaves: Sequence[Tensor | None], keep_graph: bool) -> list[Tensor | None]:
    """Gradients of a scalar in the leaves that are there; zeros where it does not depend on one."""
    present = [leaf for leaf in leaves if leaf is not None]
    gradients = iter(
        torch.autograd.grad(total, present, retain_graph=keep_graph, allow_unused=True, materialize_grads=True)
    )
    return [None if leaf is None else next(gradients) for leaf in leaves]


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
        check_count(steps, "steps")
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
        check_count(layers, "layers")
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
