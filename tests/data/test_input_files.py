"""Tests of `files_by_split`: splits by file name, what of a folder is read, and what is named as not read."""

import logging

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.input_files import files_by_split, split_of_name


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
        ("assertion.jsonl", "assertion"),
        ("train-assertion.jsonl", "train"),
        ("latest.jsonl", None),
        ("train-test.jsonl", None),
    ],
)
def test_split_of_name(name, split):
    assert split_of_name(name) == split


def test_a_folder_is_split_by_file_names(folder):
    found = files_by_split(folder)
    assert list(found) == ["train", "validation", "test"]
    assert [file.name for files in found.values() for file in files] == [
        "corpus_train.json",
        "corpus_dev.json",
        "corpus-test.json",
    ]


def test_a_single_file_is_train(folder):
    assert files_by_split(folder / "corpus_dev.json") == {"train": [folder / "corpus_dev.json"]}


def test_a_pattern_and_a_list(folder):
    assert list(files_by_split(str(folder / "*.json"))) == ["train", "validation", "test"]
    assert list(files_by_split([folder / "corpus_dev.json", folder / "corpus_train.json"])) == ["train", "validation"]


def test_a_mapping_names_the_splits(folder):
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


def test_files_without_split_are_train_unless_others_have_a_split(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("x")
    assert list(files_by_split(tmp_path)) == ["train"]
    (tmp_path / "train.jsonl").write_text("x")
    with pytest.raises(DataFormatError, match=r"a\.jsonl: the file name has no split, but others have \(train\)"):
        files_by_split(tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no data files"):
        files_by_split(tmp_path)
    with pytest.raises(FileNotFoundError, match="the path of the input is empty"):
        files_by_split("")
    with pytest.raises(FileNotFoundError, match=r"no data file matches the pattern .*\*.jsonl \(known suffixes"):
        files_by_split(tmp_path / "*.jsonl")
    with pytest.raises(FileNotFoundError, match="there is no file or folder .*/no/such$"):
        files_by_split(tmp_path / "no" / "such")
    with pytest.raises(FileNotFoundError, match="there is no file or folder -; standard input is /dev/stdin"):
        files_by_split("-")


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def names_of(files, root):
    return [file.relative_to(root).as_posix() for file in files]


@pytest.mark.parametrize(
    "names, read, unread",
    [
        (["a.txt", "b.TXT", "c.text", "2024/d.txt", "2024/03/e.txt"], None, []),
        (["a.txt", "notes.docx", "README.txt", "LICENSE"], ["a.txt"], ["LICENSE", "README.txt", "notes.docx"]),
        (["x.ann", "x.txt", "x.meta.json", "annotation.conf", "more.jsonl"], ["."], ["more.jsonl"]),
        (["a/x.ann", "a/x.txt", "a/deep/y.ann", "b/deep/z.ann", "all.jsonl"], ["a", "b/deep"], ["all.jsonl"]),
        (["train.jsonl", "dev.jsonl", "old/train.jsonl"], ["dev.jsonl", "train.jsonl"], ["old/train.jsonl"]),
        (["a.txt", ".git/b.txt", ".hidden.txt"], ["a.txt"], []),
    ],
    ids=["subfolders", "suffixes", "beside brat", "nested brat", "versions of splits", "hidden"],
)
def test_what_is_not_read_of_a_folder_is_named(tmp_path, caplog, names, read, unread):
    make(tmp_path, *names)
    with caplog.at_level(logging.WARNING):
        (files,) = files_by_split({"all": tmp_path}).values()
    assert names_of(files, tmp_path) == (sorted(names) if read is None else read)
    assert [record.getMessage().partition("): ")[2] for record in caplog.records] == [", ".join(unread)] * bool(unread)
    assert all(f"{tmp_path}: {len(unread)} files were not read" in record.getMessage() for record in caplog.records)


def test_a_long_list_of_what_is_not_read_is_cut(tmp_path, caplog):
    make(tmp_path, "a.jsonl", *(f"{number:02}.doc" for number in range(25)))
    files_by_split(tmp_path)
    assert "25 files were not read" in caplog.text and "08.doc, 09.doc and 15 more" in caplog.text


def test_a_link_to_a_folder_is_named(tmp_path, caplog):
    make(tmp_path, "a/x.txt", "elsewhere/y.txt")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    assert names_of(files_by_split(tmp_path / "a")["train"], tmp_path) == ["a/x.txt"]
    assert caplog.text.count("): link") == 1


def test_subfolders_name_splits(tmp_path):
    make(tmp_path, "train/a.jsonl", "train/b/c.jsonl", "dev/a.jsonl")
    splits = {"train": ["train/a.jsonl", "train/b/c.jsonl"], "validation": ["dev/a.jsonl"]}
    for path in (tmp_path, f"{tmp_path}/*", [tmp_path / "train", tmp_path / "dev"]):
        assert {split: names_of(files, tmp_path) for split, files in files_by_split(path).items()} == splits
    make(tmp_path, "train/dev.jsonl")
    with pytest.raises(DataFormatError, match=r"train/dev\.jsonl: file and folder name different splits"):
        files_by_split(tmp_path)


def test_a_pattern_names_what_it_does_not_read(tmp_path, caplog):
    make(tmp_path, "a.jsonl", "b.dat", "c/d.txt", "empty/e.pdf")
    assert names_of(files_by_split(f"{tmp_path}/*")["train"], tmp_path) == ["a.jsonl", "c/d.txt"]
    assert "2 files were not read" in caplog.text and "b.dat" in caplog.text and "e.pdf" in caplog.text
    assert names_of(files_by_split(f"{tmp_path}/*.dat")["train"], tmp_path) == ["b.dat"]
