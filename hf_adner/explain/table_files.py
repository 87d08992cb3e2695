"""The file of the global table, and the two records that belong to its state.

It is a single file, so that a process that dies while a table is replaced leaves the old one or the new one:
safetensors with the numbers, and the names as JSON in the bytes of a further tensor. Version 1 had the names in a file
of their own; version 3 records the explainer.

`TableNoise` holds the estimates that a fusion needs; `DistinctDocuments` counts in how many documents, or of how many
patients, each statistic was seen, so that rare ones can be left out of a published table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hf_adner.explain.explanation import ROLES
from hf_adner.explain.unit_statistics import FIRST_UNIT
from hf_adner.files import check_output, output_file, read_json

FORMAT = "hf_adner.global_table"
VERSION = 3
TABLE_FILE = "global_table.safetensors"
NAMES_FILE = "global_table.json"
"""File of the names in version 1."""
BEFORE_VERSION_3 = "grad-x-input"
"""Explainer of tables of versions 1 and 2, which do not record it: the only one that a command built tables with."""
_NAMES = "names"
RESTORE_TABLE = "restore it from a copy, or build it again (`adner explain --build-table`)"

TableT = TypeVar("TableT")


def has_table(folder: Path) -> bool:
    """Return whether a folder holds a table."""
    return (folder / TABLE_FILE).is_file()


def check_table_folder(folder: Path) -> None:
    """Check that a table can be written into a folder, without writing; for use before long work.

    Raises:
        FileExistsError: the folder holds other files.
        OSError: it cannot be written.
    """
    check_output(folder / TABLE_FILE)
    others = {path.name for path in folder.iterdir()} - {TABLE_FILE, NAMES_FILE} if folder.is_dir() else ()
    if any(not name.startswith(f".{TABLE_FILE[:6]}") for name in others):  # such as one that a dead process left
        raise FileExistsError(f"{folder} holds other files than a global table")


def write_table(folder: Path, names: Mapping[str, Any], numbers: Mapping[str, np.ndarray]) -> None:
    """Write the state of a table; an existing table is replaced at once.

    Args:
        folder: where to write.
        names: JSON values: `kappa`, `target`, `explainer`, `min_documents`, `roles`, `labels`, `noise`, `words`,
            `units` and `documents`.
        numbers: `cells` (statistics, 3) int64, ids of unit, label and role; `moments` (statistics, 3) float64, count,
            sum and sum of squares; `pairs` (pairs, 2) int64, key of a statistic and index of a document.

    Raises:
        OSError: as `check_table_folder`, or a full disk.
    """
    check_table_folder(folder)
    content = {"format": FORMAT, "version": VERSION, **names}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    arrays = {name: np.ascontiguousarray(array) for name, array in numbers.items()}
    with output_file(folder / TABLE_FILE) as file:
        file.write(save({**arrays, _NAMES: np.frombuffer(text.encode(), dtype=np.uint8)}))
    (folder / NAMES_FILE).unlink(missing_ok=True)


def read_table(folder: Path, build: Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], TableT]) -> TableT:
    """Read a table that `write_table` wrote.

    Args:
        folder: where it was written.
        build: makes the table from `names` and `numbers`.

    Raises:
        FileNotFoundError: there is no table.
        ValueError: the table is damaged, or of a later version; names the folder and the reason.
    """
    if not has_table(folder):
        raise FileNotFoundError(f"{folder} holds no global table ({TABLE_FILE})")
    try:
        numbers = load_file(folder / TABLE_FILE)
        text = numbers.pop(_NAMES, None)
        names = read_json(folder / NAMES_FILE) if text is None else json.loads(text.tobytes())
        _check_format(names)
        _check_numbers(names, numbers)
        return build(names, numbers)
    except KeyError as error:
        raise ValueError(f"{folder}: the global table lacks {error.args[0]!r}; {RESTORE_TABLE}") from None
    except (ValueError, OSError, TypeError, AttributeError, IndexError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{folder}: the global table is damaged: {error}; {RESTORE_TABLE}") from None


def _check_format(names: Any) -> None:
    if not isinstance(names, Mapping) or names.get("format") != FORMAT:
        raise ValueError(f"expected a JSON object with format {FORMAT!r}")
    version = names.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(f"version {version!r} is unknown, this package reads versions 1 to {VERSION}")
    if tuple(names["roles"]) != ROLES:
        raise ValueError(f"roles are {names['roles']}, expected {ROLES}")


def _check_numbers(names: Mapping[str, Any], numbers: Mapping[str, np.ndarray]) -> None:
    cells, moments, pairs = numbers["cells"], numbers["moments"], numbers["pairs"]
    if cells.shape != moments.shape or cells.shape[1:] != (3,) or pairs.shape[1:] != (2,):
        raise ValueError(f"arrays of shapes {cells.shape}, {moments.shape} and {pairs.shape}")
    limits = (len(names["units"]) + FIRST_UNIT, len(names["labels"]), len(ROLES))
    if (cells < 0).any() or (cells >= limits).any():
        raise ValueError(f"a statistic outside {limits[0]} units, {limits[1]} labels and {limits[2]} roles")
    documents = len(names["documents"])
    if len(pairs) and not 0 <= pairs[:, 1].min() <= pairs[:, 1].max() < documents:
        raise ValueError(f"a document outside the {documents} that are named")
    if not np.isfinite(moments).all():
        raise ValueError("a statistic without finite numbers")


@dataclass(frozen=True)
class TableNoise:
    """Noise of local maps and error of the global table over the entities of a corpus, in squared log attributions.

    Attributes:
        local_variance: mean perturbation variance of the local maps (s2), 0 or more.
        tau2: per role of `ROLES` the squared error of the table beyond s2 and the variance of its own means. The
            estimate is unbiased, so it may be slightly below 0 where the table has no error.
        entities: number of entities of the estimate, 1 or more.

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
        """Return the mean of two estimates, weighted by their entities."""
        if other is None:
            return self
        total = self.entities + other.entities
        own_weight, other_weight = self.entities / total, other.entities / total
        return TableNoise(
            own_weight * self.local_variance + other_weight * other.local_variance,
            tuple(own_weight * first + other_weight * second for first, second in zip(self.tau2, other.tau2)),
            total,
        )

    def rounded(self, step: int) -> TableNoise:
        """Return the estimates with two significant digits, and the entities rounded down to a multiple, 1 or more."""
        if step == 1:
            return self
        numbers = (float(f"{value:.2g}") for value in (self.local_variance, *self.tau2))
        return TableNoise(next(numbers), tuple(numbers), max(self.entities // step * step, 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates as JSON values."""
        return {
            "local_variance": self.local_variance,
            "tau2": dict(zip(ROLES, self.tau2)),
            "entities": self.entities,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableNoise:
        """Build the estimates from the values of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: `values` are malformed.
        """
        return cls(values["local_variance"], tuple(values["tau2"][role] for role in ROLES), values["entities"])


def merge_noise(estimates: Sequence[TableNoise | None]) -> TableNoise | None:
    """Merge several estimates; None if all are None."""
    merged: TableNoise | None = None
    for estimate in estimates:
        merged = merged if estimate is None else estimate.merged(merged)
    return merged


MAX_DOCUMENTS = 256
"""Documents that are remembered per statistic; counts of groups beyond are lower bounds."""

COMPACT_AT = 1 << 20

Source = tuple[str, str | None]


class DistinctDocuments:
    """Remembers up to `MAX_DOCUMENTS` documents per key, the same ones in whatever order they are added.

    Attributes:
        sources: (document id, group or None) -> its index.
    """

    def __init__(self) -> None:
        self.sources: dict[Source, int] = {}
        self._pending: list[np.ndarray] = []
        self._pending_rows = 0
        self._pairs = np.zeros((0, 2), dtype=np.int64)  # (key, source) per row, sorted

    def add(self, keys: np.ndarray, document: str, group: str | None = None) -> None:
        """Remember that keys (any shape, int64) were seen in a document."""
        source = self.sources.setdefault((document, group), len(self.sources))
        keys = np.unique(keys)
        self._append(np.stack([keys, np.full_like(keys, source)], 1))

    def extend(self, pairs: np.ndarray, sources: Sequence[Source]) -> None:
        """Add pairs (pairs, 2) of a key and an index into `sources`."""
        indices = [self.sources.setdefault(tuple(source), len(self.sources)) for source in sources]
        renumbered = np.array(indices, dtype=np.int64)[pairs[:, 1]] if len(pairs) else pairs[:, 1]
        self._append(np.stack([pairs[:, 0], renumbered], 1))

    def pairs(self) -> np.ndarray:
        """Return (pairs, 2): key and index of a source, sorted by key."""
        if self._pending:
            self._compact()
        return self._pairs

    def count(self, group_of: Callable[[str], str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Count distinct groups per key.

        Args:
            group_of: group of a document id; default: the group it was added with, or else the document itself.

        Returns:
            Sorted keys (keys,), and number of groups of each (keys,).
        """
        pairs = self.pairs()
        names = [(0, group_of(document)) if group_of else _group(document, group) for document, group in self.sources]
        numbers: dict[tuple[int, str], int] = {}
        groups = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
        by_group = np.unique(np.stack([pairs[:, 0], groups[pairs[:, 1]]], 1), axis=0) if len(pairs) else pairs
        return np.unique(by_group[:, 0], return_counts=True)

    def _append(self, pairs: np.ndarray) -> None:
        self._pending.append(pairs)
        self._pending_rows += len(pairs)
        if self._pending_rows > max(COMPACT_AT, len(self._pairs)):
            self._compact()

    def _compact(self) -> None:
        pairs = np.concatenate([self._pairs, *self._pending])
        pairs = pairs[np.lexsort((pairs[:, 1], self._ranks()[pairs[:, 1]], pairs[:, 0]))]
        is_new = np.ones(len(pairs), dtype=bool)
        is_new[1:] = (pairs[1:] != pairs[:-1]).any(1)
        pairs = pairs[is_new]
        _, firsts, sizes = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        place = np.arange(len(pairs)) - np.repeat(firsts, sizes)
        self._pairs, self._pending, self._pending_rows = pairs[place < MAX_DOCUMENTS], [], 0

    def _ranks(self) -> np.ndarray:
        """Return a rank per source that depends on its names only."""
        digests = [blake2b(repr(source).encode(), digest_size=8).digest() for source in self.sources]
        return np.array([int.from_bytes(digest) >> 1 for digest in digests], dtype=np.int64)


def _group(document: str, group: str | None) -> tuple[int, str]:
    return (1, document) if group is None else (0, group)
