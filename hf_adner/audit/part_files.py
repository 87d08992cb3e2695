"""Part files: a long result written block by block, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from hf_adner.data.readers import read_documents
from hf_adner.data.records import Document
from hf_adner.data.writers.atomic import write_file
from hf_adner.data.writers.jsonl import jsonl_text

MANIFEST_FILE = "manifest.json"
_NAME = re.compile(r"part-(\d+)-([0-9a-f]{16})\.jsonl")


def blocks(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Documents in lists of `size`, the last one shorter; one list is held at a time.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"a block needs at least 1 document, found {size}")
    documents = iter(documents)
    while block := list(islice(documents, size)):
        yield block


def block_digest(block: Sequence[Document]) -> str:
    """16 hexadecimal digits that change with any id, text or meta of a block."""
    digest = hashlib.blake2b(digest_size=8)
    for document in block:
        record = json.dumps([document.id, document.text, dict(document.meta)], default=str)
        digest.update(record.encode() + b"\n")
    return digest.hexdigest()


class PartFiles:
    """A folder with one JSONL file per block, named by the block's number and the digest of what it was made from.

    Each file appears whole or not at all, whichever process writes it.

    Args:
        folder: made by `locked` if it is not there; for processes on several machines, on a file system they share.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs off the folder, which is made if it is not there, until the context or the process ends.

        Raises:
            BlockingIOError: another run is at work on it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(
                    f"another run is writing {self.folder}: wait for it, or end its processes "
                    "(a launcher that was killed may have left them behind)"
                ) from None
            yield

    def claim(self, manifest: Mapping[str, Any]) -> None:
        """Note what the folder's parts are made with; parts already there must be made with the same.

        Raises:
            ValueError: as `check`.
        """
        # hidden: the lock, and what was being written when its process died
        if all(path.name.startswith(".") for path in self.folder.iterdir()):
            text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
            write_file(self.folder / MANIFEST_FILE, [text], "utf-8")
        self.check(manifest)

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Make sure that the folder's parts are made with what `manifest` (JSON values) says.

        Raises:
            ValueError: they are made with something else, each difference named, or there is no note of it.
        """
        path = self.folder / MANIFEST_FILE
        if not path.is_file():
            raise ValueError(f"{self.folder} is no folder of parts that this process can see: no {MANIFEST_FILE}")
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(manifest))
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if names:
            found = "; ".join(f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in names)
            raise ValueError(
                f"{self.folder} holds the parts of an interrupted run with other settings ({found}): "
                "repeat that run's command to go on with it, or remove the folder to start anew"
            )

    def finished(self) -> dict[int, str]:
        """Number -> digest of the parts that are there."""
        matches = filter(None, (_NAME.fullmatch(path.name) for path in self.folder.iterdir()))
        return {int(match[1]): match[2] for match in matches}

    def path(self, number: int, digest: str) -> Path:
        """The file of one block."""
        return self.folder / f"part-{number:08}-{digest}.jsonl"

    def write(self, number: int, digest: str, documents: Iterable[Document]) -> None:
        """Write one part."""
        write_file(self.path(number, digest), jsonl_text(documents), "utf-8")

    def documents(self, count: int) -> Iterator[Document]:
        """The documents of all parts in the order of their blocks, one at a time.

        Raises:
            ValueError: the parts there are not those of the blocks 0 to `count` - 1.
        """
        parts = self.finished()
        if sorted(parts) != list(range(count)):
            missing = sorted(set(range(count)) - set(parts))[:5]
            surplus = sorted(set(parts) - set(range(count)))[:5]
            raise ValueError(
                f"{self.folder}: the input has {count} blocks, but parts {missing} are missing and {surplus} too many; "
                "if the input was shortened, remove the folder to start anew"
            )
        paths = [self.path(number, parts[number]) for number in range(count)]
        return iter(read_documents(paths, "jsonl", encoding="utf-8", overlaps="any")) if paths else iter(())

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)
