"""Write files and folders atomically."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def write_file(path: Path, pieces: Iterable[str], encoding: str) -> None:
    """Write pieces of text, line ends unchanged, to a temporary file beside `path`, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding=encoding, newline="") as file:
            file.writelines(pieces)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON to `path` atomically."""
    write_file(path, [json.dumps(content, ensure_ascii=False, indent=2), "\n"], "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, as `write_json` writes it.

    Raises:
        ValueError: the file is not a JSON object; names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder beside `path`, then rename it to `path`.

    Raises:
        FileExistsError: `path` exists and is not an empty folder (files of two runs would mix).
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        fill(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_figure(path: str | os.PathLike[str], figure: Any, dots_per_inch: int) -> None:
    """Save a matplotlib figure, in the format of the suffix, to a temporary file, then rename it to `path`.

    Raises:
        ValueError: the suffix is unknown to matplotlib.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        figure.savefig(temporary, dpi=dots_per_inch)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's umask: temporary files are private, the final files should not be."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
