"""Gradient-based explainers: gradient x input, integrated gradients and attention x gradient."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hf_adner.explain.explainer import (
    DEFAULT_BATCH_SIZE,
    Attribution,
    LocalExplainer,
    Places,
    RowExplainer,
    WindowExplainer,
)
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.explain.text_windows import DEFAULT_CONTEXT
from hf_adner.model.pipeline_adner import check_count

NORMS = ("l2", "signed")
BASELINES = ("mask", "pad", "zero")

Leaves = tuple[Tensor, Tensor | None]


class GradientExplainer(WindowExplainer):
    """Base of explainers that differentiate.

    Only inputs are differentiated, by a copy of the model's modules with frozen weights. The gradients of a float16
    model would underflow or overflow: it is explained with its weights copied to float32.
    """

    def _for_call(self) -> LocalExplainer:
        own = copy.copy(self)
        own.tagger = self.tagger.with_own_modules(_frozen_weights(self.tagger.model))
        if own.tagger.model.dtype == torch.float16:
            own.tagger.model = copy.deepcopy(own.tagger.model).float()
        return own


def _frozen_weights(model: nn.Module) -> dict[int, nn.Parameter]:
    """Return id of a weight -> the same numbers without a gradient, for which a forward pass keeps less."""
    trained = (weight for weight in model.parameters() if weight.requires_grad)
    return {id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in trained}


class GradientTimesInput(GradientExplainer):
    """Gradient x input (Shrikumar et al. 2017), for all entities of many sentences with one forward pass.

    The rows of a batch are independent, so one backward pass explains one entity of every row. Values equal those of
    captum's `LayerGradientXActivation` over the embedding layer. In models with a lexicon stream, the vectors of the
    matched words are explained along with those of the characters.

    Args:
        tagger, target, batch_size, context: as for `LocalExplainer`.
        spread_words: add the score of each matched word, split equally, to its characters; otherwise `scores` are those
            of the characters' own vectors.
        norm: ``l2`` (default): Euclidean norm of gradient x input per character, 0 or more; ``signed``: the sum, to
            first order the character's contribution to the target.

    Raises:
        ValueError: as for `LocalExplainer`, or an unknown norm.
    """

    name = "grad-x-input"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        norm: str = "l2",
        spread_words: bool = True,
        context: int | None = DEFAULT_CONTEXT,
    ):
        super().__init__(tagger, target, batch_size, context)
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, found {norm!r}")
        self.norm, self.spread_words = norm, spread_words

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        leaves = embedding_leaves(self.tagger, batch.inputs)
        tagging = self.tagger.tag(batch.inputs, *leaves)
        log_probs = tagging.log_probs.detach()
        attributions: list[list[Attribution]] = [[] for _ in places]
        for members, values, gradients in entity_gradients(self.target, tagging, places, leaves):
            tokens, words = (self._reduce(leaf, gradient) for leaf, gradient in zip(leaves, gradients))
            for place, value in zip(members, values):
                row = place.row
                row_words = None if words is None else words[row]
                details = {"norm": self.norm}
                attributions[row].append(
                    Attribution(tokens[row], row_words, value, log_probs[row], details, self.spread_words)
                )
        return attributions

    def _reduce(self, leaf: Tensor | None, gradient: Tensor | None) -> Tensor | None:
        """Reduce gradient x input (batch, tokens, size) to one score per token or word, on the CPU."""
        if leaf is None:
            return None
        product = leaf.detach().float() * gradient.float()
        return (product.sum(-1) if self.norm == "signed" else torch.linalg.vector_norm(product, dim=-1)).cpu()


def embedding_leaves(tagger: Tagger, inputs: Mapping[str, Tensor]) -> Leaves:
    """Return embeddings of tokens and matched words (None without a lexicon stream) as leaves that require grad."""
    embeds, words = tagger.embed(inputs["input_ids"]), tagger.embed_words(inputs)
    return embeds.requires_grad_(), None if words is None else words.requires_grad_()


def entity_gradients(
    target: Target, tagging: Tagging, places: Places, leaves: Sequence[Tensor | None]
) -> Iterator[tuple[list[EntityTokens], list[float], list[Tensor | None]]]:
    """Differentiate the first entity of every row, then the second of every row, and so on, a backward pass each.

    Yields:
        (entities, one per row, their target values, gradients of the leaves), gradients shaped like the leaves.
    """
    most = max(map(len, places), default=0)
    rounds = [[row[number] for row in places if number < len(row)] for number in range(most)]
    for number, members in enumerate(rounds, start=1):
        scores = target(tagging, members)
        gradients = differentiate(scores.sum(), leaves, keep_graph=number < len(rounds))
        yield members, scores.detach().tolist(), gradients


def differentiate(total: Tensor, leaves: Sequence[Tensor | None], keep_graph: bool) -> list[Tensor | None]:
    """Return the gradients of a scalar; None for leaves that are None, zeros for leaves it does not depend on."""
    present = [leaf for leaf in leaves if leaf is not None]
    gradients = iter(
        torch.autograd.grad(total, present, retain_graph=keep_graph, allow_unused=True, materialize_grads=True)
    )
    return [None if leaf is None else next(gradients) for leaf in leaves]


class IntegratedGradients(GradientExplainer, RowExplainer):
    """Integrated gradients (Sundararajan et al. 2017) along the straight path from a baseline, by the midpoint rule.

    The forward passes along the path are shared by all entities of a sentence; each entity costs one backward pass per
    batch of steps. Values equal those of captum's `LayerIntegratedGradients` with ``method="riemann_middle"``. The
    baseline replaces every character by the mask token and the vector of every matched word by zeros; special tokens
    stay. Scores are signed. `details` hold ``baseline_value`` and ``completeness_error``: the difference between the
    sum of all scores, of characters and words, and the change of the target from baseline to text (in its units).

    Args:
        tagger, target, batch_size, context: as for `LocalExplainer`; steps of a row share a forward pass.
        steps: points of the path.
        baseline: ``mask``, ``pad`` or ``zero``, the vector of an absent character.
        spread_words: see `GradientTimesInput`.

    Raises:
        ValueError: as for `LocalExplainer`, fewer than one step, an unknown baseline, or a tokenizer without its token.
    """

    name = "integrated-gradients"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        steps: int = 20,
        baseline: str = "mask",
        spread_words: bool = True,
        context: int | None = DEFAULT_CONTEXT,
    ):
        super().__init__(tagger, target, batch_size, context)
        check_count(steps, "steps")
        if baseline not in BASELINES:
            raise ValueError(f"baseline must be one of {BASELINES}, found {baseline!r}")
        if baseline == "pad" and tagger.tokenizer.pad_token_id is None:
            raise ValueError(f"{type(tagger.tokenizer).__name__} has no padding token for the baseline")
        self.steps, self.baseline, self.spread_words = steps, baseline, spread_words

    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        text = (self.tagger.embed(row.inputs["input_ids"]), self.tagger.embed_words(row.inputs))
        start = self._baseline(row, text)
        values, start_values, log_probs = self._ends(row, places, text, start)
        gradients = self._mean_gradients(row, places, text, start)
        attributions = []
        for number in range(len(places)):
            tokens, words = (
                None if end is None else ((end - begin).float() * gradient[number]).sum(-1)[0].cpu()
                for end, begin, gradient in zip(text, start, gradients)
            )
            total = float(tokens.double().sum()) + (0.0 if words is None else float(words.double().sum()))
            details = {
                "steps": self.steps,
                "baseline": self.baseline,
                "baseline_value": start_values[number],
                "completeness_error": abs(total - (values[number] - start_values[number])),
            }
            attributions.append(Attribution(tokens, words, values[number], log_probs, details, self.spread_words))
        return attributions

    def _baseline(self, row: TokenBatch, text: Leaves) -> Leaves:
        """Return the vectors of the baseline, shaped like those of the text."""
        if self.baseline == "zero":
            absent = torch.zeros_like(text[0])
        else:
            token = self.tagger.mask_id if self.baseline == "mask" else self.tagger.tokenizer.pad_token_id
            absent = self.tagger.embed(torch.full_like(row.inputs["input_ids"], token))
        words = None if text[1] is None else torch.zeros_like(text[1])
        return torch.where(row.is_text[..., None], absent, text[0]), words

    @torch.no_grad()
    def _ends(
        self, row: TokenBatch, places: Sequence[EntityTokens], text: Leaves, start: Leaves
    ) -> tuple[list[float], list[float], Tensor]:
        """Return target values of text and baseline, and the log-probabilities (tokens, labels) of the text."""
        both = [None if end is None else torch.cat((end, begin)) for end, begin in zip(text, start)]
        tagging = self.tagger.tag(row.copies(2), *both)
        scores = [self.target(tagging, [place._replace(row=number) for place in places]) for number in (0, 1)]
        return scores[0].tolist(), scores[1].tolist(), tagging.log_probs[0]

    def _mean_gradients(
        self, row: TokenBatch, places: Sequence[EntityTokens], text: Leaves, start: Leaves
    ) -> list[Tensor | None]:
        """Return the mean gradient over the path, of tokens and words: (entities, 1, tokens or words, size) float32."""
        sums = [None if end is None else torch.zeros(len(places), *end.shape, device=end.device) for end in text]
        for steps in torch.arange(self.steps).split(self.tagger.rows_at_once(row.is_text.shape[1], self.batch_size)):
            fractions = ((steps + 0.5) / self.steps).to(text[0].device)[:, None, None]
            leaves = [
                None if end is None else (begin + fractions.to(end.dtype) * (end - begin)).requires_grad_()
                for end, begin in zip(text, start)
            ]
            tagging = self.tagger.tag(row.copies(len(steps)), *leaves)
            for number, place in enumerate(places):
                scores = self.target(tagging, [place._replace(row=step) for step in range(len(steps))])
                gradients = differentiate(scores.sum(), leaves, keep_graph=number + 1 < len(places))
                for total, gradient in zip(sums, gradients):
                    if total is not None:
                        total[number] += gradient.float().sum(0, keepdim=True) / self.steps
        return sums


class AttentionTimesGradient(GradientExplainer):
    """Sum over heads of |attention x gradient| (Barkan et al. 2021; after Chefer et al. 2021).

    The scores, 0 or more, are averaged over the entity's tokens and the last layers of the encoder. As only eager
    attention returns its weights, a copy of the model's modules is switched to it.

    Args:
        tagger, target, batch_size, context: as for `LocalExplainer`.
        layers: number of layers, counted from the last.

    Raises:
        ValueError: as for `LocalExplainer`, no layers, or a model without an attention encoder.
    """

    name = "attention"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        layers: int = 4,
        context: int | None = DEFAULT_CONTEXT,
    ):
        super().__init__(tagger, target, batch_size, context)
        check_count(layers, "layers")
        if tagger.is_adner and not tagger.model.config.use_encoder:
            raise ValueError(
                f"a {tagger.model.config.architecture} model has no encoder whose attention could be explained"
            )
        self.layers = layers

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        tagger = self.tagger.with_own_modules()
        set_eager_attention(tagger.model)
        embeds = tagger.embed(batch.inputs["input_ids"]).requires_grad_()
        outputs = tagger.run(batch.inputs, embeds, output_attentions=True)
        attentions = outputs.attentions
        if not attentions or attentions[-1] is None:
            raise ValueError(f"{type(self.tagger.model).__name__} returns no attention weights")
        attentions = attentions[-self.layers :]
        tagging = self.tagger.read(outputs)
        log_probs = tagging.log_probs.detach()
        attributions: list[list[Attribution]] = [[] for _ in places]
        for members, values, gradients in entity_gradients(self.target, tagging, places, attentions):
            for place, value in zip(members, values):
                scores = _entity_rows(attentions, gradients, place).cpu()
                details = {"layers": len(attentions)}
                attributions[place.row].append(Attribution(scores, None, value, log_probs[place.row], details))
        return attributions


def _entity_rows(attentions: Sequence[Tensor], gradients: Sequence[Tensor], place: EntityTokens) -> Tensor:
    """Average over layers and the entity's tokens the sum over heads of |attention x gradient|, (tokens,)."""
    rows = [
        (weights[place.row, :, place.start : place.end].detach() * gradient[place.row, :, place.start : place.end])
        .float()
        .abs()
        .sum(0)
        .mean(0)
        for weights, gradient in zip(attentions, gradients)
    ]
    return torch.stack(rows).mean(0)


def set_eager_attention(model: nn.Module) -> None:
    """Switch the model and all its parts to eager attention."""
    for part in model.modules():
        for config in _with_parts(getattr(part, "config", None)):
            config._attn_implementation = "eager"


def _with_parts(config: Any) -> Iterator[PreTrainedConfig]:
    """Yield a model's configuration, then those of its parts."""
    if isinstance(config, PreTrainedConfig):
        yield config
        for name in config.sub_configs:
            yield from _with_parts(getattr(config, name, None))
