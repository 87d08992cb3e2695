"""Read JSON, and write files and folders completely or not at all.

An output is a regular file, which is replaced as a whole, or a device, a pipe or an open descriptor such as
`/dev/stdout`, which is written directly. A symbolic link is kept, and what it points to is written.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_DESCRIPTOR = re.compile(r"/(?:dev|proc/self|proc/thread-self)/fd/(\d+)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_file(path: Path, pieces: Iterable[str], encoding: str) -> None:
    """Write pieces of text, line ends unchanged.

    Raises:
        OSError: as `output_file`.
    """
    with output_file(path) as file:
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
        text.writelines(pieces)
        text.flush()
        text.detach()


@contextmanager
def output_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open an output; a regular file is replaced at the end of the block, or left as it is if the block raises.

    The file keeps mode and owner; missing folders are made.

    Raises:
        OSError: as `check_output`, or the output cannot be written (such as a full disk); names `path`.
    """
    check_output(path)
    if (descriptor := _descriptor(path)) is not None or is_stream(path):
        sys.stdout.flush()  # what was printed before comes first
        with _errors_of(path):
            opened = os.open(path, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
        with io.BufferedWriter(_Output(opened, path)) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    with _errors_of(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        opened, temporary = tempfile.mkstemp(prefix=f".{target.name[:20]}.", suffix=".part", dir=target.parent)
    file = io.BufferedWriter(_Output(opened, path))
    try:
        yield file
        file.close()
        with _errors_of(path):
            _take_mode(temporary, target, 0o666)
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            file.close()
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


class _Output(io.FileIO):
    """Open descriptor whose errors of writing name the output."""

    def __init__(self, descriptor: int, path: str | os.PathLike[str]):
        super().__init__(descriptor, "w")
        self._path = path

    def write(self, data: Any) -> int:
        with _errors_of(self._path):
            return super().write(data)


@contextmanager
def _errors_of(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(error.errno, error.strerror, path) from error


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a device, a pipe or an open descriptor, directly or through symbolic links."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = 0
    return _descriptor(path) is not None or stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the number of an open descriptor that a path names, such as 1 for `/dev/stdout`."""
    name = os.path.abspath(path)
    for _ in range(40):  # more links are a circle
        if match := _DESCRIPTOR.fullmatch(name):
            return int(match[1])
        if not os.path.islink(name):
            return None
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    return None


def check_output(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, without writing; for use before long work.

    Raises:
        OSError: `path` is a folder, a disk or a socket, has a file among its folders, may not be written, or is a link
            that leads to no folder; names `path`.
    """
    if is_stream(path):
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise _refused(errno.EISDIR, "is a folder, expected a file", path)
    if target.exists() and not target.is_file():
        raise _refused(errno.EINVAL, "is no file, pipe or terminal", path)
    if target.is_symlink():
        raise _refused(errno.ELOOP, "is a link in a circle of links", path)
    _check_folders(path, target)
    if target.exists() and not os.access(target, os.W_OK):
        raise _refused(errno.EACCES, "may not be written", path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that files can be written into a folder, which exists or can be made.

    Raises:
        OSError: as `check_output`.
    """
    _check_folders(path, Path(os.path.realpath(path)) / "file")


def check_outputs(*paths: str | os.PathLike[str] | None) -> None:
    """Check that several files can be written, without writing; None stands for an output that nobody asked for.

    Raises:
        OSError: as `check_output`.
        ValueError: two paths lead to the same file.
    """
    places: set[str] = set()
    for path in filter(None, paths):
        check_output(path)
        place = os.path.realpath(path)
        if place in places and not is_stream(path):
            raise ValueError(f"{path} is named for two outputs; name a file for each")
        places.add(place)


def check_output_folder(path: str | os.PathLike[str]) -> None:
    """Check that a folder can be written by `write_folder`, without writing.

    Raises:
        FileExistsError: `path` exists and is not an empty folder (files of two runs would mix).
        OSError: as `check_output`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty folder")
    _check_folders(path, target)


def check_folder_to_replace(path: str | os.PathLike[str]) -> None:
    """Check that a folder and all in it may be written, without writing; `replace_folder` would else pass over it.

    Raises:
        NotADirectoryError: `path` is not a folder.
        OSError: the folder, a part of it or the folder above it may not be written; names the part.
    """
    target = Path(os.path.realpath(path))
    if not target.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")
    _check_folders(path, target)
    for part in (target, *target.rglob("*")):
        if not os.access(part, os.W_OK):
            raise _refused(errno.EACCES, "may not be written", Path(path) / part.relative_to(target))


def _check_folders(path: str | os.PathLike[str], target: Path) -> None:
    """Check the folders above the file or folder that `path` leads to."""
    folder = _nearest_folder(target)
    if not folder.is_dir():
        raise _refused(errno.ENOTDIR, f"{folder} is a file, expected a folder", path)
    if os.path.islink(path) and folder != target.parent:
        raise _refused(errno.ENOENT, f"is a link into the folder {target.parent}, which does not exist", path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(errno.EACCES, f"the folder {folder} may not be written", path)


def _nearest_folder(target: Path) -> Path:
    return next(folder for folder in target.parents if os.path.lexists(folder))


def _refused(number: int, reason: str, path: str | os.PathLike[str]) -> OSError:
    return OSError(number, reason, os.fspath(path))


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
        OSError: as `check_output_folder`, or the disk is full.
    """
    check_output_folder(path)
    target = Path(os.path.realpath(path))
    with _errors_of(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:20]}.", suffix=".part", dir=target.parent))
    try:
        fill(temporary)
        with _errors_of(path):
            _take_mode(temporary, target, 0o777)
            os.replace(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _refused(error.errno, error.strerror, path) from error
        raise


def replace_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a temporary folder beside the folder `path`, then put it in its place.

    Until the new folder is whole the old one stays as it is; if the exchange itself fails, it is put back.

    Raises:
        NotADirectoryError, OSError: as `check_folder_to_replace`, or the disk is full.
    """
    check_folder_to_replace(path)
    target = Path(os.path.realpath(path))
    new, old = (target.with_name(f".{target.name[:20]}.{os.getpid()}.{role}") for role in ("new", "old"))
    try:
        write_folder(new, fill)
        os.chmod(new, stat.S_IMODE(target.stat().st_mode))
        with _errors_of(path):
            os.rename(target, old)
            try:
                os.rename(new, target)
            except BaseException:
                os.rename(old, target)
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def write_figure(path: str | os.PathLike[str], figure: Any, dots_per_inch: int) -> None:
    """Save a matplotlib figure, in the format of the suffix.

    Raises:
        OSError: as `output_file`.
        ValueError: the suffix is unknown to matplotlib.
    """
    check_figure_path(path)
    with output_file(path) as file:
        figure.savefig(file, dpi=dots_per_inch, format=Path(path).suffix[1:].lower())


def check_figure_path(path: str | os.PathLike[str]) -> None:
    """Check that a figure can be saved at a path.

    Raises:
        OSError: as `check_output`.
        ValueError: the suffix is unknown to matplotlib.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    suffixes = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in suffixes:
        raise ValueError(f"{path}: no figure has this suffix, expected one of .{', .'.join(sorted(suffixes))}")
    check_output(path)


def _take_mode(temporary: str | Path, target: Path, mode: int) -> None:
    """Give a new file the mode and the owner of the one that it replaces, else those that the umask leaves."""
    if not target.exists():
        os.chmod(temporary, mode & ~_umask())
        return
    old = target.stat()
    with suppress(PermissionError):  # only root gives files to others
        os.chown(temporary, old.st_uid, old.st_gid)
    os.chmod(temporary, stat.S_IMODE(old.st_mode))


def _umask() -> int:
    """Return the process's umask: temporary files are private, the final files should not be."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
