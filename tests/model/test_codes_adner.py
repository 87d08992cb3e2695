"""Codes of entities: the table, exact and normalised matches, several codes, and a table that travels."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerPipeline, AdnerTokenizer
from hf_adner.model.codes_adner import (
    CODES_FILE,
    CodeEntry,
    CodeTable,
    add_codes,
    choose_codes,
    code_record,
    normal_form,
)
from hf_adner.model.loading_adner import CheckpointError

TABLE = """# our codes
湿疹\tL30.9
湿疹\tL30.902\tDisease
SLE\tM32.9

特应性 皮炎\tL20.9
特应性皮炎\tL20.8
红斑\tL53.9
红斑\tL53.8
红斑\tL53.9
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "codes.tsv").write_bytes(("\ufeff" + TABLE.replace("\n", "\r\n")).encode())
    return tmp_path / "codes.tsv"


@pytest.fixture
def table(path):
    return CodeTable.from_file(path)


@pytest.mark.parametrize(
    ("word", "label", "codes", "how"),
    [
        ("湿疹", "Disease", ("L30.902",), "exact"),
        ("湿疹", "Symptom", ("L30.9",), "exact"),
        ("濕疹", "Disease", ("L30.902",), "normalised"),
        ("湿 疹", "Symptom", ("L30.9",), "normalised"),
        ("SLE", "Disease", ("M32.9",), "exact"),
        ("ｓｌｅ", "Disease", ("M32.9",), "normalised"),
        ("特应性皮炎", "Disease", ("L20.8",), "exact"),
        ("特应性 皮炎", "Disease", ("L20.9",), "exact"),
        ("特應性　皮炎", "Disease", ("L20.9", "L20.8"), "normalised"),
        ("红斑", "Disease", ("L53.9", "L53.8"), "exact"),
    ],
)
def test_a_word_is_found_as_written_then_in_normal_form(table, word, label, codes, how):
    assert table.find(word, label) == (codes, how)


def test_what_is_not_in_the_table_has_no_code(table):
    assert table.find("疱疹", "Disease") is None
    assert code_record(None) == {"code": None}
    assert code_record(table.find("湿疹", "Disease")) == {"code": "L30.902", "code_match": "exact"}


def test_several_codes_are_told_in_the_order_of_the_table(table):
    found = [[{"word": "红斑", "entity_group": "Symptom"}]]
    add_codes(found, table)
    assert found[0][0]["code"] == "L53.9" and found[0][0]["code_alternatives"] == ["L53.8"]
    assert table.ambiguous() == {"红斑": ("L53.9", "L53.8")} and "1 words with several codes" in repr(table)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("湿疹\n", "codes.tsv:1: found no code, expected word<TAB>code<TAB>.label."),
        ("湿疹\tL30\n\tL31\n", "codes.tsv:2: found no word"),
        ("湿疹\tL30\tDisease\tmore\n", "codes.tsv:1: found 4 columns"),
    ],
)
def test_lines_that_are_no_code_are_refused(path, lines, message):
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        CodeTable.from_file(path)
    with pytest.raises(CheckpointError, match=message):
        CodeTable.load_saved(path)
    with pytest.raises(ValueError, match="has white space at its ends"):
        CodeTable([CodeEntry(" 湿疹", "L30")])
    with pytest.raises(ValueError, match="has a code that is blank"):
        CodeTable([CodeEntry("湿疹", " ")])


@pytest.mark.parametrize("lines", ["", "# word\tcode\n\n"])
def test_a_table_without_rows_is_refused_but_may_travel(path, lines):
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(ValueError, match="codes.tsv: no row found, expected word<TAB>code"):
        CodeTable.from_file(path)
    assert len(CodeTable.load_saved(path)) == 0


def test_tables_are_saved_joined_and_compared(table, tmp_path):
    table.save(tmp_path / "again.tsv")
    again = CodeTable.from_file(tmp_path / "again.tsv")
    assert again == table == pickle.loads(pickle.dumps(table)) and again.hash == table.hash
    joined = table + CodeTable([CodeEntry("湿疹", "X1"), CodeEntry("疱疹", "B00")])
    assert joined.find("湿疹", "Symptom").codes == ("X1",), "a row of the other table replaces that of the same word"
    assert joined.find("湿疹", "Disease").codes == ("L30.902",) and joined.find("疱疹", "").codes == ("B00",)


words = st.text(st.sampled_from("湿濕疹aAａ 　"), min_size=1, max_size=6).filter(
    lambda word: word == word.strip() and word
)


@given(
    entries=st.lists(st.tuples(words, st.sampled_from(["1", "2"]), st.sampled_from(["", "x"])), max_size=6), asked=words
)
def test_normal_forms_find_what_a_search_finds(entries, asked):
    found = CodeTable([CodeEntry(*entry) for entry in entries]).find(asked, "x")
    expected = None
    for form, how in ((str, "exact"), (normal_form, "normalised")):
        for label in ("x", ""):
            codes = [code for word, code, own in entries if own == label and form(word) == form(asked)]
            expected = expected or (codes and (tuple(dict.fromkeys(codes)), how))
    assert found == (expected or None)


def test_a_table_travels_with_the_tokenizer(tokenizer, build, table, tmp_path):
    own = copy.deepcopy(tokenizer)
    own.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / CODES_FILE).exists()
    own.code_table = table
    own.save_pretrained(tmp_path / "with")
    loaded = AdnerTokenizer.from_pretrained(tmp_path / "with")
    assert loaded.code_table == table and AdnerTokenizer.from_pretrained(tmp_path / "without").code_table is None
    pipe = AdnerPipeline(model=build(), tokenizer=loaded, device="cpu", constraints={"红斑": "Disease"})
    (coded,) = (one for one in pipe("紅斑伴瘙痒", codes=True) if one["forced"])
    assert (coded["code"], coded["code_match"], coded["code_alternatives"]) == ("L53.9", "normalised", ["L53.8"])
    assert "code" not in pipe("红斑")[0]
    loaded.code_table = None
    loaded.save_pretrained(tmp_path / "with")
    assert not (tmp_path / "with" / CODES_FILE).exists()


def test_which_table_is_used(tokenizer, table, path, tmp_path):
    own = copy.deepcopy(tokenizer)
    assert choose_codes(None, own) is None and choose_codes(False, own) is None
    assert choose_codes(table, own) is table and choose_codes(str(path), own) == table
    with pytest.raises(ValueError, match="the checkpoint has no table of codes"):
        choose_codes(True, own)
    own.code_table = CodeTable([CodeEntry("湿疹", "own"), CodeEntry("疱疹", "B00")])
    assert choose_codes(True, own) is own.code_table
    assert choose_codes(path, own) == own.code_table + table
    with pytest.raises(FileNotFoundError):
        choose_codes(str(tmp_path / "none.tsv"), own)
    with pytest.raises(TypeError, match="codes is int"):
        choose_codes(3, own)
