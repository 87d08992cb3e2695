"""The lexicon: its files, matches, counts and vectors, and initial word vectors from character embeddings."""

import copy
import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerTokenizer, CodeTable, Constraints, Lexicon
from hf_adner.model import lexicon_adner
from hf_adner.model.lexicon_adner import PUBLIC_DOCUMENTS, leftmost_longest, lower_by_character
from hf_adner.model.word_vectors_adner import character_mean_vectors

WORDS = ("湿疹", "皮炎", "特应性皮炎", "特应性", "炎")
TEXT = "患特应性皮炎"

few_characters = st.text("皮炎aA", max_size=12) | st.text("皮aAİΣ😀 \x00\u200b\ufffd\ufffe\ud800", max_size=12)
few_words = st.text("皮炎aA", max_size=4) | st.text("皮aAİΣ😀 \x00\u200b\ufffd\ufffe", max_size=4)
any_characters = st.text(st.characters(exclude_categories=()), max_size=20)
word_lists = st.lists(few_words.filter(lambda word: word and word == word.strip()), unique=True, max_size=12)


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


# ---- construction ------------------------------------------------------------------------------------------------


def test_ids_begin_at_one_and_zero_is_padding():
    lexicon = Lexicon(WORDS, range(5))
    assert (len(lexicon), lexicon.size, lexicon.origin) == (5, 6, "list")
    assert lexicon.words == WORDS and lexicon.frequencies == (0, 1, 2, 3, 4)
    assert Lexicon(WORDS).frequencies == (0,) * 5
    assert len(Lexicon([])) == 0 and Lexicon([]).match(TEXT) == []


@pytest.mark.parametrize(
    ("words", "frequencies", "error", "message"),
    [
        (["皮炎", " "], None, ValueError, "word 1 .* blank"),
        (["皮炎", ""], None, ValueError, "word 1 .* blank"),
        (["皮炎 "], None, ValueError, "white space at its ends"),
        (["皮\n炎"], None, ValueError, "line break"),
        (["皮\ud800"], None, ValueError, "surrogate"),
        (["皮炎", "湿疹", "皮炎"], None, ValueError, "word 2 .* is word 0 again"),
        (["皮炎"], [-1], ValueError, "frequency is -1"),
        (["皮炎"], [1, 2], ValueError, "2 frequencies for 1 words"),
        (["皮炎"], [1.5], TypeError, "frequency is float"),
        ([b"x"], None, TypeError, "found bytes"),
    ],
)
def test_what_is_no_word_list_is_refused(words, frequencies, error, message):
    with pytest.raises(error, match=message):
        Lexicon(words, frequencies)


def test_an_unknown_origin_is_refused():
    with pytest.raises(ValueError, match="origin is 'web'"):
        Lexicon(WORDS, origin="web")


def test_messages_show_only_a_few_characters():
    with pytest.raises(ValueError) as caught:
        Lexicon(["患者姓名住址电话病历号\t很长"])
    assert "很长" not in str(caught.value) and "患者" in str(caught.value)


def test_the_hash_tells_words_frequencies_and_order_apart():
    hashes = {
        Lexicon(WORDS).hash,
        Lexicon(WORDS[::-1]).hash,
        Lexicon(WORDS[:4]).hash,
        Lexicon(WORDS, [1, 0, 0, 0, 0]).hash,
        Lexicon(["皮炎 1"], [0]).hash,
        Lexicon(["皮炎"], [10]).hash,
    }
    assert len(hashes) == 6
    assert Lexicon(WORDS).hash == Lexicon(list(WORDS)).hash
    assert Lexicon(WORDS) == Lexicon(WORDS) != Lexicon(WORDS, origin="documents")


@pytest.mark.slow
def test_the_hash_is_the_same_in_another_process():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(lexicon_adner.__file__).parents[1])!r})\n"
        "from model.lexicon_adner import Lexicon\n"
        "print(Lexicon(['皮炎', '湿疹'], [3, 0]).hash)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.strip() == Lexicon(["皮炎", "湿疹"], [3, 0]).hash


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_equal_and_pickle_alike_after_use(duplicate):
    lexicon = Lexicon(WORDS, range(5), origin="mix")
    before = pickle.dumps(lexicon)
    assert duplicate(lexicon).match(TEXT) == lexicon.match(TEXT)
    assert duplicate(lexicon) == lexicon
    assert pickle.dumps(lexicon) == before


# ---- matching ----------------------------------------------------------------------------------------------------


def brute_force(words, text, lower_case):
    fold = lower_by_character if lower_case else str
    text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in fold(text))
    spans = [(s, e) for s in range(len(text)) for e in range(s + 1, len(text) + 1)]
    return [(i, s, e) for s, e in spans for i, w in enumerate(words, 1) if fold(w) == text[s:e]]


@pytest.fixture(params=["automaton", "python"])
def matcher(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(lexicon_adner, "ahocorasick_rs", None)
    elif lexicon_adner.ahocorasick_rs is None:
        pytest.skip("ahocorasick-rs is not installed")
    return request.param


def test_every_occurrence_is_found_with_character_positions(matcher):
    found = Lexicon(WORDS).match("😀" + TEXT)
    assert found == [(4, 2, 5), (3, 2, 7), (2, 5, 7), (5, 6, 7)]
    assert Lexicon(["炎", "皮炎症"]).match("皮炎症炎") == [(2, 0, 3), (1, 1, 2), (1, 3, 4)]


def test_both_matchers_equal_brute_force(matcher):
    @given(word_lists, few_characters | any_characters, st.booleans())
    def check(words, text, lower_case):
        assert Lexicon(words).match(text, lower_case=lower_case) == brute_force(words, text, lower_case)

    check()


@given(word_lists, few_characters, st.booleans())
def test_the_fallback_finds_what_the_automaton_finds(words, text, lower_case):
    automaton = Lexicon(words).match(text, lower_case=lower_case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicon_adner, "ahocorasick_rs", None)
        assert Lexicon(words).match(text, lower_case=lower_case) == automaton


def test_words_that_differ_in_case_are_all_found_when_lower_casing(matcher):
    lexicon = Lexicon(["IgE", "ige", "IGE升高"])
    assert lexicon.match("查ige升高") == [(2, 1, 4)]
    assert lexicon.match("查ige升高", lower_case=True) == [(1, 1, 4), (2, 1, 4), (3, 1, 6)]


@given(any_characters)
def test_lower_casing_keeps_positions_and_knows_no_context(text):
    assert lower_by_character(text) == "".join(lower_by_character(character) for character in text)
    assert len(lower_by_character(text)) == len(text)


def test_lower_casing_of_the_special_cases():
    assert lower_by_character("İΣΑΣ") == "iσασ"


# ---- counting and joining ----------------------------------------------------------------------------------------


def test_counts_of_a_corpus():
    lexicon = Lexicon(WORDS, [9] * 5, origin="mix").with_counts([TEXT, "皮炎、湿疹", ""])
    assert lexicon.frequencies == (1, 2, 1, 1, 2)
    assert (lexicon.words, lexicon.origin) == (WORDS, "mix")
    assert Lexicon(["IgE"]).with_counts(["IGE ige"], lower_case=True).frequencies == (2,)


def test_counts_of_few_documents_make_a_list_private():
    texts = ["皮炎皮炎", "湿疹", "皮炎", "皮炎湿疹", "皮炎", "皮炎"]
    lexicon = Lexicon(["皮炎", "湿疹", "红斑"])
    counted = lexicon.with_counts(texts, min_documents=PUBLIC_DOCUMENTS)
    assert counted.frequencies == (6, 0, 0) and counted.origin == "list"
    counted.check_shareable()
    for private in (
        lexicon.with_counts(texts),
        Lexicon.from_documents(texts),
        counted.union(lexicon.with_counts(texts)),
    ):
        with pytest.raises(ValueError, match=r"words or exact counts of documents.*allow_document_lexicon"):
            private.check_shareable()
        private.check_shareable(allow=True)
    assert Lexicon.from_documents(texts).with_counts(texts, min_documents=9).origin == "documents"


def test_counts_without_the_words_that_longer_matches_cover():
    assert Lexicon(WORDS).with_counts([TEXT, "皮炎、湿疹"], skip_covered=True).frequencies == (1, 1, 1, 0, 0)


@given(word_lists, few_characters, st.booleans())
def test_covered_matches_by_definition(words, text, lower_case):
    lexicon = Lexicon(words)
    matches = lexicon.match(text, lower_case=lower_case)
    longest = [(i, s, e) for i, s, e in matches if not any(a <= s and e <= b and b - a > e - s for _, a, b in matches)]
    counted = lexicon.with_counts([text], lower_case=lower_case, skip_covered=True)
    assert counted.frequencies == tuple(sum(i == word_id for i, _, _ in longest) for word_id in range(1, lexicon.size))


def test_union_keeps_own_ids_and_adds_frequencies():
    union = Lexicon(["皮炎", "湿疹"], [1, 2]).union(Lexicon(["痒疹", "皮炎"], [4, 8], origin="documents"))
    assert (union.words, union.frequencies, union.origin) == (("皮炎", "湿疹", "痒疹"), (9, 2, 4), "mix")
    assert Lexicon(["皮炎"]).union(Lexicon(["湿疹"])).origin == "list"


def test_from_documents_counts_and_does_not_depend_on_order(caplog):
    texts = ["湿疹", "皮炎", " 皮炎", "\n", "炎\n症", "红斑"]
    lexicon = Lexicon.from_documents(texts)
    assert (lexicon.words, lexicon.frequencies, lexicon.origin) == (("皮炎", "湿疹", "红斑"), (2, 1, 1), "documents")
    assert "skipped 2 entity texts" in caplog.text
    assert Lexicon.from_documents(texts[::-1]).hash == lexicon.hash
    assert Lexicon.from_documents(texts, min_count=2).words == ("皮炎",)
    assert Lexicon.from_documents(["痒", "湿疹"], min_length=2).words == ("湿疹",)


# ---- word list files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_word_lists_are_read_in_every_encoding(tmp_path, encoding, line_break):
    content = line_break.join(["湿疹", "特应性皮炎\t12", "5 %葡萄糖\t3\tTHUOCL\tx", "IgE 升高\t 4 "])
    lexicon = Lexicon.from_file(write(tmp_path / "words.txt", content, encoding))
    assert lexicon.words == ("湿疹", "特应性皮炎", "5 %葡萄糖", "IgE 升高")
    assert lexicon.frequencies == (0, 12, 3, 4)


def test_an_explicit_encoding_is_used(tmp_path):
    path = write(tmp_path / "words.txt", "濕疹\n", "big5")
    assert Lexicon.from_file(path, encoding="big5").words == ("濕疹",)
    with pytest.raises(ValueError, match=r"words.txt:1: byte 0x.. is not utf-8"):
        Lexicon.from_file(path, encoding="utf-8")
    path = write(tmp_path / "bom.txt", "湿疹", "utf-8-sig")
    assert Lexicon.from_file(path, encoding="utf8").words == ("湿疹",)


def test_repeated_and_blank_lines_are_merged_skipped_and_counted(tmp_path, caplog):
    path = write(tmp_path / "words.txt", "皮炎\t3\n\n湿疹\n \n皮炎\t4\n")
    with caplog.at_level(logging.WARNING):
        lexicon = Lexicon.from_file(path)
    assert dict(zip(lexicon.words, lexicon.frequencies)) == {"皮炎": 7, "湿疹": 0}
    assert "skipped 2 blank lines, merged 1 repeated words" in caplog.text


def test_a_clean_file_gives_no_warning(tmp_path, caplog):
    Lexicon.from_file(write(tmp_path / "words.txt", "皮炎\n湿疹\n"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "words.txt: no word found"),
        ("\n\n", "words.txt: no word found"),
        ("皮炎\t1\n湿疹\tviele\n", r"words.txt:2: frequency is 'viele'"),
        ("皮炎\t-1\n", r"words.txt:1: frequency is '-1'"),
        ("皮炎\t1.5\n", r"words.txt:1: frequency is '1.5'"),
        ("皮炎\t\n", r"words.txt:1: frequency is ''"),
        ("皮炎\t²\n", r"words.txt:1: frequency is '²'"),
        ("皮炎\n\n\t5\n", r"words.txt:3 \(''\) is blank"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        Lexicon.from_file(write(tmp_path / "words.txt", content))


def test_lines_that_begin_with_a_hash_are_comments(tmp_path, caplog):
    lexicon = Lexicon.from_file(
        write(tmp_path / "words.txt", "# words of ours\tcount\n皮炎\t3\n#湿疹\n5 #\n", "utf-8-sig")
    )
    assert dict(zip(lexicon.words, lexicon.frequencies)) == {"皮炎": 3, "5 #": 0} and not caplog.records


def test_a_list_in_big5_is_not_read_as_other_words(tmp_path):
    path = write(tmp_path / "words.txt", "IgE\n環形紅斑\n異位性皮膚炎\t3\n", "big5")
    with pytest.raises(ValueError, match=r"words.txt:2: neither UTF-8 nor GB18030 text \(Big5\?\)"):
        Lexicon.from_file(path)
    for table in (Constraints, CodeTable):
        with pytest.raises(ValueError, match="words.txt:2: neither"):
            table.from_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        Lexicon.from_file(tmp_path / "none.txt")


def test_broken_utf8_is_not_taken_for_gb18030(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("湿疹\n皮炎\n".encode() + "红斑".encode()[:-1] + b"\n" + "丘疹".encode())
    with pytest.raises(ValueError, match=r"words.txt:3: byte 0x.. is not utf-8"):
        Lexicon.from_file(path)


def test_bytes_of_no_known_encoding_are_named(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("湿疹\n".encode("gb18030") + b"\xff\xff\n")
    with pytest.raises(ValueError, match=r"words.txt:2: byte 0xff is not gb18030"):
        Lexicon.from_file(path)
    path.write_bytes("湿疹".encode("utf-16"))
    with pytest.raises(ValueError, match="UTF-16"):
        Lexicon.from_file(path)


# ---- saved lexicons ----------------------------------------------------------------------------------------------


@given(word_lists, st.data())
def test_saved_lexicons_come_back_equal(tmp_path_factory, words, data):
    frequencies = data.draw(st.lists(st.integers(0, 10**12), min_size=len(words), max_size=len(words)))
    lexicon = Lexicon(words, frequencies, origin=data.draw(st.sampled_from(lexicon_adner.ORIGINS)))
    path = tmp_path_factory.mktemp("saved") / "lexicon.json"
    lexicon.save(path)
    assert Lexicon.load(path) == lexicon
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"湿疹"', '"痒疹"', "was changed after it was saved"),
        ('"adner-lexicon"', '"other"', "found format"),
        ('"version":2', '"version":3', "found format"),
        ('"words"', '"terms"', "lacks"),
        ("{", "", "lexicon.json cannot be read: Extra data"),
        ("{", "[{", "lexicon.json cannot be read: Expecting"),
    ],
)
def test_changed_files_are_refused(tmp_path, old, new, message):
    path = tmp_path / "lexicon.json"
    Lexicon(WORDS).save(path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Lexicon.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "lexicon.json"
    Lexicon(WORDS).save(path)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Lexicon(["其他"]).save(path)
    assert Lexicon.load(path) == Lexicon(WORDS)
    assert list(tmp_path.iterdir()) == [path]


# ---- word vectors ------------------------------------------------------------------------------------------------

VECTOR_LINES = ["皮炎 1 2.5 -3e-1", "其他 9 9 9", "IgE 升高 4 5 6 ", "type 2 7 8 9", "皮炎 0 0 0"]
VECTOR_WORDS = ("湿疹", "皮炎", "IgE 升高", "type 2")


@pytest.mark.parametrize("header", [[], ["5 3"]])
@pytest.mark.parametrize("dimension", [None, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_word_vectors_are_read(tmp_path, header, dimension, encoding):
    path = write(tmp_path / "vectors.vec", "\n".join(header + VECTOR_LINES) + "\n", encoding)
    vectors, covered = Lexicon(VECTOR_WORDS).vectors_from_file(path, dimension, encoding=encoding)
    assert covered.tolist() == [False, False, True, True, True]
    expected = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 2.5, -0.3], [4, 5, 6], [7, 8, 9]])
    torch.testing.assert_close(vectors, expected)
    assert vectors.dtype == torch.float32


@pytest.mark.parametrize(
    ("lines", "dimension", "message"),
    [
        (["皮炎 1 2 3", "湿疹 1 2"], None, r"v\.txt:2: 2 numbers after the word, expected 3"),
        (["皮炎 1 2 3", "湿疹 1.0 2.0 3.0 4.0"], None, r"v\.txt:2: 4 numbers after the word, expected 3"),
        (["2 3", "皮炎 1 2"], None, r"v\.txt:2: 2 numbers"),
        (["2 3", "皮炎 1 2 3"], 4, r"v\.txt:1: the header says dimension 3, expected 4"),
        (["皮炎 1 2 3"], 4, r"v\.txt:1: 3 numbers after the word, expected 4"),
        (["皮炎 1 x 3"], None, r"v\.txt:1: expected 3 numbers"),
        (["皮炎 1 nan 3"], None, r"v\.txt:1: .* not finite"),
        (["皮炎"], None, r"v\.txt:1: dimension 0"),
        ([], None, r"v\.txt: no vector found"),
    ],
)
def test_bad_vector_files_name_the_line(tmp_path, lines, dimension, message):
    path = write(tmp_path / "v.txt", "\n".join(lines))
    with pytest.raises(ValueError, match=message):
        Lexicon(VECTOR_WORDS).vectors_from_file(path, dimension)


def test_vectors_of_one_dimension_have_no_header_when_that_is_said(tmp_path):
    path = write(tmp_path / "v.txt", "7 1\n皮炎 2\n")
    vectors, covered = Lexicon(["7", "皮炎"]).vectors_from_file(path, 1)
    assert vectors.flatten().tolist() == [0, 1, 2] and covered.tolist() == [False, True, True]


# ---- real data ---------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_the_medical_word_list(data_dir):
    lexicon = Lexicon.from_file(data_dir / "lexicon" / "medical_words.tsv")
    assert len(lexicon) == 117_767
    found = lexicon.match("特应性皮炎患者外用他克莫司软膏")
    assert {lexicon.words[word_id - 1] for word_id, _, _ in found} >= {"特应性皮炎", "皮炎", "他克莫司", "软膏"}


WORDS_TO_AVERAGE = ["红", "斑", "红斑", "斑红", "红红斑", "A", "a b", "龘", "龘红"]


@pytest.fixture(scope="module")
def reader() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(["红斑ab瘙痒反复"], lexicon=Lexicon(WORDS_TO_AVERAGE))


def vectors_of(reader, size: int = 5, hidden: int = 8) -> dict[str, torch.Tensor]:
    table = torch.randn(len(reader), hidden, generator=torch.Generator().manual_seed(0))
    vectors = character_mean_vectors(reader, table, size)
    assert vectors.shape == (len(WORDS_TO_AVERAGE) + 1, size) and not vectors[0].any()
    return dict(zip(WORDS_TO_AVERAGE, vectors[1:]))


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
    vectors = dict(zip(WORDS_TO_AVERAGE, character_mean_vectors(reader, table, hidden)[1:]))
    ids = {word: reader(word, add_special_tokens=False)["input_ids"] for word in WORDS_TO_AVERAGE}
    assert ids["A"] == reader.convert_tokens_to_ids(["a"]) and ids["龘"] == [reader.unk_token_id]
    # all axes are kept: distances are the table's up to one factor
    means = {word: table[ids[word]].mean(0) for word in WORDS_TO_AVERAGE}
    factor = (vectors["红"] - vectors["斑"]).norm() / (means["红"] - means["斑"]).norm()
    for first in WORDS_TO_AVERAGE:
        for second in WORDS_TO_AVERAGE:
            distance = factor * (means[first] - means[second]).norm()
            torch.testing.assert_close((vectors[first] - vectors[second]).norm(), distance, atol=1e-5, rtol=0)


def test_main_axes_come_first(reader):
    table = torch.zeros(len(reader), 8)
    ids = reader.convert_tokens_to_ids(["红", "斑"])
    table[ids[0], 3], table[ids[1], 6] = 10.0, 1.0
    vectors = dict(zip(WORDS_TO_AVERAGE, character_mean_vectors(reader, table, 1)[1:]))
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


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8), st.integers(1, 4)), max_size=8))
def test_leftmost_longest_is_greedy_from_left_to_right(drawn):
    matches = [(word_id, start, start + length) for word_id, start, length in drawn]
    expected, position = [], 0
    while following := [(start, -end) for _, start, end in matches if start >= position]:
        start, negative_end = min(following)
        expected.append((start, -negative_end))
        position = -negative_end
    assert [(start, end) for _, start, end in leftmost_longest(matches)] == expected


# ---- the origin --------------------------------------------------------------------------------------------------


def of_version_1(path, lexicon):
    """Write a lexicon as version 1 did: its hash covers words and frequencies only."""
    lines = "".join(f"{word}\t{count}\n" for word, count in zip(lexicon.words, lexicon.frequencies))
    record = {"format": "adner-lexicon", "version": 1, "origin": lexicon.origin, "words": lexicon.words}
    record |= {"frequencies": lexicon.frequencies, "hash": hashlib.sha256(lines.encode()).hexdigest()}
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    return record["hash"]


def test_an_edited_origin_is_noticed(tmp_path):
    lexicon = Lexicon.from_documents(WORDS)
    AdnerTokenizer.from_texts([TEXT], lexicon=lexicon).save_pretrained(tmp_path)
    path = tmp_path / "lexicon.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "origin": "list"}), encoding="utf-8")
    with pytest.raises(ValueError, match="lexicon.json was changed after it was saved"):
        AdnerTokenizer.from_pretrained(tmp_path)
    disguised = Lexicon(lexicon.words, lexicon.frequencies, origin="list")
    for write in (disguised.save, lambda path: of_version_1(path, disguised)):
        write(path)
        with pytest.raises(ValueError, match="lexicon_hash of tokenizer_config.json is"):
            AdnerTokenizer.from_pretrained(tmp_path)


def test_a_lexicon_of_version_1_loads_and_says_that_its_origin_is_unprotected(tmp_path, build, caplog):
    lexicon = Lexicon(WORDS, range(5))
    tokenizer = AdnerTokenizer.from_texts([TEXT], lexicon=lexicon)
    tokenizer.save_pretrained(tmp_path)
    old_hash = of_version_1(tmp_path / "lexicon.json", lexicon)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace(lexicon.hash, old_hash), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        loaded = AdnerTokenizer.from_pretrained(tmp_path)
    assert loaded.lexicon == lexicon and "is of version 1, whose hash does not cover the origin ('list')" in caplog.text
    model = build("m-dscmg", lexicon_hash=old_hash)
    model.config.vocab_size = 100
    model.check_tokenizer(loaded)
    loaded.save_pretrained(tmp_path)
    caplog.clear()
    assert AdnerTokenizer.from_pretrained(tmp_path).lexicon == lexicon and not caplog.text
    model.check_tokenizer(AdnerTokenizer.from_pretrained(tmp_path))
