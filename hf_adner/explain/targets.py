"""The scalar that is explained: one number per entity, read from the log-probabilities of the BIO labels.

For our models these are the exact log posterior marginals of the CRF (or the softmax), for any other token classifier
`log_softmax(logits)`. Everything is computed in float32.

The states in front of a tagger's classifier, whatever the tagger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hf_adner.model.labels_adner import split_tag

TARGETS = ("label", "start", "end", "span")
"""Names of what may be explained; see `Target`."""

SMALLEST = 1e-6
"""Probabilities are squeezed into [SMALLEST, 1 - SMALLEST] before their log-odds are taken."""

SpanPosteriors = Callable[[Tensor, Tensor, Sequence[tuple[int, int, int, str]]], Tensor]


class Tagging(NamedTuple):
    """What a model says of a batch.

    Attributes:
        log_probs: (batch, tokens, labels) float32, normalised over the labels.
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
        following: the next token that stands for text, -1 where the text ends with the entity.
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
        is_chain: an I-x never follows anything but its own entity (a CRF with constraints), so that the marginals of
            the labels are those of one chain. Otherwise tokens are taken as independent.

    Raises:
        ValueError: a label that is not O, B-x or I-x, or no entity type with both.
    """

    def __init__(self, labels: Sequence[str], is_chain: bool = False):
        self.names, self.is_chain = list(labels), is_chain
        self._ids = {split_tag(name): index for index, name in enumerate(self.names)}
        wrong = [name for name in self.names if split_tag(name)[0] not in {"O", "B", "I"}]
        if wrong or ("O", "") not in self._ids:
            raise ValueError(f"explanations need BIO labels (O, B-x, I-x), found {(wrong or self.names)[:5]}")
        self.types = [name for prefix, name in self._ids if prefix == "B" and ("I", name) in self._ids]
        if not self.types:
            raise ValueError(f"explanations need entity types with B-x and I-x, found the labels {self.names[:5]}")

    def check(self, label: str) -> None:
        """Make sure that an entity type exists.

        Raises:
            ValueError: it does not.
        """
        if label not in self.types:
            raise ValueError(f"the model does not have the label {label!r}; it knows {self.types}")

    @property
    def outside(self) -> int:
        """Id of O."""
        return self._ids["O", ""]

    def begin(self, label: str) -> int:
        """Id of B-label."""
        return self._ids["B", label]

    def inside(self, label: str) -> int:
        """Id of I-label."""
        return self._ids["I", label]


class Target:
    """The score of each entity that explanations are about; differentiable in the model's inputs.

    Names:

    * ``label`` (default): sum over the entity's tokens of the log-odds of their labels, log P - log(1 - P). Unlike
      log P it does not saturate where the model is sure. P is squeezed into [1e-6, 1 - 1e-6] as 1e-6 + (1 - 2e-6) P,
      which leaves even the surest entity a gradient, as clipping would not.
    * ``start``: why does it begin here; log P(B-x) minus the larger of log P(O) (it begins later) and log P(I-x) (it
      began before) at its first token (contrastive: Yin and Neubig 2022).
    * ``end``: why does it end here; log of the probability that an x ends with its last token, minus the larger of
      log P(O) there (it ended before) and of the log probability that it goes on.
    * ``span``: log posterior of exactly this span and type, as the pipeline's score (our models only).

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
        """Scores of entities, (entities,) float32."""
        if not places:
            return tagging.log_probs.new_zeros(0)
        return getattr(self, f"_{self.name}")(tagging, places)

    def _label(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        owner, rows, tokens, ids = [], [], [], []
        for number, place in enumerate(places):
            length = place.end - place.start
            owner += [number] * length
            rows += [place.row] * length
            tokens += range(place.start, place.end)
            ids += [self.labels.begin(place.label)] + [self.labels.inside(place.label)] * (length - 1)
        odds = log_odds(tagging.log_probs[rows, tokens], ids)  # (tokens of all entities,)
        return odds.new_zeros(len(places)).index_add(0, torch.tensor(owner, device=odds.device), odds)

    def _start(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        at_start = tagging.log_probs[[place.row for place in places], [place.start for place in places]]
        begin, inside, outside = self._columns(at_start, places)
        return _floored(begin) - _floored(torch.maximum(outside, inside))

    def _end(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        ends, goes_on, outside = self._at_end(tagging, places)
        return _floored(_log(ends)) - _floored(torch.maximum(outside, _log(goes_on)))

    def edges(self, tagging: Tagging, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor]:
        """Probability that an entity of the label starts with each entity's first token, and ends with its last.

        Returns:
            Two (entities,) float32, the values of `boundaries` at these tokens.
        """
        if not places:
            return tagging.log_probs.new_zeros(0), tagging.log_probs.new_zeros(0)
        at_start = tagging.log_probs[[place.row for place in places], [place.start for place in places]]
        return self._columns(at_start, places)[0].exp(), self._at_end(tagging, places)[0]

    def _at_end(self, tagging: Tagging, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Of each entity's last token: probability to end there, to go on behind it, and log-probability of O."""
        rows = [place.row for place in places]
        at_end = tagging.log_probs[rows, [place.end - 1 for place in places]]
        behind = tagging.log_probs[rows, [place.following for place in places]]
        begin, inside, outside = self._columns(at_end, places)
        has_text = torch.tensor([place.following >= 0 for place in places], device=behind.device)
        goes_on = self._columns(behind, places)[1].exp() * has_text
        return *self._ends((begin.exp() + inside.exp()).clamp(max=1.0), goes_on), outside

    def _ends(self, within: Tensor, goes_on: Tensor) -> tuple[Tensor, Tensor]:
        """Probability that the entity ends with a token, and that it goes on.

        In a chain an I-x follows only its own entity, so its marginal is the probability to go on itself.
        """
        if self.labels.is_chain:
            return (within - goes_on).clamp(min=0.0), goes_on
        return within * (1 - goes_on), within * goes_on

    def _columns(self, log_probs: Tensor, places: Sequence[EntityTokens]) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities (entities, labels) -> those of B-x, I-x and O, each (entities,)."""
        number = range(len(places))
        begin = log_probs[number, [self.labels.begin(place.label) for place in places]]
        inside = log_probs[number, [self.labels.inside(place.label) for place in places]]
        return begin, inside, log_probs[:, self.labels.outside]

    def _span(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        # text positions: our tokenizer puts one special token in front, and rows are padded on the right
        spans = [(place.row, place.start - 1, place.end - 1, place.label) for place in places]
        return self._span_posteriors(tagging.emissions, tagging.text_mask, spans)

    def boundaries(self, log_probs: Tensor, is_text: Tensor, label: str) -> tuple[Tensor, Tensor]:
        """Probability that an entity of a type starts, and ends, with each token, (tokens,) each; 0 outside the text.

        Args:
            log_probs: (tokens, labels) of one row.
            is_text: (tokens,) which tokens stand for text.
        """
        probs = log_probs[is_text].exp()  # (text, labels)
        begin, inside = probs[:, self.labels.begin(label)], probs[:, self.labels.inside(label)]
        goes_on = torch.nn.functional.pad(inside[1:], (0, 1)) if len(inside) else inside
        ends, _ = self._ends((begin + inside).clamp(max=1.0), goes_on)
        nothing = log_probs.new_zeros(len(is_text))
        return nothing.masked_scatter(is_text, begin), nothing.masked_scatter(is_text, ends)


def log_odds(log_probs: Tensor, ids: Sequence[int]) -> Tensor:
    """log P - log(1 - P) of one label per row, P squeezed into [1e-6, 1 - 1e-6]; (rows, labels) -> (rows,).

    1 - P is summed from the other labels: a difference from 1 would lose its digits where P is close to 1.
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


class LastStates:
    """Takes note of what a model's network below the head returns, at every forward pass.

    Args:
        model: an `AdnerForTokenClassification` or any `AutoModelForTokenClassification`.

    Raises:
        ValueError: the model has no network below its head that could be asked.
    """

    def __init__(self, model: Any):
        below = getattr(model, "base_model", None)
        if below is None or below is model:
            raise ValueError(f"{type(model).__name__} names no base model (base_model_prefix): its states are unknown")
        self.states: Tensor | None = None
        self._handle = below.register_forward_hook(self._note)

    def _note(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self.states = output[0] if isinstance(output, tuple) else output.last_hidden_state

    def take(self) -> Tensor:
        """(batch, tokens, size) of the last forward pass; they are not kept any longer.

        Raises:
            RuntimeError: there was none since the last call.
        """
        if self.states is None:
            raise RuntimeError("no forward pass since the states were last taken")
        states, self.states = self.states, None
        return states

    def close(self) -> None:
        """Leave the model as it was."""
        self._handle.remove()


@contextmanager
def last_states(model: Any) -> Iterator[LastStates]:
    """`LastStates` that leave the model again."""
    noted = LastStates(model)
    try:
        yield noted
    finally:
        noted.close()


def states_size(model: Any) -> int:
    """Width of the states in front of the classifier.

    Raises:
        ValueError: the configuration tells none.
    """
    config = model.config
    size = getattr(config, "output_size", None) if hasattr(model, "entity_log_posteriors") else None
    size = size or getattr(config, "hidden_size", None)
    if not isinstance(size, int):
        raise ValueError(f"{type(config).__name__} tells no hidden_size")
    return size
