"""Which files of a path belong to which split."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hf_adner.data.errors import DataFormatError

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "devel": "validation",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
    "contrast": "contrast",
}
"""Words in a file's or folder's name, and the split they stand for."""

SUFFIXES = {
    *(".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".xlsx", ".xlsm"),
    *(".txt", ".conll", ".bio", ".iob", ".bmes", ".bioes"),
}
"""Suffixes of data files; a folder's other files (a README) are passed by."""

PathLike = str | Path
Paths = PathLike | Iterable[PathLike]


def files_by_split(path: Paths | Mapping[str, Paths]) -> dict[str, list[Path]]:
    """Files (brat: folders) of each split, in a fixed order.

    A mapping says it all; several files, a folder or a glob pattern are told apart by words in their names (`train`,
    `dev`, `test`, …; `dev` is called `validation`); a single file, or files of which none has such a word, are `train`.

    Raises:
        FileNotFoundError: nothing is there.
        DataFormatError: some files say their split and others do not.
    """
    if isinstance(path, Mapping):
        return {split: _all_files(part) for split, part in path.items()}
    files = _all_files(path)
    return {"train": files} if len(files) == 1 else _told_apart(files)


def _all_files(path: Paths) -> list[Path]:
    paths = [path] if isinstance(path, (str, Path)) else path
    return [file for one in paths for file in _expanded(one)]


def _expanded(path: PathLike) -> list[Path]:
    path = Path(path)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _of_folder(path)
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    found = [one for one in found if one.is_dir() or one.suffix.lower() in SUFFIXES or path.suffix]
    if not found:
        raise FileNotFoundError(f"there is no file, folder or match of the pattern {path}")
    return found


def _of_folder(folder: Path) -> list[Path]:
    if next(folder.glob("*.ann"), None):
        return [folder]
    brat = [one for one in sorted(folder.iterdir()) if one.is_dir() and next(one.glob("*.ann"), None)]
    files = [one for one in sorted(folder.iterdir()) if one.is_file() and one.suffix.lower() in SUFFIXES]
    if not brat and not files:
        raise FileNotFoundError(f"folder {folder} holds no data files (known suffixes: {', '.join(sorted(SUFFIXES))})")
    return brat or files


def _told_apart(files: list[Path]) -> dict[str, list[Path]]:
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_of_name(file.name) or "", []).append(file)
    unnamed = by_split.pop("", [])
    if unnamed and by_split:
        raise DataFormatError(
            f"the name says no split, where others do ({', '.join(by_split)}); "
            'name the files of each split: {"train": ..., "validation": ...}',
            path=unnamed[0],
        )
    order = [*dict.fromkeys(SPLIT_WORDS.values()), *by_split]
    found = {split: by_split[split] for split in order if split in by_split}
    return found or {"train": unnamed}


def split_of_name(name: str) -> str | None:
    """The split that a file name speaks of; None where it speaks of none or of several."""
    name = name.lower()
    if "test_unseen" in name or "test-unseen" in name:
        return "test_unseen"
    found = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None
