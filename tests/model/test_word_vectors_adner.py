"""First word vectors: means of what the encoder knows of the characters."""

import pytest
import torch

from hf_adner import AdnerTokenizer, Lexicon
from hf_adner.model.word_vectors_adner import character_mean_vectors

WORDS = ["红", "斑", "红斑", "斑红", "红红斑", "A", "a b", "龘", "龘红"]


@pytest.fixture(scope="module")
def reader() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(["红斑ab瘙痒反复"], lexicon=Lexicon(WORDS))


def vectors_of(reader, size: int = 5, hidden: int = 8) -> dict[str, torch.Tensor]:
    table = torch.randn(len(reader), hidden, generator=torch.Generator().manual_seed(0))
    vectors = character_mean_vectors(reader, table, size)
    assert vectors.shape == (len(WORDS) + 1, size) and not vectors[0].any()
    return dict(zip(WORDS, vectors[1:]))


def test_a_word_is_the_mean_of_its_characters(reader):
    vectors = vectors_of(reader)
    torch.testing.assert_close(vectors["红斑"], (vectors["红"] + vectors["斑"]) / 2)
    torch.testing.assert_close(vectors["红红斑"], (2 * vectors["红"] + vectors["斑"]) / 3)
    torch.testing.assert_close(vectors["斑红"], vectors["红斑"])
    torch.testing.assert_close(vectors["龘红"], (vectors["龘"] + vectors["红"]) / 2)


def test_characters_are_read_as_the_tokenizer_reads_them(reader):
    """Lower-cased, white space as its own entry, unknown ones as [UNK]."""
    hidden = 8
    table = torch.randn(len(reader), hidden, generator=torch.Generator().manual_seed(0))
    vectors = dict(zip(WORDS, character_mean_vectors(reader, table, hidden)[1:]))
    ids = {word: reader(word, add_special_tokens=False)["input_ids"] for word in WORDS}
    assert ids["A"] == reader.convert_tokens_to_ids(["a"]) and ids["龘"] == [reader.unk_token_id]
    # all axes are kept: distances are the table's up to one factor
    means = {word: table[ids[word]].mean(0) for word in WORDS}
    factor = (vectors["红"] - vectors["斑"]).norm() / (means["红"] - means["斑"]).norm()
    for first in WORDS:
        for second in WORDS:
            distance = factor * (means[first] - means[second]).norm()
            torch.testing.assert_close((vectors[first] - vectors[second]).norm(), distance, atol=1e-5, rtol=0)


def test_main_axes_come_first(reader):
    table = torch.zeros(len(reader), 8)
    ids = reader.convert_tokens_to_ids(["红", "斑"])
    table[ids[0], 3], table[ids[1], 6] = 10.0, 1.0
    vectors = dict(zip(WORDS, character_mean_vectors(reader, table, 1)[1:]))
    assert (vectors["红"] - vectors["龘"]).abs() > 50 * (vectors["斑"] - vectors["龘"]).abs()


def test_scale_and_padding(reader):
    table = torch.randn(len(reader), 4)
    for scale in (1.0, 1000.0):
        vectors = character_mean_vectors(reader, scale * table, 6)
        assert vectors.std().item() == pytest.approx(0.1, abs=1e-5)
        assert not vectors[:, 4:].any()  # the table has four axes


def test_an_empty_lexicon_has_only_its_padding_row(reader):
    empty = AdnerTokenizer.from_texts(["红"], lexicon=Lexicon([]))
    assert character_mean_vectors(empty, torch.randn(len(empty), 4), 3).tolist() == [[0.0, 0.0, 0.0]]


def test_half_precision_tables_give_float32(reader):
    assert character_mean_vectors(reader, torch.randn(len(reader), 4).half(), 3).dtype == torch.float32
