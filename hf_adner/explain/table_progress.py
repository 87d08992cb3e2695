"""Maps of a global table that is being built, kept in files so that an interrupted build goes on where it was."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.fused import LocalMap
from hf_adner.files import output_file


class MeasuredMap(NamedTuple):
    """A local map of a table, and its perturbation variance, or None if not measured."""

    map: LocalMap
    variance: float | None


def model_digest(model: Any) -> str:
    """Return a digest of a model's weights."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().float().numpy().tobytes())
    return digest.hexdigest()


class KeptMaps:
    """A folder with a file per group of documents; files of other documents, models or settings are not read.

    The files hold maps and places of entities, no text, but are as private as the documents.

    Args:
        folder: made with the first file; None: nothing is kept.
        settings: of the build, JSON values; another build's files have other names.
    """

    def __init__(self, folder: Path | None, settings: Any):
        self._folder, self._settings = folder, json.dumps(settings, sort_keys=True, ensure_ascii=False)

    def read(self, documents: Sequence[Document]) -> list[list[MeasuredMap]] | None:
        """Return the maps of documents, a list for each; None if they were not kept or the file is damaged."""
        path = self._path(documents)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path) as kept:
                columns = {name: kept[name] for name in kept.files}
            return _unpacked(documents, columns)
        except (OSError, ValueError, KeyError, EOFError, IndexError, BadZipFile):  # written while the machine went down
            return None

    def write(self, documents: Sequence[Document], maps: Sequence[Sequence[MeasuredMap]]) -> None:
        """Keep the maps of documents."""
        path = self._path(documents)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # a zip archive is written by seeking
        np.savez(content, **_packed(maps))
        with output_file(path) as file:
            file.write(content.getvalue())

    def clear(self) -> None:
        """Remove the folder."""
        if self._folder is not None and self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, documents: Sequence[Document]) -> Path | None:
        if self._folder is None:
            return None
        parts = [self._settings, *(repr((one.id, one.text, one.spans)) for one in documents)]
        name = blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / f"{name}.npz"


def _packed(maps: Sequence[Sequence[MeasuredMap]]) -> dict[str, np.ndarray]:
    flat = [(number, one) for number, ones in enumerate(maps) for one in ones]
    places = [(number, one.map.offset, len(one.map.text), *one.map.entity[:2]) for number, one in flat]
    variances = [np.nan if one.variance is None else one.variance for _, one in flat]
    return {
        "places": np.array(places, dtype=np.int64).reshape(-1, 5),
        "labels": np.array([one.map.entity[2] for _, one in flat], dtype=np.str_),
        "variances": np.array(variances, dtype=np.float64),
        "logs": np.concatenate([one.map.logs for _, one in flat]) if flat else np.zeros(0, dtype=np.float32),
        "masks": np.concatenate([one.map.mask for _, one in flat]) if flat else np.zeros(0, dtype=bool),
    }


def _unpacked(documents: Sequence[Document], columns: dict[str, np.ndarray]) -> list[list[MeasuredMap]]:
    maps: list[list[MeasuredMap]] = [[] for _ in documents]
    first = 0
    rows = zip(columns["places"].tolist(), columns["labels"].tolist(), columns["variances"].tolist(), strict=True)
    for (number, offset, length, start, end), label, variance in rows:
        text = documents[number].text[offset : offset + length]
        entity: EntitySpan = (start, end, label)
        logs, mask = (columns[name][first : first + length] for name in ("logs", "masks"))
        found = LocalMap(text, entity, offset, logs, mask)
        maps[number].append(MeasuredMap(found, None if np.isnan(variance) else variance))
        first += length
    return maps
