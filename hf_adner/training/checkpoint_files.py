"""Which files of a folder belong to a checkpoint, and may leave the machine with it.

Both are lists of what goes, never of what stays: what nobody thought of stays. So do `private/` (raw explanation
statistics and caches, which tell of documents) and `training_args.bin` (a pickle with paths, and the Hub token if one
was given).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

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

RESUMED = (
    *PUBLISHED,
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "trainer_state.json",
    "pytorch_model*",
    "pytorch_model*/*",
    "optimizer*/*",
    "global_step*/*",
    "latest",
)
"""Patterns of what the Trainer resumes from, with FSDP and DeepSpeed too."""


def published_files(folder: Path) -> list[str]:
    """The files of a folder that a published checkpoint is made of, relative to the folder and sorted."""
    return [name for name in _files(folder) if is_published(name)]


def is_published(name: str) -> bool:
    """Whether a file of that name, relative to its checkpoint, belongs to what is published."""
    return _fits(name, PUBLISHED)


def resumed_files(folder: Path) -> list[str]:
    """The files of a folder that training is resumed from, relative to the folder and sorted."""
    return [name for name in _files(folder) if _fits(name, RESUMED)]


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()
