"""The global table: mean log attributions of a model's decisions by unit, label and role."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hf_adner.data.records import EntitySpan
from hf_adner.explain.explanation import ROLES
from hf_adner.explain.table_files import (
    BEFORE_VERSION_3,
    MAX_DOCUMENTS,
    DistinctDocuments,
    TableNoise,
    merge_noise,
    read_table,
    write_table,
)
from hf_adner.explain.targets import TARGETS
from hf_adner.explain.unit_statistics import (
    ANY,
    FIRST_UNIT,
    MIN_COUNT,
    UNSEEN,
    Units,
    UnitStatistics,
    character_roles,
    own_moments,
    rounded,
    shrink,
)
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.pipeline_adner import check_count
from hf_adner.model.script_adner import ScriptMap
from hf_adner.reporting import markdown_table

MAX_LABELS = 1 << 12
_KEYS_PER_UNIT = MAX_LABELS * len(ROLES)


class TopUnit(NamedTuple):
    """A unit of the table in one role of one label.

    Attributes:
        unit: a character or a word.
        mean: its log attribution, shrunk towards the role's mean; 0 is the even share of a character of its text.
        count: observations, fewer where they decayed.
    """

    unit: str
    mean: float
    count: float


class TableEntry(NamedTuple):
    """Expectation of the table for the map of one entity.

    Attributes:
        mean: (length,) log attribution per character.
        variance: (length,) of that mean.
        count: (length,) observations at the finest level that applies, fewer where they decayed.
    """

    mean: np.ndarray
    variance: np.ndarray
    count: np.ndarray


class GlobalTable:
    """Means of log attributions per unit, label and role, shrunk by back-off: word -> character -> role alone -> 0.

    Units are characters and, with a lexicon, its words. Each statistic consists of count, sum and sum of squares, so
    tables of several processes can be merged, and the contribution of one map can be left out exactly. The table also
    remembers in which documents each statistic was seen: it is as private as they are, and only the result of
    `publish` may be shared.

    Args:
        kappa: number of observations that the coarser level counts for, above 0.
        lexicon: words that are units beside the characters.
        target: the explained target of the maps, a name of `hf_adner.explain.targets.TARGETS`.
        script_map: of the tokenizer, so that texts of either script share their statistics.
        explainer: name of the local explainer that makes the maps.

    Attributes:
        noise: noise of the maps and error of the table, or None if not estimated.
        min_documents: of a published table, the least number of documents of each statistic; None for a raw table.

    Raises:
        ValueError: kappa out of range, or an unknown target.
    """

    def __init__(
        self,
        kappa: float = 5.0,
        lexicon: Lexicon | None = None,
        target: str = "label",
        script_map: ScriptMap | None = None,
        explainer: str = "occlusion",
    ):
        if not kappa > 0:
            raise ValueError(f"kappa must be above 0, found {kappa!r}")
        if target not in TARGETS:
            raise ValueError(f"target {target!r} is unknown; expected one of {TARGETS}")
        self.kappa, self.target, self.explainer = float(kappa), target, explainer
        self._units = Units(lexicon, script_map)
        self._statistics = UnitStatistics()
        self._documents = DistinctDocuments()
        self.noise: TableNoise | None = None
        self.min_documents: int | None = None

    @property
    def lexicon(self) -> Lexicon | None:
        """Words that are units beside the characters."""
        return self._units.lexicon

    @property
    def script_map(self) -> ScriptMap | None:
        """How characters are read before they are counted."""
        return self._units.script_map

    @property
    def labels(self) -> list[str]:
        """Labels with statistics."""
        return self._statistics.labels

    def __len__(self) -> int:
        """Return the number of units with statistics."""
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
            text: the text that the model read, which may be a window of a longer one.
            entity: start, end and label in it.
            log_attributions: (length,), see `log_attributions`; NaN for characters without one.
            document: id of the document.
            group: of the document, for instance its patient; counted in place of the document by `publish`.

        Raises:
            ValueError: not one number per character, an entity outside the text, or a published table.
        """
        self._check_is_raw("added to")
        start, end, label = entity
        roles = character_roles(len(text), start, end)
        moments = _moments(log_attributions, len(text))
        units = self._units.add(text)  # (levels, length)
        levels, places = np.nonzero((units != UNSEEN) & (moments[:, 0] > 0))
        units, roles = units[levels, places], roles[places]
        self._statistics.add(label, units, roles, moments[places])
        number = self.labels.index(label)
        if number >= MAX_LABELS:
            raise ValueError(f"a global table holds at most {MAX_LABELS} labels")
        self._documents.add(_pack(units, number, roles), document, group)

    def lookup(
        self, text: str, entity: EntitySpan, leave_out: Sequence[float] | np.ndarray | None = None
    ) -> TableEntry:
        """Return the expected log attributions of one entity.

        Args:
            text, entity: as for `add`; unseen units, labels and roles back off.
            leave_out: the entity's own contribution, subtracted first so that it does not predict itself: (length,)
                its map if it was added once, or (3, length) its count, sum and sum of squares per character if it was
                added repeatedly or decayed since. NaN, or a count of 0, for characters without a map.

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
        """As `lookup` for one entity of each text; many at once cost little more than one.

        Raises:
            ValueError: as `lookup`, or columns of different lengths.
        """
        leave_out = [None] * len(texts) if leave_out is None else leave_out
        if not len(texts) == len(entities) == len(leave_out):
            raise ValueError(f"{len(texts)} texts, {len(entities)} entities and {len(leave_out)} maps to leave out")
        if not texts:
            return []
        units = [self._units.find(text) for text in texts]
        roles = [character_roles(len(text), start, end) for text, (start, end, _) in zip(texts, entities)]
        moments = [
            self._statistics.read(label, ids, np.broadcast_to(parts, ids.shape))
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
        """Compute the moments to subtract, (levels, all characters, 3)."""
        if all(values is None for values in leave_out):
            return 0.0
        size = (len(self._units) + FIRST_UNIT) * len(ROLES)
        keys = [number * size + ids * len(ROLES) + parts for number, (ids, parts) in enumerate(zip(units, roles))]
        own = [
            np.zeros((len(text), 3)) if values is None else _moments(values, len(text))
            for text, values in zip(texts, leave_out)
        ]
        return own_moments(np.concatenate(keys, 1), np.concatenate(own))

    def merge(self, other: GlobalTable) -> None:
        """Add the statistics of another table and average the noise; the order of merging does not matter.

        Raises:
            ValueError: tables of different kappa, target, explainer or words, or a published table.
        """
        self._check_is_raw("merged")
        other._check_is_raw("merged")
        self._check_same_kind(other)
        numbers = np.array([*range(FIRST_UNIT), *map(self._units.id_of, other._units.names)], dtype=np.int64)
        for label in other.labels:
            moments = other._statistics.table(label)[: len(numbers)]
            self._statistics.table(label, int(numbers.max()) + 1)[numbers[: len(moments)]] += moments
        pairs = other._documents.pairs().copy()
        own_labels = np.array([self.labels.index(label) for label in other.labels], dtype=np.int64)
        if len(pairs):
            units, labels, roles = _unpack(pairs[:, 0])
            pairs[:, 0] = _pack(numbers[units], own_labels[labels], roles)
        self._documents.extend(pairs, list(other._documents.sources))
        self.noise = merge_noise([self.noise, other.noise])

    def decay(self, rate: float) -> None:
        """Multiply all statistics by a rate, so that later epochs count for more.

        Raises:
            ValueError: a rate outside (0, 1].
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], found {rate!r}")
        self._statistics.scale(rate)

    def _check_is_raw(self, action: str) -> None:
        if self.min_documents is not None:
            raise ValueError(f"a published table cannot be {action}: it does not know its documents")

    def _check_same_kind(self, other: GlobalTable) -> None:
        if other.kappa != self.kappa:
            raise ValueError(f"a table with kappa {other.kappa} cannot be merged into one with kappa {self.kappa}")
        if other.target != self.target:
            raise ValueError(f"a table for {other.target!r} cannot be merged into one for {self.target!r}")
        if other.script_map != self.script_map:
            raise ValueError("tables of different script maps cannot be merged")
        if other.explainer != self.explainer:
            raise ValueError(f"a table of {other.explainer}'s maps cannot be merged into one of {self.explainer}'s")
        words = [() if table.lexicon is None else table.lexicon.words for table in (self, other)]
        if words[0] != words[1]:
            raise ValueError(
                f"tables of different lexicons cannot be merged ({len(words[0])} and {len(words[1])} words)"
            )

    # ---- reading ----------------------------------------------------------------------------------------------

    def top(self, label: str, role: str, n: int = 10) -> list[TopUnit]:
        """Return the units with the highest means in a role, for instance the first characters of a Disease.

        Args:
            label: an entity type; one without statistics has no units.
            role: one of `ROLES`.
            n: maximum number of units.

        Returns:
            Best first. Means are shrunk towards the role's mean, so that rare units do not come first by chance.

        Raises:
            ValueError: an unknown role.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {ROLES}, found {role!r}")
        ids = np.arange(FIRST_UNIT, FIRST_UNIT + len(self))
        levels = np.stack([np.full_like(ids, ANY), ids, np.full_like(ids, UNSEEN)])  # (levels, units)
        moments = self._statistics.read(label, levels, np.full_like(levels, ROLES.index(role)))
        means, _, counts = shrink(moments, self.kappa, np.zeros(len(ids), dtype=bool))
        best = [index for index in np.argsort(-means, kind="stable") if counts[index] > MIN_COUNT][:n]
        return [TopUnit(self._units.names[index], float(means[index]), float(counts[index])) for index in best]

    def to_markdown(self, n: int = 10) -> str:
        """Return the top units of all labels and roles as Markdown tables; a raw table may show private text."""
        return tops_to_markdown({label: {role: self.top(label, role, n) for role in ROLES} for label in self.labels})

    # ---- files ------------------------------------------------------------------------------------------------

    def publish(
        self, min_documents: int = 5, group_key: Callable[[str], str] | Mapping[str, str] | None = None
    ) -> GlobalTable:
        """Return a table that may be shared: without rare statistics, and without documents.

        Statistics of fewer documents are removed, so that their lookups back off to the coarser level; units and words
        without any statistic are not named. Because exact numbers of two versions of a corpus tell of the documents
        between them, counts are rounded down to multiples of `min_documents`, means and variances to multiples of
        `ROUNDED_TO`, and the noise to two digits. This lowers what two tables tell and does not make it nothing: it
        is no differential privacy. With `min_documents=1` nothing is rounded or removed.

        Args:
            min_documents: least number of distinct documents, or groups, of each statistic, 1 to 256.
            group_key: group of a document by its id, for instance its patient; default: the group it was added with,
                or else the document itself.

        Raises:
            ValueError: `min_documents` out of range, or higher than that of an already published table.
            KeyError: `group_key` is a mapping without one of the documents.
        """
        if check_count(min_documents, "min_documents") > MAX_DOCUMENTS:
            raise ValueError(f"min_documents must be at most {MAX_DOCUMENTS}, found {min_documents!r}")
        if self.min_documents is not None:
            if min_documents > self.min_documents:
                raise ValueError(f"the table was published with min_documents {self.min_documents}; use the raw one")
            return self
        group_of = group_key.__getitem__ if isinstance(group_key, Mapping) else group_key
        keys, documents = self._documents.count(group_of)
        public = self._subset(keys[documents >= min_documents], min_documents)
        public.min_documents = min_documents
        return public

    def _subset(self, keys: np.ndarray, step: int) -> GlobalTable:
        """Return a table of some statistics, rounded.

        Names are sorted, as their order would show where they were in the corpus.
        """
        units, labels, roles = _unpack(keys)
        names = sorted(self._units.names[unit - FIRST_UNIT] for unit in set(units[units >= FIRST_UNIT].tolist()))
        lexicon = None if self.lexicon is None else Lexicon(tuple(name for name in names if len(name) > 1))
        subset = GlobalTable(self.kappa, lexicon, self.target, self.script_map, self.explainer)
        numbers = np.arange(len(self) + FIRST_UNIT)
        for name in names:
            numbers[self._units.id_of(name)] = subset._units.id_of(name)
        for number in sorted(set(labels.tolist()), key=lambda number: self.labels[number]):
            label, own = self.labels[number], labels == number
            subset._statistics.table(label, len(names) + FIRST_UNIT)
            moments = rounded(self._statistics.read(label, units[own], roles[own]), step)
            subset._statistics.add(label, numbers[units[own]], roles[own], moments)
        subset.noise = None if self.noise is None else self.noise.rounded(step)
        return subset

    def save(self, folder: str | Path) -> None:
        """Write the table atomically; an existing table is replaced.

        A raw table is written with its document ids: its place is a checkpoint's `private/`.

        Raises:
            FileExistsError: the folder holds other files.
        """
        write_table(Path(folder), *self._state())

    @classmethod
    def load(cls, folder: str | Path) -> GlobalTable:
        """Read a table that `save` wrote.

        Raises:
            FileNotFoundError: there is no table.
            ValueError: it is damaged, or of a later version; names the folder and the reason.
        """
        return read_table(Path(folder), cls._from_state)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return names and numbers as `write_table` takes them."""
        names = {
            "kappa": self.kappa,
            "target": self.target,
            "explainer": self.explainer,
            "min_documents": self.min_documents,
            "roles": ROLES,
            "labels": self.labels,
            "noise": None if self.noise is None else self.noise.to_dict(),
            "words": None if self.lexicon is None else self.lexicon.words,
            "script": None if self.script_map is None else self.script_map.to_dict(),
            "units": self._units.names,
            "documents": list(self._documents.sources),
        }
        units, labels, roles = _unpack(self._keys())
        moments = np.zeros((len(units), 3))
        for number, label in enumerate(self.labels):
            own = labels == number
            moments[own] = self._statistics.read(label, units[own], roles[own])
        cells = np.stack([units, labels, roles], 1)
        return names, {"cells": cells, "moments": moments, "pairs": self._documents.pairs()}

    @classmethod
    def _from_state(cls, names: Mapping[str, Any], numbers: Mapping[str, np.ndarray]) -> GlobalTable:
        """Build a table from its `_state`."""
        lexicon = None if names["words"] is None else Lexicon(tuple(names["words"]))
        script = names.get("script")  # tables from before there were script maps have none
        script_map = None if script is None else ScriptMap.from_dict(script)
        table = cls(names["kappa"], lexicon, names["target"], script_map, names.get("explainer", BEFORE_VERSION_3))
        for name in names["units"]:
            table._units.id_of(name)
        units, labels, roles = numbers["cells"].T
        for number, label in enumerate(names["labels"]):
            own = labels == number
            table._statistics.table(label, len(names["units"]) + FIRST_UNIT)
            table._statistics.add(label, units[own], roles[own], numbers["moments"][own])
        table._documents.extend(numbers["pairs"], [(document, group) for document, group in names["documents"]])
        table.noise = None if names["noise"] is None else TableNoise.from_dict(names["noise"])
        table.min_documents = names["min_documents"]
        return table

    def _keys(self) -> np.ndarray:
        """Return the keys of all statistics with observations, sorted."""
        keys = []
        for number, label in enumerate(self.labels):
            units, roles = np.nonzero(self._statistics.table(label)[..., 0])
            keys.append(_pack(units, number, roles))
        return np.sort(np.concatenate(keys)) if keys else np.zeros(0, dtype=np.int64)


def _pack(units: np.ndarray, labels: np.ndarray | int, roles: np.ndarray) -> np.ndarray:
    """Return one key per statistic from ids of unit, label and role."""
    return units * _KEYS_PER_UNIT + labels * len(ROLES) + roles


def _unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ids of units, labels and roles of keys."""
    units, rest = np.divmod(keys, _KEYS_PER_UNIT)
    return units, *np.divmod(rest, len(ROLES))


def _moments(values: Sequence[float] | np.ndarray, length: int) -> np.ndarray:
    """Return (length, 3) count, sum and sum of squares per character, from a map (length,) or moments (3, length)."""
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


def tops_to_markdown(tops: Mapping[str, Mapping[str, Sequence[TopUnit]]]) -> str:
    """Return a Markdown table per label: a column per role, best units first, each with its mean and count.

    Args:
        tops: by label and role.
    """
    return "\n".join(_section(label, columns) for label, columns in tops.items())


def _section(label: str, columns: Mapping[str, Sequence[TopUnit]]) -> str:
    size = max(map(len, columns.values()), default=0)
    texts = [[f"{_readable(top.unit)} {top.mean:+.2f} ({top.count:.0f})" for top in columns[role]] for role in ROLES]
    padded = [column + [""] * (size - len(column)) for column in texts]
    table = markdown_table(ROLES, zip(*padded), "l" * len(ROLES))
    return f"### {_readable(label)}\n\n{table}\n"


def _readable(unit: str) -> str:
    """Escape Markdown and HTML as entities, and show invisible characters as code points."""
    return "".join(map(_escape, unit))


def _escape(character: str) -> str:
    if unicodedata.category(character)[0] in "CZ":
        return f"U+{ord(character):04X}"
    if character.isascii() and not character.isalnum():
        return f"&#{ord(character)};"
    return character
