"""The word table of a model: its vectors and frequencies at the start of training, and words added to it later.

A word that is added gets the vector that it would have had at the start: the mean of its characters' reduced embeddings
(`character_mean_vectors`). Their axes are those of a principal component analysis of the embeddings as they are now, so
they are turned to fit the vectors of the words that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from .encoders_adner import longest_text
from .lexicon_adner import Lexicon, as_read
from .word_vectors_adner import character_mean_vectors

INDIFFERENCE = 1e-6
"""Share of the strongest agreement below which an axis of the vectors is left as it is."""


class AddedWords(NamedTuple):
    """What became of words that were to be added to the lexicon of a model.

    Attributes:
        added: the new words, in the order of their ids.
        present: words that were there already, or that the tokenizer reads as one that was.
        refused: word -> why the model cannot use it.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]
    refused: dict[str, str]


@torch.no_grad()
def fill_word_table(model: Any, tokenizer: Any, word_vectors: torch.Tensor | None) -> None:
    """Set the word vectors and frequencies of a new model.

    Args:
        model: a tagger with a word stream.
        tokenizer: with its lexicon.
        word_vectors: (lexicon size, lexicon_embedding_size); None: `character_mean_vectors`.

    Raises:
        ValueError: `word_vectors` has another shape.
    """
    table = model.adner.dual_stream.lexicon
    if word_vectors is None:
        characters = model.get_input_embeddings().weight.float()
        word_vectors = character_mean_vectors(tokenizer, characters, model.config.lexicon_embedding_size)
    if word_vectors.shape != table.word_embeddings.weight.shape:
        raise ValueError(
            f"word_vectors has shape {tuple(word_vectors.shape)}, expected {tuple(table.word_embeddings.weight.shape)}"
        )
    table.word_embeddings.weight.copy_(word_vectors)
    table.frequencies.copy_(torch.tensor([0, *tokenizer.lexicon.frequencies], dtype=torch.float32))


def add_words(
    model: Any, tokenizer: Any, words: Sequence[str], frequencies: Sequence[int] | None, origin: str
) -> AddedWords:
    """Add words to the lexicon of a model and of its tokenizer; see `AdnerForTokenClassification.add_words`."""
    _check_reads_lexicon(model)
    model.check_tokenizer(tokenizer)
    offered = Lexicon(words, frequencies, origin)
    sorted_words = _sorted(model, tokenizer, offered.words)
    counts = dict(zip(offered.words, offered.frequencies))
    if not sorted_words.added:
        return sorted_words
    before = tokenizer.lexicon
    lexicon = before.add(sorted_words.added, [counts[word] for word in sorted_words.added], origin)
    tokenizer.lexicon = lexicon
    try:
        vectors = _new_vectors(model, tokenizer, before.size)
    except BaseException:
        tokenizer.lexicon = before
        raise
    if vectors is not None:
        _append(model.adner.dual_stream.lexicon, vectors, lexicon.frequencies[len(before) :])
    model.config.lexicon_size, model.config.lexicon_hash = lexicon.size, lexicon.hash
    return sorted_words


def _check_reads_lexicon(model: Any) -> None:
    if not model.config.needs_lexicon:
        raise ValueError(
            f"a model of the architecture {model.config.architecture!r} reads no lexicon, so no words can be added; "
            "train one that does, such as 'm-dscmg'"
        )
    if model.config.lexicon_hash is None:
        raise ValueError("the model was trained without a lexicon: its word stream cannot read words that are added")


def _sorted(model: Any, tokenizer: Any, words: Sequence[str]) -> AddedWords:
    def read(word: str) -> str:
        return as_read(word, tokenizer.do_lower_case, tokenizer.script_map)

    exact, known = set(tokenizer.lexicon.words), {read(word) for word in tokenizer.lexicon.words}
    longest, unknown = longest_text(model, tokenizer), _unknown_characters(tokenizer, words)
    added, present, refused = [], [], {}
    for word in words:
        if word in exact or read(word) in known:
            present.append(word)
        elif longest is not None and len(word) > longest:
            refused[word] = f"{len(word)} characters, more than the {longest} that the model reads at once"
        elif set(word) <= unknown:
            refused[word] = "the tokenizer's vocabulary has none of its characters"
        else:
            added.append(word)
            known.add(read(word))
    return AddedWords(tuple(added), tuple(present), refused)


def _unknown_characters(tokenizer: Any, words: Sequence[str]) -> set[str]:
    alphabet = sorted(set("".join(words)))
    tokens = tokenizer(alphabet, add_special_tokens=False)["input_ids"] if alphabet else []
    return {character for character, [token] in zip(alphabet, tokens, strict=True) if token == tokenizer.unk_token_id}


@torch.no_grad()
def _new_vectors(model: Any, tokenizer: Any, old_size: int) -> torch.Tensor | None:
    """Return the vectors of the words behind the first, (new words, size); None without word vectors.

    Args:
        model: with the vectors of the old words.
        tokenizer: with the lexicon of old and new words.
        old_size: rows of the old vectors, padding included.
    """
    if not model.config.use_dual_stream:
        return None
    characters = model.get_input_embeddings().weight.float().cpu()
    vectors = character_mean_vectors(tokenizer, characters, model.config.lexicon_embedding_size)
    vectors = vectors * (0.1 / vectors[:old_size].std().clamp(min=1e-6))  # the scale of the start: old words alone
    trained = model.adner.dual_stream.lexicon.word_embeddings.weight[:old_size].float().cpu()
    return (vectors[old_size:].double() @ _turn(vectors[:old_size], trained)).float()


def _turn(start: torch.Tensor, trained: torch.Tensor) -> torch.Tensor:
    """Return the rotation or reflection (size, size) that best takes vectors (words, size) to others.

    Orthogonal Procrustes problem (Schönemann 1966); the axes of which the words say nothing stay.
    """
    agreement = start.double().T @ trained.double()
    identity = torch.eye(len(agreement), dtype=torch.float64)
    least = INDIFFERENCE * agreement.norm().clamp(min=1e-12)
    left, _, right = torch.linalg.svd(agreement + least * identity)
    return left @ right


@torch.no_grad()
def _append(table: nn.Module, vectors: torch.Tensor, frequencies: Sequence[int]) -> None:
    """Append rows to the word vectors and frequencies of a `SoftLexicon`."""
    old = table.word_embeddings.weight
    grown = torch.cat([old.detach(), vectors.to(old)])
    table.word_embeddings = nn.Embedding.from_pretrained(grown, freeze=not old.requires_grad, padding_idx=0)
    counts = torch.tensor(frequencies, dtype=table.frequencies.dtype, device=table.frequencies.device)
    table.frequencies = torch.cat([table.frequencies, counts])
