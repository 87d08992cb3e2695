"""First word vectors of a lexicon, made from an encoder's character embeddings."""

from typing import Any

import torch


@torch.no_grad()
def character_mean_vectors(tokenizer: Any, characters: torch.Tensor, size: int) -> torch.Tensor:
    """One vector per lexicon word, (words + 1, size): the mean of its characters' embeddings on their main axes.

    Most words of a dictionary never occur in training, so they must start from something that is known.  The character
    table is centred and projected on its first principal components (zero-padded where it has fewer), then scaled to
    unit variance times 0.1.  Row 0, padding, is zero.

    Args:
        tokenizer: an `AdnerTokenizer` with a lexicon.
        characters: (characters, hidden) embedding table of the encoder.
        size: width of the word vectors.
    """
    components = _principal_components(characters.float(), size)  # (characters, size)
    vocabulary, unknown = tokenizer.get_vocab(), tokenizer.unk_token_id
    known = {character: index for character, index in vocabulary.items() if len(character) == 1}
    ids = [
        [known.get(character, known.get(character.lower(), unknown)) for character in word]
        for word in tokenizer.lexicon.words
    ]
    lengths = torch.tensor([len(row) for row in ids])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)[:-1]])
    flat = torch.tensor([index for row in ids for index in row], dtype=torch.long)
    means = torch.nn.functional.embedding_bag(flat, components.cpu(), offsets, mode="mean")
    vectors = torch.cat([means.new_zeros(1, size), means])
    return vectors * (0.1 / vectors.std().clamp(min=1e-6))


def _principal_components(table: torch.Tensor, size: int) -> torch.Tensor:
    centred = table - table.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # ascending eigenvalues
    projected = centred @ axes.flip(1)[:, :size]
    return torch.nn.functional.pad(projected, (0, size - projected.shape[1]))
