import pytest

from hf_adner.data.formats import detect_format, read_documents
from hf_adner.data.formats.conll import WITHOUT_BEGINNING


@pytest.fixture
def file(tmp_path):
    def write(text, name="train.char.bmes", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tags", ["B-A I-A O", "B-A E-A O", "B-A L-A O"])
def test_separators_line_ends_and_schemes(file, separator, end, tags):
    lines = [f"{character}{separator}{tag}" for character, tag in zip("红斑 ", tags.split())]
    path = file(end.join([*lines, "", "", *lines]))
    assert detect_format(path) == "conll"
    assert [(one.id, one.text, one.spans) for one in read_documents(path)] == [
        ("train-1", "红斑 ", [(0, 2, "A")]),
        ("train-2", "红斑 ", [(0, 2, "A")]),
    ]


def test_gb18030(file):
    assert next(read_documents(file("红\tB-A\n斑\tI-A\n", encoding="gb18030"))).text == "红斑"


def test_inside_without_beginning_is_repaired_and_counted(file):
    stream = read_documents(file("红\tI-A\n斑\tI-A\n\n痒\tI-B\n"))
    assert [document.spans for document in stream] == [[(0, 2, "A")], [(0, 1, "B")]]
    assert stream.report.repaired == {WITHOUT_BEGINNING: 2}


def test_a_named_scheme_makes_open_entities_faults(file):
    path = file("红\tB-A\n斑\tI-A\n")
    bio, bioes = read_documents(path, "bio"), read_documents(path, "bioes")
    assert [one.spans for one in bio] == [one.spans for one in bioes] == [[(0, 2, "A")]]
    assert not bio.report.repaired and sum(bioes.report.repaired.values()) == 1


def test_tokens_of_several_characters_carry_their_tag(file):
    stream = read_documents(file("IgE\tB-Test\n高\tI-Test\n12\tO\n"))
    (document,) = stream
    assert (document.text, document.spans) == ("IgE高12", [(0, 4, "Test")])
    assert any("2 × tokens of several characters" in line for line in stream.report.warnings())


def test_white_space_characters_and_odd_line_breaks_are_text(file):
    text = "\u3000\u2028\u0085\x0b \t"
    path = file("".join(f"{character}\tO\n" for character in text))
    assert next(read_documents(path, "conll")).text == text


def test_document_starts_are_left_out(file):
    path = file("-DOCSTART- O\n\n红 B-A\n斑 I-A\n")
    assert [document.text for document in read_documents(path)] == ["红斑"]


def test_comments_carry_ids_and_meta(file):
    path = file(
        '# id = "note 1"\n# meta = {"patient": 3}\n# entity = {"start": 0, "end": 2, "label": "A", "meta": {"k": 1}}\n'
        "红\tB-A\n斑\tI-A\n\n# id = plain\n#\tO\n"
    )
    first, second = read_documents(path)
    assert (first.id, first.meta, first.entities[0].meta) == ("note 1", {"patient": 3}, {"k": 1})
    assert (second.id, second.text) == ("plain", "#")
