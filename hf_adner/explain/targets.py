"""Explanation targets: one scalar per entity, computed in float32 from the log-probabilities of the BIO labels.

For our models these are the exact log posterior marginals of the CRF (or the softmax; per-label, of the label's own
chain), for other token classifiers `log_softmax(logits)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hf_adner.data.errors import excerpt
from hf_adner.model.heads_adner import token_span_log_probs
from hf_adner.model.labels_adner import split_tag

TARGETS = ("label", "start", "end", "span", "posterior")
"""Names of targets; see `Target`."""

SMALLEST = 1e-6
"""Probabilities are squeezed into [SMALLEST, 1 - SMALLEST] before log-odds are computed."""

SpanPosteriors = Callable[[Tensor, Tensor, Sequence[tuple[int, int, int, str]]], Tensor]


class Tagging(NamedTuple):
    """Model output for a batch.

    Attributes:
        log_probs: (batch, tokens, labels) float32, normalised over the labels; of a per-label model (batch, tokens,
            types, 3), normalised over O, B and I of each type.
        emissions, text_mask: (batch, text, states) and (batch, text) of our models, for the span posterior; else None.
    """

    log_probs: Tensor
    emissions: Tensor | None = None
    text_mask: Tensor | None = None


class EntityTokens(NamedTuple):
    """An entity in the tokens of a batch.

    Attributes:
        row: row of the batch.
        start, end: its tokens, end exclusive.
        label: entity type.
        following: the next text token, -1 if the entity ends the text.
    """

    row: int
    start: int
    end: int
    label: str
    following: int = -1


class LabelTable:
    """The BIO labels of a tagger by id.

    Args:
        labels: in id order.
        is_chain: an I-x only follows its own entity (a CRF with constraints), so label marginals are those of one
            chain. Otherwise tokens are treated as independent.
        chains: entity types that have a chain of O, B and I of their own, in the order of their distributions (a
            per-label model); None: all labels are in one distribution.

    Raises:
        ValueError: a label that is not O, B-x or I-x, or no entity type with both.
    """

    def __init__(self, labels: Sequence[str], is_chain: bool = False, chains: Sequence[str] | None = None):
        self.names, self.is_chain, self.chains = list(labels), is_chain, None if chains is None else list(chains)
        self._ids = {split_tag(name): index for index, name in enumerate(self.names)}
        wrong = [name for name in self.names if split_tag(name)[0] not in {"O", "B", "I"}]
        if wrong or ("O", "") not in self._ids:
            raise ValueError(f"explanations need BIO labels (O, B-x, I-x), found {(wrong or self.names)[:5]}")
        self.types = [name for prefix, name in self._ids if prefix == "B" and ("I", name) in self._ids]
        if not self.types:
            raise ValueError(f"explanations need entity types with B-x and I-x, found the labels {self.names[:5]}")

    def check(self, label: str) -> None:
        """Check that an entity type exists.

        Raises:
            ValueError: it does not.
        """
        if label not in self.types:
            raise ValueError(f"the model does not have the label {excerpt(label, 20)}; it knows {self.types}")

    def distributions(
        self, log_probs: Tensor, rows: Sequence[int], tokens: Sequence[int], labels: Sequence[str]
    ) -> Tensor:
        """Return, per row, token and label, the distribution that has the label: (items, labels), or (items, 3)."""
        if self.chains is None:
            return log_probs[rows, tokens]
        return log_probs[rows, tokens, [self.chains.index(label) for label in labels]]

    def of_row(self, log_probs: Tensor, label: str) -> Tensor:
        """Return the distributions of one row, (tokens, ...), that have a label: (tokens, labels), or (tokens, 3)."""
        return log_probs if self.chains is None else log_probs[:, self.chains.index(label)]

    @property
    def outside(self) -> int:
        """Place of O in a distribution."""
        return self._ids["O", ""] if self.chains is None else 0

    def begin(self, label: str) -> int:
        """Return the place of B-label in its distribution."""
        return self._ids["B", label] if self.chains is None else 1

    def inside(self, label: str) -> int:
        """Return the place of I-label in its distribution."""
        return self._ids["I", label] if self.chains is None else 2


class Target:
    """The scalar of each entity that is explained; differentiable in the model's inputs.

    Names:

    * ``label`` (default): sum over the entity's tokens of the log-odds of their labels, log P - log(1 - P). Unlike
      log P it does not saturate for confident predictions. P is squeezed into [1e-6, 1 - 1e-6] as 1e-6 + (1 - 2e-6) P,
      which, unlike clipping, never makes the gradient vanish.
    * ``start``: why the entity begins here; log P(B-x) minus the larger of log P(O) (begins later) and log P(I-x)
      (began before) at its first token (contrastive: Yin and Neubig 2022).
    * ``end``: why the entity ends here; log probability that an x ends with its last token, minus the larger of
      log P(O) there (ended before) and the log probability that it continues.
    * ``span``: log posterior of exactly this span and type, as the pipeline's score (our models only).
    * ``posterior``: that posterior itself, in [0, 1]; for other models the product of the probabilities of the span's
      labels. Meant for explainers that hide text: a gradient vanishes where the posterior saturates.

    Args:
        name: one of `TARGETS`.
        labels: of the tagger.
        span_posteriors: `entity_log_posteriors` of our models.

    Raises:
        ValueError: an unknown name, or ``span`` without `span_posteriors`.
    """

    def __init__(self, name: str, labels: LabelTable, span_posteriors: SpanPosteriors | None = None):
        if name not in TARGETS:
            raise ValueError(f"target {name!r} is unknown; expected one of {TARGETS}")
        if name == "span" and span_posteriors is None:
            raise ValueError("target 'span' needs an AdnerForTokenClassification; use 'label', 'start' or 'end'")
        self.name, self.labels, self._span_posteriors = name, labels, span_posteriors

    def __call__(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        """Return the target value of each entity, (entities,) float32."""
        if not places:
            return tagging.log_probs.new_zeros(0)
        return getattr(self, f"_{self.name}")(tagging, places)

    def _label(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        owners, rows, tokens, names, ids = [], [], [], [], []
        for number, place in enumerate(places):
            length = place.end - place.start
            owners += [number] * length
            rows += [place.row] * length
            tokens += range(place.start, place.end)
            names += [place.label] * length
            ids += [self.labels.begin(place.label)] + [self.labels.inside(place.label)] * (length - 1)
        odds = log_odds(self.labels.distributions(tagging.log_probs, rows, tokens, names), ids)  # (tokens of all,)
        return odds.new_zeros(len(places)).index_add(0, torch.tensor(owners, device=odds.device), odds)

    def _start(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        at_start = self._at(tagging, places, [place.start for place in places])
        begin, inside, outside = self._columns(at_start, places)
        return _floored(begin) - _floored(torch.maximum(outside, inside))

    def _end(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        ends, continues, outside = self._at_end(tagging, places)
        return _floored(_log(ends)) - _floored(torch.maximum(outside, _log(continues)))

    def edges(self, tagging: Tagging, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor]:
        """Return the probabilities that an entity of the label starts with each first token, and ends with each last.

        Returns:
            Two (entities,) float32, the values of `boundaries` at these tokens.
        """
        if not places:
            return tagging.log_probs.new_zeros(0), tagging.log_probs.new_zeros(0)
        at_start = self._at(tagging, places, [place.start for place in places])
        return self._columns(at_start, places)[0].exp(), self._at_end(tagging, places)[0]

    def _at_end(self, tagging: Tagging, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Return, at each last token, the probabilities to end and to continue, and the log-probability of O."""
        at_end = self._at(tagging, places, [place.end - 1 for place in places])
        behind = self._at(tagging, places, [place.following for place in places])
        begin, inside, outside = self._columns(at_end, places)
        has_text = torch.tensor([place.following >= 0 for place in places], device=behind.device)
        continues = self._columns(behind, places)[1].exp() * has_text
        return *self._ends((begin.exp() + inside.exp()).clamp(max=1.0), continues), outside

    def _at(self, tagging: Tagging, places: Sequence[EntityTokens], tokens: Sequence[int]) -> Tensor:
        """Return the distribution of each entity's label at a token, (entities, labels)."""
        rows, names = [place.row for place in places], [place.label for place in places]
        return self.labels.distributions(tagging.log_probs, rows, tokens, names)

    def _ends(self, within: Tensor, continues: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities that the entity ends with a token, and that it continues.

        In a chain an I-x only follows its own entity, so its marginal is the probability to continue.
        """
        if self.labels.is_chain:
            return (within - continues).clamp(min=0.0), continues
        return within * (1 - continues), within * continues

    def _columns(self, log_probs: Tensor, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Select the log-probabilities of B-x, I-x and O, (entities,) each, from (entities, labels)."""
        rows = range(len(places))
        begin = log_probs[rows, [self.labels.begin(place.label) for place in places]]
        inside = log_probs[rows, [self.labels.inside(place.label) for place in places]]
        return begin, inside, log_probs[:, self.labels.outside]

    def _span(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        # text positions: our tokenizer adds one special token in front, and rows are padded on the right
        spans = [(place.row, place.start - 1, place.end - 1, place.label) for place in places]
        return self._span_posteriors(tagging.emissions, tagging.text_mask, spans)

    def _posterior(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        if self._span_posteriors is not None:
            return self._span(tagging, places).exp().clamp(max=1.0)
        spans = [(place.row, place.start, place.end, place.label) for place in places]
        return token_span_log_probs(tagging.log_probs, self.labels.names, spans).exp()

    def boundaries(self, log_probs: Tensor, is_text: Tensor, label: str) -> tuple[Tensor, Tensor]:
        """Return the probabilities that an entity of a type starts, and ends, with each token; 0 outside the text.

        Args:
            log_probs: of one row, (tokens, labels), or of a per-label model (tokens, types, 3).
            is_text: (tokens,) bool, tokens that cover characters.
            label: entity type.

        Returns:
            Two (tokens,).
        """
        probs = self.labels.of_row(log_probs, label)[is_text].exp()  # (text, labels)
        begin, inside = probs[:, self.labels.begin(label)], probs[:, self.labels.inside(label)]
        continues = torch.nn.functional.pad(inside[1:], (0, 1)) if len(inside) else inside
        ends, _ = self._ends((begin + inside).clamp(max=1.0), continues)
        nothing = log_probs.new_zeros(len(is_text))
        return nothing.masked_scatter(is_text, begin), nothing.masked_scatter(is_text, ends)


def log_odds(log_probs: Tensor, ids: Sequence[int]) -> Tensor:
    """Compute log P - log(1 - P) of one label per row, P squeezed into [1e-6, 1 - 1e-6]; (rows, labels) -> (rows,).

    1 - P is summed from the other labels, which stays precise where P is close to 1.
    """
    index = torch.tensor(ids, device=log_probs.device)[:, None]
    chosen = log_probs.gather(1, index)[:, 0]
    others = log_probs.scatter(1, index, -math.inf).logsumexp(1)
    return _squeezed(chosen) - _squeezed(others)


def _squeezed(log_prob: Tensor) -> Tensor:
    return torch.logaddexp(log_prob + math.log1p(-2 * SMALLEST), log_prob.new_tensor(math.log(SMALLEST)))


def _floored(log_prob: Tensor) -> Tensor:
    return torch.logaddexp(log_prob, log_prob.new_tensor(math.log(SMALLEST)))


def _log(prob: Tensor) -> Tensor:
    return prob.clamp(min=1e-30).log()
