"""Tests of Label Studio tasks."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.records import Document, Entity

TEXT = "😷面部瘙痒"


def region(start, end, text, label, **more):
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


@pytest.fixture
def read(tmp_path):
    def read(task, **options):
        path = tmp_path / "export.json"
        path.write_text(json.dumps([task], ensure_ascii=False, indent=1), encoding="utf-8")
        assert detect_format(path) == "label-studio"
        stream = read_documents(path, **options)
        return next(stream), stream.report

    return read


def test_fields_of_an_export_are_kept(read):
    choice = {"id": "c", "type": "choices", "from_name": "kind", "to_name": "text", "value": {"choices": ["note"]}}
    task = {
        "id": 5,
        "data": {"text": TEXT, "patient": "p1"},
        "annotations": [
            {"id": 9, "completed_by": 1, "result": [region(3, 5, "瘙痒", "Symptom", origin="manual"), choice]}
        ],
        "predictions": [{"result": []}],
        "project": 2,
    }
    document, report = read(task)
    assert (document.id, document.spans) == ("5", [(3, 5, "Symptom")])
    assert document.entities[0].meta == {"id": "r3", "label_studio": {"origin": "manual"}}
    assert document.meta == {
        "patient": "p1",
        "label_studio": {
            "task": {"predictions": [{"result": []}], "project": 2},
            "annotation": {"id": 9, "completed_by": 1},
            "results": [choice],
        },
    }
    assert len(report.warnings()) == 2


def test_utf16_offsets_are_converted_and_counted(read):
    task = {"id": 5, "data": {"text": TEXT}, "annotations": [{"result": [region(4, 6, "瘙痒", "Symptom")]}]}
    document, report = read(task)
    assert document.spans == [(3, 5, "Symptom")] and sum(report.repaired.values()) == 1


def test_one_of_several_annotators(read):
    annotations = [
        {"completed_by": 1, "result": []},
        {"completed_by": {"id": 2}, "result": [region(1, 3, "面部", "BodySite")]},
        {"completed_by": 3, "was_cancelled": True, "result": []},
    ]
    task = {"id": 5, "data": {"text": TEXT}, "annotations": annotations}
    assert read(task, annotator=2)[0].spans == [(1, 3, "BodySite")]
    with pytest.raises(DataFormatError, match=r"found 2; set annotator= \(--annotator\) to one of '1', '2'"):
        read(task)
    with pytest.raises(DataFormatError, match="found 0 by annotator '7'"):
        read(task, annotator=7)


def test_tasks_without_annotation(read):
    task = {"id": 5, "data": {"text": TEXT}, "annotations": []}
    assert read(task, require_entities=False)[0].entities == ()


def test_a_region_with_two_labels_is_two_entities(read):
    two_labels = region(1, 3, "面部", "A")
    two_labels["value"]["labels"] = ["A", "B"]
    assert read({"id": 5, "data": {"text": TEXT}, "annotations": [{"result": [two_labels]}]})[0].spans == [
        (1, 3, "A"),
        (1, 3, "B"),
    ]


def test_the_minimal_export(read):
    task = {
        "id": 5,
        "text": TEXT,
        "label": [{"start": 3, "end": 5, "text": "瘙痒", "labels": ["Symptom"]}],
        "lead_time": 3,
    }
    document, _ = read(task)
    assert (document.spans, document.meta) == ([(3, 5, "Symptom")], {"lead_time": 3})


TASKS = [
    {
        "id": 5,
        "data": {"text": "面部瘙痒", "document_id": "5", "patient": "p1"},
        "predictions": [],
        "project": 2,
        "annotations": [
            {
                "id": 9,
                "completed_by": 1,
                "result": [
                    {
                        "id": "r1",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "value": {"start": 2, "end": 4, "text": "瘙痒", "labels": ["Symptom"], "globalOffsets": [2, 4]},
                        "origin": "manual",
                        "meta": {"text": ["?"]},
                    },
                    {"from_id": "r1", "to_id": "r1", "type": "relation"},
                ],
            }
        ],
    }
]


def test_an_export_is_rewritten_unchanged(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps(TASKS), encoding="utf-8")
    write_documents(read_documents(tmp_path / "in.json"), tmp_path / "out.json", "label-studio")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == TASKS


def test_minimal_task(tmp_path):
    write_documents([Document("n", "痒", (Entity(0, 1, "Symptom"),))], tmp_path / "out.json", "label-studio")
    value = {"start": 0, "end": 1, "text": "痒", "labels": ["Symptom"]}
    region = {"id": "adner-0-1-Symptom", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    expected = [{"data": {"text": "痒", "document_id": "n"}, "annotations": [{"result": [region]}]}]
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == expected


def test_no_documents_are_an_empty_list(tmp_path):
    assert write_documents([], tmp_path / "out.json", "label-studio") == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == []


def hypertext(start, end, text, **value):
    value = {"globalOffsets": {"start": start, "end": end}, "text": text, "hypertextlabels": ["S"], **value}
    value |= {"start": "/p[1]/text()[1]", "end": "/p[1]/text()[1]", "startOffset": 9, "endOffset": 9}
    return {"id": "r", "from_name": "ner", "to_name": "page", "type": "hypertextlabels", "value": value}


def paragraphs(start, end, text, **value):
    (first, start), (last, end) = start, end
    value = {"start": first, "end": last, "startOffset": start, "endOffset": end, "text": text, **value}
    return {"from_name": "ner", "type": "paragraphlabels", "value": {**value, "paragraphlabels": ["S"]}}


def task_of(text, *results, **data):
    return {"id": 5, "data": {"text": text, **data}, "annotations": [{"result": list(results)}]}


PAGE = "<p>面部<br>瘙&#30162;</p>\n<p>&lt;3天</p>"
TURNS = [{"author": "医生", "text": "哪里痒"}, {"author": "患者", "text": "面部瘙痒"}, {"text": "多久"}]


@pytest.mark.parametrize(
    "content, result, text, span",
    [
        (PAGE, hypertext(3, 5, "瘙痒"), "面部\n瘙痒\n<3天", (3, 5, "S")),
        (PAGE, hypertext(6, 8, "<3"), "面部\n瘙痒\n<3天", (6, 8, "S")),
        ("面部瘙痒", hypertext(2, 4, "瘙痒"), "面部瘙痒", (2, 4, "S")),
        ("😷<b>瘙痒</b>", hypertext(2, 4, "瘙痒"), "😷瘙痒", (1, 3, "S")),
        (TURNS, paragraphs(("1", 2), ("1", 4), "瘙痒"), "哪里痒\n面部瘙痒\n多久", (6, 8, "S")),
        (TURNS, paragraphs((1, 2), (2, 2), "瘙痒\n\n多久"), "哪里痒\n面部瘙痒\n多久", (6, 11, "S")),
    ],
)
def test_pages_and_dialogues_are_read_as_text(read, tmp_path, content, result, text, span):
    document, report = read(task_of(content, result))
    assert (document.text, document.spans) == (text, [span])
    assert sum(report.notes.values()) == (text != content)
    write_documents([document], tmp_path / "out.json", "label-studio")
    again = next(read_documents(tmp_path / "out.json"))
    assert (again.text, again.spans, again.meta) == (text, [span], document.meta)


def test_the_page_and_the_speakers_are_kept(read):
    assert read(task_of(PAGE, hypertext(3, 5, "瘙痒")))[0].meta == {"html": PAGE}
    turns = [{"author": "医生"}, {"author": "患者"}, {}]
    assert read(task_of(TURNS, paragraphs((1, 2), (1, 4), "瘙痒")))[0].meta == {"paragraphs": turns}


def test_html_without_regions_is_read_like_the_tasks_before_or_reported(tmp_path):
    tasks = [task_of(PAGE), task_of(PAGE, hypertext(3, 5, "瘙痒")), task_of(PAGE)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{**task, "id": number} for number, task in enumerate(tasks)]), encoding="utf-8")
    stream = read_documents(path)
    assert [document.text == PAGE for document in stream] == [True, False, False]
    assert any("no region that tells how they were shown" in line for line in stream.report.warnings())


WITHOUT_OFFSETS = hypertext(3, 5, "瘙痒")
del WITHOUT_OFFSETS["value"]["globalOffsets"]


@pytest.mark.parametrize(
    "content, results, reason",
    [
        ("/data/upload/1/note.txt", [], "holds the address of its text"),
        (" https://example.org/a?b=c ", [], "holds the address of its text"),
        ("s3://bucket/note.txt", [region(0, 2, None, "S")], "holds the address of its text"),
        (PAGE, [hypertext(3, 5, None)], "has no 'text', by which its place in the HTML could be checked"),
        (PAGE, [hypertext(2, 4, "瘙痒")], "is recorded as '瘙痒'"),
        (PAGE, [WITHOUT_OFFSETS], "has no 'globalOffsets'"),
        (TURNS, [region(0, 2, "哪里", "S")], "needs a text in the task's data"),
        ("面部", [paragraphs((0, 0), (0, 2), "面部")], "needs a list of paragraphs in the task's data"),
        (TURNS, [paragraphs((1, 2), (3, 1), "瘙痒")], "lies in paragraph '3' of 3"),
        (TURNS, [paragraphs((0, 2), (0, 4), "痒")], "reaches to character 4 of a paragraph of 3"),
        ([{"author": "医生"}], [], "the paragraph has no key 'text'"),
        (5, [], "must be a string, or a list of paragraphs, found int"),
        ("面部", [{"type": "labels", "value": None}], "key 'value' of the region must be dict, found NoneType"),
        ("面部", [{"type": "labels", "value": {"labels": None}}], "must be list, found NoneType"),
        (
            "面部",
            [{"type": "labels", "value": {"labels": [7], "start": 0, "end": 1}}],
            "label must be a non-empty string",
        ),
        ("面部", [7], "a result must be a JSON object, found int"),
    ],
)
def test_what_means_no_text_is_refused_by_name(read, content, results, reason):
    with pytest.raises(DataFormatError, match=f"line 2, record '0': .*{reason}"):
        read(task_of(content, *results))


@pytest.mark.parametrize("broken", [None, 7, "x", {}])
@pytest.mark.parametrize("place", ["annotations", "result"])
def test_what_is_no_list_is_refused(read, place, broken):
    task = (
        task_of("面部")
        if place == "annotations"
        else {"id": 5, "data": {"text": "面部"}, "annotations": [{"result": broken}]}
    )
    task |= {"annotations": broken} if place == "annotations" else {}
    with pytest.raises(DataFormatError, match=f"key '{place}' .* must be list"):
        read(task)


def test_regions_in_several_texts_are_refused(read):
    marks = [region(0, 2, "面部", "A"), {**region(0, 2, None, "B"), "from_name": "ner", "to_name": "history"}]
    task = task_of("面部瘙痒", *marks, history="皮疹")
    with pytest.raises(DataFormatError, match=r"in several texts \('history', 'text'\); .*--control-tag"):
        read(task)
    assert read(task, control_tag="ner", text_column="history")[0].spans == [(0, 2, "B")]


def test_columns_and_control_tags_of_other_names(read):
    marks = [region(0, 2, "面部", "A"), {**region(3, 5, "瘙痒", "B"), "from_name": "ner"}]
    task = {"id": 5, "data": {"note": "面部，瘙痒", "text": "x"}, "annotations": [{"result": marks}]}
    document, report = read(task, text_column="note", control_tag="ner")
    assert (document.spans, document.meta["text"], sum(report.notes.values())) == ([(3, 5, "B")], "x", 1)
    assert read(task, text_column="note")[0].spans == [(0, 2, "A"), (3, 5, "B")]
    with pytest.raises(
        DataFormatError, match=r"no key 'report'; its keys: 'note', 'text' \(text_column=, --text-column"
    ):
        read(task, text_column="report")


MARK = {"start": 3, "end": 5, "text": "瘙痒", "labels": ["S"]}
MINIMAL = {"id": 5, "text": TEXT, "annotation_id": 3, "annotator": 1}


@pytest.mark.parametrize(
    "task, options, spans",
    [
        (MINIMAL, {}, []),
        ({**MINIMAL, "ner": [MARK]}, {}, [(3, 5, "S")]),
        ({**MINIMAL, "ner": [MARK], "label": [{**MARK, "labels": ["T"]}]}, {}, [(3, 5, "S"), (3, 5, "T")]),
        ({**MINIMAL, "ner": [MARK], "label": [{**MARK, "labels": ["T"]}]}, {"control_tag": "ner"}, [(3, 5, "S")]),
        ({**MINIMAL, "ner": [MARK]}, {"control_tag": "other"}, []),
        ({**MINIMAL, "text": TURNS, "p": [paragraphs((1, 2), (1, 4), "瘙痒")["value"]]}, {}, [(6, 8, "S")]),
        ({**MINIMAL, "text": PAGE, "p": [hypertext(3, 5, "瘙痒")["value"]]}, {}, [(3, 5, "S")]),
    ],
)
def test_minimal_exports_name_their_control_tags(read, task, options, spans):
    assert read(task, **options)[0].spans == spans


def test_an_annotator_of_a_minimal_export(tmp_path):
    path = tmp_path / "a.json"
    records = [{**MINIMAL, "annotator": name, "label": [MARK] * (name == 2)} for name in (1, 2)]
    path.write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"record '1': task '5' has several annotations; .* \(--annotator\)"):
        list(read_documents(path))
    stream = read_documents(path, annotator=2)
    assert ([document.spans for document in stream], sum(stream.report.notes.values())) == ([[(3, 5, "S")]], 1)


def test_an_annotator_by_email(read):
    by = {"id": 2, "email": "a@example.org"}
    task = {"id": 5, "data": {"text": TEXT}, "annotations": [{"completed_by": by, "result": []}, {"result": []}]}
    assert read(task, annotator="a@example.org")[0].meta["label_studio"]["annotation"] == {"completed_by": by}


def test_assertions_are_choices_of_their_regions(tmp_path):
    text = "无发热，红斑，父亲曾患哮喘，瘙痒"
    asserted = [["negated"], [], ["family", "historical"], None]
    entities = tuple(
        Entity(*place, "Symptom", meta={} if holds is None else {"assertion": holds})
        for place, holds in zip([(1, 3), (4, 6), (11, 13), (14, 16)], asserted)
    )
    document = Document("note", text, entities)
    path = tmp_path / "tasks.json"
    write_documents([document], path, format="label-studio")
    results = json.loads(path.read_text(encoding="utf-8"))[0]["annotations"][0]["result"]
    choices = [result for result in results if result["type"] == "choices"]
    assert [(one["from_name"], one["value"]["choices"], one["value"]["start"]) for one in choices] == [
        ("assertion", ["negated"], 1),
        ("assertion", ["family", "historical"], 11),
    ]
    regions = {result["id"] for result in results if result["type"] == "labels"}
    assert {one["id"] for one in choices} <= regions
    assert next(read_documents(path)) == document


def test_choices_of_other_names_stay_results(tmp_path):
    value = {"start": 0, "end": 1, "text": "a", "labels": ["X"]}
    region = {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    chosen = {"id": "r", "from_name": "grade", "to_name": "text", "type": "choices", "value": {"choices": ["negated"]}}
    other = {**chosen, "from_name": "assertion", "value": {"choices": ["severe"]}}
    task = {"id": 1, "data": {"text": "a"}, "annotations": [{"result": [region, chosen, other]}]}
    (tmp_path / "t.json").write_text(json.dumps([task]), encoding="utf-8")
    document = next(read_documents(tmp_path / "t.json"))
    assert "assertion" not in document.entities[0].meta
    assert document.meta["label_studio"]["results"] == [chosen, other]


@pytest.mark.parametrize("region_id", [[], {}, True, None, 1.5])
def test_an_id_that_is_no_name_joins_nothing(tmp_path, region_id):
    value = {"start": 0, "end": 1, "text": "a", "labels": ["X"]}
    region = {"id": region_id, "from_name": "label", "type": "labels", "value": value}
    chosen = {"id": region_id, "from_name": "assertion", "type": "choices", "value": {"choices": ["negated"]}}
    task = {"id": 1, "data": {"text": "a"}, "annotations": [{"result": [region, chosen]}]}
    (tmp_path / "t.json").write_text(json.dumps([task]), encoding="utf-8")
    document = next(read_documents(tmp_path / "t.json"))
    assert "assertion" not in document.entities[0].meta
    assert document.meta["label_studio"]["results"] == [chosen]


def test_ids_1_and_text_1_are_two_regions(tmp_path):
    regions = [
        {"id": each, "from_name": "label", "type": "labels", "value": {"start": 0, "end": 1, "labels": [label]}}
        for each, label in [(1, "X"), ("1", "Y")]
    ]
    chosen = {"id": "1", "from_name": "assertion", "type": "choices", "value": {"choices": ["negated"]}}
    task = {"id": 1, "data": {"text": "a"}, "annotations": [{"result": [*regions, chosen]}]}
    (tmp_path / "t.json").write_text(json.dumps([task]), encoding="utf-8")
    document = next(read_documents(tmp_path / "t.json", overlaps="any"))
    assert [entity.meta.get("assertion") for entity in document.entities] == [None, ["negated"]]


def test_codes_are_texts_of_their_regions(tmp_path):
    metas = [{"code": "L30.9", "assertion": ["negated"]}, {"code": 5}, {}, {"code": "L20", "code_match": "exact"}]
    entities = tuple(Entity(at, at + 1, "X", meta=meta) for at, meta in enumerate(metas))
    document, path = Document("note", "abcd", entities), tmp_path / "tasks.json"
    write_documents([document], path, format="label-studio")
    results = json.loads(path.read_text(encoding="utf-8"))[0]["annotations"][0]["result"]
    texts = [result for result in results if result["type"] == "textarea"]
    assert [(one["from_name"], one["value"]) for one in texts] == [
        ("code", {"start": 0, "end": 1, "text": ["L30.9"]}),
        ("code", {"start": 3, "end": 4, "text": ["L20"]}),
    ]
    assert {one["id"] for one in texts} <= {result["id"] for result in results if result["type"] == "labels"}
    assert next(read_documents(path)) == document


def test_texts_that_are_no_code_stay_results(tmp_path):
    value = {"start": 0, "end": 1, "text": "a", "labels": ["X"]}
    region = {"id": "r", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    others = [
        {"id": "r", "from_name": name, "to_name": "text", "type": "textarea", "value": {"text": lines}}
        for name, lines in (("remark", ["L30"]), ("code", ["L30", "L31"]), ("code", [" "]), ("code", "L30"))
    ]
    task = {"id": 1, "data": {"text": "a"}, "annotations": [{"result": [region, *others]}]}
    (tmp_path / "t.json").write_text(json.dumps([task]), encoding="utf-8")
    document = next(read_documents(tmp_path / "t.json"))
    assert "code" not in document.entities[0].meta
    assert document.meta["label_studio"]["results"] == others
