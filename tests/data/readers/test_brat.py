import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents

TEXT = "患者面部红斑，\n无发热。"
ANN = """T1\tSymptom 4 6\t红斑
T3\tBodySite 2 4\t面部
T2\tSymptom 9 11\t发热
A1\tNegated T2
A2\tCertainty T2 High
M3\tSeverity T1 mild
#1\tAnnotatorNotes T1\t看不清
N1\tReference T1 ICD:L20\t特应性皮炎
R1\tLocatedIn Arg1:T1 Arg2:T3
A4\tUnsure R1
#2\tAnnotatorNotes R1\t?
*\tEquiv T1 T2
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.ann").write_text(ANN, encoding="utf-8")
    return tmp_path


def test_everything_said_about_an_entity_is_kept(folder):
    assert detect_format(folder) == detect_format(folder / "a.ann") == detect_format(folder / "a.txt") == "brat"
    stream = read_documents(folder)
    (document,) = stream
    site, rash, fever = document.entities
    assert site.meta == {"id": "T3"}
    assert rash.meta == {
        "id": "T1",
        "attributes": {"Severity": "mild"},
        "note": "看不清",
        "normalizations": ["N1\tReference T1 ICD:L20\t特应性皮炎"],
    }
    assert fever.meta == {"id": "T2", "attributes": {"Negated": True, "Certainty": "High"}}
    assert [line.split("\t")[0] for line in document.meta["brat"]] == ["R1", "A4", "#2", "*"]
    assert any("4 × brat relations" in line for line in stream.report.warnings())


def test_one_pair_and_sub_folders(folder):
    (folder / "sub").mkdir()
    for number in (10, 9):
        (folder / "sub" / f"b{number}.txt").write_text("x", encoding="utf-8")
        (folder / "sub" / f"b{number}.ann").write_text("", encoding="utf-8")
    assert [document.id for document in read_documents(folder)] == ["a", "sub/b9", "sub/b10"]
    assert [document.id for document in read_documents(folder / "a.ann")] == ["a"]


def test_spans_cut_at_line_ends_are_joined(folder):
    (folder / "a.ann").write_text("T1\tX 4 7;8 10\t红斑， 无发\n", encoding="utf-8")
    assert next(read_documents(folder)).spans == [(4, 10, "X")]


def test_texts_without_annotation(folder):
    (folder / "a.ann").unlink()
    assert next(read_documents(folder, "brat", require_entities=False)).entities == ()
    with pytest.raises(DataFormatError, match=r"a\.txt.*there is no \.ann file"):
        next(read_documents(folder, "brat"))


def test_errors_name_the_annotation_file(folder):
    (folder / "a.ann").write_text("T1\tX 4 6\t红斑\nT2\tX 4 6\t红斑\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"a\.ann.*given more than once"):
        next(read_documents(folder))
    (folder / "a.ann").write_text("T1\tX 4 6\t红斑\nA1\tN T1\nA2\tN T1\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"a\.ann, line 3.*attribute 'N' is given to T1 twice"):
        next(read_documents(folder))


def test_a_folder_without_annotation_files(tmp_path):
    with pytest.raises(DataFormatError, match=r"no \.ann files"):
        detect_format(tmp_path)
