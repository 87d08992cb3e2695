"""Similar words for the MacBERT objective, from word vectors that are given or learned from the same text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_adner.model.lexicon_adner import Lexicon, lower_by_character
from hf_adner.pretraining.words import segment

SimilarWordTable = dict[str, list[tuple[str, float]]]
"""Word -> (similar word, cosine), the most similar first."""

_CONTEXTS = 10_000
_SMOOTHING = 0.75
_CHUNK = 1024


def similar_word_table(
    words: Sequence[str], vectors: torch.Tensor, top: int = 5, minimum: float = 0.3
) -> SimilarWordTable:
    """The nearest words with as many characters, by the cosine of their vectors.

    Args:
        words: the words.
        vectors: (words, dimension); rows of zeros have no neighbours.
        top: most neighbours of a word.
        minimum: smallest cosine of a neighbour, 0..1.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)  # (words, dimension)
    lengths = torch.tensor([len(word) for word in words])
    table: SimilarWordTable = {}
    for length in lengths.unique().tolist():
        group = (lengths == length).nonzero().squeeze(1)
        table |= _nearest([words[one] for one in group.tolist()], unit[group], top, minimum)
    return table


def _nearest(words: Sequence[str], unit: torch.Tensor, top: int, minimum: float) -> SimilarWordTable:
    table, count = {}, min(top, len(words) - 1)
    if count < 1:
        return table
    for first in range(0, len(words), _CHUNK):
        cosines = unit[first : first + _CHUNK] @ unit.T  # (chunk, words)
        rows = torch.arange(len(cosines))
        cosines[rows, rows + first] = -1.0
        best, places = cosines.topk(count)  # (chunk, count)
        for row, (values, others) in enumerate(zip(best.tolist(), places.tolist())):
            near = [(words[other], value) for value, other in zip(values, others) if value >= max(minimum, 1e-6)]
            if near:
                table[words[first + row]] = near
    return table


class WordSequences:
    """Texts as sequences of word numbers.

    Args:
        texts: the texts; read only until `limit` characters were taken.
        lexicon: the words; None leaves characters and runs of letters and digits.
        lower_case: lower-case the texts first, as the tokenizer does.
        longest: most characters of a lexicon word.
        min_count: rarer words get no number.
        limit: most characters.

    Attributes:
        words: the words, the most frequent first.
        counts: (words,) how often each occurs.
        ids: (all places,) number of the word at each place, -1 for rare ones and between texts.
    """

    def __init__(
        self,
        texts: Iterable[str],
        lexicon: Lexicon | None,
        *,
        lower_case: bool = False,
        longest: int = 8,
        min_count: int = 5,
        limit: int = 10_000_000,
    ) -> None:
        index: dict[str, int] = {}
        rows: list[np.ndarray] = []
        for text in _limited(texts, limit):
            text = lower_by_character(text) if lower_case else text
            spans = segment(text, lexicon, lower_case=lower_case, longest=longest)
            row = [index.setdefault(text[start:end], len(index)) for start, end in spans]
            rows.append(np.array([*row, -1], dtype=np.int32))
        found = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)  # (places,)
        counts = np.bincount(found[found >= 0], minlength=len(index))
        names = list(index)
        kept = [one for one in np.argsort(-counts, kind="stable").tolist() if counts[one] >= min_count]
        kept = [one for one in kept if names[one].strip()]
        numbers = np.full(len(index) + 1, -1, dtype=np.int64)
        numbers[kept] = np.arange(len(kept))
        self.words = [names[one] for one in kept]
        self.counts = counts[kept]
        self.ids = numbers[found]  # -1 reads the last entry, which stays -1


def _limited(texts: Iterable[str], limit: int) -> Iterator[str]:
    taken = 0
    for text in tqdm(texts, desc="segmenting", unit="text", disable=None):
        if taken >= limit:
            return
        taken += len(text)
        yield text


def cooccurrence_vectors(sequences: WordSequences, size: int = 100, window: int = 2, seed: int = 0) -> torch.Tensor:
    """Word vectors (words, size) from what stands around the words.

    Positive pointwise mutual information of words with the frequent words to their left and right, factored by a
    truncated singular value decomposition (Levy, Goldberg and Dagan 2015, with smoothed contexts).

    Args:
        sequences: the texts.
        size: width of the vectors; fewer than asked for where there are fewer words.
        window: words to each side that count.
        seed: of the randomised decomposition.
    """
    words, contexts = len(sequences.words), min(len(sequences.words), _CONTEXTS)
    if not words:
        return torch.zeros(0, size)
    pairs, counts = _pair_counts(sequences.ids, words, contexts, window)
    if not len(pairs):
        return torch.zeros(words, size)
    rows, columns = np.divmod(pairs, 2 * contexts)
    values = _positive_information(rows, columns, counts, words, 2 * contexts)
    kept = values > 0
    places = torch.from_numpy(np.stack([rows[kept], columns[kept]]))
    matrix = torch.sparse_coo_tensor(
        places,
        torch.from_numpy(values[kept]).float(),
        (words, 2 * contexts),
        check_invariants=True,
        is_coalesced=True,  # np.unique sorted the pairs
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, singular, _ = torch.svd_lowrank(matrix, q=min(size, words, 2 * contexts), niter=3)
    return left * singular.sqrt()


def _pair_counts(ids: np.ndarray, words: int, contexts: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs, each as word * 2 contexts + context (right ones behind all left ones), and how often they occur."""
    found, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for distance in range(1, window + 1):
        before, after = ids[:-distance], ids[distance:]
        whole = np.ones(len(before), dtype=bool)
        whole &= (before >= 0) & (after >= 0)
        left = before[whole & (before < contexts)] + 2 * contexts * after[whole & (before < contexts)]
        right = after[whole & (after < contexts)] + contexts + 2 * contexts * before[whole & (after < contexts)]
        for pairs in (left, right):
            new, repeats = np.unique(pairs, return_counts=True)
            found, places = np.unique(np.concatenate([found, new]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([counts, repeats])).astype(np.int64)
    return found, counts


def _positive_information(
    rows: np.ndarray, columns: np.ndarray, counts: np.ndarray, words: int, contexts: int
) -> np.ndarray:
    of_word = np.bincount(rows, counts, minlength=words)
    of_context = np.bincount(columns, counts, minlength=contexts) ** _SMOOTHING
    expected = of_word[rows] / counts.sum() * of_context[columns] / of_context.sum()
    return np.maximum(np.log(counts / counts.sum() / expected), 0.0)
