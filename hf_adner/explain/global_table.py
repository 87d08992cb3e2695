"""The global table: what a model's decisions usually rest on, by unit, label and role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hf_adner.explain.cells import FIRST_UNIT, UNSEEN, Cells, Units, own_moments, shrink
from hf_adner.explain.distinct_documents import DistinctDocuments
from hf_adner.explain.passages import Span
from hf_adner.explain.roles import ROLES, character_roles
from hf_adner.model.lexicon_adner import Lexicon

MAX_LABELS = 1 << 12
_CELLS_PER_UNIT = MAX_LABELS * len(ROLES)


class TableEntry(NamedTuple):
    """What the table expects of an entity's map.

    Attributes:
        mean: (length,) log attribution per character.
        variance: (length,) of that mean.
        count: (length,) observations in the finest cell that applies, less where they decayed.
    """

    mean: np.ndarray
    variance: np.ndarray
    count: np.ndarray


class GlobalTable:
    """Means of log attributions per unit, label and role, shrunk by back-off: word -> character -> role alone -> 0.

    Units are characters and, with a lexicon, its words. A cell holds count, sum and sum of squares, so tables of
    several processes can be merged, and an instance's own part can be left out exactly.

    Args:
        kappa: observations that the coarser cell counts for, above 0.
        lexicon: words that are units beside the characters.

    Raises:
        ValueError: kappa out of range.
    """

    def __init__(self, kappa: float = 5.0, lexicon: Lexicon | None = None):
        if not kappa > 0:
            raise ValueError(f"kappa must be above 0, found {kappa!r}")
        self.kappa = float(kappa)
        self._units = Units(lexicon)
        self._cells = Cells()
        self._documents = DistinctDocuments()

    @property
    def lexicon(self) -> Lexicon | None:
        """Words that are units beside the characters."""
        return self._units.lexicon

    @property
    def labels(self) -> list[str]:
        """Labels of which something was added."""
        return self._cells.labels

    def __len__(self) -> int:
        """Units with statistics."""
        return len(self._units)

    # ---- statistics -------------------------------------------------------------------------------------------

    def add(
        self,
        text: str,
        entity: Span,
        log_attributions: Sequence[float],
        *,
        document: str,
        group: str | None = None,
    ) -> None:
        """Add the map of one entity.

        Args:
            text: what the model read: a text, or a window of one.
            entity: start, end and label in it.
            log_attributions: (length,), see `log_attributions`; NaN for characters without one.
            document: id of the document.
            group: whose it is, for instance a patient; counted in place of the document when the table is published.

        Raises:
            ValueError: not one number per character, or an entity outside the text.
        """
        start, end, label = entity
        roles = character_roles(len(text), start, end)
        moments = _moments(log_attributions, len(text))
        units = self._units.enter(text)  # (levels, length)
        levels, places = np.nonzero((units != UNSEEN) & (moments[:, 0] > 0))
        units, roles = units[levels, places], roles[places]
        self._cells.add(label, units, roles, moments[places])
        self._documents.add(self._keys(label, units, roles), document, group)

    def lookup(self, text: str, entity: Span, leave_out: Sequence[float] | np.ndarray | None = None) -> TableEntry:
        """What the table expects of an entity.

        Args:
            text, entity: as for `add`; units, labels and roles that were never seen back off.
            leave_out: the instance's own part, taken away first so that it does not predict itself: (length,) its map
                as it was added once, or (3, length) its count, sum and sum of squares per character where it was added
                repeatedly or decayed since. NaN, or a count of 0, for characters without a map.

        Raises:
            ValueError: an entity outside the text, or `leave_out` of another shape.
        """
        return self.lookup_many([text], [entity], None if leave_out is None else [leave_out])[0]

    def lookup_many(
        self,
        texts: Sequence[str],
        entities: Sequence[Span],
        leave_out: Sequence[Sequence[float] | np.ndarray | None] | None = None,
    ) -> list[TableEntry]:
        """As `lookup`, one entity of each text; many at once cost little more than one.

        Raises:
            ValueError: as `lookup`, or columns of different lengths.
        """
        leave_out = [None] * len(texts) if leave_out is None else leave_out
        if not len(texts) == len(entities) == len(leave_out):
            raise ValueError(f"{len(texts)} texts, {len(entities)} entities and {len(leave_out)} parts to leave out")
        if not texts:
            return []
        units = [self._units.find(text) for text in texts]
        roles = [character_roles(len(text), start, end) for text, (start, end, _) in zip(texts, entities)]
        moments = [
            self._cells.read(label, ids, np.broadcast_to(parts, ids.shape))
            for ids, parts, (_, _, label) in zip(units, roles, entities)
        ]
        together = np.concatenate(moments, 1)  # (levels, all characters, 3)
        together -= self._own(texts, units, roles, leave_out)
        columns = shrink(together, self.kappa, np.concatenate([ids[2] != UNSEEN for ids in units]))
        cuts = np.cumsum([len(text) for text in texts])[:-1]
        return [TableEntry(*parts) for parts in zip(*(np.split(column, cuts) for column in columns))]

    def _own(
        self, texts: Sequence[str], units: Sequence[np.ndarray], roles: Sequence[np.ndarray], leave_out: Sequence
    ) -> np.ndarray | float:
        """What is left out, (levels, all characters, 3)."""
        if all(own is None for own in leave_out):
            return 0.0
        size = (len(self._units) + FIRST_UNIT) * len(ROLES)
        keys = [number * size + ids * len(ROLES) + parts for number, (ids, parts) in enumerate(zip(units, roles))]
        own = [
            np.zeros((len(text), 3)) if values is None else _moments(values, len(text))
            for text, values in zip(texts, leave_out)
        ]
        return own_moments(np.concatenate(keys, 1), np.concatenate(own))

    def merge(self, other: GlobalTable) -> None:
        """Add all of another table's statistics; the order of merging does not matter.

        Raises:
            ValueError: the tables have another kappa or other words.
        """
        self._check_same_kind(other)
        numbers = np.array([*range(FIRST_UNIT), *map(self._units.id_of, other._units.names)], dtype=np.int64)
        for label in other.labels:
            theirs = other._cells.table(label)[: len(numbers)]
            self._cells.table(label, int(numbers.max()) + 1)[numbers[: len(theirs)]] += theirs
        pairs = other._documents.pairs().copy()
        own_labels = np.array([self.labels.index(label) for label in other.labels], dtype=np.int64)
        unit, label, role = self._split(pairs[:, 0])
        if len(pairs):
            pairs[:, 0] = numbers[unit] * _CELLS_PER_UNIT + own_labels[label] * len(ROLES) + role
        self._documents.extend(pairs, list(other._documents.sources))

    def decay(self, rate: float) -> None:
        """Multiply all statistics, so that those of later epochs count for more.

        Raises:
            ValueError: a rate outside (0, 1].
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], found {rate!r}")
        self._cells.scale(rate)

    def _check_same_kind(self, other: GlobalTable) -> None:
        if other.kappa != self.kappa:
            raise ValueError(f"a table with kappa {other.kappa} cannot be merged into one with kappa {self.kappa}")
        words = [() if table.lexicon is None else table.lexicon.words for table in (self, other)]
        if words[0] != words[1]:
            raise ValueError(f"tables with other words cannot be merged ({len(words[0])} and {len(words[1])} words)")

    def _keys(self, label: str, units: np.ndarray, roles: np.ndarray) -> np.ndarray:
        """One number per cell."""
        return units * _CELLS_PER_UNIT + self.labels.index(label) * len(ROLES) + roles

    @staticmethod
    def _split(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Units, numbers of labels and roles of cells."""
        units, rest = np.divmod(keys, _CELLS_PER_UNIT)
        return units, *np.divmod(rest, len(ROLES))


def _moments(values: Sequence[float] | np.ndarray, length: int) -> np.ndarray:
    """Count, sum and sum of squares of each character, (length, 3), of a map or as they are given."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape == (3, length):
        return np.where(values[:1] > 0, values, 0.0).T
    if values.shape != (length,):
        raise ValueError(f"found log attributions of shape {values.shape} for a text of {length} characters")
    present = ~np.isnan(values)
    if np.isinf(values).any():
        raise ValueError("log attributions must be finite, or NaN where a character has none")
    values = np.where(present, values, 0.0)
    return np.stack([present.astype(np.float64), values, values**2], -1)
