"""Overlapping entities, as a per-label tagger finds them: formats that can express them, and those that cannot."""

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity, flatten_by_label

DOCUMENTS = [
    Document(
        "a",
        "面部湿疹样皮炎，外用软膏。",
        (
            Entity(0, 7, "Disease"),
            Entity(0, 2, "Site"),
            Entity(2, 4, "Disease"),
            Entity(2, 4, "Sign"),
            Entity(3, 9, "Drug"),
            Entity(10, 12, "Drug"),
        ),
    ),
    Document("b", "瘙痒", (Entity(0, 2, "Sign"), Entity(0, 2, "Disease"))),
]


@pytest.mark.parametrize("format", ["jsonl", "brat", "label-studio", "doccano"])
def test_nested_crossing_and_equal_spans_come_back(format, tmp_path):
    """Entities of two labels with the same characters as well."""
    path = tmp_path / {"brat": "folder", "label-studio": "a.json"}.get(format, "a.jsonl")
    write_documents(DOCUMENTS, path, format=format)
    found = list(read_documents(path, format, overlaps="any"))
    assert [(one.text, one.spans) for one in found] == [(one.text, one.spans) for one in DOCUMENTS]


@pytest.mark.parametrize("format", ["conll", "html"])
def test_what_cannot_be_read_back(format, tmp_path):
    """Tags are refused, naming the entities; the page for people shows every entity."""
    path = tmp_path / f"a.{format}"
    if format == "conll":
        with pytest.raises(
            DataFormatError, match="record 'a': entities 0-7 and 0-2 overlap, which tags cannot express"
        ):
            write_documents(DOCUMENTS, path, format=format)
        assert not path.exists()
        write_documents([one.flattened() for one in DOCUMENTS], path, format=format)
        return
    write_documents(DOCUMENTS, path, format=format)
    page = path.read_text(encoding="utf-8")
    assert all(page.count(f'data-label="{label}"') >= count for label, count in (("Site", 1), ("Sign", 2), ("Drug", 2)))


def test_flattening_label_by_label():
    kept, left_out = flatten_by_label(DOCUMENTS[0].entities)
    assert [(one.start, one.end, one.label) for one in left_out] == [(2, 4, "Disease")]
    assert kept == tuple(one for one in DOCUMENTS[0].entities if one not in left_out)
    inner = flatten_by_label(DOCUMENTS[0].entities, "innermost")
    assert [(one.start, one.end) for one in inner.left_out] == [(0, 7)]
    assert flatten_by_label([]) == ((), ())
