"""Which files of a folder belong to a checkpoint, and which never leave the machine."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

PRIVATE_FOLDER = "private"
"""Raw explanation statistics and caches, which quote documents."""

TRAINING_ARGUMENTS = "training_args.bin"
"""A pickle of the Trainer's arguments: paths of this machine, and the Hub token if one was given."""

PUBLISHED = (
    "config.json",
    "model*.safetensors",
    "model*.safetensors.index.json",
    "*_adner.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "lexicon.json",
    "explainer_head.safetensors",
    "global_table/*",
    "README.md",
    "LICENSE",
)
"""Patterns of what a published checkpoint is made of, relative to its folder."""


def published_files(folder: Path) -> list[str]:
    """The files of a folder that belong to its checkpoint, relative to the folder and sorted.

    Whatever else lies there (optimizer, logs, predictions, `private/`) is not among them.
    """
    return [name for name in _files(folder) if is_published(name)]


def is_published(name: str) -> bool:
    """Whether a file of that name, relative to its checkpoint, belongs to what is published."""
    depth = name.count("/")
    return any(fnmatch(name, pattern) and depth == pattern.count("/") for pattern in PUBLISHED)


def resumable_files(folder: Path) -> list[str]:
    """What training is resumed from, relative to the folder and sorted: all but what never leaves the machine."""
    return [name for name in _files(folder) if not is_private(name)]


def is_private(name: str) -> bool:
    """Whether a file of that name, relative to its checkpoint, must stay."""
    *folders, file = name.split("/")
    return PRIVATE_FOLDER in folders or file == TRAINING_ARGUMENTS


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()
