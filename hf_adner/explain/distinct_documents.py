"""In how many distinct documents, or of how many patients, each cell of the global table was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

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
            Cells (cells,), sorted, and numbers of groups (cells,).
        """
        pairs = self.pairs()
        names = [(0, group_of(document)) if group_of else _group(document, group) for document, group in self.sources]
        numbers: dict[tuple[int, str], int] = {}
        groups = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
        by_group = np.unique(np.stack([pairs[:, 0], groups[pairs[:, 1]]], 1), axis=0) if len(pairs) else pairs
        return np.unique(by_group[:, 0], return_counts=True)


def _group(document: str, group: str | None) -> tuple[int, str]:
    return (1, document) if group is None else (0, group)
