"""Batches for masked-language modelling as correction, the objective of MacBERT.

Which words of a text are masked: n-grams of words, together a fixed share of the words (Cui et al. 2020, sec. 3).
"""

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
from hf_adner.pretraining.words import TokenWords

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


NGRAM_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Shares of n-grams of 1, 2, 3 and 4 words."""


def choose_ngrams(
    free: np.ndarray, share: float, shares: Sequence[float], rng: np.random.Generator, at_least: int = 0
) -> list[tuple[int, int]]:
    """Draw n-grams of words that do not overlap.

    Their number of words is `share` of the free ones and their lengths are distributed like `shares`, both exactly so
    on average. Where no place is left for an n-gram it is taken apart.

    Args:
        free: (words,) bool, the words that may be chosen; n-grams never span one that may not.
        share: of the free words, 0 to 1.
        shares: of n-grams of 1, 2, ... words; they add up to 1.
        rng: of the chance.
        at_least: smallest number of n-grams, as far as there are free words.

    Returns:
        (first word, number of words) of each, in no order.
    """
    free, chosen = free.copy(), []
    pending = sorted(ngram_lengths(share * int(free.sum()), shares, rng))
    pending += [1] * (at_least - len(pending))
    while pending:
        length = pending.pop()
        starts = _places(free, length)
        if len(starts):
            start = int(starts[rng.integers(len(starts))])
            free[start : start + length] = False
            chosen.append((start, length))
        elif length > 1:
            insort(pending, 1)
            insort(pending, length - 1)
    return chosen


def ngram_lengths(words: float, shares: Sequence[float], rng: np.random.Generator) -> list[int]:
    """Lengths of n-grams that have `words` words on average and are distributed like `shares`.

    They are the steps of a stationary renewal process that begin before `words`: with a first step drawn from the
    equilibrium distribution, neither the number of words nor the distribution is biased by where the counting ends.
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


def _places(free: np.ndarray, length: int) -> np.ndarray:
    """First words of all runs of `length` free words."""
    counts = np.concatenate([[0], np.cumsum(free)])  # (words + 1,)
    return np.flatnonzero(counts[length:] - counts[:-length] == length)


REPLACEMENTS = ("similar", "mask")
REPLACED, RANDOM = 0.8, 0.1
"""Shares of the chosen words that are replaced, and that become a random word; the others stay as they are."""

Neighbours = Sequence[tuple[str, float]]
SimilarWordSource = Callable[[str], Neighbours] | Mapping[str, Neighbours]
"""From a word to similar ones, each with its weight (a cosine, say)."""

_PASSED_ON = ("attention_mask", "token_type_ids")
_TRIES = 4


class MacBertCollator:
    """Masks words dynamically, pads, and labels what was chosen (Cui et al. 2020, Findings of EMNLP, section 3).

    15 % of the words are chosen in n-grams of 1 to 4 (40, 30, 20, 10 %). Of the chosen words 80 % give way to a similar
    word of as many tokens (to a random one where there is none), 10 % to a random word, 10 % stay. `labels` hold the
    true tokens of the chosen words and -100 elsewhere. Special tokens, padding, white space and words with an unknown
    token are never chosen. A batch with any word has at least one label.

    It takes `input_ids`, `attention_mask` and `token_type_ids` of what any tokenizer makes of texts, leaves out all
    other columns, and works with the stock `Trainer` and any `AutoModelForMaskedLM`.

    The chance is drawn from torch's generator, another one in every data-loader worker, until `set_epoch` was
    called; after that a row's masks are a function of seed, epoch and tokens alone, whatever the number of workers.

    Args:
        tokenizer: pads, and knows the special tokens; one token per character or word pieces.
        lexicon: words that are masked as a whole and that random words are taken from; default: the tokenizer's.
        similar_words: from a word to (similar word, weight); the weights of a word are chances up to a factor.
        replacement: ``"similar"``, or ``"mask"`` for ``[MASK]`` in its place (whole-word n-gram masking as control).
        share: of the words that are chosen, 0 to 1.
        ngram_shares: of n-grams of 1, 2, ... words; they add up to 1.
        longest_word: most characters of a lexicon word that is masked as a whole.
        seed: of the chance after `set_epoch`.
        pad_to_multiple_of: the number of tokens is rounded up to a multiple of this.

    Raises:
        ValueError: an unknown replacement, shares outside their range, or no mask token where one is needed.
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
        self._mask_id = tokenizer.mask_token_id  # no attribute `tokenizer`: the Trainer would save it unasked
        self.share, self.ngram_shares = share, tuple(ngram_shares)
        self.lexicon = lexicon if lexicon is not None else getattr(tokenizer, "lexicon", None)
        self.words = TokenWords(tokenizer, self.lexicon, longest_word)
        self.substitutes = Substitutes(tokenizer, self.words, similar_words)
        self._pad = AdnerDataCollator(tokenizer, pad_to_multiple_of)
        self._epoch = torch.full((), -1).share_memory_()  # workers that outlive an epoch see the next one

    def set_epoch(self, epoch: int) -> None:
        """Make the masks of the coming batches a function of seed, `epoch` (0 or more) and tokens."""
        self._epoch.fill_(epoch)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch, (batch, tokens) each: `input_ids`, `attention_mask`, `labels`, and `token_type_ids` if given."""
        ids = [np.asarray(feature["input_ids"], dtype=np.int64) for feature in features]
        rows = [self.mask(row) for row in ids]
        if not any((labels != UNOBSERVED).any() for _, labels in rows):
            longest = max(range(len(ids)), key=lambda number: len(ids[number]))
            rows[longest] = self.mask(ids[longest], at_least=1)
        return self._pad(
            [
                {
                    "attention_mask": np.ones_like(masked),
                    **{key: feature[key] for key in _PASSED_ON if key in feature},
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
            at_least: smallest number of n-grams, as far as the row has words.

        Returns:
            The corrupted ids and the labels, (tokens,) each.
        """
        rng = self._chance(ids)
        masked, labels = ids.copy(), np.full_like(ids, UNOBSERVED)
        for start, end in self.chosen(ids.tolist(), rng, at_least):
            labels[start:end] = ids[start:end]
            masked[start:end] = self._corrupted(ids[start:end].tolist(), rng)
        return masked, labels

    def chosen(self, ids: list[int], rng: np.random.Generator, at_least: int = 0) -> list[tuple[int, int]]:
        """(first token, token after the last) of the words that chance chooses."""
        spans: list[tuple[int, int]] = []
        free: list[bool] = []
        for run in self.words.runs(ids):
            spans += [*run, (0, 0)]  # no n-gram goes on behind a special token
            free += [*(self._is_word(ids[start:end]) for start, end in run), False]
        if not spans:
            return []
        ngrams = choose_ngrams(np.array(free), self.share, self.ngram_shares, rng, at_least)
        return [spans[place] for first, length in ngrams for place in range(first, first + length)]

    def _is_word(self, ids: list[int]) -> bool:
        return self.words.unknown not in ids and bool(self.words.text(ids).strip())

    def _corrupted(self, word: list[int], rng: np.random.Generator) -> list[int]:
        draw = rng.random()
        if draw >= REPLACED + RANDOM:
            return word
        if draw >= REPLACED:
            return self.substitutes.random(word, rng)
        if self.replacement == "mask":
            return [self._mask_id] * len(word)
        return self.substitutes.similar(word, rng)

    def _chance(self, ids: np.ndarray) -> np.random.Generator:
        epoch = int(self._epoch)
        if epoch < 0:
            return np.random.default_rng(int(torch.randint(2**62, ())))
        digest = blake2b(ids.tobytes(), digest_size=8).digest()
        return np.random.default_rng([self.seed, epoch, int.from_bytes(digest, "big")])


class Substitutes:
    """Words of as many tokens in the place of another.

    Args:
        tokenizer: of the tokens.
        words: tells what tokens stand for, and the lexicon.
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
        """A similar word, the more likely the more similar; a random one where none has as many tokens."""
        neighbours = (self._similar(self._words.text(word)) if self._similar else None) or ()
        fitting = [
            (ids, weight) for other, weight in neighbours if weight > 0 and self._fits(ids := self._ids(other), word)
        ]
        if not fitting:
            return self.random(word, rng)
        weights = np.array([weight for _, weight in fitting], dtype=float)
        return list(fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))][0])

    def random(self, word: list[int], rng: np.random.Generator) -> list[int]:
        """A word of the lexicon; random tokens for single tokens, and where no word is found after a few draws."""
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
        """Tokens of a word; none where one of them is unknown."""
        ids = self._tokenizer(word, add_special_tokens=False)["input_ids"]
        return () if self._words.unknown in ids else tuple(ids)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, words: TokenWords) -> list[int]:
    """Tokens of one letter, digit or character of Chinese; all that are not special where there are none.

    Pieces that continue a word are none of them: of Chinese, vocabularies have them and texts do not.
    """
    every = [one for one in tokenizer.get_vocab().values() if one not in words.special and one != words.unknown]
    whole = [one for one in every if not words.continues(one)]
    plain = [one for one in whole if len(words.text([one])) == 1 and words.text([one]).isalnum()]
    return sorted(plain or every)


def _check(tokenizer: Any, replacement: str, share: float, ngram_shares: Sequence[float]) -> None:
    if replacement not in REPLACEMENTS:
        raise ValueError(f"replacement is {replacement!r}, expected one of {REPLACEMENTS}")
    if replacement == "mask" and tokenizer.mask_token_id is None:
        raise ValueError("the tokenizer has no mask token, which replacement='mask' needs")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}, expected more than 0 and at most 1")
    if not ngram_shares or min(ngram_shares) < 0 or abs(sum(ngram_shares) - 1) > 1e-6:
        raise ValueError(f"ngram_shares are {tuple(ngram_shares)}, expected numbers of 0 or more that add up to 1")
