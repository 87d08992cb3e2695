import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity

TEXT = "患者面部红斑，\n无发热。"
ANN = """T3\tBodySite 2 4\t面部
T1\tSymptom 4 6\t红斑
A1\tSeverity T1 mild
N1\tReference T1 ICD:L20\t特应性皮炎
#1\tAnnotatorNotes T1\t看不清
T2\tSymptom 9 11\t发热
A2\tNegated T2
A3\tCertainty T2 High
R1\tLocatedIn Arg1:T1 Arg2:T3
A4\tUnsure R1
#2\tAnnotatorNotes R1\t?
*\tEquiv T1 T2
"""


def test_a_brat_corpus_comes_out_as_it_went_in(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "in" / "a.ann").write_text(ANN, encoding="utf-8")
    write_documents(read_documents(tmp_path / "in"), tmp_path / "out", "brat")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.ann", "a.txt"]
    assert (tmp_path / "out" / "a.ann").read_text(encoding="utf-8") == ANN
    assert (tmp_path / "out" / "a.txt").read_text(encoding="utf-8") == TEXT


def test_ids_made_up_do_not_clash_with_kept_ones(tmp_path):
    entities = (Entity(0, 1, "A", meta={"attributes": {"X": True}}), Entity(1, 2, "B", meta={"id": "T1"}))
    document = Document("a", "患者", entities, {"brat": ["A1\tUnsure R1", "R1\tAt Arg1:T1 Arg2:T1"]})
    write_documents([document], tmp_path / "out", "brat")
    lines = (tmp_path / "out" / "a.ann").read_text(encoding="utf-8").splitlines()
    assert lines == ["T01\tA 0 1\t患", "A2\tX T01", "T1\tB 1 2\t者", *document.meta["brat"]]
    assert list(read_documents(tmp_path / "out")) == [document]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a:b*?", "50%", "%41", "a.b", "CON ", "笔记 1"])
def test_ids_that_are_no_file_names(tmp_path, name):
    write_documents([Document(name, "痒", (), {"k": 1})], tmp_path / "out", "brat")
    assert {path.parent for path in (tmp_path / "out").rglob("*")} == {tmp_path / "out"}
    assert [(document.id, document.meta) for document in read_documents(tmp_path / "out")] == [(name, {"k": 1})]


@pytest.mark.parametrize(
    "documents, reason",
    [
        ([Document("a", "痒"), Document("a", "痒")], "two documents have this id"),
        ([Document("a", "")], "no documents without text"),
        ([Document("a", "痒\n", (Entity(0, 2, "A"),))], "entity 0-2 begins or ends with a line break"),
        ([Document("a", "痒", (Entity(0, 1, "Body Site"),))], "label 'Body Site' has white space"),
        ([Document("a", "痒", (), {"brat": "R1"})], "meta key 'brat' must be a list of lines"),
    ],
)
def test_what_brat_cannot_hold(tmp_path, documents, reason):
    with pytest.raises(DataFormatError, match=f"record 'a': .*{reason}"):
        write_documents(documents, tmp_path / "out", "brat")
    assert not (tmp_path / "out").exists()
