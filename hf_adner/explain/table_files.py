"""A global table as two files: names and settings as JSON, numbers as safetensors.

How noisy local maps are, and how far a global table is off from them: what a fusion needs to know of a corpus.

In how many distinct documents, or of how many patients, each cell of the global table was seen.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hf_adner.explain.unit_statistics import FIRST_UNIT, ROLES
from hf_adner.files import write_folder


@dataclass(frozen=True)
class TableNoise:
    """Estimates over the entities of a corpus, in squared log attributions.

    Attributes:
        local_variance: mean perturbation variance of the local maps (s2), 0 or more.
        tau2: by role of `ROLES` the squared error of the table beyond s2 and the variance of its own means; an unbiased
            estimate, so that it may be a little below 0 where the table is not off at all.
        entities: how many were looked at, 1 or more.

    Raises:
        ValueError: not one finite number per role, a variance below 0, or no entities.
    """

    local_variance: float
    tau2: tuple[float, ...]
    entities: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau2", tuple(map(float, self.tau2)))
        if len(self.tau2) != len(ROLES) or not all(map(math.isfinite, self.tau2)):
            raise ValueError(f"tau2 must be {len(ROLES)} finite numbers, one for each of {ROLES}")
        if not 0 <= self.local_variance < math.inf:
            raise ValueError(f"local_variance must be finite and 0 or more, found {self.local_variance!r}")
        if self.entities < 1:
            raise ValueError(f"noise must be estimated on at least one entity, found {self.entities!r}")

    def merged(self, other: TableNoise | None) -> TableNoise:
        """The mean of two estimates, weighted by their entities."""
        if other is None:
            return self
        total = self.entities + other.entities
        mine, theirs = self.entities / total, other.entities / total
        return TableNoise(
            mine * self.local_variance + theirs * other.local_variance,
            tuple(mine * one + theirs * two for one, two in zip(self.tau2, other.tau2)),
            total,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "local_variance": self.local_variance,
            "tau2": dict(zip(ROLES, self.tau2)),
            "entities": self.entities,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableNoise:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(values["local_variance"], tuple(values["tau2"][role] for role in ROLES), values["entities"])


def merge_noise(estimates: Sequence[TableNoise | None]) -> TableNoise | None:
    """One estimate of several; None where there is none."""
    merged: TableNoise | None = None
    for one in estimates:
        merged = merged if one is None else one.merged(merged)
    return merged


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


LIMIT = 256
"""Documents that are remembered per cell; counts of groups beyond are lower bounds."""

COMPACT_AT = 1 << 20

Source = tuple[str, str | None]


class DistinctDocuments:
    """Remembers for each cell up to `LIMIT` documents, always the same ones whatever their order.

    Attributes:
        sources: (document id, group or None) by number.
    """

    def __init__(self) -> None:
        self.sources: dict[Source, int] = {}
        self._pending: list[np.ndarray] = []
        self._pending_rows = 0
        self._pairs = np.zeros((0, 2), dtype=np.int64)  # (pairs, cell and source), sorted

    def add(self, cells: np.ndarray, document: str, group: str | None = None) -> None:
        """Note that cells (any shape, int64) were seen in a document."""
        source = self.sources.setdefault((document, group), len(self.sources))
        cells = np.unique(cells)
        self._append(np.stack([cells, np.full_like(cells, source)], 1))

    def extend(self, pairs: np.ndarray, sources: Sequence[Source]) -> None:
        """Add pairs of (cell, number of the source in `sources`), (pairs, 2)."""
        numbers = [self.sources.setdefault(tuple(source), len(self.sources)) for source in sources]
        renumbered = np.array(numbers, dtype=np.int64)[pairs[:, 1]] if len(pairs) else pairs[:, 1]
        self._append(np.stack([pairs[:, 0], renumbered], 1))

    def _append(self, pairs: np.ndarray) -> None:
        self._pending.append(pairs)
        self._pending_rows += len(pairs)
        if self._pending_rows > max(COMPACT_AT, len(self._pairs)):
            self._compact()

    def pairs(self) -> np.ndarray:
        """(pairs, 2): cell and number of a source, sorted by cell."""
        if self._pending:
            self._compact()
        return self._pairs

    def _compact(self) -> None:
        pairs = np.concatenate([self._pairs, *self._pending])
        pairs = pairs[np.lexsort((pairs[:, 1], self._ranks()[pairs[:, 1]], pairs[:, 0]))]
        is_new = np.ones(len(pairs), dtype=bool)
        is_new[1:] = (pairs[1:] != pairs[:-1]).any(1)
        pairs = pairs[is_new]
        _, firsts, sizes = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        place = np.arange(len(pairs)) - np.repeat(firsts, sizes)
        self._pairs, self._pending, self._pending_rows = pairs[place < LIMIT], [], 0

    def _ranks(self) -> np.ndarray:
        """A rank per source that depends on its names only."""
        digests = [blake2b(repr(source).encode(), digest_size=8).digest() for source in self.sources]
        return np.array([int.from_bytes(digest) >> 1 for digest in digests], dtype=np.int64)

    def count(self, group_of: Callable[[str], str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Distinct groups per cell.

        Args:
            group_of: group of a document id; default: the group it was added with, or else the document itself.

        Returns:
            UnitStatistics (cells,), sorted, and numbers of groups (cells,).
        """
        pairs = self.pairs()
        names = [(0, group_of(document)) if group_of else _group(document, group) for document, group in self.sources]
        numbers: dict[tuple[int, str], int] = {}
        groups = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
        by_group = np.unique(np.stack([pairs[:, 0], groups[pairs[:, 1]]], 1), axis=0) if len(pairs) else pairs
        return np.unique(by_group[:, 0], return_counts=True)


def _group(document: str, group: str | None) -> tuple[int, str]:
    return (1, document) if group is None else (0, group)
