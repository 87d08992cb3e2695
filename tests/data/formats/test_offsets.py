"""Tests of the units of offsets, through every reader of offsets."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.offsets import OTHER_BLANKS, UNSURE

EMOJI = "😷面部瘙痒，瘙痒"
CRLF = "面部\r\n瘙痒，瘙痒"


def jsonl(text, spans):
    entities = [{"start": start, "end": end, "label": "S", "text": surface} for start, end, surface in spans]
    return "a.jsonl", json.dumps({"text": text, "entities": entities})


def table(text, spans):
    rows = [f'1,"{text}",{start},{end},S,{surface or ""}\n' for start, end, surface in spans]
    return "a.csv", "id,text,start,end,label,entity\n" + "".join(rows)


def cmeee(text, spans):
    entities = [
        {"start_idx": start, "end_idx": end - 1, "type": "S", **({"entity": surface} if surface else {})}
        for start, end, surface in spans
    ]
    return "a.json", json.dumps([{"text": text, "entities": entities}])


def label_studio(text, spans):
    values = [{"start": start, "end": end, "labels": ["S"], "text": surface} for start, end, surface in spans]
    result = [{"type": "labels", "value": value} for value in values]
    return "a.json", json.dumps([{"id": 1, "data": {"text": text}, "annotations": [{"result": result}]}])


def doccano(text, spans):
    return "a.jsonl", json.dumps({"text": text, "label": [[start, end, "S"] for start, end, _ in spans]})


WITH_SURFACES = (jsonl, table, cmeee, label_studio)
ALL = (*WITH_SURFACES, doccano)


@pytest.fixture
def read(tmp_path):
    def read(form, text, spans, **options):
        name, content = form(text, spans)
        (tmp_path / name).write_bytes(content.encode())
        stream = read_documents(tmp_path / name, **options)
        return [(entity.start, entity.end) for entity in next(stream).entities], stream.report

    return read


@pytest.mark.parametrize("form", WITH_SURFACES)
@pytest.mark.parametrize(
    "text, given, surfaces, expected",
    [
        (EMOJI, [(2, 4), (4, 6)], ["面部", "瘙痒"], [(1, 3), (3, 5)]),
        (CRLF, [(0, 2), (3, 5)], ["面部", "瘙痒"], [(0, 2), (4, 6)]),
        ("😷" + CRLF, [(2, 4), (5, 7)], ["面部", "瘙痒"], [(1, 3), (5, 7)]),
        ("😷" + CRLF, [(1, 3), (4, 6)], ["面部", "瘙痒"], [(1, 3), (5, 7)]),
        (EMOJI, [(1, 3), (3, 5)], ["面部", "瘙痒"], [(1, 3), (3, 5)]),
    ],
)
def test_surfaces_tell_the_unit_of_a_document(read, form, text, given, surfaces, expected):
    found, report = read(form, text, [(*span, surface) for span, surface in zip(given, surfaces, strict=True)])
    assert found == expected
    moved = sum(before != after for before, after in zip(given, expected, strict=True))
    assert (sum(report.repaired.values()), report.notes[UNSURE]) == (moved, 0)


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize("text", [EMOJI, CRLF])
def test_a_unit_that_nothing_tells_is_reported(read, form, text):
    found, report = read(form, text, [(4, 6, None)])
    assert (found, report.notes[UNSURE]) == ([(4, 6)], 1)
    assert read(form, text, [(4, 6, None)], offset_unit="character")[1].notes[UNSURE] == 0
    assert read(form, text.strip("😷").replace("\r", ""), [(2, 4, None)])[1].notes[UNSURE] == 0


@pytest.mark.parametrize("form", ALL)
def test_a_unit_that_makes_no_difference_is_not_reported(read, form):
    assert read(form, "面部😷瘙痒\r\n", [(0, 2, None)])[1].notes[UNSURE] == 0


@pytest.mark.parametrize("form", ALL)
@pytest.mark.parametrize(
    "unit, text, given, expected",
    [
        ("utf-16", EMOJI, (4, 6), (3, 5)),
        ("character-lf", CRLF, (3, 5), (4, 6)),
        ("utf-16-lf", "😷" + CRLF, (5, 7), (5, 7)),
        ("utf-16-lf", "😷\r\n面部", (3, 5), (3, 5)),
    ],
)
def test_a_named_unit_is_converted(read, form, unit, text, given, expected):
    assert read(form, text, [(*given, None)], offset_unit=unit)[0] == [expected]


@pytest.mark.parametrize("form", ALL)
def test_offsets_that_do_not_fit_their_unit_are_refused(read, form):
    with pytest.raises(DataFormatError, match=r"set another offset_unit \(--offset-unit\)"):
        read(form, EMOJI, [(1, 3, None)], offset_unit="utf-16")
    with pytest.raises(DataFormatError, match="--offset-unit utf-16"):
        read(form, EMOJI, [(7, 9, None)])
    with pytest.raises(DataFormatError, match="reaches outside the text"):
        read(form, EMOJI, [(7, 90, None)])
    with pytest.raises(ValueError, match="must be one of character, utf-16, character-lf, utf-16-lf, found 'bytes'"):
        read(form, EMOJI, [(1, 3, None)], offset_unit="bytes")


@pytest.mark.parametrize("form", WITH_SURFACES)
def test_surfaces_that_two_units_fit_are_reported(read, form):
    found, report = read(form, "😷瘙瘙瘙", [(2, 3, "瘙")])
    assert (found, report.notes[UNSURE]) == ([(2, 3)], 1)


@pytest.mark.parametrize("form", WITH_SURFACES)
@pytest.mark.parametrize("surface", ["IgE 升高", "IgE\\n升高", " IgE　升高"])
def test_white_space_of_a_surface_does_not_count(read, form, surface):
    found, report = read(form, "IgE  升高。", [(0, 7, surface)])
    assert (found, report.repaired[OTHER_BLANKS]) == ([(0, 7)], 1)
