import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document, Entity

DOCUMENT = Document("n1", "红斑\n痒", (Entity(0, 2, "Sign"), Entity(3, 4, "Symptom", meta={"k": 1})), {"ward": 3})


@pytest.mark.parametrize(
    "scheme, tags",
    [("bio", "B I B"), ("bmes", "B E S"), ("bioes", "B E S"), ("bilou", "B L U")],
)
def test_without_comments_it_is_what_other_tools_read(tmp_path, scheme, tags):
    write_documents([DOCUMENT, DOCUMENT], tmp_path / "a", f"conll-{scheme}", comments=False)
    first, second, third = tags.split()
    block = f"红\t{first}-Sign\n斑\t{second}-Sign\n\\n\tO\n痒\t{third}-Symptom\n\n"
    assert (tmp_path / "a").read_text(encoding="utf-8") == block * 2


def test_comments(tmp_path):
    write_documents([DOCUMENT], tmp_path / "a.bio")
    assert (tmp_path / "a.bio").read_text(encoding="utf-8").splitlines()[:3] == [
        '# id = "n1"',
        '# meta = {"ward": 3}',
        '# entity = {"start": 3, "end": 4, "label": "Symptom", "meta": {"k": 1}}',
    ]


@pytest.mark.parametrize(
    "document, reason",
    [
        (Document("n1", "红斑", (Entity(0, 2, "A"), Entity(0, 1, "B"))), "entities 0-2 and 0-1 overlap"),
        (Document("n1", "红斑", (Entity(0, 2, "A\tB"),)), r"label 'A\\tB' cannot stand in a tag"),
        (Document("n1", "红斑", (Entity(0, 2, " A"),)), "label ' A' cannot stand in a tag"),
        (Document("n1", ""), "a document without text leaves nothing to write without comments"),
    ],
)
def test_what_tags_cannot_hold(tmp_path, document, reason):
    with pytest.raises(DataFormatError, match=f"record 'n1': {reason}"):
        write_documents([document], tmp_path / "a.bio", comments=False)


def test_unknown_schemes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tag scheme 'iobes' is unknown"):
        write_documents([DOCUMENT], tmp_path / "a.conll", scheme="iobes")
