"""Every span whose posterior exceeds a bound, on the best path or off it.

The posterior of a span is the probability of its first state times those of its steps, each given the state before. The
probability of a beginning bounds that of every span that begins so, and falls with each step; spans are extended
character by character only while it exceeds the bound. That is exact and needs no maximum length. The spans that share
a character exclude one another, so fewer than 1 / bound of them exceed the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .crf_lattice_adner import FORBIDDEN


class SpanFactors(NamedTuple):
    """Log probabilities from which spans are put together, each (batch, length, types).

    A step is that from the position before; `FORBIDDEN` where there is none.

    Attributes:
        alone: of an entity of this one position.
        first: of the first position of a longer entity; an upper bound where the entity may also end here.
        second, second_last: of the step to the second position, as one that goes on, and as the last.
        later, later_last: of a later step, likewise.
    """

    alone: Tensor
    first: Tensor
    second: Tensor
    second_last: Tensor
    later: Tensor
    later_last: Tensor

    def within(self, mask: Tensor) -> SpanFactors:
        """Forbid everything outside `mask` (batch, length)."""
        return SpanFactors(*(side.masked_fill(~mask[..., None], FORBIDDEN) for side in self))


class LikelySpan(NamedTuple):
    """A span of a row, end exclusive, with the index of its entity type and its log posterior."""

    row: int
    start: int
    end: int
    type: int
    log_posterior: float


def spans_above(factors: SpanFactors, bound: float) -> list[LikelySpan]:
    """Return all spans whose log posterior exceeds `bound`, sorted by row, start, end and type.

    Args:
        factors: of a batch.
        bound: natural logarithm, finite.
    """
    found = [_spans(factors.alone, (factors.alone > bound).nonzero(), 1, bound)]
    begun = (factors.first > bound).nonzero()  # (spans, 3): row, start, type
    beginning = factors.first[begun.unbind(1)]  # (spans,)
    for length in range(2, factors.first.shape[1] + 1):
        goes_on, last = (factors.second, factors.second_last) if length == 2 else (factors.later, factors.later_last)
        fits = begun[:, 1] + length <= factors.first.shape[1]
        begun, beginning = begun[fits], beginning[fits]
        if not len(begun):
            break
        place = (begun[:, 0], begun[:, 1] + length - 1, begun[:, 2])
        found.append(_kept(begun, length, beginning + last[place], bound))
        beginning = beginning + goes_on[place]
        alive = beginning > bound
        begun, beginning = begun[alive], beginning[alive]
    return sorted(span for spans in found for span in spans)


def _spans(log_posteriors: Tensor, begun: Tensor, length: int, bound: float) -> list[LikelySpan]:
    return _kept(begun, length, log_posteriors[begun.unbind(1)], bound)


def _kept(begun: Tensor, length: int, log_posteriors: Tensor, bound: float) -> list[LikelySpan]:
    kept = log_posteriors > bound
    rows = zip(begun[kept].tolist(), log_posteriors[kept].tolist())
    return [LikelySpan(row, start, start + length, index, value) for (row, start, index), value in rows]


def bioes_factors(marginals: Tensor, steps: Tensor, ids: Sequence[Sequence[int]]) -> SpanFactors:
    """Return the factors of a BIOES chain.

    Args:
        marginals: (batch, length, states) log marginals.
        steps: (batch, length, 2 * types, states) log p(state | state before); the states before are B and I of the
            first type, of the second, and so on. Position 0 is not used.
        ids: per type the ids of its states B, I, E and S.
    """
    begin, inside, end, single = (list(side) for side in zip(*ids))
    from_begin, from_inside = steps[:, :, 0::2], steps[:, :, 1::2]  # (batch, length, types, states)
    return SpanFactors(
        alone=marginals[..., single],
        first=marginals[..., begin],
        second=_own(from_begin, inside),
        second_last=_own(from_begin, end),
        later=_own(from_inside, inside),
        later_last=_own(from_inside, end),
    )


def bio_factors(marginals: Tensor, steps: Tensor, ids: Sequence[Sequence[int]], lengths: Tensor) -> SpanFactors:
    """Return the factors of a BIO chain, in which an entity ends where its I does not follow.

    Args:
        marginals, steps: as for `bioes_factors`.
        ids: per type the ids of its states B and I.
        lengths: (batch,) valid positions.
    """
    begin, inside = (list(side) for side in zip(*ids))
    second, later = _own(steps[:, :, 0::2], inside), _own(steps[:, :, 1::2], inside)
    last = torch.arange(marginals.shape[1], device=lengths.device) >= (lengths - 1)[:, None]  # (batch, length)
    stop_first, stop_later = (_stops(side, last) for side in (second, later))
    first = marginals[..., begin]
    return SpanFactors(first + stop_first, first, second, second + stop_later, later, later + stop_later)


def independent_factors(log_probs: Tensor, ids: Sequence[Sequence[int]]) -> SpanFactors:
    """Return the factors of independent labels: a span is as probable as its labels together.

    Args:
        log_probs: (batch, length, labels).
        ids: per type the ids of its labels B and I.
    """
    begin, inside = (log_probs[..., list(side)] for side in zip(*ids))
    return SpanFactors(begin, begin, inside, inside, inside, inside)


def _own(steps: Tensor, ids: Sequence[int]) -> Tensor:
    """Pick of each type's steps (batch, length, types, states) that to its own state."""
    index = torch.tensor(ids, device=steps.device).expand(*steps.shape[:2], -1)
    return steps.gather(-1, index[..., None])[..., 0]


def _stops(goes_on: Tensor, last: Tensor) -> Tensor:
    """Return log(1 - p(the next step goes on)), (batch, length, types); 0 at the last position."""
    following = pad(goes_on[:, 1:].exp(), (0, 0, 0, 1))
    return torch.log1p(-following.clamp(max=1)).clamp(min=FORBIDDEN).masked_fill(last[..., None], 0)
