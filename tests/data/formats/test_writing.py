"""Tests of `write_documents`: round trips in every format, suffixes and errors."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import WRITERS, detect_format, read_documents, write_documents
from hf_adner.data.formats.writing import SCHEMES
from hf_adner.data.records import Document, Entity

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(
    st.one_of(st.sampled_from("患者面部红斑 \t\n\r\"',#\\\u3000\u2028😷"), characters), min_size=1, max_size=30
)
labels = st.sampled_from(["Symptom", "药物", "B-Drug", "Drug_Category", "O", "a.b"])
ids = st.one_of(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12), st.integers(0, 10**9).map(str)
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(characters), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(["patient", "score", "备注", "needs_review", "x y"])
metas = st.dictionaries(keys, values, max_size=2)
known = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(1, 10**6).map(lambda number: f"T{number}"),
        "attributes": st.dictionaries(
            st.sampled_from(["Negated", "确定性"]), st.just(True) | st.sampled_from(["High", "高"]), min_size=1
        ),
        "note": texts,
    },
)


@st.composite
def documents(draw, flat=False):
    text = draw(texts)
    entities, seen = [], set()
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        meta = draw(metas) | draw(known)
        entity = Entity(start, end, draw(labels), meta=meta)
        ids_so_far = {entity.meta.get("id") for entity in entities}
        if (start, end, entity.label) not in seen and meta.get("id", start) not in ids_so_far:
            seen.add((start, end, entity.label))
            entities.append(entity)
    document = Document(draw(ids), text, tuple(entities), draw(metas))
    return document.flattened() if flat else document


def corpora(flat=False):
    return st.lists(documents(flat), min_size=1, max_size=3, unique_by=lambda document: document.id.casefold())


def written_and_read(folder, corpus, name, format_name, **options):
    path = folder.mktemp("corpus") / name
    assert write_documents(iter(corpus), path, format_name, **options) == len(corpus)
    return list(read_documents(path, format_name, overlaps="any"))


NESTING = [("a.jsonl", "jsonl"), ("a.jsonl", "doccano"), ("a.json", "label-studio"), ("a.csv", "csv"), ("a.tsv", "tsv")]


@pytest.mark.parametrize("name, format_name", NESTING)
@settings(max_examples=40)
@given(corpus=corpora())
def test_round_trip(tmp_path_factory, corpus, name, format_name):
    assert written_and_read(tmp_path_factory, corpus, name, format_name) == corpus


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25)
@given(corpus=corpora(flat=True))
def test_round_trip_in_tags(tmp_path_factory, corpus, scheme):
    path = tmp_path_factory.mktemp("corpus") / "a.conll"
    write_documents(corpus, path, f"conll-{scheme}")
    assert list(read_documents(path, scheme)) == corpus


def fits_brat(document):
    return all(entity.text.strip("\r\n") == entity.text for entity in document.entities)


@settings(max_examples=40)
@given(corpus=corpora().filter(lambda corpus: all(map(fits_brat, corpus))))
def test_round_trip_in_brat(tmp_path_factory, corpus):
    documents_read = written_and_read(tmp_path_factory, corpus, "brat", "brat")
    assert sorted(documents_read, key=lambda document: document.id) == sorted(corpus, key=lambda document: document.id)


@settings(max_examples=25)
@given(corpus=corpora())
def test_through_one_tool_into_another(tmp_path_factory, corpus):
    through = corpus
    for name, format_name in NESTING:
        through = written_and_read(tmp_path_factory, through, name, format_name)
    assert through == corpus


def test_a_doccano_export_to_label_studio_and_back_is_equal(tmp_path):
    export = [
        {"id": 1, "text": "面部瘙痒😷", "label": [[0, 2, "BodySite"], [2, 4, "Symptom"]], "Comments": []},
        {"id": 2, "text": "无", "label": [], "Comments": ["?"], "ward": "A"},
        {
            "id": 30,
            "text": "面部瘙痒",
            "entities": [
                {"id": 9, "label": "BodySite", "start_offset": 0, "end_offset": 2},
                {"id": 8, "label": "Symptom", "start_offset": 2, "end_offset": 4},
            ],
            "relations": [{"id": 1, "from_id": 8, "to_id": 9, "type": "at"}],
            "Comments": [],
        },
        {"id": 31, "text": "无", "entities": [], "relations": [], "Comments": []},
    ]
    first, tasks, last = (tmp_path / name for name in ("export.jsonl", "tasks.json", "again.jsonl"))
    first.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in export), encoding="utf-8")
    write_documents(read_documents(first), tasks, "label-studio")
    assert detect_format(tasks) == "label-studio"
    write_documents(read_documents(tasks), last, "doccano")
    assert [json.loads(line) for line in last.read_text(encoding="utf-8").splitlines()] == export


def test_formats_of_written_files_are_detected(tmp_path):
    corpus = [Document("a", "面部瘙痒", (Entity(2, 4, "Symptom"),))]
    for format_name in sorted(set(WRITERS) - {"html", "cmeee", "imcs"}):
        path = tmp_path / f"{format_name}{'.csv' if format_name == 'csv' else '.tsv' if format_name == 'tsv' else ''}"
        write_documents(corpus, path, format_name)
        assert detect_format(path) == format_name and list(read_documents(path)) == corpus


@pytest.mark.parametrize(
    "name, begins",
    [
        ("a.jsonl", '{"id"'),
        ("a.csv", "\ufeffid,text"),
        ("a.tsv", "\ufeffid\ttext"),
        ("a.html", "<!DOCTYPE html>"),
        ("a.conll", "# id"),
        ("a.bmes", "# id"),
    ],
)
def test_the_suffix_selects_the_format(tmp_path, name, begins):
    write_documents([Document("a", "痒", (Entity(0, 1, "Symptom"),))], tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"'a.json' has no known suffix; set format= \(--output-format\) to one of brat"
    ):
        write_documents([], tmp_path / "a.json")
    with pytest.raises(ValueError, match="format 'word' is unknown"):
        write_documents([], tmp_path / "a", "word")


def test_meta_that_is_not_json_is_refused(tmp_path):
    broken = [Document("n1", "痒", (), {"x": float("nan")})]
    for format_name in ("jsonl", "doccano", "label-studio", "conll", "csv", "brat"):
        with pytest.raises(DataFormatError, match="meta cannot be written as JSON"):
            write_documents(broken, tmp_path / format_name, format_name)
        assert not (tmp_path / format_name).exists()


@pytest.mark.parametrize(
    "format_name, key", [("doccano", "label"), ("label-studio", "text"), ("label-studio", "document_id")]
)
def test_reserved_meta_keys_are_refused(tmp_path, format_name, key):
    with pytest.raises(DataFormatError, match=f"record 'n1': meta has the key '{key}', which is reserved"):
        write_documents([Document("n1", "痒", (), {key: 1})], tmp_path / "a", format_name)


@pytest.mark.parametrize("text", ["\ufeff红斑", "\ufeff\ufeff红斑", "红\ufeff斑\ufeff"], ids=ascii)
@pytest.mark.parametrize("format_name", sorted(set(WRITERS) - {"html", "cmeee", "imcs"}))
def test_a_byte_order_mark_in_a_text_is_kept(tmp_path, text, format_name):
    start = text.index("红")
    corpus = [Document("1", text, (Entity(start, start + 1, "A"),)), Document("2", text)]
    write_documents(corpus, tmp_path / "out", format_name)
    assert list(read_documents(tmp_path / "out", format_name)) == corpus
    if format_name == "conll":
        write_documents(corpus, tmp_path / "bare", format_name, comments=False)
        assert [document.spans for document in read_documents(tmp_path / "bare", "conll")] == [corpus[0].spans, []]
