"""The global table: what a model's decisions usually rest on, by unit, label and role.

The global table as people read it: the units that matter most in each role.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hf_adner.data.records import EntitySpan
from hf_adner.explain.table_files import (
    LIMIT,
    DistinctDocuments,
    TableNoise,
    TableRecord,
    merge_noise,
    read_table,
    write_table,
)
from hf_adner.explain.targets import TARGETS
from hf_adner.explain.unit_statistics import (
    ANY,
    FIRST_UNIT,
    NOTHING,
    ROLES,
    UNSEEN,
    Units,
    UnitStatistics,
    character_roles,
    own_moments,
    shrink,
)
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.pipeline_adner import check_count


class TopUnit(NamedTuple):
    """A unit of the table in one role of one label.

    Attributes:
        unit: a character or a word.
        mean: its log attribution, shrunk towards the role's mean; 0 is the even share of a character of its text.
        count: observations, less where they decayed.
    """

    unit: str
    mean: float
    count: float


def tops_to_markdown(tops: Mapping[str, Mapping[str, Sequence[TopUnit]]]) -> str:
    """Markdown tables, one for each label: a column per role, best units first, each with its mean and count.

    Args:
        tops: by label and role.
    """
    return "\n".join(_section(label, columns) for label, columns in tops.items())


def _section(label: str, columns: Mapping[str, Sequence[TopUnit]]) -> str:
    rows = [[f"### {_readable(label)}", ""], ["|" + "|".join(f" {role} " for role in ROLES) + "|"]]
    rows.append(["|" + " --- |" * len(ROLES)])
    for place in range(max(map(len, columns.values()), default=0)):
        cells = [_cell(columns[role][place]) if place < len(columns[role]) else "" for role in ROLES]
        rows.append(["| " + " | ".join(cells) + " |"])
    return "\n".join(line for row in rows for line in row) + "\n"


def _cell(top: TopUnit) -> str:
    return f"{_readable(top.unit)} {top.mean:+.2f} ({top.count:.0f})"


def _readable(unit: str) -> str:
    """A unit that shows in a table cell: no signs of markdown or HTML, no invisible characters."""
    return "".join(map(_shown, unit))


def _shown(character: str) -> str:
    if unicodedata.category(character)[0] in "CZ":
        return f"U+{ord(character):04X}"
    if character.isascii() and not character.isalnum():
        return f"&#{ord(character)};"
    return character


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
    several processes can be merged, and an instance's own part can be left out exactly. The table also remembers in
    which documents each cell was seen: it is as private as they are, and only what `publish` gives may leave.

    Args:
        kappa: observations that the coarser cell counts for, above 0.
        lexicon: words that are units beside the characters.
        target: what its maps explain, a name of `hf_adner.explain.targets.TARGETS`.

    Attributes:
        noise: how noisy the maps were and how far the table is off, or None if not estimated.
        min_documents: of a published table in how many documents each of its cells was seen at least; None of others.

    Raises:
        ValueError: kappa out of range, or an unknown target.
    """

    def __init__(self, kappa: float = 5.0, lexicon: Lexicon | None = None, target: str = "label"):
        if not kappa > 0:
            raise ValueError(f"kappa must be above 0, found {kappa!r}")
        if target not in TARGETS:
            raise ValueError(f"target {target!r} is unknown; expected one of {TARGETS}")
        self.kappa, self.target = float(kappa), target
        self._units = Units(lexicon)
        self._cells = UnitStatistics()
        self._documents = DistinctDocuments()
        self.noise: TableNoise | None = None
        self.min_documents: int | None = None

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
        entity: EntitySpan,
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
            ValueError: not one number per character, an entity outside the text, or a published table.
        """
        self._check_is_raw("added to")
        start, end, label = entity
        roles = character_roles(len(text), start, end)
        moments = _moments(log_attributions, len(text))
        units = self._units.enter(text)  # (levels, length)
        levels, places = np.nonzero((units != UNSEEN) & (moments[:, 0] > 0))
        units, roles = units[levels, places], roles[places]
        self._cells.add(label, units, roles, moments[places])
        self._documents.add(self._keys(label, units, roles), document, group)

    def lookup(
        self, text: str, entity: EntitySpan, leave_out: Sequence[float] | np.ndarray | None = None
    ) -> TableEntry:
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
        entities: Sequence[EntitySpan],
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

        The estimates of noise are averaged.

        Raises:
            ValueError: the tables have another kappa, target or other words, or one of them was published.
        """
        self._check_is_raw("merged")
        other._check_is_raw("merged")
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
        self.noise = merge_noise([self.noise, other.noise])

    def decay(self, rate: float) -> None:
        """Multiply all statistics, so that those of later epochs count for more.

        Raises:
            ValueError: a rate outside (0, 1].
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], found {rate!r}")
        self._cells.scale(rate)

    def _check_is_raw(self, what: str) -> None:
        if self.min_documents is not None:
            raise ValueError(f"a published table cannot be {what}: it does not know its documents")

    def _check_same_kind(self, other: GlobalTable) -> None:
        if other.kappa != self.kappa:
            raise ValueError(f"a table with kappa {other.kappa} cannot be merged into one with kappa {self.kappa}")
        if other.target != self.target:
            raise ValueError(f"a table for {other.target!r} cannot be merged into one for {self.target!r}")
        words = [() if table.lexicon is None else table.lexicon.words for table in (self, other)]
        if words[0] != words[1]:
            raise ValueError(f"tables with other words cannot be merged ({len(words[0])} and {len(words[1])} words)")

    # ---- reading ----------------------------------------------------------------------------------------------

    def top(self, label: str, role: str, n: int = 10) -> list[TopUnit]:
        """The units that matter most in a role, for instance the characters that open a Disease.

        Args:
            label: an entity type; one without statistics has no units.
            role: one of `ROLES`.
            n: how many at most.

        Returns:
            Best first. Means are shrunk towards the role's, so that rare units do not come first by chance.

        Raises:
            ValueError: an unknown role.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {ROLES}, found {role!r}")
        ids = np.arange(FIRST_UNIT, FIRST_UNIT + len(self))
        levels = np.stack([np.full_like(ids, ANY), ids, np.full_like(ids, UNSEEN)])  # (levels, units)
        moments = self._cells.read(label, levels, np.full_like(levels, ROLES.index(role)))
        means, _, counts = shrink(moments, self.kappa, np.zeros(len(ids), dtype=bool))
        best = [one for one in np.argsort(-means, kind="stable") if counts[one] > NOTHING][:n]
        return [TopUnit(self._units.names[one], float(means[one]), float(counts[one])) for one in best]

    def to_markdown(self, n: int = 10) -> str:
        """The top units of all labels and roles as Markdown tables; of a raw table it may show what is private."""
        return tops_to_markdown({label: {role: self.top(label, role, n) for role in ROLES} for label in self.labels})

    # ---- files ------------------------------------------------------------------------------------------------

    def publish(
        self, min_documents: int = 5, group_key: Callable[[str], str] | Mapping[str, str] | None = None
    ) -> GlobalTable:
        """The only form of the table that may leave: without rare cells, and without documents.

        A cell that was seen in fewer documents falls back to the coarser one, as if it had never been seen; units and
        words without a cell are not even named.

        Args:
            min_documents: distinct documents, or groups, that each cell needs, 1 to 256.
            group_key: group of a document by its id, for instance its patient; default: the group it was added with,
                or else the document itself.

        Raises:
            ValueError: `min_documents` out of range, or more than an already published table kept to.
            KeyError: `group_key` is a mapping without one of the documents.
        """
        if check_count(min_documents, "min_documents") > LIMIT:
            raise ValueError(f"min_documents must be at most {LIMIT}, found {min_documents!r}")
        if self.min_documents is not None:
            if min_documents > self.min_documents:
                raise ValueError(f"the table was published with min_documents {self.min_documents}; use the raw one")
            return self
        group_of = group_key.__getitem__ if isinstance(group_key, Mapping) else group_key
        cells, documents = self._documents.count(group_of)
        record = self._record(cells[documents >= min_documents])
        public = replace(record, min_documents=min_documents, sources=(), pairs=np.zeros((0, 2), dtype=np.int64))
        return GlobalTable._from_record(public.sorted_by_name())

    def save(self, folder: str | Path) -> None:
        """Write the table; it appears whole or not at all, and takes the place of a table that is there.

        Of a raw table this writes document ids: its place is a checkpoint's `private/`.

        Raises:
            FileExistsError: the folder holds something else than a table.
        """
        write_table(self._record(self._all_cells()), Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> GlobalTable:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no table.
            ValueError: it is damaged, or of a later version; says which file and why.
        """
        return cls._from_record(read_table(Path(folder)))

    def _all_cells(self) -> np.ndarray:
        """Numbers of the cells with observations."""
        found = []
        for number, label in enumerate(self.labels):
            units, roles = np.nonzero(self._cells.table(label)[..., 0])
            found.append(units * _CELLS_PER_UNIT + number * len(ROLES) + roles)
        return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)

    def _record(self, cells: np.ndarray) -> TableRecord:
        units, labels, roles = self._split(cells)
        moments = np.zeros((len(cells), 3))
        for number, label in enumerate(self.labels):
            own = labels == number
            moments[own] = self._cells.read(label, units[own], roles[own])
        return TableRecord(
            kappa=self.kappa,
            target=self.target,
            labels=tuple(self.labels),
            units=tuple(self._units.names),
            words=None if self.lexicon is None else self.lexicon.words,
            cells=np.stack([units, labels, roles], 1),
            moments=moments,
            noise=self.noise,
            min_documents=self.min_documents,
            sources=tuple(self._documents.sources),
            pairs=self._documents.pairs(),
        )

    @classmethod
    def _from_record(cls, record: TableRecord) -> GlobalTable:
        table = cls(record.kappa, None if record.words is None else Lexicon(record.words), record.target)
        for name in record.units:
            table._units.id_of(name)
        units, labels, roles = record.cells.T
        for number, label in enumerate(record.labels):
            own = labels == number
            table._cells.table(label, len(record.units) + FIRST_UNIT)
            table._cells.add(label, units[own], roles[own], record.moments[own])
        table._documents.extend(record.pairs, record.sources)
        table.noise, table.min_documents = record.noise, record.min_documents
        return table

    def _keys(self, label: str, units: np.ndarray, roles: np.ndarray) -> np.ndarray:
        """One number per cell."""
        number = self.labels.index(label)
        if number >= MAX_LABELS:
            raise ValueError(f"a global table holds at most {MAX_LABELS} labels")
        return units * _CELLS_PER_UNIT + number * len(ROLES) + roles

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
