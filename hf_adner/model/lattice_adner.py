"""The words of a lexicon over a text, and the graph of its characters, as lists of indices.

A word of n characters has n rows in the list of the positions it covers and at most n (n - 1) / 2 + 2 in the list of
the edges it adds, so that time and memory grow with the length of the text, not with its square. Sums over such lists
are products with a sparse matrix, in an order that is the same in every run.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class LexiconMatches(NamedTuple):
    """Matched words in text positions: `ids`, `starts`, `ends` each (batch, words), end exclusive, id 0 = padding.

    `vectors` (batch, words, size) replaces the word vectors of the ids.
    """

    ids: Tensor
    starts: Tensor
    ends: Tensor
    vectors: Tensor | None = None

    def lengths(self) -> Tensor:
        """Return the characters of each word, (batch, words); 0 for padding and for words without text."""
        return torch.where(self.ids > 0, (self.ends - self.starts).clamp(min=0), 0)


class Covered(NamedTuple):
    """The characters that words cover, a row for each pair of word and character, word by word.

    Attributes:
        word: (rows,) index of the word in the flattened (batch, words).
        offset: (rows,) place of the character in the word, from 0.
        remaining: (rows,) characters of the word after it.
        position: (rows,) index of the character in the flattened (batch, length).
    """

    word: Tensor
    offset: Tensor
    remaining: Tensor
    position: Tensor


def runs(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each of the members of runs of these lengths (runs,) the index of its run and its place in it."""
    # a run of one in front: in ONNX, the operator fails if there is no member at all
    run = torch.repeat_interleave(nn.functional.pad(counts, (1, 0), value=1))[1:] - 1
    return run, torch.arange(run.shape[0], device=counts.device) - (counts.cumsum(0) - counts)[run]


def covered_characters(matches: LexiconMatches, length: int) -> Covered:
    """List the characters of each word; `length` is the number of text positions in a row."""
    lengths = matches.lengths()
    rows = torch.arange(lengths.shape[0], device=lengths.device)[:, None] * length
    word, offset = runs(lengths.flatten())
    return Covered(
        word=word,
        offset=offset,
        remaining=lengths.flatten()[word] - 1 - offset,
        position=(rows + matches.starts).flatten()[word] + offset,
    )


class SparseMatrix(NamedTuple):
    """A sparse matrix as a list of its entries, by rising row (an entry may be split into several, which add up).

    Attributes:
        rows, columns: (entries,) indices.
        weights: (entries,) float32.
        counts: (rows of the matrix,) number of entries of each row.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor
    counts: Tensor

    @classmethod
    def of_entries(cls, rows: Tensor, columns: Tensor, weights: Tensor, size: int) -> SparseMatrix:
        """Sort the entries of a matrix of `size` rows; entries of the same row keep their order."""
        counts = torch.zeros(size, dtype=torch.long, device=rows.device).index_add(0, rows, torch.ones_like(rows))
        if not torch.compiler.is_exporting():  # there, `times` needs no order, and ONNX has no stable sort
            rows, order = torch.sort(rows, stable=True)
            columns, weights = columns[order], weights[order]
        return cls(rows, columns, weights, counts)

    def times(self, values: Tensor) -> Tensor:
        """Return the product with a dense matrix, (columns, size) -> (rows, size); differentiable by `values`."""
        weights = self.weights.to(values.dtype)
        if torch.compiler.is_exporting():  # ONNX has no operator like the one below
            sums = values.new_zeros(self.counts.shape[0], values.shape[1])
            return sums.index_add(0, self.rows, values.index_select(0, self.columns) * weights[:, None])
        offsets = self.counts.cumsum(0) - self.counts
        return nn.functional.embedding_bag(self.columns, values, offsets, mode="sum", per_sample_weights=weights)


class EdgeList(NamedTuple):
    """A weighted graph of the text positions of a batch, as a matrix between the flattened (batch, length)."""

    matrix: SparseMatrix

    def sums(self, states: Tensor) -> Tensor:
        """Sum the states (batch, length, size) of each position's neighbours, weighted; the same shape."""
        return self.matrix.times(states.flatten(0, 1)).view(states.shape)


class EdgeMatrix(NamedTuple):
    """A weighted graph of the text positions of a batch, as a dense matrix (batch, length, length) per row."""

    weights: Tensor

    def sums(self, states: Tensor) -> Tensor:
        """Sum the states (batch, length, size) of each position's neighbours, weighted; the same shape."""
        return self.weights.to(states.dtype) @ states


def lattice_edges(text_mask: Tensor, matches: LexiconMatches | None) -> EdgeList:
    """Return D^-1/2 (A + I) D^-1/2 of eq. 12 over text positions.

    Edges join neighbours in the sequence; with `matches` also the characters of a word, and the neighbours outside the
    word with its first and last character (the lattice's way past the word). The paper does not specify A.

    Args:
        text_mask: (batch, length), a prefix of True in each row.
    """
    position, distance = _pairs(text_mask, matches)
    table = _neighbourhoods(text_mask, position, distance)  # (positions, 2 * reach + 1)
    reach = table.shape[1] // 2
    counts = table.sum(1)
    targets, slots = table.nonzero().unbind(1)
    sources = targets + slots - reach
    scale = counts.clamp(min=1).float().rsqrt()
    return EdgeList(SparseMatrix(targets, sources, scale[targets] * scale[sources], counts))


def _pairs(text_mask: Tensor, matches: LexiconMatches | None) -> tuple[Tensor, Tensor]:
    """Return pairs of joined positions as (batch * length) index of the first (pairs,) and distance to the second.

    A pair may occur more than once, and its second position may lie outside the text (`_neighbourhoods` drops it).
    """
    length = text_mask.shape[1]
    every = torch.arange(text_mask.numel(), device=text_mask.device)
    if matches is None:
        return every, torch.ones_like(every)
    covered = covered_characters(matches, length)
    first, further = runs(covered.remaining)
    lengths, starts = matches.lengths(), matches.starts
    rows = torch.arange(starts.shape[0], device=starts.device)[:, None] * length
    is_word = lengths > 0
    # past a word: its first character to the one after it, and the character before it to its last
    after = torch.where(is_word, rows + starts, 0), torch.where(is_word, lengths, 1)
    is_preceded = is_word & (starts > 0)
    before = torch.where(is_preceded, rows + starts - 1, 0), torch.where(is_preceded, lengths, 1)
    position = [every, covered.position[first], after[0].flatten(), before[0].flatten()]
    distance = [torch.ones_like(every), further + 1, after[1].flatten(), before[1].flatten()]
    return torch.cat(position), torch.cat(distance)


def _neighbourhoods(text_mask: Tensor, position: Tensor, distance: Tensor) -> Tensor:
    """Return whether a position is joined to itself or to those before and after it, (batch * length, 2 * reach + 1).

    `reach` is the largest distance; the middle column is the position itself, True in the text.
    """
    length, positions = text_mask.shape[1], text_mask.numel()
    place = torch.arange(length, device=text_mask.device).expand_as(text_mask).flatten()  # in the row
    reach = distance.max().item()
    width = 2 * reach + 1
    in_text = text_mask.flatten()
    second = (position + distance).clamp(max=positions - 1)
    is_edge = (place[position] + distance < length) & in_text[second]  # then the first is in the text too
    nowhere = positions * width
    every = torch.arange(positions, device=text_mask.device)
    cells = torch.cat(
        [
            torch.where(is_edge, position * width + reach + distance, nowhere),
            torch.where(is_edge, second * width + reach - distance, nowhere),
            torch.where(in_text, every * width + reach, nowhere),
        ]
    )
    table = torch.zeros(nowhere + 1, dtype=torch.bool, device=text_mask.device)
    return table.index_fill(0, cells, True)[:-1].view(positions, width)


def normalise_adjacency(adjacency: Tensor, text_mask: Tensor) -> Tensor:
    """Eq. 12: D^-1/2 (A + I) D^-1/2, zero in rows and columns outside the text; (batch, length, length)."""
    both = text_mask[:, :, None] & text_mask[:, None, :]
    identity = torch.eye(adjacency.shape[1], device=adjacency.device, dtype=adjacency.dtype)
    looped = (adjacency * (1 - identity) + identity) * both
    scale = looped.sum(-1).clamp(min=1e-9).rsqrt() * text_mask
    return scale[:, :, None] * looped * scale[:, None, :]
