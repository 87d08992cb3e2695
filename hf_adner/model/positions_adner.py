"""Text positions: the tokens of a batch without special tokens and padding, left-aligned."""

from typing import NamedTuple

import torch
from torch import nn


class TextPositions(NamedTuple):
    """Where the text stands in a batch of tokens.

    `index` (batch, text) token position of each text position, rows left-aligned; `mask` (batch, text) True on text;
    `before` (batch, tokens + 1) how many text positions lie before a token position.
    """

    index: torch.Tensor
    mask: torch.Tensor
    before: torch.Tensor

    def take(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, ...) -> (batch, text, ...)."""
        index = self.index.view(*self.index.shape, *[1] * (values.dim() - 2))
        return values.gather(1, index.expand(-1, -1, *values.shape[2:]))

    def put(self, values: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        """(batch, text, ...) over a background of shape (batch, tokens, ...)."""
        shape = (*self.index.shape, *[1] * (values.dim() - 2))
        values = torch.where(self.mask.view(shape), values, self.take(background))
        return background.scatter(1, self.index.view(shape).expand_as(values), values)


def count_positions(attention_mask: torch.Tensor, first: int) -> torch.Tensor:
    """Position ids (batch, tokens) that number the attended tokens from `first`, whichever side the padding is on."""
    return attention_mask.bool().cumsum(1).clamp(min=1) + (first - 1)


def locate_text(attention_mask: torch.Tensor) -> TextPositions:
    """Find the text: what is attended but for the first and the last attended position (the special tokens).

    Args:
        attention_mask: (batch, tokens), padding on either side.
    """
    attended = attention_mask.bool()
    rank = attended.cumsum(1)
    text = attended & (rank > 1) & (rank < rank[:, -1:])
    length = max(attended.shape[1] - 2, 1)
    index = torch.argsort((~text).to(torch.int8), dim=1, stable=True)[:, :length]
    before = nn.functional.pad(text.cumsum(1), (1, 0))
    return TextPositions(index, text.gather(1, index), before)
