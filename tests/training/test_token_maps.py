"""Characters, tokens of words, and tokens of a text in its view."""

import numpy as np
import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.guided.windows import TokenMap, aligned_tokens
from hf_adner.perturb.perturbed import CharacterAlignment, Perturbed

WORDS = TokenMap([(0, 0), (0, 4), (5, 6), (6, 8), (0, 0)], 8)  # "ecze" "a" "nd" with a space at 4


def test_one_token_per_character_changes_nothing():
    tokens = TokenMap([(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)], 3)
    logs = np.array([0.0, 0.5, -1.0, 2.0, 0.0])
    assert tokens.to_characters(logs).tolist() == pytest.approx([0.5, -1.0, 2.0])
    assert tokens.to_tokens(np.array([0.5, -1.0, 2.0])).tolist() == pytest.approx([0, 0.5, -1.0, 2.0, 0])
    assert tokens.means(np.array([0.5, -1.0, 2.0])).tolist() == [0, 0.5, -1.0, 2.0, 0]


def test_a_tokens_share_is_split_over_its_characters_and_comes_back():
    shares = np.array([0, 0.5, 0.25, 0.25, 0])
    logs = np.log(np.maximum(3 * shares, 1e-9))
    characters = WORDS.to_characters(logs)
    assert np.isnan(characters[4]) and np.isfinite(np.delete(characters, 4)).all()
    spread = np.exp(np.delete(characters, 4)) / 7
    assert spread.tolist() == pytest.approx([0.125] * 4 + [0.25] + [0.125] * 2)
    back = WORDS.to_tokens(np.nan_to_num(characters))
    assert back[1:4].tolist() == pytest.approx(logs[1:4].tolist()) and back[[0, 4]].tolist() == [0, 0]
    assert WORDS.means(np.arange(8.0)).tolist() == [0, 1.5, 5, 6.5, 0]


def test_a_text_without_tokens():
    empty = TokenMap([(0, 0), (0, 0)], 0)
    assert len(empty) == 2 and not empty.is_text.any()
    assert empty.to_characters(np.zeros(2)).shape == (0,) and empty.to_tokens(np.zeros(0)).tolist() == [0, 0]


def test_spans_of_whole_tokens_are_found():
    assert WORDS.tokens_of(0, 4) == (1, 2) and WORDS.tokens_of(5, 8) == (2, 4) and WORDS.tokens_of(4, 6) == (2, 3)
    assert WORDS.tokens_of(0, 3) is None and WORDS.tokens_of(7, 8) is None and WORDS.tokens_of(4, 5) is None


def replaced(text: str, new: str, backward: list[int | None], edited: tuple[int, ...], entity=(0, 1)) -> Perturbed:
    before = Document("a", text, (Entity(*entity, "D"),))
    after = Document("a", new, (Entity(*entity, "D"),))
    return Perturbed(before, after, CharacterAlignment.from_backward(backward, len(text)), (0,), edited=edited)


def test_unedited_tokens_are_aligned_wherever_they_moved():
    perturbed = replaced("abcd", "axdyc", [0, 1, 3, None, 2], (1,))
    one = TokenMap([(0, 0), *((place, place + 1) for place in range(4)), (0, 0)], 4)
    two = TokenMap([(0, 0), *((place, place + 1) for place in range(5)), (0, 0)], 5)
    assert aligned_tokens(one, two, perturbed).tolist() == [-1, 1, -1, 5, 3, -1]


def test_a_token_that_is_split_otherwise_has_no_counterpart():
    perturbed = replaced("abcd", "abcdd", [0, 1, 2, 3, None], ())
    text = TokenMap([(0, 2), (2, 4)], 4)
    assert aligned_tokens(text, TokenMap([(0, 2), (2, 5)], 5), perturbed).tolist() == [0, -1]
    assert aligned_tokens(text, TokenMap([(0, 2), (2, 4), (4, 5)], 5), perturbed).tolist() == [0, 1]
