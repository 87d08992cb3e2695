"""Names fit to be published: no folder of a user's machine appears in a card."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/~]|\.{1,2}[\\/])[^,+=\s]*|[^,+=\s]+[\\/][^,+=\s]*")
_SPLIT_NAMES = {"train", "training", "data", "dataset", "corpus", "all"}


def last_name(path: str) -> str:
    """The last part of a path of any system, `name` of `/folder/name/`."""
    return PurePosixPath(PureWindowsPath(path).as_posix()).name or "files"


def dataset_title(source: str) -> str:
    """`ad-synthetic` as it is; of a file or folder its own name, or its folder's where the file is called train."""
    path = PurePosixPath(PureWindowsPath(source).as_posix())
    name = path.name.partition(".")[0] if path.suffix else path.name
    return path.parent.name if name.lower() in _SPLIT_NAMES and path.parent.name else name or "files"


def base_model_of(encoder: str | None) -> str | None:
    """The encoder if it is a name on the Hub, None for a folder or no encoder at all."""
    if not encoder or os.path.exists(encoder) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", encoder):
        return None
    return encoder


def without_paths(value: Any) -> Any:
    """A setting with every path in it cut down to its last part; anything but text as it is."""
    return _PATH.sub(lambda found: last_name(found[0]), value) if isinstance(value, str) else value
