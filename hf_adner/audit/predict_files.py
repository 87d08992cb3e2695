"""Prediction over a large corpus with one or several processes, which can be killed and started again.

Every process reads the whole input and tags each `count`-th block of it into a part file of its own; the first one
joins the parts in order. What a part says depends on its block and the settings alone, so neither the number of
processes nor an interruption changes the output.

Part files: a long result written block by block, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from hf_adner.audit.prediction import predict_documents
from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.formats.jsonl import jsonl_text
from hf_adner.data.formats.writing import resolve_writer
from hf_adner.data.records import Document
from hf_adner.files import write_file
from hf_adner.model.pipeline_adner import AdnerPipeline

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


PARTS_SUFFIX = ".parts"
BLOCK_SIZE = 1000
"""Documents of a part: what an interruption may cost each process."""

_UNIMPORTANT = ("_name_or_path", "transformers_version", "architectures", "auto_map", "custom_pipelines")


def join_processes(device: str | None = None) -> PartialState | None:
    """The processes that `accelerate launch` or `torchrun` started, of which this is one; None if it is alone.

    Args:
        device: `cpu` keeps all of them off the GPUs; by default each takes the GPU of its local rank, if there is one.

    Raises:
        ValueError: one of several processes is given the number of a device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if device is not None and ":" in device:
        raise ValueError(f"device {device!r} cannot serve several processes; give cpu, or none to use one GPU each")
    # the default of minutes would end a run whose processes finish at different times
    return PartialState(cpu=device == "cpu", timeout=timedelta(days=30))


def predict_to_file(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    output: str | Path,
    format: str | None = None,
    *,
    state: PartialState | None = None,
    batch_size: int = 16,
    block_size: int = BLOCK_SIZE,
    progress: bool = True,
    **parameters: Any,
) -> None:
    """Tag documents into a file, through part files in the folder `output.parts` beside it, removed at the end.

    Called again after an interruption, with any number of processes, it goes on with the blocks that are missing. The
    output is equal byte for byte as long as the processes compute alike (device, threads, versions of libraries).

    Args:
        pipe: what predicts, the same in every process.
        documents: read once, a block at a time; the same in every process and every attempt.
        output: the file to write, for brat the folder.
        format: of the output; None takes it from the suffix.
        state: the processes that share the work, each of which makes this call; None works alone.
        batch_size: windows per forward pass.
        block_size: documents of a part.
        progress: show a bar of the documents passed (in the first process).
        parameters: as for `predict_documents`.

    Raises:
        BlockingIOError: another run is writing the same output.
        ValueError: unknown format, or parts of an interrupted run with other settings, another model or other input.
    """
    resolve_writer(Path(output), format)
    index, count = (0, 1) if state is None else (state.process_index, state.num_processes)
    parts = PartFiles(Path(f"{output}{PARTS_SUFFIX}"))
    settings = {"block_size": block_size, "batch_size": batch_size, **parameters}
    manifest = {**pipeline_fingerprint(pipe), **settings}
    bar = tqdm(desc="tagging", unit="document", disable=None if progress and index == 0 else True)
    with bar, parts.locked() if index == 0 else nullcontext():
        if index == 0:
            parts.claim(manifest)
        _wait(state)
        parts.check(manifest)
        number = write_parts(pipe, documents, parts, bar, index=index, count=count, **settings)
        _wait(state)
        if index == 0:
            write_documents(parts.documents(number), output, format)
            parts.remove()
        _wait(state)


def write_parts(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    parts: PartFiles,
    bar: tqdm,
    *,
    block_size: int,
    batch_size: int,
    index: int = 0,
    count: int = 1,
    **parameters: Any,
) -> int:
    """Tag the blocks that are process `index`'s of `count` and not finished; returns how many blocks there are in all.

    Raises:
        ValueError: a finished part was made from other documents than the block that is read now.
    """
    finished, number = parts.finished(), -1
    for number, block in enumerate(blocks(documents, block_size)):
        if number % count == index:
            digest = block_digest(block)
            if number not in finished:
                parts.write(number, digest, predict_documents(pipe, block, batch_size, **parameters))
            elif finished[number] != digest:
                raise ValueError(
                    f"{parts.folder}: part {number} of the interrupted run was made from other documents than the "
                    "input has now; give the same input to go on with it, or remove the folder to start anew"
                )
        bar.update(len(block))
    return number + 1


def pipeline_fingerprint(pipe: AdnerPipeline) -> dict[str, str]:
    """What a prediction depends on beside its text: digests of weights, configuration, tokenizer; kind of device."""
    tokenizer = pipe.tokenizer
    config = {name: value for name, value in pipe.model.config.to_dict().items() if name not in _UNIMPORTANT}
    reads = [tokenizer.get_vocab(), tokenizer.do_lower_case, tokenizer.model_max_length, tokenizer.lexicon_hash]
    return {
        "weights": _weights_digest(pipe.model.state_dict()),
        "config": _json_digest(config),
        "tokenizer": _json_digest(reads),
        "device": pipe.device.type,
    }


def _weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _json_digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _wait(state: PartialState | None) -> None:
    if state is not None:
        state.wait_for_everyone()
