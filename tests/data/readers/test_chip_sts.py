import json

from hf_adner.data.formats import detect_format, read_documents


def test_pairs_become_texts(tmp_path):
    path = tmp_path / "CHIP-STS_dev.json"
    pair = {"id": "16001", "text1": "糖尿病能吃减肥药吗", "text2": "糖尿病吃什么", "label": "1", "category": "diabetes"}
    path.write_text(json.dumps([pair], ensure_ascii=False), encoding="utf-8")
    assert detect_format(path) == "chip-sts"
    stream = read_documents(path)
    first, second = stream
    assert (first.id, second.id, second.text, second.entities) == ("16001-1", "16001-2", "糖尿病吃什么", ())
    assert first.meta == {"pair": "16001", "label": "1", "category": "diabetes"}
    assert any("no gold entities" in line for line in stream.report.warnings())


def test_a_broken_pair_is_listed_for_what_it_lacks(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"id": "1", "text2": "头痛"}, {"id": "2", "id": "3"}]', encoding="utf-8")
    stream = read_documents(path, "chip-sts", skip_invalid=True)
    assert [document.id for document in stream] == ["1-2"] and len(stream.report.skipped) == 2
