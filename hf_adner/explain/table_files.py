"""A global table as two files: names and settings as JSON, numbers as safetensors."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hf_adner.data.writers.atomic import write_folder
from hf_adner.explain.cells import FIRST_UNIT
from hf_adner.explain.roles import ROLES
from hf_adner.explain.table_noise import TableNoise

FORMAT = "hf_adner.global_table"
VERSION = 1
NAMES_FILE = "global_table.json"
NUMBERS_FILE = "global_table.safetensors"


@dataclass(frozen=True, eq=False)
class TableRecord:
    """All that a global table is, as plain values.

    Attributes:
        kappa: observations that the coarser cell counts for.
        target: what the maps explain.
        labels: entity types, by number.
        units: characters and words; the first has the number `FIRST_UNIT`.
        words: the lexicon, or None.
        cells: (cells, 3) int64, numbers of unit, label and role.
        moments: (cells, 3) float64, count, sum and sum of squares.
        noise: estimates for fusion, or None.
        min_documents: of a published table.
        sources: (document id, group or None) by number; none in a published table.
        pairs: (pairs, 2) int64, a cell and the number of a source it was seen in.

    Raises:
        ValueError: numbers that point outside, or arrays that do not fit together.
    """

    kappa: float
    target: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    words: tuple[str, ...] | None
    cells: np.ndarray
    moments: np.ndarray
    noise: TableNoise | None
    min_documents: int | None
    sources: tuple[tuple[str, str | None], ...]
    pairs: np.ndarray

    def __post_init__(self) -> None:
        if self.cells.shape != self.moments.shape or self.cells.shape[1:] != (3,) or self.pairs.shape[1:] != (2,):
            raise ValueError(f"arrays of shapes {self.cells.shape}, {self.moments.shape} and {self.pairs.shape}")
        limits = (len(self.units) + FIRST_UNIT, len(self.labels), len(ROLES))
        if (self.cells < 0).any() or (self.cells >= limits).any():
            raise ValueError(f"a cell outside {limits[0]} units, {limits[1]} labels and {limits[2]} roles")
        if len(self.pairs) and not 0 <= self.pairs[:, 1].min() <= self.pairs[:, 1].max() < len(self.sources):
            raise ValueError(f"a document outside the {len(self.sources)} that are named")
        if not np.isfinite(self.moments).all():
            raise ValueError("a cell without finite numbers")

    def sorted_by_name(self) -> TableRecord:
        """Only units and labels with cells, in alphabetical order: nothing tells where in a corpus they stood."""
        own = self.cells[:, 0] >= FIRST_UNIT
        units, unit_numbers = _kept(self.units, self.cells[own, 0] - FIRST_UNIT)
        labels, label_numbers = _kept(self.labels, self.cells[:, 1])
        cells = self.cells.copy()
        cells[own, 0] = unit_numbers[cells[own, 0] - FIRST_UNIT] + FIRST_UNIT
        cells[:, 1] = label_numbers[cells[:, 1]]
        order = np.lexsort(cells.T[::-1])
        words = None if self.words is None else tuple(unit for unit in units if len(unit) > 1)
        return replace(self, units=units, labels=labels, words=words, cells=cells[order], moments=self.moments[order])


def _kept(names: tuple[str, ...], used: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The used names in order, and by old number the new one."""
    old = sorted(set(used.tolist()), key=lambda number: names[number])
    numbers = np.zeros(len(names), dtype=np.int64)
    numbers[old] = np.arange(len(old))
    return tuple(names[number] for number in old), numbers


def has_table(folder: Path) -> bool:
    """Whether a folder holds a table."""
    return (folder / NAMES_FILE).is_file() and (folder / NUMBERS_FILE).is_file()


def write_table(record: TableRecord, folder: Path) -> None:
    """Write both files; a table that is there is replaced, and stays if writing fails.

    Raises:
        FileExistsError: the folder holds anything else.
    """
    others = {one.name for one in folder.iterdir()} - {NAMES_FILE, NUMBERS_FILE} if folder.is_dir() else set()
    if others or not has_table(folder):
        write_folder(folder, lambda path: _fill(record, path))
        return
    before = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    folder.replace(before)
    try:
        write_folder(folder, lambda path: _fill(record, path))
    except BaseException:
        before.replace(folder)
        raise
    shutil.rmtree(before)


def _fill(record: TableRecord, folder: Path) -> None:
    names = {
        "format": FORMAT,
        "version": VERSION,
        "kappa": record.kappa,
        "target": record.target,
        "min_documents": record.min_documents,
        "roles": ROLES,
        "labels": record.labels,
        "noise": None if record.noise is None else record.noise.to_dict(),
        "words": record.words,
        "units": record.units,
        "documents": record.sources,
    }
    text = json.dumps(names, ensure_ascii=False, indent=None, separators=(",", ":"))
    (folder / NAMES_FILE).write_text(text + "\n", encoding="utf-8")
    numbers = {"cells": record.cells, "moments": record.moments, "pairs": record.pairs}
    save_file({name: np.ascontiguousarray(array) for name, array in numbers.items()}, folder / NUMBERS_FILE)


def read_table(folder: Path) -> TableRecord:
    """Read what `write_table` wrote.

    Raises:
        FileNotFoundError: there is no table.
        ValueError: one of the files is damaged, or of a later version; says which and why.
    """
    if not has_table(folder):
        raise FileNotFoundError(f"{folder} holds no global table ({NAMES_FILE} and {NUMBERS_FILE})")
    try:
        names = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
        _check_format(names)
        return _record(names, load_file(folder / NUMBERS_FILE))
    except KeyError as error:
        raise ValueError(f"{folder}: the global table lacks {error.args[0]!r}") from None
    except (ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{folder}: the global table is damaged: {error}") from None


def _check_format(names: Any) -> None:
    if not isinstance(names, Mapping) or names.get("format") != FORMAT:
        raise ValueError(f"expected a JSON object with format {FORMAT!r}")
    version = names.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r} is unknown, this package reads versions 1 to {VERSION}")
    if tuple(names["roles"]) != ROLES:
        raise ValueError(f"roles are {names['roles']}, expected {ROLES}")


def _record(names: Mapping[str, Any], numbers: Mapping[str, np.ndarray]) -> TableRecord:
    return TableRecord(
        kappa=names["kappa"],
        target=names["target"],
        labels=tuple(names["labels"]),
        units=tuple(names["units"]),
        words=None if names["words"] is None else tuple(names["words"]),
        cells=numbers["cells"],
        moments=numbers["moments"],
        noise=None if names["noise"] is None else TableNoise.from_dict(names["noise"]),
        min_documents=names["min_documents"],
        sources=tuple((document, group) for document, group in names["documents"]),
        pairs=numbers["pairs"],
    )
