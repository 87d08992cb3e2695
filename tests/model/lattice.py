"""Words over a text and the lattice's graph as dense tensors, by which the lists of indices are checked."""

import torch

from hf_adner.model.lattice_adner import LexiconMatches


def covers(matches: LexiconMatches, length: int) -> torch.Tensor:
    """Whether word w covers position t, (batch, length, words)."""
    position = torch.arange(length)[None, :, None]
    inside = (matches.starts[:, None] <= position) & (position < matches.ends[:, None])
    return inside & (matches.ids > 0)[:, None]


def dense_adjacency(text_mask: torch.Tensor, matches: LexiconMatches | None) -> torch.Tensor:
    """A of eq. 12, (batch, length, length) of 0/1 without self-loops, in quadratic memory."""
    length = text_mask.shape[1]
    position = torch.arange(length)
    joined = ((position[:, None] - position).abs() == 1).expand(text_mask.shape[0], -1, -1)
    if matches is not None:
        place, is_word = position[None, :, None], (matches.ids > 0)[:, None]
        starts, ends = matches.starts[:, None], matches.ends[:, None]
        edge = ((starts == place) | (ends == place + 1)) & is_word
        outside = ((starts == place + 1) | (ends == place)) & is_word  # (batch, length, words)
        past = edge.float() @ outside.float().transpose(1, 2)
        covered = covers(matches, length).float()
        joined = joined | ((covered @ covered.transpose(1, 2) + past + past.transpose(1, 2)) > 0)
    both = text_mask[:, :, None] & text_mask[:, None, :]
    return (joined & both & ~torch.eye(length, dtype=torch.bool)).float()


def dense_word_sets(matches: LexiconMatches, length: int) -> torch.Tensor:
    """Whether word w is in the begin, middle, end or single set of position t, (batch, 4, length, words)."""
    covered, position = covers(matches, length), torch.arange(length)[None, :, None]
    begins, ends = matches.starts[:, None] == position, matches.ends[:, None] == position + 1
    sides = [begins & ~ends, ~begins & ~ends, ends & ~begins, begins & ends]
    return torch.stack([covered & side for side in sides], dim=1)


def dense_word_features(layer, matches: LexiconMatches, length: int) -> torch.Tensor:
    """The features of a `SoftLexicon` with the pooling "bmes", (batch, length, 4 * size), in quadratic memory."""
    sets = dense_word_sets(matches, length).float()
    weights = sets * layer.frequencies[matches.ids].clamp(min=1.0)[:, None, None]
    weights = weights * (4 / weights.sum((1, 3), keepdim=True).clamp(min=1e-9))
    features = torch.einsum("bslw,bwd->blsd", weights, layer.word_embeddings(matches.ids))
    empty = (sets.sum(-1) == 0).transpose(1, 2)[..., None]
    return torch.where(empty, layer.null_word, features).flatten(2)
