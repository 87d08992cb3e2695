"""Tests of character CoNLL and of tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.formats.conll import (
    OTHER_COLUMNS,
    OTHER_COMMENTS,
    POSITIONS,
    SCHEMES,
    SEVERAL_CHARACTERS,
    WITHOUT_BEGINNING,
    WITHOUT_END,
    check_scheme,
    fitting_scheme,
    parse_tag,
    spans_of_tags,
    tags_of_entities,
)
from hf_adner.data.records import Document, Entity


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
    assert [(document.id, document.text, document.spans) for document in read_documents(path)] == [
        ("train-1", "红斑 ", [(0, 2, "A")]),
        ("train-2", "红斑 ", [(0, 2, "A")]),
    ]


@pytest.mark.parametrize("separator", ["  ", "   ", " \t", "\t ", "\t\t", " \t "])
def test_columns_are_parted_by_any_number_of_blanks_and_tabs(file, separator):
    path = file("".join(f"{character}{separator}{tag}\n" for character, tag in zip("面部 红", "B-A I-A O B-B".split())))
    assert [(document.text, document.spans) for document in read_documents(path, "conll")] == [
        ("面部 红", [(0, 2, "A"), (3, 4, "B")])
    ]


def test_lines_with_tabs_beside_lines_with_blanks(file):
    assert next(read_documents(file("红\tB-A\n斑 I-A\n\u3000  O\n"), "conll")).spans == [(0, 2, "A")]


@pytest.mark.parametrize(
    "lines, columns",
    [
        (["EU NNP B-NP B-ORG", "! . O O"], 4),
        (["红\tn\tB-A", " \tw\tO", "斑\t\tO"], 3),
        (["红 _ _ B-A", "  _ _ O"], 4),
    ],
)
def test_of_several_columns_the_first_is_the_token_and_the_last_the_tag(file, lines, columns):
    stream = read_documents(file("-DOCSTART- -X- O O\n\n" + "\n".join(lines)), "conll")
    (document,) = stream
    assert document.text == "".join(line[:2] if line[:2] == "EU" else line[0] for line in lines)
    assert len(document.spans) == 1 and stream.report.notes[OTHER_COLUMNS] == len(lines)


@pytest.mark.parametrize("tags", ["B_a I_a O B_b", "a-B a-I O b-B", "a_B a_I O b_B", "b-a i-a o b-b", "B_a E_a O S_b"])
def test_other_forms_of_tags(file, tags):
    path = file("".join(f"{character} {tag}\n" for character, tag in zip("面部。红", tags.split())))
    assert next(read_documents(path, "conll")).spans == [(0, 2, "a"), (3, 4, "b")]


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("面 B-A\n O\n", 2, "the line has a tag but no character"),
        ("面\tB-A\n\tO\n", 2, "the line has a tag but no character"),
        ("面\tB-A\nO\n", 2, "the line has a tag but no character"),
        ("面 n B-A\n n O\n", 2, "the line has a tag but no character"),
        ("面 B-A\n\u3000\n部 I-A\n", 2, "expected 2 columns .* found 1"),
        ("面 B-A\r部 I-A\r", 1, "a carriage return within the line"),
        ("当/o 江泽民/nr 同志/o\n", 1, "tags stand behind their words"),
        ("面 B-A\n部 n I-A\n", 2, "expected 2 columns .* found 3"),
        ("面 n B-A\n部 I-A\n", 2, "expected 3 columns .* found 2"),
        ("面部/B-A 红斑/B-B 。/O\n", 1, "tags stand behind their words"),
        ("。 O\n面/B-A\n", 2, "tags stand behind their words"),
        ("1 面 B-A\n2 部 I-A\n", 1, "the first column numbers the lines"),
        ("面 部 红\tB-A I-A O\n", 1, "'B-A I-A O' has several tags"),
        ("面 B-A|B-B\n部 I-A|O\n", 1, "'B-A|B-B' has several tags"),
        ("面 B-A\n部 I-A,B-B\n", 2, "'I-A,B-B' has several tags"),
        ("面 B_A\n部 A-B\n", 2, "tag 'A-B' is neither 'O' nor of the form 'B-Type'"),
        ("# meta = " + "[" * 100_000 + "\n面 B-A\n", 1, "nested too deeply"),
        ('# meta = {"a": 1, "a": 2}\n面 B-A\n', 1, "duplicate key 'a'"),
        ('# id = ["a"]\n面 B-A\n', 1, "an id comment must be a JSON string, found list"),
        ("# id = " + "[" * 100_000 + "\n面 B-A\n", 1, "nested too deeply"),
        ('# id = "a"\n# id = "b"\n面 O\n', 2, "two id comments"),
        ('# entity = {"start": [0], "end": 1, "label": "A"}\n面 B-A\n', 1, "entity start must be an integer"),
        ('# entity = {"start": 0, "end": 1, "label": "A"}\n' * 2 + "面 B-A\n", 2, "two comments describe entity 0-1"),
    ],
)
def test_what_has_no_single_meaning_is_refused_by_name(file, text, line, reason):
    path = file(text)
    with pytest.raises(DataFormatError, match=reason) as caught:
        list(read_documents(path, "conll"))
    assert (caught.value.path, caught.value.line) == (path, line)


def test_positions_of_characters_in_words_are_left_out(file):
    stream = read_documents(file("科0\tO\n技1\tO\n高0\tB-PER\n\n10\tO\n21\tO\n"), "conll")
    assert [(document.text, document.spans) for document in stream] == [("科技高", [(2, 3, "PER")]), ("12", [])]
    assert stream.report.notes[POSITIONS] == 5


@pytest.mark.parametrize("tokens", ["高1 技2", "科0 技2", "科0 技1 高", "科0 技1 高00"])
def test_other_tokens_that_end_in_digits_are_text(file, tokens):
    stream = read_documents(file("".join(f"{token} B-A\n" for token in tokens.split())), "conll")
    assert next(stream).text == tokens.replace(" ", "") and stream.report.notes[SEVERAL_CHARACTERS] > 1


def test_comments_of_other_tools_are_counted(file):
    stream = read_documents(file("# made by a tool\n\n# id 5239\tdomain=zh\n# text = 红斑\n红 _ B-A\n# _ O\n"), "conll")
    assert [(document.id, document.text) for document in stream] == [("train-1", "红#")]
    assert stream.report.notes[OTHER_COMMENTS] == 3


def test_gb18030(file):
    assert next(read_documents(file("红\tB-A\n斑\tI-A\n", encoding="gb18030"))).text == "红斑"


def test_inside_without_beginning_is_repaired_and_counted(file):
    stream = read_documents(file("红\tI-A\n斑\tI-A\n\n痒\tI-B\n"))
    assert [document.spans for document in stream] == [[(0, 2, "A")], [(0, 1, "B")]]
    assert stream.report.repaired == {WITHOUT_BEGINNING: 2}


def test_a_missing_end_tag_is_a_fault_in_a_given_scheme_only(file):
    path = file("红\tB-A\n斑\tI-A\n")
    bio, bioes = read_documents(path, "bio"), read_documents(path, "bioes")
    assert [document.spans for document in bio] == [document.spans for document in bioes] == [[(0, 2, "A")]]
    assert not bio.report.repaired and sum(bioes.report.repaired.values()) == 1


def test_tokens_of_several_characters_are_split(file):
    stream = read_documents(file("IgE\tB-Test\n高\tI-Test\n12\tO\n"))
    (document,) = stream
    assert (document.text, document.spans) == ("IgE高12", [(0, 4, "Test")])
    assert any("2 × tokens of several characters" in line for line in stream.report.warnings())


def test_white_space_characters_and_odd_line_breaks_are_text(file):
    text = "\u3000\u2028\u0085\x0b \t"
    path = file("".join(f"{character}\tO\n" for character in text))
    assert next(read_documents(path, "conll")).text == text


def test_docstart_lines_are_skipped(file):
    path = file("-DOCSTART- O\n\n红 B-A\n斑 I-A\n")
    assert [document.text for document in read_documents(path)] == ["红斑"]


def test_comments_with_ids_and_meta_are_read(file):
    path = file(
        '# id = "note 1"\n# meta = {"patient": 3}\n# entity = {"start": 0, "end": 2, "label": "A", "meta": {"k": 1}}\n'
        "红\tB-A\n斑\tI-A\n\n# id = plain\n#\tO\n"
    )
    first, second = read_documents(path)
    assert (first.id, first.meta, first.entities[0].meta) == ("note 1", {"patient": 3}, {"k": 1})
    assert (second.id, second.text) == ("plain", "#")


DOCUMENT = Document("n1", "红斑\n痒", (Entity(0, 2, "Sign"), Entity(3, 4, "Symptom", meta={"k": 1})), {"ward": 3})


@pytest.mark.parametrize(
    "scheme, tags",
    [("bio", "B I B"), ("bmes", "B E S"), ("bioes", "B E S"), ("bilou", "B L U")],
)
def test_written_tags_without_comments(tmp_path, scheme, tags):
    write_documents([DOCUMENT, DOCUMENT], tmp_path / "a", f"conll-{scheme}", comments=False)
    first, second, third = tags.split()
    block = f"红\t{first}-Sign\n斑\t{second}-Sign\n\\n\tO\n痒\t{third}-Symptom\n\n"
    assert (tmp_path / "a").read_text(encoding="utf-8") == block * 2


def test_comments_are_written(tmp_path):
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
        (Document("n1", "红斑", (Entity(0, 2, "A\tB"),)), r"label 'A\\tB' is not valid in a tag"),
        (Document("n1", "红斑", (Entity(0, 2, " A"),)), "label ' A' is not valid in a tag"),
        (Document("n1", "红斑", (Entity(0, 2, "A B-C"),)), "label 'A B-C' is not valid in a tag"),
        (Document("n1", ""), "a document without text needs comments"),
    ],
)
def test_documents_that_tags_cannot_hold_are_refused(tmp_path, document, reason):
    with pytest.raises(DataFormatError, match=f"record 'n1': {reason}"):
        write_documents([document], tmp_path / "a.bio", comments=False)


def test_unknown_schemes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tag scheme 'iobes' is unknown"):
        write_documents([DOCUMENT], tmp_path / "a.conll", scheme="iobes")


def parse(tags, scheme):
    return spans_of_tags([parse_tag(tag) for tag in tags.split()], scheme)


@pytest.mark.parametrize(
    "scheme, expected",
    [
        ("bio", "B-A I-A I-A B-A O B-B"),
        ("bioes", "B-A I-A E-A S-A O S-B"),
        ("bmes", "B-A M-A E-A S-A O S-B"),
        ("bilou", "B-A I-A L-A U-A O U-B"),
    ],
)
def test_tags_of_each_scheme(scheme, expected):
    entities = [Entity(0, 3, "A"), Entity(3, 4, "A"), Entity(5, 6, "B")]
    assert tags_of_entities(entities, 6, scheme) == expected.split()
    assert parse(expected, scheme) == ([(0, 3, "A"), (3, 4, "A"), (5, 6, "B")], {})


@pytest.mark.parametrize(
    "tags, scheme, spans, repaired",
    [
        ("I-A I-A O I-B", "bio", [(0, 2, "A"), (3, 4, "B")], {WITHOUT_BEGINNING: 2}),
        ("B-A I-B", "bio", [(0, 1, "A"), (1, 2, "B")], {WITHOUT_BEGINNING: 1}),
        ("B-A I-A O", "bioes", [(0, 2, "A")], {WITHOUT_END: 1}),
        ("B-A", "bioes", [(0, 1, "A")], {WITHOUT_END: 1}),
        ("E-A O", "bioes", [(0, 1, "A")], {WITHOUT_BEGINNING: 1}),
        ("B-A E-A I-A E-A", "bioes", [(0, 2, "A"), (2, 4, "A")], {WITHOUT_BEGINNING: 1}),
        ("B-A M-B E-B", "bmes", [(0, 1, "A"), (1, 3, "B")], {WITHOUT_END: 1, WITHOUT_BEGINNING: 1}),
        ("S-A M-A", "bmes", [(0, 1, "A"), (1, 2, "A")], {WITHOUT_BEGINNING: 1, WITHOUT_END: 1}),
    ],
)
def test_faults_are_repaired_and_counted(tags, scheme, spans, repaired):
    assert parse(tags, scheme) == (spans, repaired)


def test_fitting_scheme():
    assert fitting_scheme("BIO") == fitting_scheme("O") == fitting_scheme("") == "bio"
    assert fitting_scheme("BMEO") == fitting_scheme("BEO") == "bmes"
    assert fitting_scheme("BIES") == "bioes"
    assert fitting_scheme("BILU") == "bilou"
    assert fitting_scheme("IM") is None and fitting_scheme("EL") is None


@pytest.mark.parametrize("tag", ["", "0", "B", "B-", "-A", "X-A", "BA-A", "A", "Type-B"])
def test_invalid_tags_are_refused(tag):
    with pytest.raises(DataFormatError, match="neither 'O' nor of the form"):
        parse_tag(tag)


def test_a_label_may_have_hyphens():
    assert parse_tag("B-Drug-Category") == ("B", "Drug-Category")


def test_overlapping_entities_and_unknown_schemes_are_refused():
    with pytest.raises(DataFormatError, match="entities 0-3 and 1-2 overlap, which tags cannot express"):
        tags_of_entities([Entity(0, 3, "A"), Entity(1, 2, "B")], 3)
    with pytest.raises(ValueError, match="scheme 'iobes' is unknown"):
        check_scheme("iobes")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("AB")), max_size=6),
    st.sampled_from(list(SCHEMES)),
)
def test_tags_round_trip(pieces, scheme):
    entities, position = [], 0
    for gap, length, label in pieces:
        position += gap
        entities.append(Entity(position, position + length, label))
        position += length
    tags = tags_of_entities(entities, position + 1, scheme)
    assert parse(" ".join(tags), scheme) == ([(entity.start, entity.end, entity.label) for entity in entities], {})


@pytest.mark.parametrize(
    "lines, spans",
    [
        ("面部 E-A\n好 O\n", [(0, 2, "A")]),
        ("面 B-A\n部瘙痒 E-A\n好 O\n", [(0, 4, "A")]),
        ("面部 S-A\n瘙痒 S-B\n", [(0, 2, "A"), (2, 4, "B")]),
        ("面部 U-A\n瘙痒 B-B\n好 L-B\n", [(0, 2, "A"), (2, 5, "B")]),
        ("面部 B-A\n瘙痒 M-A\n好的 E-A\n", [(0, 6, "A")]),
    ],
)
def test_words_with_end_tags_are_single_entities(tmp_path, lines, spans):
    (tmp_path / "a.conll").write_text(lines, encoding="utf-8")
    stream = read_documents(tmp_path / "a.conll", "conll")
    assert [document.spans for document in stream] == [spans]
    assert stream.report.repaired.total() == lines.startswith("面部 E")
