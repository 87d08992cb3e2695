"""Reading, holding out and looking at plain text."""

import logging

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.pretraining.text import HUGE, hold_out_texts, read_texts, vocabulary_coverage


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
    with pytest.raises(ValueError, match="one single text.*--validation_share 0"):
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


def test_coverage_counts_unknown_characters():
    tokenizer = AdnerTokenizer.from_texts(["面部红斑 abc"])
    coverage = vocabulary_coverage(["面部腘窝ABC", "腘\t红"], tokenizer)
    assert (coverage.texts, coverage.characters, coverage.unknown) == (2, 10, 3)
    assert coverage.unknown_characters == [("腘", 2), ("窝", 1)]
    assert coverage.to_dict()["unknown_rate"] == pytest.approx(0.3)
    assert "| 腘 | U+8158 | 2 |" in coverage.to_markdown()
    assert vocabulary_coverage([], tokenizer).unknown_rate == 0.0
