"""Reading, holding out and packing plain text, word vectors, and words of texts and tokens."""

import logging
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from hf_adner.data.errors import DataFormatError
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.similar_words import similar_word_table
from hf_adner.pretraining.text import (
    HUGE,
    PART,
    TextBlocks,
    cut_text,
    hold_out_texts,
    read_evaluation_texts,
    read_texts,
    vocabulary_coverage,
    without_evaluation_texts,
)
from hf_adner.pretraining.word_vectors import WordSequences, cooccurrence_vectors
from hf_adner.pretraining.words import TokenWords, segment


def test_reads_files_and_folders_and_leaves_blank_lines_out(tmp_path):
    (tmp_path / "a.txt").write_text("面部红斑\n\n  \n瘙痒\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("湿疹\n", encoding="gb18030")
    assert read_texts([str(tmp_path)]) == ["面部红斑", "瘙痒", "湿疹"]
    assert read_texts([str(tmp_path / "a.txt")], format="text") == ["面部红斑\n\n  \n瘙痒\n"]


@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_a_broken_byte_is_told_with_file_and_line(tmp_path, encoding):
    path = tmp_path / "notes.txt"
    path.write_bytes("面部红斑伴瘙痒\n".encode() * 2 + "湿".encode() + b"\xff\n")
    with pytest.raises(DataFormatError, match=r"notes\.txt, line 3: .*0xff at byte offset 47"):
        read_texts([str(path)], encoding=encoding)


def test_the_line_is_that_of_the_files_own_encoding(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes("上\n下上\n".encode("utf-16") + b"\x00\xd8a\x00")  # 上 has the byte of a line feed
    with pytest.raises(DataFormatError, match=r"notes\.txt, line 3: the text is not utf-16"):
        read_texts([str(path)])
    path.write_bytes(b"%PDF-1.7\n\xff")
    with pytest.raises(DataFormatError, match=r"notes\.txt: the file is a PDF"):
        read_texts([str(path)])


def test_records_are_not_read_as_lines(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"text": "面部红斑"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="--format jsonl"):
        read_texts([str(path)])
    assert read_texts([str(path)], format="jsonl") == ["面部红斑"]


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_text_without_text_is_an_error(tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"empty\.txt.*(empty|no documents)"):
        read_texts([str(path)])


def test_one_huge_line_is_read_and_warned_of(tmp_path, caplog):
    path = tmp_path / "huge.txt"
    path.write_text("红斑" * HUGE, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        [text] = read_texts([str(path)])
    assert len(text) == 2 * HUGE and "longest text has 200000 characters" in caplog.text
    with pytest.raises(ValueError, match="only a single text.*--validation-share 0"):
        hold_out_texts([text], 0.1)


def test_held_out_texts_are_no_training_texts_whatever_the_order():
    texts = [f"病例{number % 400}" for number in range(500)]
    train, held_out = hold_out_texts(texts, 0.1)
    assert sorted(train + held_out) == sorted(texts) and not set(train) & set(held_out)
    assert 20 < len(set(held_out)) < 65
    again = hold_out_texts(reversed(texts), 0.1)
    assert sorted(again[1]) == sorted(held_out) and hold_out_texts(texts, 0.1, seed=1)[1] != held_out
    assert hold_out_texts(texts, 0.0) == (texts, [])
    few = hold_out_texts(["甲", "乙"], 0.01)
    assert sorted(map(len, few)) == [1, 1]
    assert len(hold_out_texts(["甲", "乙", "丙"], 0.99)[0]) == 1
    with pytest.raises(ValueError, match="0 or more and less than 1"):
        hold_out_texts(texts, 1.0)


repetitive = st.builds(
    lambda piece, times: piece * times, st.text("红斑疹 ", min_size=1, max_size=6), st.integers(1, 9)
)


@given(st.lists(repetitive, min_size=1, max_size=8), st.lists(repetitive, max_size=4))
def test_texts_that_are_hold_or_belong_to_evaluation_texts_are_left_out(texts, evaluation):
    held = ["".join(text.split()) for text in evaluation if text.strip()]

    def belongs(text: str) -> bool:
        plain = "".join(text.split())
        part = any(len(plain) >= PART and plain in other or len(other) >= PART and other in plain for other in held)
        return plain in held or part

    kept = [text for text in texts if not belongs(text)]
    if kept:
        assert without_evaluation_texts(texts, evaluation) == kept
    else:
        with pytest.raises(ValueError, match="nothing is left"):
            without_evaluation_texts(texts, evaluation)


def test_evaluation_texts_of_any_format_are_found_whatever_their_width_and_white_space(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"text": "ＩｇＥ 升高", "entities": []}\n', encoding="utf-8")
    (tmp_path / "test.conll").write_text("瘙 B-Symptom\n痒 I-Symptom\n\n", encoding="utf-8")
    evaluation = read_evaluation_texts([f"{tmp_path}/test.*"])
    assert without_evaluation_texts(["IgE升高", "瘙痒", "瘙痒3天"], evaluation) == ["瘙痒3天"]


def test_coverage_counts_unknown_characters():
    tokenizer = AdnerTokenizer.from_texts(["面部红斑 abc"])
    coverage = vocabulary_coverage(["面部腘窝ABC", "腘\t红"], tokenizer)
    assert (coverage.texts, coverage.characters, coverage.unknown) == (2, 10, 3)
    assert coverage.unknown_characters == [("腘", 2), ("窝", 1)]
    assert coverage.to_dict()["unknown_rate"] == pytest.approx(0.3)
    assert "| 腘 | U+8158 | 2 |" in coverage.to_markdown()
    assert vocabulary_coverage([], tokenizer).unknown_rate == 0.0


TOKENIZER = AdnerTokenizer.from_texts(["红斑丘疹。，ab1 "])


def pieces_of(blocks: TextBlocks) -> list[list[list[int]]]:
    """Per block the tokens between its special tokens."""
    found = []
    for number in range(len(blocks)):
        ids = blocks[number]["input_ids"].tolist()
        assert ids[0] == TOKENIZER.cls_token_id and ids[-1] == TOKENIZER.sep_token_id
        pieces, piece = [], []
        for token in ids[1:]:
            if token == TOKENIZER.sep_token_id:
                pieces.append(piece)
                piece = []
            else:
                piece.append(token)
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


TEXT = "面部红斑伴瘙痒 IgE12。"


def test_words_of_characters_between_special_tokens():
    tokenizer = AdnerTokenizer.from_texts([TEXT])
    ids = tokenizer([TEXT, "红斑"])["input_ids"]
    words = TokenWords(tokenizer, Lexicon(["红斑", "瘙痒", "斑伴"]))
    row = [*ids[0], *ids[1][1:]]
    found = [[words.text(row[start:end]) for start, end in run] for run in words.runs(row)]
    assert found == [["面", "部", "红斑", "伴", "瘙痒", " ", "ige", "12", "。"], ["红斑"]]


def test_a_word_never_begins_inside_a_word_piece():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "斑", "ecz", "##ema", "##a", "is"]
    tokenizer = BertTokenizerFast(vocab={token: index for index, token in enumerate(vocabulary)})
    ids = tokenizer("eczema is 红斑")["input_ids"]
    words = TokenWords(tokenizer, Lexicon(["红斑", "ma"]))
    [run] = words.runs(ids)
    assert [words.text(ids[start:end]) for start, end in run] == ["eczema", "is", "红斑"]


def test_an_unknown_token_is_text_and_words_go_on_around_it():
    tokenizer = AdnerTokenizer.from_texts(["红斑"])
    ids = tokenizer("红腘斑")["input_ids"]
    assert TokenWords(tokenizer).runs(ids) == [[(1, 2), (2, 3), (3, 4)]]


def test_a_vocabulary_with_gaps_has_words_all_the_same():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "红": 5, "斑": 8}
    tokenizer = AdnerTokenizer(vocabulary)
    words = TokenWords(tokenizer, Lexicon(["红斑"]))
    assert words.text([5, 8]) == "红斑" and words.runs([2, 5, 8, 3]) == [[(1, 3)]]


LEXICON = Lexicon(["红斑", "红斑狼疮", "狼疮肾炎", "ct", "a1"])


def words(text: str, **options) -> list[str]:
    return [text[start:end] for start, end in segment(text, LEXICON, **options)]


def test_the_longest_word_from_the_left_is_taken_and_the_rest_are_characters_and_runs():
    assert words("见红斑狼疮肾炎，IgE 120IU") == ["见", "红斑狼疮", "肾", "炎", "，", "IgE", " ", "120", "IU"]
    assert words("红斑狼疮", longest=2) == ["红斑", "狼", "疮"]


def test_a_run_of_letters_is_not_cut_by_a_shorter_word_and_case_is_as_asked():
    assert words("ctx") == ["ctx"]
    assert words("A1c") == ["A", "1", "c"]
    assert words("A1c", lower_case=True) == ["A1", "c"]


def test_without_lexicon_there_are_characters_and_runs():
    assert segment("红斑ab", None) == [(0, 1), (1, 2), (2, 4)]


@given(st.text(alphabet="红斑狼疮肾炎ct1a \n\ud800", max_size=30))
def test_nothing_is_lost(text):
    assert "".join(words(text)) == text
