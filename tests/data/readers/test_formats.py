import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.reading import READERS, detect_format, resolve_format


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("a.json", '[{"text": "a", "entities": [{"start_idx": 0, "end_idx": 0, "type": "b"}]}]', "cmeee"),
        ("a.jsonl", '{"text": "a", "entities": [{"start": 0, "end": 1, "label": "b"}]}', "jsonl"),
        ("a.jsonl", '{"text": "a", "entities": []}\n{"text": "a", "entities": [{"start_offset": 0}]}', "doccano"),
        ("a.jsonl", '{"text": "a", "entities": []}', "jsonl"),
        ("a.jsonl", '{"text": "a", "label": []}', "doccano"),
        ("a.json", '[{"text": "a", "label": [{"labels": []}]}]', "label-studio"),
        ("a.json", '[{"data": {"text": "a"}}]', "label-studio"),
        ("a.json", '[{"text1": "a", "text2": "b"}]', "chip-sts"),
        ("a.json", '{"1": {"dialogue": []}}', "imcs"),
        ("a.csv", "id,text,start\n", "csv"),
        ("a.tsv", "id\ttext\tstart\n", "tsv"),
        ("a.tsv", "红\tB-A\n斑\tI-A\n", "conll"),
        ("a.txt", "红 B-A\n斑 I-A\n", "conll"),
        ("a.txt", "面部红斑。\n", "text"),
    ],
)
def test_detect_format(tmp_path, name, text, found):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert detect_format(path) == found


@pytest.mark.parametrize("name, text", [("a.json", '[{"sentence": "a"}]'), ("a.md", "# notes"), ("a.json", "[1]")])
def test_what_cannot_be_told(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataFormatError, match="cannot be told|of no known format"):
        detect_format(path)


def test_a_file_that_breaks_off_still_tells_its_format(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a", "entities": [{"start_idx": 0}]}, {"te', encoding="utf-8")
    assert detect_format(path) == "cmeee"


def test_names():
    assert resolve_format("Label_Studio") == ("label-studio", {})
    assert resolve_format("BIOES") == ("conll", {"scheme": "bioes"})
    assert all(resolve_format(name) == (name, {}) for name in READERS)
    with pytest.raises(ValueError, match="format 'word' is unknown; known: brat, chip-sts"):
        resolve_format("word")
