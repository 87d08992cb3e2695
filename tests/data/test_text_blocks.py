"""Packing: nothing is lost, nothing runs on behind a separator."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.pretraining.text import TextBlocks, cut_text

TOKENIZER = AdnerTokenizer.from_texts(["红斑丘疹。，ab1 "])


def pieces_of(blocks: TextBlocks) -> list[list[list[int]]]:
    """Per block the tokens between its special tokens."""
    found = []
    for number in range(len(blocks)):
        ids = blocks[number]["input_ids"].tolist()
        assert ids[0] == TOKENIZER.cls_token_id and ids[-1] == TOKENIZER.sep_token_id
        pieces, piece = [], []
        for one in ids[1:]:
            if one == TOKENIZER.sep_token_id:
                pieces.append(piece)
                piece = []
            else:
                piece.append(one)
        found.append(pieces)
    return found


@given(st.lists(st.text(alphabet="红斑丘疹。ab1 ", max_size=40), max_size=20), st.integers(3, 20))
def test_every_token_is_in_a_block_and_short_texts_are_whole(texts, length):
    blocks = TextBlocks(texts, TOKENIZER, length)
    pieces = [tuple(piece) for block in pieces_of(blocks) for piece in block]
    assert all(len(blocks[number]["input_ids"]) <= length for number in range(len(blocks)))
    kept = [text for text in texts if text.strip()]
    assert blocks.texts == len(kept) and blocks.tokens == sum(map(len, kept))
    whole = Counter(
        tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"]) for text in kept if len(text) <= length - 2
    )
    assert not whole - Counter(pieces)
    assert sum(map(len, pieces)) == blocks.tokens


@given(st.text(alphabet="红斑。，ab", max_size=200), st.integers(1, 30))
def test_pieces_of_a_text_are_the_text(text, size):
    pieces = list(cut_text(text, size))
    assert "".join(pieces) == text and all(0 < len(piece) <= size for piece in pieces if text)


def test_a_long_text_is_cut_behind_a_sentence():
    assert list(cut_text("红斑丘疹。红斑丘疹红斑", 8)) == ["红斑丘疹。", "红斑丘疹红斑"]


def test_blocks_are_well_filled():
    texts = ["红斑" * (1 + number % 30) for number in range(500)]
    assert TextBlocks(texts, TOKENIZER, 128).fill > 0.9


def test_index_and_lengths_that_cannot_be():
    blocks = TextBlocks(["红斑"], TOKENIZER, 8)
    assert blocks[-1]["input_ids"].tolist() == blocks[0]["input_ids"].tolist()
    with pytest.raises(IndexError):
        blocks[1]
    with pytest.raises(ValueError, match="no room for text"):
        TextBlocks(["红"], TOKENIZER, 2)
    assert len(TextBlocks([" ", ""], TOKENIZER, 8)) == 0
