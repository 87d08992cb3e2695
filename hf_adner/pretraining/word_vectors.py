"""Word vectors learned from the co-occurrences in a text, for the similar words of the MacBERT objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_adner.model.lexicon_adner import Lexicon, as_read
from hf_adner.model.script_adner import ScriptMap
from hf_adner.pretraining.words import segment

_CONTEXTS = 10_000  # most frequent words that count as contexts
_SMOOTHING = 0.75  # exponent of context counts


class WordSequences:
    """Texts as sequences of word ids.

    Args:
        texts: the texts; read until `limit` characters.
        lexicon: the words; None for characters and runs of letters and digits only.
        lower_case, script_map: of the tokenizer; texts and words are read as it reads them.
        longest: largest number of characters of a lexicon word.
        min_count: smallest number of occurrences of a word with an id.
        limit: largest number of characters.

    Attributes:
        words: the words, the most frequent first.
        counts: (words,) number of occurrences.
        ids: (positions,) word ids, -1 for rare words and between texts.
    """

    def __init__(
        self,
        texts: Iterable[str],
        lexicon: Lexicon | None,
        *,
        lower_case: bool = False,
        script_map: ScriptMap | None = None,
        longest: int = 8,
        min_count: int = 5,
        limit: int = 10_000_000,
    ) -> None:
        index: dict[str, int] = {}
        rows: list[np.ndarray] = []
        for text in _limited(texts, limit):
            text = as_read(text, lower_case, script_map)
            spans = segment(text, lexicon, lower_case=lower_case, longest=longest, script_map=script_map)
            row = [index.setdefault(text[start:end], len(index)) for start, end in spans]
            rows.append(np.array([*row, -1], dtype=np.int32))
        numbers = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)  # (positions,)
        counts = np.bincount(numbers[numbers >= 0], minlength=len(index))
        words = list(index)
        frequent = [
            number
            for number in np.argsort(-counts, kind="stable").tolist()
            if counts[number] >= min_count and words[number].strip()
        ]
        ids = np.full(len(index) + 1, -1, dtype=np.int64)
        ids[frequent] = np.arange(len(frequent))
        self.words = [words[number] for number in frequent]
        self.counts = counts[frequent]
        self.ids = ids[numbers]  # -1 reads the last entry, which stays -1


def _limited(texts: Iterable[str], limit: int) -> Iterator[str]:
    total = min(limit, sum(map(len, texts))) if isinstance(texts, Sequence) else limit
    with tqdm(total=total, desc="segmenting", unit="character", unit_scale=True, disable=None) as bar:
        taken = 0
        for text in texts:
            if taken >= limit:
                return
            taken += len(text)
            yield text
            bar.update(min(len(text), total - bar.n))


def cooccurrence_vectors(sequences: WordSequences, size: int = 100, window: int = 2, seed: int = 0) -> torch.Tensor:
    """Compute word vectors (words, size) from the words around each word.

    Positive pointwise mutual information of words with the frequent words to their left and right, factored by a
    truncated singular value decomposition (Levy, Goldberg and Dagan 2015, with smoothed contexts).

    Args:
        sequences: the texts.
        size: dimension of the vectors; smaller if there are fewer words.
        window: number of context words on each side.
        seed: seed of the randomised decomposition.
    """
    words, contexts = len(sequences.words), min(len(sequences.words), _CONTEXTS)
    if not words:
        return torch.zeros(0, size)
    pairs, counts = _pair_counts(sequences.ids, words, contexts, window)
    if not len(pairs):
        return torch.zeros(words, size)
    rows, columns = np.divmod(pairs, 2 * contexts)
    values = _positive_information(rows, columns, counts, words, 2 * contexts)
    positive = values > 0
    places = torch.from_numpy(np.stack([rows[positive], columns[positive]]))
    matrix = torch.sparse_coo_tensor(
        places,
        torch.from_numpy(values[positive]).float(),
        (words, 2 * contexts),
        check_invariants=True,
        is_coalesced=True,  # np.unique sorted the pairs
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, singular, _ = torch.svd_lowrank(matrix, q=min(size, words, 2 * contexts), niter=3)
    return left * singular.sqrt()


def _pair_counts(ids: np.ndarray, words: int, contexts: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Count (word, context) pairs.

    Returns:
        The distinct pairs, sorted, each encoded as word * 2 contexts + context (left contexts first), and their counts.
    """
    distinct, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for distance in range(1, window + 1):
        before, after = ids[:-distance], ids[distance:]
        whole = (before >= 0) & (after >= 0)
        left = before[whole & (before < contexts)] + 2 * contexts * after[whole & (before < contexts)]
        right = after[whole & (after < contexts)] + contexts + 2 * contexts * before[whole & (after < contexts)]
        for pairs in (left, right):
            new, repeats = np.unique(pairs, return_counts=True)
            distinct, places = np.unique(np.concatenate([distinct, new]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([counts, repeats])).astype(np.int64)
    return distinct, counts


def _positive_information(
    rows: np.ndarray, columns: np.ndarray, counts: np.ndarray, words: int, contexts: int
) -> np.ndarray:
    """Return the positive pointwise mutual information of each (row, column) pair."""
    word_counts = np.bincount(rows, counts, minlength=words)
    context_counts = np.bincount(columns, counts, minlength=contexts) ** _SMOOTHING
    expected = word_counts[rows] / counts.sum() * context_counts[columns] / context_counts.sum()
    return np.maximum(np.log(counts / counts.sum() / expected), 0.0)
