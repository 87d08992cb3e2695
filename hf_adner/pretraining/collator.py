"""Data collator for MacBERT's objective: n-grams of words are replaced by similar words and predicted."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_adner.data.encoding import AdnerDataCollator
from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.units import NGRAM_SHARES
from hf_adner.pretraining.words import TokenWords

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
REPLACEMENTS = ("similar", "mask")
REPLACED, RANDOM = 0.8, 0.1
"""Shares of the chosen words that are replaced, and that become a random word; the other words stay."""

Neighbours = Sequence[tuple[str, float]]
SimilarWordSource = Callable[[str], Neighbours] | Mapping[str, Neighbours]
"""Maps a word to similar words with weights, such as cosines."""

_COPIED = ("attention_mask", "token_type_ids")
_TRIES = 4  # draws of a random word with the same number of tokens


class MacBertCollator:
    """Mask words dynamically, pad, and label the chosen words (Cui et al. 2020, Findings of EMNLP, section 3).

    15 % of the words are chosen in n-grams of 1 to 4 (40, 30, 20, 10 %). Of the chosen words 80 % are replaced by a
    similar word of as many tokens (a random word if there is none), 10 % by a random word, 10 % stay. `labels` are the
    true tokens of the chosen words and -100 elsewhere. Special tokens, padding, white space and words with an unknown
    token are never chosen. A batch with any word has at least one label.

    The collator uses the columns `input_ids`, `attention_mask` and `token_type_ids` of any tokenizer and drops all
    others. It works with the stock `Trainer` and any `AutoModelForMaskedLM`.

    Before `set_epoch` is called, random numbers come from torch's generator, which differs between data-loader workers.
    Afterwards the masks of a row depend only on seed, epoch and tokens, whatever the number of workers.

    Args:
        tokenizer: the tokenizer, with one token per character or with word pieces.
        lexicon: words that are masked as a whole and drawn as random words; default: the tokenizer's lexicon.
        similar_words: maps a word to (similar word, weight); weights are proportional to probabilities.
        replacement: ``"similar"``, or ``"mask"`` for ``[MASK]`` instead (whole-word n-gram masking as control).
        share: share of the words to choose, in (0, 1].
        ngram_shares: shares of n-grams of 1, 2, ... words, with sum 1.
        longest_word: largest number of characters of a lexicon word that is masked as a whole.
        seed: seed of the masks after `set_epoch`.
        pad_to_multiple_of: pad the number of tokens to a multiple of this.

    Raises:
        ValueError: if the replacement is unknown, a share is out of range, or a mask token is needed but missing.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        lexicon: Lexicon | None = None,
        similar_words: SimilarWordSource | None = None,
        *,
        replacement: str = "similar",
        share: float = 0.15,
        ngram_shares: Sequence[float] = NGRAM_SHARES,
        longest_word: int = 8,
        seed: int = 0,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        _check(tokenizer, replacement, share, ngram_shares)
        self.replacement, self.seed = replacement, seed
        self._mask_id = tokenizer.mask_token_id  # no attribute `tokenizer`: the Trainer would save it
        self.share, self.ngram_shares, self.longest_word = share, tuple(ngram_shares), longest_word
        self.lexicon = lexicon if lexicon is not None else getattr(tokenizer, "lexicon", None)
        self.words = TokenWords(tokenizer, self.lexicon, longest_word)
        self.substitutes = Substitutes(tokenizer, self.words, similar_words)
        self._pad = AdnerDataCollator(tokenizer, pad_to_multiple_of)
        self._epoch = torch.full((), -1).share_memory_()  # shared with persistent workers

    def set_epoch(self, epoch: int) -> None:
        """Make the masks of following batches depend only on seed, `epoch` (0 or more) and tokens."""
        self._epoch.fill_(epoch)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask`, `labels` and, if given, `token_type_ids`, (batch, tokens) each."""
        ids = [np.asarray(feature["input_ids"], dtype=np.int64) for feature in features]
        rows = [self.mask(row) for row in ids]
        if not any((labels != UNOBSERVED).any() for _, labels in rows):
            longest = max(range(len(ids)), key=lambda number: len(ids[number]))
            rows[longest] = self.mask(ids[longest], at_least=1)
        return self._pad(
            [
                {
                    "attention_mask": np.ones_like(masked),
                    **{key: feature[key] for key in _COPIED if key in feature},
                    "input_ids": masked,
                    "labels": labels,
                }
                for feature, (masked, labels) in zip(features, rows)
            ]
        )

    def mask(self, ids: np.ndarray, at_least: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Corrupt one row.

        Args:
            ids: (tokens,) int64, special tokens included.
            at_least: smallest number of n-grams, if the row has as many words.

        Returns:
            The corrupted ids and the labels, (tokens,) each.
        """
        rng = self._rng(ids)
        masked, labels = ids.copy(), np.full_like(ids, UNOBSERVED)
        for start, end in self._choose(ids.tolist(), rng, at_least):
            labels[start:end] = ids[start:end]
            masked[start:end] = self._corrupt(ids[start:end].tolist(), rng)
        return masked, labels

    def _choose(self, ids: list[int], rng: np.random.Generator, at_least: int = 0) -> list[tuple[int, int]]:
        """Draw words and return their (start, end) in tokens."""
        spans: list[tuple[int, int]] = []
        free: list[bool] = []
        for run in self.words.runs(ids):
            spans += [*run, (0, 0)]  # n-grams do not cross special tokens
            free += [*(self._is_word(ids[start:end]) for start, end in run), False]
        if not spans:
            return []
        ngrams = choose_ngrams(np.array(free), self.share, self.ngram_shares, rng, at_least)
        return [spans[place] for first, length in ngrams for place in range(first, first + length)]

    def _is_word(self, ids: list[int]) -> bool:
        return self.words.unknown not in ids and bool(self.words.text(ids).strip())

    def _corrupt(self, word: list[int], rng: np.random.Generator) -> list[int]:
        draw = rng.random()
        if draw >= REPLACED + RANDOM:
            return word
        if draw >= REPLACED:
            return self.substitutes.random(word, rng)
        if self.replacement == "mask":
            return [self._mask_id] * len(word)
        return self.substitutes.similar(word, rng)

    def _rng(self, ids: np.ndarray) -> np.random.Generator:
        epoch = int(self._epoch)
        if epoch < 0:
            return np.random.default_rng(int(torch.randint(2**62, ())))
        digest = blake2b(ids.tobytes(), digest_size=8).digest()
        return np.random.default_rng([self.seed, epoch, int.from_bytes(digest, "big")])


class Substitutes:
    """Draws replacements with as many tokens as a word.

    Args:
        tokenizer: the tokenizer.
        words: texts of tokens, and the lexicon.
        similar_words: see `MacBertCollator`.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, words: TokenWords, similar_words: SimilarWordSource | None = None
    ) -> None:
        self._words = words
        self._similar = similar_words.get if isinstance(similar_words, Mapping) else similar_words
        self._tokenizer = tokenizer
        self._plain = np.array(_plain_ids(tokenizer, words))
        self._by_length: dict[int, list[str]] = defaultdict(list)
        for word in words.lexicon.words if words.lexicon is not None else ():
            self._by_length[len(word)].append(word)
        self._ids = lru_cache(maxsize=1 << 18)(self._tokens)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_ids"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ids = lru_cache(maxsize=1 << 18)(self._tokens)

    def similar(self, word: list[int], rng: np.random.Generator) -> list[int]:
        """Draw a similar word by its weight; a random word if no similar word has as many tokens."""
        neighbours = (self._similar(self._words.text(word)) if self._similar else None) or ()
        fitting = [
            (ids, weight) for other, weight in neighbours if weight > 0 and self._fits(ids := self._ids(other), word)
        ]
        if not fitting:
            return self.random(word, rng)
        weights = np.array([weight for _, weight in fitting], dtype=float)
        return list(fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))][0])

    def random(self, word: list[int], rng: np.random.Generator) -> list[int]:
        """Draw a word of the lexicon; random tokens for single tokens and if a few draws find no fitting word."""
        same_length = self._by_length.get(len(self._words.text(word)), ()) if len(word) > 1 else ()
        for _ in range(_TRIES if same_length else 0):
            ids = self._ids(same_length[int(rng.integers(len(same_length)))])
            if self._fits(ids, word):
                return list(ids)
        return self._plain[rng.integers(len(self._plain), size=len(word))].tolist()

    @staticmethod
    def _fits(ids: tuple[int, ...], word: list[int]) -> bool:
        return len(ids) == len(word) and list(ids) != word

    def _tokens(self, word: str) -> tuple[int, ...]:
        """Return the tokens of a word; empty if a token is unknown."""
        ids = self._tokenizer(word, add_special_tokens=False)["input_ids"]
        return () if self._words.unknown in ids else tuple(ids)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, words: TokenWords) -> list[int]:
    """Return the tokens of one letter, digit or Chinese character; if there are none, all that are not special.

    Pieces that continue a word are left out: vocabularies have them for Chinese characters, but texts do not.
    """
    excluded = words.special | {words.unknown}
    regular = [token for token in tokenizer.get_vocab().values() if token not in excluded]
    texts = {token: words.text([token]) for token in regular if not words.continues(token)}
    plain = [token for token, text in texts.items() if len(text) == 1 and text.isalnum()]
    return sorted(plain or regular)


def _check(tokenizer: Any, replacement: str, share: float, ngram_shares: Sequence[float]) -> None:
    if replacement not in REPLACEMENTS:
        raise ValueError(f"replacement is {replacement!r}, expected one of {REPLACEMENTS}")
    if replacement == "mask" and tokenizer.mask_token_id is None:
        raise ValueError("the tokenizer has no mask token, which replacement='mask' needs")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected more than 0 and at most 1")
    if not ngram_shares or min(ngram_shares) < 0 or abs(sum(ngram_shares) - 1) > 1e-6:
        raise ValueError(f"ngram_shares are {tuple(ngram_shares)}, expected numbers of 0 or more with sum 1")


def choose_ngrams(
    free: np.ndarray, share: float, shares: Sequence[float], rng: np.random.Generator, at_least: int = 0
) -> list[tuple[int, int]]:
    """Draw disjoint n-grams of words.

    On average they have `share` of the free words and lengths distributed as `shares`, without bias. An n-gram that
    no longer fits is split. (`perturb.units.draw_runs` draws an exact number of units of short texts instead.)

    Args:
        free: (words,) bool, the words that may be chosen; n-grams only span such words.
        share: share of the free words, 0 to 1.
        shares: shares of n-grams of 1, 2, ... words, with sum 1.
        rng: random number generator.
        at_least: smallest number of n-grams, if there are as many free words.

    Returns:
        (first word, number of words) of each, unordered.
    """
    free, chosen = free.copy(), []
    pending = sorted(ngram_lengths(share * int(free.sum()), shares, rng))
    pending += [1] * (at_least - len(pending))
    while pending:
        length = pending.pop()
        starts = _run_starts(free, length)
        if len(starts):
            start = int(starts[rng.integers(len(starts))])
            free[start : start + length] = False
            chosen.append((start, length))
        elif length > 1:
            insort(pending, 1)
            insort(pending, length - 1)
    return chosen


def ngram_lengths(words: float, shares: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Draw lengths of n-grams distributed as `shares`, with `words` words on average.

    They are the steps of a stationary renewal process that begin before `words`: with a first step drawn from the
    equilibrium distribution, stopping at `words` biases neither the number of words nor the distribution.
    """
    total = int(words) + int(rng.random() < words % 1)
    if not total:
        return []
    longer = np.cumsum(shares[::-1])[::-1]  # (lengths,) probability of more than 0, 1, ... words
    place = int(rng.choice(len(longer), p=longer / longer.sum()))
    drawn = rng.choice(len(shares), size=total, p=shares) + 1
    lengths = []
    for length in drawn.tolist():
        if place >= total:
            break
        lengths.append(length)
        place += length
    return lengths


def _run_starts(free: np.ndarray, length: int) -> np.ndarray:
    """Return the first words of all runs of `length` free words."""
    counts = np.concatenate([[0], np.cumsum(free)])  # (words + 1,)
    return np.flatnonzero(counts[length:] - counts[:-length] == length)
