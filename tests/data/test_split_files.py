import pytest

from hf_adner.data.dataset import files_by_split, split_of_name
from hf_adner.data.errors import DataFormatError


@pytest.fixture
def folder(tmp_path):
    for name in ("corpus_train.json", "corpus_dev.json", "corpus-test.json", "README.md"):
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    "name, split",
    [
        ("CMeEE_train.json", "train"),
        ("dev.bio.tsv", "validation"),
        ("my-VALID.jsonl", "validation"),
        ("test.char.bmes", "test"),
        ("test_unseen.jsonl", "test_unseen"),
        ("contrast.jsonl", "contrast"),
        ("latest.jsonl", None),
        ("train-test.jsonl", None),
    ],
)
def test_split_of_name(name, split):
    assert split_of_name(name) == split


def test_a_folder_is_told_apart_by_names(folder):
    found = files_by_split(folder)
    assert list(found) == ["train", "validation", "test"]
    assert [file.name for files in found.values() for file in files] == [
        "corpus_train.json",
        "corpus_dev.json",
        "corpus-test.json",
    ]


def test_one_file_is_train(folder):
    assert files_by_split(folder / "corpus_dev.json") == {"train": [folder / "corpus_dev.json"]}


def test_a_pattern_and_a_list(folder):
    assert list(files_by_split(str(folder / "*.json"))) == ["train", "validation", "test"]
    assert list(files_by_split([folder / "corpus_dev.json", folder / "corpus_train.json"])) == ["train", "validation"]


def test_a_mapping_says_it_all(folder):
    found = files_by_split({"a": folder / "corpus_dev.json", "b": str(folder / "corpus*t*.json")})
    assert [file.name for file in found["b"]] == ["corpus-test.json", "corpus_train.json"]
    assert found["a"] == [folder / "corpus_dev.json"]


def test_brat_folders_are_one_corpus_each(tmp_path):
    for split in ("train", "dev"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.ann").write_text("")
        (tmp_path / split / "a.txt").write_text("x")
    assert files_by_split(tmp_path) == {"train": [tmp_path / "train"], "validation": [tmp_path / "dev"]}
    assert files_by_split(tmp_path / "dev") == {"train": [tmp_path / "dev"]}


def test_files_without_split_are_train_unless_others_say_theirs(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("x")
    assert list(files_by_split(tmp_path)) == ["train"]
    (tmp_path / "train.jsonl").write_text("x")
    with pytest.raises(DataFormatError, match=r"a\.jsonl: the name says no split, where others do \(train\)"):
        files_by_split(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no data files"):
        files_by_split(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file, folder or match"):
        files_by_split(tmp_path / "*.jsonl")
