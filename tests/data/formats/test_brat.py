"""Tests of brat standoff."""

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.formats.brat import WITHOUT_PARTNER
from hf_adner.data.records import Document, Entity

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


def test_annotations_of_an_entity_are_kept(folder):
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


def test_spans_split_at_line_ends_are_joined(folder):
    (folder / "a.ann").write_text("T1\tX 4 7;8 10\t红斑， 无发\n", encoding="utf-8")
    assert next(read_documents(folder)).spans == [(4, 10, "X")]


@pytest.mark.parametrize(
    "text, line, span",
    [
        ("Foo\n  Bar", "T1\tX 0 3;6 9\tFoo Bar", (0, 9)),
        ("Foo \nBar", "T1\tX 0 3;5 8\tFoo Bar", (0, 8)),
        ("Foo\r\n\r\n\u3000Bar", "T1\tX 0 3;8 11\tFoo Bar", (0, 11)),
        ("Foo\nBar", "T1\tX 0 7\tFoo Bar", (0, 7)),
        ("FooBar", "T1\tX 0 3;3 6\tFooBar", (0, 6)),
    ],
)
def test_a_span_that_is_cut_at_line_ends_is_one_entity(folder, text, line, span):
    (folder / "a.txt").write_text(text, encoding="utf-8", newline="")
    (folder / "a.ann").write_text(f"{line}\n", encoding="utf-8")
    stream = read_documents(folder)
    assert [document.spans for document in stream] == [[(*span, "X")]]
    assert stream.report.warnings() == []
    write_documents(read_documents(folder), folder / "out", "brat")
    assert next(read_documents(folder / "out")).spans == [(*span, "X")]


@pytest.mark.parametrize(
    "text, line",
    [
        ("😷\n红斑", "T1\tX 3 5\t红斑"),  # UTF-16 code units
        ("患者\r\n红斑", "T1\tX 3 5\t红斑"),  # CRLF as one character
        ("\ufeff患者，红斑", "T1\tX 4 6\t红斑"),  # the byte order mark as a character
    ],
)
def test_offsets_that_count_otherwise_are_told_by_the_recorded_text(folder, text, line):
    (folder / "a.txt").write_text(text, encoding="utf-8", newline="")
    (folder / "a.ann").write_text(f"{line}\n", encoding="utf-8")
    (document,) = read_documents(folder)
    assert document.text == text and [entity.text for entity in document.entities] == ["红斑"]


@pytest.mark.parametrize("entities", [(), (Entity(1, 2, "A"), Entity(4, 5, "A"))])
@pytest.mark.parametrize("text", ["\ufeff红红红红", "\ufeff\ufeff红红红红", "\ufeff"])
def test_a_text_that_begins_with_a_byte_order_mark(tmp_path, text, entities):
    document = Document("a", text, tuple(entity for entity in entities if entity.end <= len(text)))
    write_documents([document], tmp_path / "out", "brat")
    (read,) = read_documents(tmp_path / "out", "brat")
    assert (read.text, read.spans) == (document.text, document.spans)


def test_files_without_their_partner_are_named(folder):
    for name in ("README.txt", "b.TXT", "c.meta.json", ".hidden.txt", "._a.ann", "annotation.conf"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "d.txt").mkdir()
    (folder / "d.ann").mkdir()
    (folder / ".git").mkdir()
    (folder / ".git" / "e.ann").write_text("T1", encoding="utf-8")
    stream = read_documents(folder)
    assert [document.id for document in stream] == ["a"]
    assert stream.report.notes[WITHOUT_PARTNER.format(names="README.txt, b.TXT, c.meta.json")] == 3
    texts = read_documents(folder, require_entities=False)
    assert [document.id for document in texts] == ["README", "a"]


def test_many_files_without_their_partner_are_named_in_part(folder):
    for number in range(12):
        (folder / f"{number:02}.txt").write_text("x", encoding="utf-8")
    stream = read_documents(folder)
    assert len(list(stream)) == 1
    names = ", ".join([*(f"{number:02}.txt" for number in range(10)), "…"])
    assert stream.report.notes[WITHOUT_PARTNER.format(names=names)] == 12


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_side_files(folder, encoding):
    (folder / "a.meta.json").write_text('{"ward": "甲"}', encoding=encoding)
    (folder / "a.ann").write_text(ANN, encoding=encoding)
    assert next(read_documents(folder)).meta["ward"] == "甲"


@pytest.mark.parametrize(
    "name, content, line, reason",
    [
        ("a.ann", f"T1\tX 0 {'9' * 5000}\t红斑", 1, "T1 must have the form"),
        ("a.ann", "T1\tX 6 4\t红斑", 1, "found start 6, end 4"),
        ("a.ann", "T1\tX -1 4\t红斑", 1, "T1 must have the form"),
        ("a.ann", "T1\tX 4 6;8 10\t红斑 无发", 1, r"T1 is discontinuous \(4 6;8 10\)"),
        ("a.ann", 'T1\tX 4 6\t红斑\n#1\tMeta T1\t{"k": ' + "[" * 100_000, 2, "nested too deeply"),
        ("a.ann", 'T1\tX 4 6\t红斑\n#1\tMeta T1\t{"attributes": 3}\nA1\tN T1\n', None, "'attributes' is both"),
        ("a.ann", 'T1\tX 4 6\t红斑\n#1\tMeta T1\t{"k": 1}\n#2\tMeta T1\t{"k": 2}\n', 3, "'k' is both"),
        ("a.meta.json", '{"k": 1, "k": 2}', None, "duplicate key 'k'"),
        ("a.meta.json", '{"brat": []}', None, "'brat' is both"),
    ],
)
def test_broken_annotations_name_their_file(folder, name, content, line, reason):
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataFormatError, match=reason) as caught:
        list(read_documents(folder))
    assert (caught.value.path, caught.value.line) == (folder / name, line)


def test_texts_without_annotation(folder):
    (folder / "a.ann").unlink()
    assert next(read_documents(folder, "brat", require_entities=False)).entities == ()
    with pytest.raises(DataFormatError, match=r"a\.txt.*there is no \.ann file"):
        next(read_documents(folder, "brat"))


def test_errors_name_the_annotation_file(folder):
    (folder / "a.ann").write_text("T1\tX 4 6\t红斑\nT2\tX 4 6\t红斑\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"a\.ann.*duplicate entity"):
        next(read_documents(folder))
    (folder / "a.ann").write_text("T1\tX 4 6\t红斑\nA1\tN T1\nA2\tN T1\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"a\.ann, line 3.*T1 has the attribute 'N' twice"):
        next(read_documents(folder))


def test_a_folder_without_annotation_files(tmp_path):
    with pytest.raises(DataFormatError, match=r"no \.ann files"):
        detect_format(tmp_path)


SORTED_ANN = """T3\tBodySite 2 4\t面部
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


def test_a_brat_corpus_is_rewritten_unchanged(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "in" / "a.ann").write_text(SORTED_ANN, encoding="utf-8")
    write_documents(read_documents(tmp_path / "in"), tmp_path / "out", "brat")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.ann", "a.txt"]
    assert (tmp_path / "out" / "a.ann").read_text(encoding="utf-8") == SORTED_ANN
    assert (tmp_path / "out" / "a.txt").read_text(encoding="utf-8") == TEXT


def test_generated_ids_differ_from_existing_ids(tmp_path):
    entities = (Entity(0, 1, "A", meta={"attributes": {"X": True}}), Entity(1, 2, "B", meta={"id": "T1"}))
    document = Document("a", "患者", entities, {"brat": ["A1\tUnsure R1", "R1\tAt Arg1:T1 Arg2:T1"]})
    write_documents([document], tmp_path / "out", "brat")
    lines = (tmp_path / "out" / "a.ann").read_text(encoding="utf-8").splitlines()
    assert lines == ["T01\tA 0 1\t患", "A2\tX T01", "T1\tB 1 2\t者", *document.meta["brat"]]
    assert list(read_documents(tmp_path / "out")) == [document]


@pytest.mark.parametrize(
    "name",
    [
        "a/b", "..", ".hidden", "a:b*?", "50%", "%41", "a.b", "CON ", "笔记 1", "../../x", "/etc/x", r"..\..\x",
        "a\u202etxt.exe", "a\u3000", "\x9b", "a\x00b",
    ],
)  # fmt: skip
def test_ids_that_are_not_file_names(tmp_path, name):
    write_documents([Document(name, "痒", (), {"k": 1})], tmp_path / "out", "brat")
    assert {path.parent for path in (tmp_path / "out").rglob("*")} == {tmp_path / "out"}
    assert [(document.id, document.meta) for document in read_documents(tmp_path / "out")] == [(name, {"k": 1})]


def test_an_id_that_is_too_long_for_a_file_is_refused(tmp_path):
    write_documents([Document("患" * 81, "痒", (), {"k": 1})], tmp_path / "out", "brat")  # 243 bytes
    with pytest.raises(DataFormatError, match="this id is too long for the name of a file"):
        write_documents([Document("患" * 82, "痒")], tmp_path / "other", "brat")


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
def test_documents_that_brat_cannot_hold_are_refused(tmp_path, documents, reason):
    with pytest.raises(DataFormatError, match=f"record 'a': .*{reason}"):
        write_documents(documents, tmp_path / "out", "brat")
    assert not (tmp_path / "out").exists()


ASSERTED = [["negated"], [], ["family", "historical"], None]


def asserted_document() -> Document:
    text = "无发热，红斑，父亲曾患哮喘，瘙痒"
    places = [(1, 3), (4, 6), (11, 13), (14, 16)]
    entities = tuple(
        Entity(*place, "Symptom", meta={} if holds is None else {"assertion": holds, "assertion_cues": [{"start": 0}]})
        for place, holds in zip(places, ASSERTED)
    )
    return Document("note", text, entities)


def test_assertions_are_attributes(tmp_path):
    write_documents([asserted_document()], tmp_path / "brat", format="brat")
    lines = (tmp_path / "brat" / "note.ann").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("A")] == [
        "A1\tnegated T01",
        "A2\tfamily T03",
        "A3\thistorical T03",
    ]
    assert next(read_documents(tmp_path / "brat")) == asserted_document()


def test_attributes_of_an_assertion_are_told_from_others(folder):
    (folder / "a.ann").write_text(
        "T1\tX 4 6\t红斑\nA1\tuncertain T1\nA2\tGrade T1 2\nA3\tnegated T1\n", encoding="utf-8"
    )
    meta = next(read_documents(folder)).entities[0].meta
    assert meta == {"id": "T1", "attributes": {"Grade": "2"}, "assertion": ["negated", "uncertain"]}


def coded_document() -> Document:
    metas = [{"code": "L30.9"}, {"code": "with space", "code_match": "exact"}, {"code": 5}, {"code": " blank"}]
    metas += [
        {"code": "L30", "attributes": {"code": "other"}},
        {"assertion": ["negated"], "attributes": {"negated": True}},
    ]
    entities = tuple(Entity(at, at + 1, "Symptom", meta=meta) for at, meta in enumerate(metas))
    return Document("note", "abcdefgh", entities)


def test_codes_are_attributes(tmp_path):
    write_documents([coded_document()], tmp_path / "brat", format="brat")
    lines = (tmp_path / "brat" / "note.ann").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("A")] == [
        "A1\tcode T01 L30.9",
        "A2\tcode T02 with space",
        "A3\tcode T05 other",
        "A4\tnegated T06",
    ]
    assert next(read_documents(tmp_path / "brat")) == coded_document()
