"""Units of a text."""

import pytest

from hf_adner.explain.removal import split_into_units


def test_units(tokenizer):
    text = "反复红斑块 A bc"
    assert split_into_units("ab", "characters", tokenizer) == [(0, 1), (1, 2)]
    assert split_into_units(text, "lexicon-words", tokenizer)[:3] == [(0, 4), (4, 5), (5, 6)]
    assert split_into_units(text, "words", tokenizer) == [(0, 5), (5, 6), (6, 7), (7, 8), (8, 10)]
    for units in ("characters", "lexicon-words", "words"):
        ranges = split_into_units(text, units, tokenizer)
        assert [start for start, _ in ranges] == [0, *[end for _, end in ranges]][:-1] and ranges[-1][1] == len(text)
        assert split_into_units("", units, tokenizer) == []


def test_errors(tokenizer):
    with pytest.raises(ValueError, match="units must be one of"):
        split_into_units("x", "clauses", tokenizer)
