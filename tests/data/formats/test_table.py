"""Tests of CSV, TSV and Excel tables."""

import csv
import sys
import types

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.formats.table import WITHOUT_NAME
from hf_adner.data.formats.table_files import NEEDLESS_QUOTES, OTHER_SHEETS
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


@pytest.fixture
def read(tmp_path):
    def read_text(text, name="a.csv", **options):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        stream = read_documents(tmp_path / name, name[-3:], **options)
        return [(document.id, document.text, document.spans, document.meta) for document in stream], stream.report

    return read_text


HEADER = "text,start,end,label\n"
IDS = "id,text,start,end,label\n"
JSON = "id,text,entities\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        (HEADER + "瘙痒,0,2,S\n瘙痒,0,1,X\n红斑,0,2,S\n", [("a-1", 2), ("a-2", 1)]),
        (HEADER + "瘙痒,0,2,S\n,0,1,X\n", [("a-1", 2)]),
        (HEADER + "瘙痒,0,2,S\n\n瘙痒,0,1,X\n", [("a-1", 1), ("a-2", 1)]),
        (HEADER + "瘙痒,0,2,S\n,,,\n瘙痒,0,1,X\n", [("a-1", 1), ("a-2", 1)]),
        (HEADER + "无,,,\n无,,,\n", [("a-1", 0), ("a-2", 0)]),
        (IDS + "1,瘙痒,0,2,S\n,瘙痒,0,1,X\n,,1,2,X\n,红斑,0,2,S\n2,红斑,0,2,S\n", [("1", 3), ("a-2", 1), ("2", 1)]),
        (IDS + "1,瘙痒,0,2,S\n\n1,瘙痒,0,1,X\n", [("1", 2)]),
        (IDS + "1,瘙痒,0,2,S\n2,瘙痒,0,2,S\n", [("1", 1), ("2", 1)]),
        ("text,entities\n" + '瘙痒,"[[0, 2, ""S""]]"\n瘙痒,"[[0, 1, ""X""]]"\n', [("a-1", 1), ("a-2", 1)]),
        (JSON + '1,瘙痒,"[[0, 2, ""S""]]"\n,瘙痒,\n', [("1", 1), ("a-2", 0)]),
    ],
)
def test_which_rows_are_one_document(read, text, expected):
    assert [(id_, len(spans)) for id_, _, spans, _ in read(text)[0]] == expected


@pytest.mark.parametrize(
    "text, line, reason",
    [
        (JSON + '1,瘙痒,"[[0, 2, ""S""]]"\n1,瘙痒,"[[0, 1, ""X""]]"\n', 3, "duplicate id '1'"),
        (JSON + '1,瘙痒,\n,,"[[0, 1, ""X""]]"\n', 3, "the row has neither id nor text"),
        (HEADER + ",0,2,S\n", 2, "the row has neither id nor text"),
        (HEADER + "瘙痒,0,2,S\n\n,0,1,X\n", 4, "the row has neither id nor text"),
        (HEADER + "瘙痒,,,\n瘙痒,0,1,X\n", 2, "blank, but the document has several rows"),
        (IDS + "1,瘙痒,0,2,S\n1,,0,1,X,\n1,,0,1,X,y\n", 4, "the row has 6 cells, the header 5"),
        ("id,text,start,end,label,entity\n1,瘙痒,,,,瘙痒\n", 2, "start must be an integer, found ''"),
        ("id,text,start,end,label,entities\n", 1, "both entities and start, end, label"),
        ("id,text,start,end,label,meta\n" + '1,a,0,1,S,"{""k"": 1}"\n1,,0,1,T,"{""k"": 2}"\n', 3, "different meta"),
        (
            "id,text,start,end,label,k,meta\n" + '1,a,0,1,S,x,"{""k"": 1}"\n',
            2,
            "key 'k' is both in the record and in its column meta",
        ),
        (
            "id,text,start,end,label,k,entity_meta\n1,a,0,1,S,x,\n" + '1,a,0,1,T,y,"{""k"": 1}"\n',
            3,
            "in its column entity_meta",
        ),
        (IDS + "1,瘙痒\r,0,2,S\n", 2, "a carriage return outside quotes"),
    ],
)
def test_rows_without_a_single_meaning_are_refused(read, text, line, reason):
    with pytest.raises(DataFormatError, match=reason) as caught:
        read(text)
    assert caught.value.line == line


def test_a_document_with_a_broken_row_is_skipped_as_a_whole(read):
    documents, report = read(IDS + "1,瘙痒,0,2,S\n1,,0,1,X,y\n1,,1,2,X\n2,红斑,0,2,S\n", skip_invalid=True)
    assert [id_ for id_, *_ in documents] == ["2"] and [record.line for record in report.skipped] == [3]


def test_the_word_nan_is_an_id(read):
    documents, _ = read("id,text,start,end,label\n0,痒,,,\nNaN,痒,,,\nnan,痒,0,1,S\n")
    assert [document[0] for document in documents] == ["0", "NaN", "nan"]


def test_columns_that_only_the_other_layout_has_become_meta(read):
    documents, _ = read("id,text,entities,label\n1,瘙痒,,case\n")
    assert documents == [("1", "瘙痒", [], {"label": "case"})]


@pytest.mark.parametrize("name, delimiter", [("a.csv", ","), ("a.tsv", "\t")])
@pytest.mark.parametrize("missing", ["", "NaN", "nan"])
def test_a_table_through_pandas(read, tmp_path, name, delimiter, missing):
    pandas = pytest.importorskip("pandas")
    documents = [
        Document("1", "瘙痒", (Entity(0, 2, "S", meta={"k": 1}), Entity(1, 2, "X"))),
        Document("2", "无", (), {"ward": "A"}),
    ]
    write_documents(documents, tmp_path / name)
    frame = pandas.read_csv(tmp_path / name, sep=delimiter)
    frame["text"] = frame["text"].ffill()
    assert str(frame["start"].dtype) == "float64"
    frame.to_csv(tmp_path / name, sep=delimiter, na_rep=missing)
    stream = read_documents(tmp_path / name)
    assert list(stream) == documents
    assert stream.report.notes == {WITHOUT_NAME: 3}  # the index


@pytest.mark.parametrize(
    "header, options",
    [
        ("ID,Text,Start,END,label", {}),
        ("ID, text ,Start,END,Label", {}),
        ("病历号,note,start,end,label", {"columns": {"id": "病历号"}, "text_column": "note"}),
        ("id,Text,start,end,label", {"columns": {"text": "Text"}, "text_column": "Text"}),
    ],
)
def test_names_of_columns(read, header, options):
    assert read(header + "\n1,瘙痒,0,2,S\n", **options)[0] == [("1", "瘙痒", [(0, 2, "S")], {})]


def test_a_named_column_takes_the_place_of_one_with_its_name(read):
    documents, _ = read("id,text,note,start,end,label\n1,短,瘙痒,0,2,S\n", text_column="note")
    assert documents == [("1", "瘙痒", [(0, 2, "S")], {"text": "短"})]


@pytest.mark.parametrize(
    "header, options, reason",
    [
        ("ID,Text,TEXT,start,end,label", {}, r"column text is missing; .*\(--columns text=…\)"),
        ("id,text,start,end,label", {"text_column": "note"}, "no column 'note', which was named for text"),
        ("id,text,a,a,start,end,label", {}, "column 'a' occurs twice"),
    ],
)
def test_headers_without_a_single_meaning_are_refused(read, header, options, reason):
    with pytest.raises(DataFormatError, match=reason) as caught:
        read(header + "\n", **options)
    assert caught.value.line == 1


def test_two_columns_for_the_text_are_refused(read):
    with pytest.raises(ValueError, match="name different columns for the text"):
        read(IDS, columns={"text": "a"}, text_column="b")


def test_a_header_of_100_000_columns(read):
    names = ",".join(map(str, range(100_000)))
    assert len(read(f"{names},text\n{names},瘙痒\n", require_entities=False)[0][0][3]) == 100_000


QUOTES = ['1\t"面部红斑\t1\t3\tB\n', "2\t瘙痒\t0\t2\tS\n", '3\t丘疹"\t0\t2\tS\n']


def test_quotes_that_swallow_rows_are_refused_or_read_as_characters(read):
    table = IDS.replace(",", "\t") + "".join(QUOTES)
    with pytest.raises(DataFormatError, match=r"takes up 3 lines .* \(--quoting none\)") as caught:
        read(table, "a.tsv")
    assert caught.value.line == 2
    with pytest.raises(DataFormatError, match="takes up 3 lines"):
        read(table.replace("\t", ","))
    documents, _ = read(table, "a.tsv", quoting="none")
    assert [(text, spans) for _, text, spans, _ in documents] == [
        ('"面部红斑', [(1, 3, "B")]),
        ("瘙痒", [(0, 2, "S")]),
        ('丘疹"', [(0, 2, "S")]),
    ]
    assert [text for _, text, _, _ in read(table, "a.tsv", quoting="csv")[0]] == [
        "面部红斑\t1\t3\tB\n2\t瘙痒\t0\t2\tS\n3\t丘疹"
    ]


def test_a_quote_at_the_beginning_of_a_text(read):
    table = 'id\ttext\tstart\tend\tlabel\n1\t"面部"红斑\t1\t3\tB\n'
    with pytest.raises(DataFormatError, match=r"broken quotes: .*\(--quoting none\)"):
        read(table, "a.tsv")
    assert read(table, "a.tsv", quoting="none")[0] == [("1", '"面部"红斑', [(1, 3, "B")], {})]
    with pytest.raises(ValueError, match=r"quoting \(--quoting\) must be 'csv', 'none' or None, found 'all'"):
        read(table, "a.tsv", quoting="all")


def test_texts_that_lose_quotes_beside_texts_without_are_counted(read):
    assert read(IDS + '1,"面部",0,2,B\n2,面部,0,2,B\n3,"面,部",0,1,B\n')[1].notes == {NEEDLESS_QUOTES: 1}
    assert read(IDS + '1,"面部",0,2,B\n2,"面部",0,2,B\n')[1].notes == {}


def test_one_row_per_document(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'id,text,entities\n1,瘙痒,"[[0, 2, ""S""]]"\n2,红斑,"[{""start"": 0, ""end"": 1, ""label"": ""X""}]"\n3,无,\n',
        encoding="utf-8",
    )
    assert [document.spans for document in read_documents(path)] == [[(0, 2, "S")], [(0, 1, "X")], []]


@pytest.mark.parametrize("header", ["id,text,class", "id,text,label"])
def test_texts_only(read, header):
    name = header[8:]
    documents, _ = read(header + "\n1,瘙痒,a\n,瘙痒,\n,瘙痒,\n", require_entities=False)
    assert documents == [("1", "瘙痒", [], {name: "a"}), ("a-2", "瘙痒", [], {}), ("a-3", "瘙痒", [], {})]


@pytest.mark.parametrize(
    "text",
    [
        "id;text;start;end;label\na;红斑，3天;0;2;S\n",
        'id|text|start|end|label\na|"红斑，3天"|0|2|S\n',
        'id, text, start, end, label\na, "红斑，3天", 0, 2, S\n',
    ],
)
def test_other_delimiters_and_blanks_behind_them(read, text):
    assert read(text)[0] == [("a", "红斑，3天", [(0, 2, "S")], {})]


def test_carriage_returns_of_a_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text", "entities"])
    book.active.append(["红_x000D_\n斑_x005F_x000D_ _x0041_", '[[3, 4, "S"]]'])
    book.save(tmp_path / "a.xlsx")
    (document,) = read_documents(tmp_path / "a.xlsx")
    assert document.text == "红\r\n斑_x000D_ _x0041_" and document.entities[0].text == "斑"


def test_a_cell_of_300_000_characters(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"text,start,end,label\n{'瘙痒' * 150_000},0,2,S\n", encoding="utf-8")
    assert len(next(read_documents(path)).text) == 300_000


def test_unknown_keys_of_columns_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,start,end,label\n瘙痒,0,2,S\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"columns \(--columns\) has the keys"):
        next(read_documents(path, columns={"begin": "start"}))


class FakeWorkbook:
    """Fake of an openpyxl workbook: numbers are numbers, blank cells are None."""

    def __init__(self, rows):
        self.worksheets = [types.SimpleNamespace(title="Sheet1", iter_rows=lambda values_only: iter(rows))]
        self.closed = False

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
    with pytest.raises(DataFormatError, match="the workbook does not have a sheet 'Sheet2'"):
        next(read_documents(path, sheet="Sheet2"))


def test_a_real_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append([int(cell) if cell.isdigit() else cell or None for cell in row])
    book.save(tmp_path / "a.xlsx")
    check(read_documents(tmp_path / "a.xlsx", columns={"id": "病历号"}))


def test_cells_of_a_workbook_that_python_takes_for_blank_or_equal(monkeypatch, tmp_path):
    rows = [("id", "text", "start", "end", "label", "entity", "meta"), (0, 12, 0, 2.0, 5, 12, None)]
    rows += [(False, "瘙痒", 0, 2, "S", None, None), (1, "瘙痒", None, None, None, None, 3)]
    rows += [(True, "瘙痒", None, None, None, None, None), (2.0, "瘙痒", None, None, None, None, None)]
    book = FakeWorkbook(rows)
    book.worksheets.append(types.SimpleNamespace(title="Sheet2", iter_rows=lambda values_only: iter(())))
    monkeypatch.setitem(sys.modules, "openpyxl", types.SimpleNamespace(load_workbook=lambda *_, **__: book))
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK")
    stream = read_documents(path, skip_invalid=True)
    assert [(document.id, document.text, document.spans) for document in stream] == [
        ("0", "12", [(0, 2, "5")]),
        ("False", "瘙痒", [(0, 2, "S")]),
        ("True", "瘙痒", []),
        ("2", "瘙痒", []),
    ]
    assert [record.reason for record in stream.report.skipped] == ["meta must be a JSON object, found int"]
    assert stream.report.notes == {OTHER_SHEETS: 1}


def test_a_workbook_that_breaks_off(monkeypatch, tmp_path):
    def broken_rows(values_only):
        yield ("text", "start", "end", "label")
        raise EOFError

    book = FakeWorkbook(())
    book.worksheets[0].iter_rows = broken_rows
    monkeypatch.setitem(sys.modules, "openpyxl", types.SimpleNamespace(load_workbook=lambda *_, **__: book))
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataFormatError, match=r"a\.xlsx: the sheet cannot be read: EOFError"):
        list(read_documents(tmp_path / "a.xlsx"))


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
