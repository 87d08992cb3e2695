"""Similar words from what stands around them."""

import random

import torch

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.pretraining.similar_words import WordSequences, cooccurrence_vectors, similar_word_table

SYMPTOMS, PLACES, DRUGS = ["红斑", "丘疹", "水疱"], ["面部", "四肢", "躯干"], ["他克莫司", "阿莫西林"]


def texts(count: int = 300) -> list[str]:
    draw = random.Random(0)
    return [f"{draw.choice(PLACES)}见{draw.choice(SYMPTOMS)}，用{draw.choice(DRUGS)}。" for _ in range(count)]


def sequences(**options) -> WordSequences:
    return WordSequences(texts(), Lexicon(SYMPTOMS + PLACES + DRUGS), **options)


def test_words_in_the_same_places_are_similar_and_lengths_are_kept():
    found = sequences()
    table = similar_word_table(found.words, cooccurrence_vectors(found, size=8), top=2)
    assert {word for word, _ in table["红斑"]} == {"丘疹", "水疱"}
    assert {word for word, _ in table["面部"]} == {"四肢", "躯干"}
    assert [word for word, _ in table["他克莫司"]] == ["阿莫西林"]
    assert all(len(other) == len(word) for word, near in table.items() for other, _ in near)
    values = [value for _, value in table["红斑"]]
    assert values == sorted(values, reverse=True) and all(0 < value <= 1.0001 for value in values)


def test_vectors_are_the_same_again_and_leave_the_chance_of_others_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (cooccurrence_vectors(sequences(), size=8) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.rand(1), expected)


def test_rare_words_and_texts_beyond_the_limit_do_not_count():
    assert "见" in sequences().words and sequences().ids.tolist().count(-1) == 300
    short = sequences(limit=20, min_count=2)
    assert len(short.ids) < 40
    assert WordSequences(["红斑"], None, min_count=2).words == []
    assert cooccurrence_vectors(WordSequences([], None), size=4).shape == (0, 4)


def test_zeros_and_far_words_have_no_neighbours():
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    table = similar_word_table(["甲", "乙", "丙", "丁", "戊己"], vectors, top=3, minimum=0.5)
    assert set(table) == {"甲", "乙"} and [word for word, _ in table["甲"]] == ["乙"]
