"""First word vectors of a lexicon, made from an encoder's character embeddings."""

from typing import Any

import torch


@torch.no_grad()
def character_mean_vectors(tokenizer: Any, characters: torch.Tensor, size: int) -> torch.Tensor:
    """One vector per lexicon word, (words + 1, size): the mean of its characters' embeddings on their main axes.

    Most words of a dictionary never occur in training, so they must start from something that is known.  The character
    table is centred and projected on its first principal components (zero-padded where it has fewer), then scaled to
    standard deviation 0.1.  Row 0, padding, is zero.

    Args:
        tokenizer: an `AdnerTokenizer` with a lexicon.
        characters: (characters, hidden) embedding table of the encoder.
        size: width of the word vectors.
    """
    words = tokenizer.lexicon.words
    components = _principal_components(characters.float(), size)  # (characters, size)
    if not words:
        return components.new_zeros(1, size)
    alphabet = sorted(set("".join(words)))
    tokens = tokenizer(alphabet, add_special_tokens=False)["input_ids"]  # one each
    index = {character: token for character, [token] in zip(alphabet, tokens, strict=True)}
    lengths = torch.tensor([len(word) for word in words])
    flat = torch.tensor([index[character] for word in words for character in word])
    means = torch.nn.functional.embedding_bag(flat, components.cpu(), lengths.cumsum(0) - lengths, mode="mean")
    vectors = torch.cat([means.new_zeros(1, size), means])
    return vectors * (0.1 / vectors.std().clamp(min=1e-6))


def _principal_components(table: torch.Tensor, size: int) -> torch.Tensor:
    centred = table - table.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # ascending eigenvalues
    projected = centred @ axes.flip(1)[:, :size]
    return torch.nn.functional.pad(projected, (0, size - projected.shape[1]))
