"""`files_by_split`: the files to read from a path, and the split of each by its name.

A folder is read with its subfolders. What is not read there is named in a warning, except hidden files and folders,
whose names begin with a dot.
"""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.detection import EXCEL_SUFFIXES, JSON_SUFFIXES, TABLE_SUFFIXES, TAG_SUFFIXES, TEXT_SUFFIXES
from hf_adner.data.formats.hf_dataset import PARQUET, dataset_splits, is_dataset

logger = logging.getLogger(__name__)

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
"""Split of each word in the name of a file or folder."""

SUFFIXES = frozenset((*JSON_SUFFIXES, *TABLE_SUFFIXES, *EXCEL_SUFFIXES, *TAG_SUFFIXES, *TEXT_SUFFIXES, PARQUET))
"""Suffixes of data files; other files of a folder are not read."""

_ABOUT_THE_DATA = re.compile(r"(readme|licen[cs]e|changelog|notice|citation)([^a-z].*)?", re.IGNORECASE)
_OF_BRAT = re.compile(r".*\.(txt|ann|meta\.json)|(annotation|visual|tools|kb_shortcuts)\.conf", re.IGNORECASE)
_MAX_NAMES = 10

PathLike = str | Path
Paths = PathLike | Iterable[PathLike]
Named = tuple[Path, str]
"""A file, and the part of its path that may name its split."""


def files_by_split(path: Paths | Mapping[str, Paths]) -> dict[str, list[Path]]:
    """Return the files (for brat: folders) of each split, in a fixed order.

    A mapping names the splits. A saved `DatasetDict` or a dataset on the Hub (`owner/name`) has its own. Several files,
    a folder or a glob pattern are assigned by words in the file names, or in the names of subfolders (`train`, `dev`,
    `test`, …; `dev` becomes `validation`). A single file, or files without any such word, are `train`.

    Raises:
        FileNotFoundError: no file exists.
        DataFormatError: some file names have a split and others do not, or file and subfolder name different splits.
    """
    if isinstance(path, Mapping):
        return {split: _files_of_split(part, split) for split, part in path.items()}
    splits = dataset_splits(Path(path)) if isinstance(path, (str, Path)) else {}
    if splits:
        usual = {split: SPLIT_WORDS.get(split, split) for split in splits}
        is_clear = len(set(usual.values())) == len(usual)
        return {usual[split] if is_clear else split: [file] for split, file in splits.items()}
    files = _all_files(path)
    return {"train": [files[0][0]]} if len(files) == 1 else _group_by_split(files)


def _files_of_split(path: Paths, split: str) -> list[Path]:
    """Return the files to read for a split; of a dataset with splits of its own, its split of that name.

    Raises:
        DataFormatError: the dataset has several splits, but not this one.
    """
    splits = dataset_splits(Path(path)) if isinstance(path, (str, Path)) else {}
    own = [file for name, file in splits.items() if SPLIT_WORDS.get(name, name) == split]
    if len(splits) > 1 and not own and split in SPLIT_WORDS.values():
        raise DataFormatError(
            f"the dataset has no split {split!r}, only {', '.join(splits)}; name the one to take, such as "
            f"{next(iter(splits.values()))}",
            path=path,
        )
    return own or [file for file, _ in _all_files(path)]


def _all_files(path: Paths) -> list[Named]:
    if not isinstance(path, (str, Path)):
        return [file for each in path for file in _expand(Path(each))]
    if not os.fspath(path):
        raise FileNotFoundError("the path of the input is empty")
    if not os.path.isdir(path):
        return _expand(Path(path))
    return [(file, name.partition("/")[2]) for file, name in _expand(Path(path))]  # its own name says nothing of splits


def _expand(path: Path) -> list[Named]:
    """Return the files of a file, folder or pattern; those of a folder are named with the folder.

    Raises:
        FileNotFoundError: there is none.
    """
    splits = dataset_splits(path)
    if splits:
        return [(file, split) for split, file in splits.items()]
    if is_dataset(path) or (path.exists() and not path.is_dir()):
        return [(path, path.name)]
    matches = {path} if path.is_dir() else set(map(Path, glob.glob(str(path), recursive=True)))
    folders = {match for match in matches if match.is_dir()}
    found: list[Named] = []
    unread: list[Path] = []
    for match in sorted(matches):
        if not folders.isdisjoint(match.parents):
            continue  # it is read with its folder
        if match in folders:
            chosen, others = _files_of_folder(match)
            found += [(file, f"{match.name}/{file.relative_to(match).as_posix()}") for file in chosen]
            unread += others
        elif path.suffix or _is_data(match):
            found.append((match, match.name))
        else:
            unread.append(match)
    if not found:
        known = f"(known suffixes: {', '.join(sorted(SUFFIXES))})"
        if path.is_dir():
            raise FileNotFoundError(f"folder {path} has no data files {known}")
        if glob.has_magic(str(path)):
            raise FileNotFoundError(f"no data file matches the pattern {path} {known}")
        hint = "; standard input is /dev/stdin" if str(path) == "-" else ""
        raise FileNotFoundError(f"there is no file or folder {path}{hint}")
    _warn_of_unread(path, unread)
    return found


def _files_of_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return what is read of a folder, and the other files.

    Its brat folders are read, else its data files; a folder whose own files name splits is read without its subfolders,
    which are likely to hold other versions of them.
    """
    found = sorted(_walk(folder))
    annotated = {file.parent for file in found if file.suffix.lower() == ".ann"}
    roots = {path for path in annotated if annotated.isdisjoint(path.parents)}
    if roots:
        in_roots = {file for file in found if not roots.isdisjoint(file.parents) and _OF_BRAT.fullmatch(file.name)}
        return sorted(roots), [file for file in found if file not in in_roots]
    chosen = [file for file in found if _is_data(file)]
    own = [file for file in chosen if file.parent == folder]
    chosen = own if any(split_of_name(file.name) for file in own) else chosen
    return chosen, sorted(set(found) - set(chosen))


def _walk(folder: Path) -> list[Path]:
    """Return the files of a folder and its subfolders, and links to folders, without what is hidden."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return found


def _raise(error: OSError) -> None:
    raise error


def _is_data(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and file.is_file() and not _ABOUT_THE_DATA.fullmatch(file.stem)


def _warn_of_unread(place: Path, files: list[Path]) -> None:
    if files:
        shown = ", ".join(os.path.relpath(file, place) if place.is_dir() else str(file) for file in files[:_MAX_NAMES])
        more = f" and {len(files) - _MAX_NAMES} more" if len(files) > _MAX_NAMES else ""
        reason = "unknown suffix, documentation, or beside brat folders or files named by split"
        logger.warning("%s: %d files were not read (%s): %s%s", place, len(files), reason, shown, more)


def _group_by_split(files: list[Named]) -> dict[str, list[Path]]:
    by_split: dict[str, list[Path]] = {}
    for file, name in files:
        by_split.setdefault(_split_of_path(file, name) or "", []).append(file)
    unnamed = by_split.pop("", [])
    if unnamed and by_split:
        raise DataFormatError(
            f"the file name has no split, but others have ({', '.join(by_split)}); "
            'pass the files of each split: {"train": ..., "validation": ...}',
            path=unnamed[0],
        )
    order = [*dict.fromkeys(SPLIT_WORDS.values()), *by_split]
    return {split: by_split[split] for split in order if split in by_split} or {"train": unnamed}


def _split_of_path(file: Path, name: str) -> str | None:
    splits = dict.fromkeys(filter(None, map(split_of_name, name.split("/"))))
    if len(splits) > 1:
        raise DataFormatError(
            f"file and folder name different splits ({', '.join(splits)}); "
            'pass the files of each split: {"train": ..., "validation": ...}',
            path=file,
        )
    return next(iter(splits), None)


def split_of_name(name: str) -> str | None:
    """Return the split that a file name contains; None if it contains no split or several."""
    name = name.lower()
    if "test_unseen" in name or "test-unseen" in name:
        return "test_unseen"
    if name.partition(".")[0] == "assertion":  # of ad-synthetic; in a longer name it may say what is annotated
        return "assertion"
    splits = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", name) if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else None
