"""scripts/comparison_records.py: nothing is lost or overwritten between a folder and its archive."""

import pytest


@pytest.fixture(scope="module")
def records(load_script):
    return load_script("comparison_records")


def write(work, **texts):
    folder = work / "records"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def test_records_come_back_from_the_archive(records, tmp_path):
    write(tmp_path / "a", first='{"corpus": "湿疹"}\n', second="{}")
    archive = tmp_path / "results" / "records.jsonl.xz"
    assert records.pack(tmp_path / "a", archive) == 2
    before = archive.read_bytes()
    assert records.pack(tmp_path / "a", archive) == 2 and archive.read_bytes() == before
    write(tmp_path / "b", third="{}")
    assert records.unpack(archive, tmp_path / "b") == 3
    assert records.read_folder(tmp_path / "b") == {**records.read_folder(tmp_path / "a"), "third.json": "{}"}
    write(tmp_path / "c", fourth="[]")
    assert records.pack(tmp_path / "c", archive) == 3
    assert list(records.read_archive(archive)) == ["first.json", "fourth.json", "second.json"]


def test_records_that_differ_change_nothing(records, tmp_path):
    write(tmp_path / "a", first="{}")
    archive = tmp_path / "records.jsonl.xz"
    records.pack(tmp_path / "a", archive)
    before = archive.read_bytes()
    write(tmp_path / "b", first='{"seed": 1}', second="{}")
    for change in (lambda: records.pack(tmp_path / "b", archive), lambda: records.unpack(archive, tmp_path / "b")):
        with pytest.raises(ValueError, match=r"1 records differ, the first is first\.json"):
            change()
    assert archive.read_bytes() == before and (tmp_path / "b" / "records" / "first.json").read_text() == '{"seed": 1}'


def test_other_files_are_no_archives(records, tmp_path):
    (tmp_path / "x.xz").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"x\.xz is not an archive of records"):
        records.read_archive(tmp_path / "x.xz")
