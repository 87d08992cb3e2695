"""Gradient x input: how the target changes with each character's, and each lexicon word's, vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target

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
