"""Prediction of a large corpus into a file, by one or several processes, with resumption after interruptions.

Each process reads the whole input and predicts every `count`-th block into a part file of its own; the first process
joins the parts in order. A part depends only on its block and the settings, so neither the number of processes nor an
interruption changes the output.
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
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from hf_adner.audit.prediction import predict_documents
from hf_adner.audit.review import check_budget, reviewed, with_budget
from hf_adner.data.formats import check_written_path, read_documents, takes_labels, write_documents
from hf_adner.data.formats.jsonl import jsonl_text
from hf_adner.data.records import Document
from hf_adner.files import is_stream, read_json, write_file, write_json
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import count_finished

MANIFEST_FILE = "manifest.json"
PARTS_SUFFIX = ".parts"
BLOCK_SIZE = 1000
"""Documents of a part, the most that a process repeats after an interruption."""

_NAME = re.compile(r"part-(\d+)-([0-9a-f]{16})-([0-9a-f]{16})\.jsonl")
_IGNORED_SETTINGS = ("_name_or_path", "transformers_version", "architectures", "auto_map", "custom_pipelines")


def join_processes(device: str | None = None) -> PartialState | None:
    """Join the processes started by `accelerate launch` or `torchrun`; None for a single process.

    Args:
        device: `cpu` to use no GPU; by default each process uses the GPU of its local rank, if there is one.

    Raises:
        ValueError: a numbered device for several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if device is not None and ":" in device:
        raise ValueError(f"device {device!r} cannot serve several processes; use cpu, or none for one GPU each")
    # the default of minutes would abort a run whose processes finish at different times
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
    review_budget: float | None = None,
    progress: bool = True,
    writer_options: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> None:
    """Predict documents into a file, through part files in the folder `output.parts`, which is removed at the end.

    A call after an interruption, with any number of processes, continues with the missing blocks. The output is equal
    byte for byte if the processes compute alike (device, threads, versions of libraries).

    Args:
        pipe: the pipeline, the same in every process.
        documents: read once, block by block; the same in every process and every attempt.
        output: the file to write, for brat the folder; a device or pipe is written as documents are predicted, without
            parts.
        format: of the output; None: by the suffix.
        state: the processes that share the work, each of which makes this call; None: a single process.
        batch_size: windows of full length per forward pass.
        block_size: documents of a part.
        review_budget: flag exactly this share of all entities, those with the lowest scores of the whole input, in
            [0, 1]; it is read twice more, from the parts, or for a device or pipe from a temporary file. None: flag by
            `review_threshold`.
        progress: show a progress bar (in the first process).
        writer_options: options of the output's format, see `write_documents`.
        parameters: as for `predict_documents`.

    Raises:
        BlockingIOError: another run is writing the same output.
        OSError: the output cannot be written.
        ValueError: unknown format, parts of an interrupted run that are damaged or of other settings, another model or
            other input, or a device or pipe for several processes.
    """
    writer_options = writer_options or {}
    if takes_labels(output, format):
        writer_options = {"labels": pipe.model.config.entity_types, **writer_options}
    if review_budget is not None:
        check_budget(review_budget)
    check_written_path(output, format, **writer_options)
    if is_stream(output):
        if state is not None:
            raise ValueError(f"{state.num_processes} processes cannot share the device or pipe {output}; name a file")
        tagged = (predict_documents(pipe, block, batch_size, **parameters) for block in blocks(documents, block_size))
        with reviewed(chain.from_iterable(tagged), review_budget) as found:
            write_documents(found, output, format, **writer_options)
        return
    index, count = (0, 1) if state is None else (state.process_index, state.num_processes)
    parts = PartFiles(Path(f"{output}{PARTS_SUFFIX}"))
    settings = {"block_size": block_size, "batch_size": batch_size, **parameters}
    manifest = {**pipeline_fingerprint(pipe), **recorded(settings)}
    name = "tagging" if count == 1 else f"tagging, process 1 of {count}"
    bar = tqdm(desc=name, unit="document", disable=None if progress and index == 0 else True)
    with bar, parts.locked() if index == 0 else nullcontext():
        if index == 0:
            parts.claim(manifest)
        _wait(state)
        parts.check(manifest)
        number = write_parts(pipe, documents, parts, bar, index=index, count=count, **settings)
        _wait(state)
        if index == 0:
            read = partial(parts.documents, number)
            found = read() if review_budget is None else with_budget(read, review_budget)
            write_documents(found, output, format, **writer_options)
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
    """Predict the unfinished blocks of process `index` of `count`; returns the number of all blocks.

    Raises:
        ValueError: a finished part was made from other documents than the block that is read now, or is damaged.
    """
    finished, number = parts.finished(), -1
    for number, block in enumerate(blocks(documents, block_size)):
        if number % count == index:
            digest = block_digest(block)
            if number not in finished:
                parts.write(number, digest, counted(predict_documents(pipe, block, batch_size, **parameters), bar))
            elif finished[number].digest != digest:
                raise ValueError(
                    f"{parts.folder}: part {number} of the interrupted run was made from other documents than the "
                    "input has now; give the same input to go on with it, or remove the folder to start anew"
                )
            else:
                finished[number].check()
                count_finished(bar, len(block))
    return number + 1


def counted(documents: Iterable[Document], bar: tqdm) -> Iterator[Document]:
    """Yield documents and count each on a bar."""
    for document in documents:
        yield document
        bar.update()


def blocks(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Yield documents in lists of `size`, the last one may be shorter.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"block size must be at least 1, found {size}")
    documents = iter(documents)
    while block := list(islice(documents, size)):
        yield block


def block_digest(block: Sequence[Document]) -> str:
    """Return a digest of the ids, texts and meta of a block, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for document in block:
        record = json.dumps([document.id, document.text, dict(document.meta)], default=str)
        digest.update(record.encode() + b"\n")
    return digest.hexdigest()


class Part(NamedTuple):
    """A finished part.

    Attributes:
        path: the file.
        digest: of the block that it was made from.
        checksum: of its own content.
    """

    path: Path
    digest: str
    checksum: str

    def check(self) -> None:
        """Check that the file is as it was written.

        Raises:
            ValueError: it has changed.
        """
        if _checksum(self.path.read_bytes()) != self.checksum:
            raise ValueError(
                f"{self.path}: the part has changed since it was written (lines lost or edited); remove this file and "
                "repeat the command, which predicts its documents again"
            )


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class PartFiles:
    """A folder with one JSONL file per block, named by number, digest and checksum (see `Part`); files are atomic.

    Args:
        folder: created by `locked` if missing; for processes on several machines, on a shared file system.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other runs until the context or the process ends; create it if missing.

        Raises:
            BlockingIOError: another run has locked it.
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
        """Write the manifest of the parts, or check it if there are parts already.

        A run that ended before its first part was finished leaves nothing to go on with, and binds nobody.

        Raises:
            ValueError: as `check`.
        """
        # hidden files: the lock, and unfinished files of dead processes
        if all(path.name.startswith(".") or path.name == MANIFEST_FILE for path in self.folder.iterdir()):
            write_json(self.folder / MANIFEST_FILE, manifest)
        self.check(manifest)

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Check that the parts were made with the settings in `manifest` (JSON values).

        Raises:
            ValueError: settings differ, each is named, or there is no manifest or a damaged one.
        """
        path = self.folder / MANIFEST_FILE
        if not path.is_file():
            raise ValueError(f"{self.folder} is not a folder of parts that this process can read: no {MANIFEST_FILE}")
        try:
            before, now = read_json(path), json.loads(json.dumps(manifest))
        except ValueError as error:
            raise ValueError(f"{error}; remove the folder {self.folder} to start anew") from None
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if names:
            changes = "; ".join(f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in names)
            raise ValueError(
                f"{self.folder} holds the parts of an interrupted run with other settings ({changes}): "
                "repeat that run's command to go on with it, or remove the folder to start anew"
            )

    def finished(self) -> dict[int, Part]:
        """Return the existing parts by number."""
        matches = filter(None, (_NAME.fullmatch(path.name) for path in self.folder.iterdir()))
        return {int(match[1]): Part(self.folder / match[0], match[2], match[3]) for match in matches}

    def write(self, number: int, digest: str, documents: Iterable[Document]) -> None:
        """Write one part."""
        text = "".join(jsonl_text(documents))
        name = f"part-{number:08}-{digest}-{_checksum(text.encode())}.jsonl"
        write_file(self.folder / name, [text], "utf-8")

    def documents(self, count: int) -> Iterator[Document]:
        """Yield the documents of all parts in the order of the blocks.

        Raises:
            ValueError: the parts are not those of the blocks 0 to `count` - 1, or one is damaged.
        """
        parts = self.finished()
        if sorted(parts) != list(range(count)):
            missing = sorted(set(range(count)) - set(parts))[:5]
            surplus = sorted(set(parts) - set(range(count)))[:5]
            raise ValueError(
                f"{self.folder}: the input has {count} blocks, but parts {missing} are missing and {surplus} too many; "
                "if the input was shortened, remove the folder to start anew"
            )
        for part in parts.values():
            part.check()
        paths = [parts[number].path for number in range(count)]
        return iter(read_documents(paths, "jsonl", encoding="utf-8", overlaps="any")) if paths else iter(())

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)


def pipeline_fingerprint(pipe: AdnerPipeline) -> dict[str, str]:
    """Return digests of weights, configuration and tokenizer, and the device type, which predictions depend on."""
    tokenizer = pipe.tokenizer
    config = {name: value for name, value in pipe.model.config.to_dict().items() if name not in _IGNORED_SETTINGS}
    tokenization = [tokenizer.get_vocab(), tokenizer.do_lower_case, tokenizer.model_max_length, tokenizer.lexicon_hash]
    tokenization += [tokenizer.script_hash, tokenizer.assertion_rules.hash]
    tokenization += [] if tokenizer.code_table is None else [tokenizer.code_table.hash]
    return {
        "weights": _weights_digest(pipe.model.state_dict()),
        "config": _json_digest(config),
        "tokenizer": _json_digest(tokenization),
        "device": pipe.device.type,
    }


def recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON values: of a table in Python its hash, of a table in a file name and digest.

    Raises:
        FileNotFoundError: there is no file of that name.
    """
    tables = {name: settings.get(name) for name in ("assertion", "constraints", "codes")}
    hashes = {name: table.hash for name, table in tables.items() if hasattr(table, "hash")}
    files = {name: Path(table) for name, table in tables.items() if isinstance(table, (str, os.PathLike))}
    digests = {f"{name} file": _checksum(path.read_bytes()) for name, path in files.items()}
    return {**settings, **{name: str(path) for name, path in files.items()}, **hashes, **digests}


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
