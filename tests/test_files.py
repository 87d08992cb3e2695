import stat

import pytest

from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document


def broken():
    yield Document("a", "瘙痒")
    raise RuntimeError("no more")


@pytest.mark.parametrize("format_name", ["jsonl", "brat", "html"])
def test_nothing_appears_when_writing_fails(tmp_path, format_name):
    with pytest.raises(RuntimeError, match="no more"):
        write_documents(broken(), tmp_path / "out", format_name)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "out.jsonl"
    write_documents([Document("old", "x")], path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_documents(broken(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_files_can_be_read_by_others(tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    write_documents([Document("a", "x")], path)
    other = tmp_path / "plain"
    other.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_folder_of_files_is_not_mixed_with_another(tmp_path):
    write_documents([Document("a", "x")], tmp_path / "out", "brat")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_documents([Document("b", "x")], tmp_path / "out", "brat")
    (tmp_path / "empty").mkdir()
    assert write_documents([Document("b", "x")], tmp_path / "empty", "brat") == 1
