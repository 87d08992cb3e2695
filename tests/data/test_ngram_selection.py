"""Lengths and places of n-grams."""

import numpy as np
import pytest

from hf_adner.pretraining.collator import NGRAM_SHARES, choose_ngrams, ngram_lengths


@pytest.mark.parametrize("words", [0.7, 3.4, 40.0])
def test_neither_number_nor_distribution_is_biased_by_the_end(words):
    rng = np.random.default_rng(0)
    drawn = [ngram_lengths(words, NGRAM_SHARES, rng) for _ in range(8_000)]
    assert sum(map(sum, drawn)) / len(drawn) == pytest.approx(words, rel=0.05)
    flat = [length for lengths in drawn for length in lengths]
    found = [flat.count(length) / len(flat) for length in (1, 2, 3, 4)]
    assert found == pytest.approx(NGRAM_SHARES, abs=0.025)


def test_ngrams_do_not_overlap_nor_span_what_is_not_free():
    rng = np.random.default_rng(1)
    for _ in range(200):
        free = rng.random(60) < 0.8
        taken = np.zeros(60, dtype=int)
        for start, length in choose_ngrams(free, 0.5, NGRAM_SHARES, rng):
            taken[start : start + length] += 1
        assert taken.max() <= 1 and not (taken.astype(bool) & ~free).any()


def test_all_words_can_be_chosen_and_long_ngrams_are_taken_apart():
    free = np.array([True, False] * 10)
    chosen = choose_ngrams(free, 1.0, (0, 0, 0, 1.0), np.random.default_rng(2))
    assert sorted(chosen) == [(place, 1) for place in range(0, 20, 2)]


def test_at_least_as_many_as_asked_where_there_are_words():
    rng = np.random.default_rng(3)
    assert all(len(choose_ngrams(np.ones(2, bool), 0.01, NGRAM_SHARES, rng, at_least=1)) >= 1 for _ in range(50))
    assert choose_ngrams(np.zeros(3, bool), 0.5, NGRAM_SHARES, rng, at_least=1) == []
