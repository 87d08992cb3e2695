"""Tests of CSV, TSV and Excel tables."""

import csv
import sys
import types

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.records import Document, Entity

ROWS = [
    ["病历号", "text", "start", "end", "label", "ward", "sure"],
    ["1", "面部瘙痒，\n反复", "0", "2", "BodySite", "A", "yes"],
    ["1", "", "2", "4", "Symptom", "A", "no"],
    ["", "", "6", "8", "Course", "A", ""],
    ["2", "无不适", "", "", "", "B", ""],
]


def check(documents):
    first, second = documents
    assert (first.id, first.text) == ("1", "面部瘙痒，\n反复")
    assert first.spans == [(0, 2, "BodySite"), (2, 4, "Symptom"), (6, 8, "Course")]
    assert first.meta == {"ward": "A"} and [entity.meta.get("sure") for entity in first.entities] == ["yes", "no", None]
    assert (second.id, second.entities, second.meta) == ("2", (), {"ward": "B"})


def quoted(rows, delimiter):
    return "".join(delimiter.join(f'"{cell}"' for cell in row) + "\r\n" for row in rows)


@pytest.mark.parametrize("name, delimiter", [("a.csv", ","), ("a.tsv", "\t")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_one_row_per_entity(tmp_path, name, delimiter, encoding):
    path = tmp_path / name
    path.write_bytes(quoted(ROWS, delimiter).encode(encoding))
    assert detect_format(path) == name[-3:]
    check(read_documents(path, columns={"id": "病历号"}))


def test_rows_with_the_same_text_are_one_document_where_there_is_no_id(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,start,end,label\n瘙痒,0,2,S\n瘙痒,0,1,X\n红斑,0,2,S\n", encoding="utf-8")
    assert [(document.id, len(document.entities)) for document in read_documents(path)] == [("a-1", 2), ("a-2", 1)]


def test_one_row_per_document(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'id,text,entities\n1,瘙痒,"[[0, 2, ""S""]]"\n2,红斑,"[{""start"": 0, ""end"": 1, ""label"": ""X""}]"\n3,无,\n',
        encoding="utf-8",
    )
    assert [document.spans for document in read_documents(path)] == [[(0, 2, "S")], [(0, 1, "X")], []]


def test_texts_only(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,瘙痒\n", encoding="utf-8")
    assert next(read_documents(path, require_entities=False)).text == "瘙痒"


def test_a_cell_of_300_000_characters(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"text,start,end,label\n{'瘙痒' * 150_000},0,2,S\n", encoding="utf-8")
    assert len(next(read_documents(path)).text) == 300_000


def test_unknown_keys_of_columns_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,start,end,label\n瘙痒,0,2,S\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns has the keys"):
        next(read_documents(path, columns={"begin": "start"}))


class FakeWorkbook:
    """Fake of an openpyxl workbook: numbers are numbers, blank cells are None."""

    sheetnames = ["Sheet1"]

    def __init__(self, rows):
        self.worksheets = [types.SimpleNamespace(iter_rows=lambda values_only: iter(rows))]
        self.closed = False

    def __getitem__(self, name):
        return self.worksheets[self.sheetnames.index(name)]

    def close(self):
        self.closed = True


@pytest.fixture
def workbook(monkeypatch, tmp_path):
    rows = [tuple(ROWS[0])]
    rows += [
        tuple(float(c) if c.isdigit() and i > 1 else int(c) if c.isdigit() else c or None for i, c in enumerate(row))
        for row in ROWS[1:]
    ]
    workbook = FakeWorkbook(rows)
    module = types.SimpleNamespace(load_workbook=lambda path, read_only, data_only: workbook)
    monkeypatch.setitem(sys.modules, "openpyxl", module)
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK")
    return path, workbook


def test_excel(workbook):
    path, book = workbook
    assert detect_format(path) == "excel"
    check(read_documents(path, columns={"id": "病历号"}))
    assert book.closed
    with pytest.raises(DataFormatError, match="the workbook has no sheet 'Sheet2'"):
        next(read_documents(path, sheet="Sheet2"))


def test_a_real_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append([int(cell) if cell.isdigit() else cell or None for cell in row])
    book.save(tmp_path / "a.xlsx")
    check(read_documents(tmp_path / "a.xlsx", columns={"id": "病历号"}))


def test_excel_without_openpyxl(workbook, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"pip install openpyxl"):
        next(read_documents(workbook[0]))


def test_written_rows(tmp_path):
    documents = [
        Document(
            "1", '面部"瘙痒"，\n反复', (Entity(0, 2, "BodySite"), Entity(3, 5, "Symptom", meta={"k": 1})), {"ward": 3}
        ),
        Document("2", "无"),
    ]
    write_documents(documents, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "text", "start", "end", "label", "entity", "entity_meta", "meta"],
            ["1", '面部"瘙痒"，\n反复', "0", "2", "BodySite", "面部", "", '{"ward": 3}'],
            ["1", "", "3", "5", "Symptom", "瘙痒", '{"k": 1}', ""],
            ["2", "无", "", "", "", "", "", ""],
        ]
