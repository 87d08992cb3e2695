"""Typed words that an entity must be, or must not be: a table, and what it says about the spans of a text.

Words are found as the tokenizer reads the text, so in either script and case if it maps both. The constraints hold in
the model's distribution (`conditioned_adner`), not in its results.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .lexicon_adner import Lexicon, Match, as_read, leftmost_longest, shorten, word_error
from .script_adner import ScriptMap
from .span_tracks_adner import SpanCondition
from .text_lines_adner import table_rows
from .windows_adner import Window, prediction_windows, training_windows

ANY_LABEL = "*"
FORCE, FORBID = "force", "forbid"


class Constraint(NamedTuple):
    """A row of the table.

    Attributes:
        word: the word.
        label: entity type, or `ANY_LABEL` of a forbidden word.
        forced: the word is an entity of the label wherever it occurs; else it is none of it anywhere.
        place: where the row stands, for error messages.
    """

    word: str
    label: str
    forced: bool = True
    place: str = ""


class Constraints:
    """A table of typed words.

    Args:
        rows: the constraints, in any order; the same one may be there twice.

    Raises:
        ValueError: a word that is blank or has white space at its ends, a row without a label, or rows that contradict
            each other: a word forced to be two labels, or forced and forbidden.
    """

    def __init__(self, rows: Iterable[Constraint]) -> None:
        self.rows = tuple(dict.fromkeys(rows))
        for row in self.rows:
            error = word_error(row.word) or ("" if row.label else "has no label")
            if error or (row.forced and row.label == ANY_LABEL):
                error = error or "cannot be forced to any label"
                raise ValueError(f"{row.place or 'constraints'}: the word {shorten(row.word)} {error}")
        _rules(self.rows, str)
        self._readers: dict[Any, ConstraintReader] = {}

    @classmethod
    def of(
        cls, force: Mapping[str, str] | None = None, forbid: Mapping[str, str | Iterable[str]] | None = None
    ) -> Constraints:
        """Create constraints from mappings of words to labels.

        Args:
            force: word -> label that it is wherever it occurs.
            forbid: word -> label or labels that it never is; ``"*"`` stands for every label.

        Raises:
            ValueError: see the class.
        """
        rows = [Constraint(word, label) for word, label in (force or {}).items()]
        for word, labels in (forbid or {}).items():
            rows += [Constraint(word, label, False) for label in ([labels] if isinstance(labels, str) else labels)]
        return cls(rows)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Constraints:
        """Read a table: lines of a word, a label and ``force`` (the default) or ``forbid``, with tabs between them.

        Lines that begin with ``#`` are comments.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a line with other columns, no row at all, or as the class; the message names file and line.
        """
        rows = []
        for place, (word, label, action) in table_rows(Path(path), ("word", "label"), ("force or forbid",)):
            if action not in ("", FORCE, FORBID):
                raise ValueError(f"{place}: found {shorten(action)}, expected {FORCE} or {FORBID}")
            rows.append(Constraint(word, label, action != FORBID, place))
        if not rows:
            raise ValueError(f"{path}: no row found, expected word<TAB>label<TAB>[{FORCE} or {FORBID}]")
        return cls(rows)

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of the rows; the same in every process."""
        return hashlib.sha256(repr(sorted(row[:3] for row in self.rows)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Constraints({len(self)} rows, hash={self.hash[:12]!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Constraints, (self.rows,)

    def reader(
        self,
        labels: Sequence[str],
        *,
        lower_case: bool = False,
        script_map: ScriptMap | None = None,
        nested: bool = False,
    ) -> ConstraintReader:
        """Return the constraints as they apply to texts that a model reads.

        Args:
            labels: entity types of the model.
            lower_case, script_map: of its tokenizer.
            nested: the model has a path for each label, so that the words of one label do not exclude those of another.

        Raises:
            ValueError: a label that the model does not have, or words that contradict each other as the tokenizer
                reads them; the message names the place of the row.
        """
        key = (tuple(labels), lower_case, None if script_map is None else script_map.hash, nested)
        if key not in self._readers:
            read = partial(as_read, lower_case=lower_case, script_map=script_map)
            for row in self.rows:
                if row.label not in (ANY_LABEL, *labels):
                    place = row.place or "constraints"
                    raise ValueError(
                        f"{place}: the model does not have the label {shorten(row.label)}; it has {list(labels)}"
                    )
            self._readers[key] = ConstraintReader(_rules(self.rows, read), tuple(labels), read, nested)
        return self._readers[key]


@dataclass
class _Rule:
    """What a word must be (None: nothing), and the labels that it must not be."""

    forced: Constraint | None = None
    forbidden: dict[str, Constraint] = field(default_factory=dict)


def _rules(rows: Iterable[Constraint], read: Any) -> dict[str, _Rule]:
    """Return the rule of each word as it is read.

    Raises:
        ValueError: rows that contradict each other.
    """
    rules: dict[str, _Rule] = defaultdict(_Rule)
    for row in rows:
        rule = rules[read(row.word)]
        if not row.forced:
            rule.forbidden[row.label] = row
            continue
        if rule.forced is not None and rule.forced.label != row.label:
            raise _contradiction(row, rule.forced)
        rule.forced = row
    for rule in rules.values():
        for label in (rule.forced.label, ANY_LABEL) if rule.forced else ():
            if label in rule.forbidden:
                raise _contradiction(rule.forbidden[label], rule.forced)
    return dict(rules)


def _contradiction(row: Constraint, other: Constraint) -> ValueError:
    sides = [f"{shorten(one.word)} is {FORCE if one.forced else FORBID} {one.label}" for one in (row, other)]
    places = [f" ({one.place})" if one.place else "" for one in (row, other)]
    return ValueError(f"{row.place or 'constraints'}: {sides[0]}, but {sides[1]}{places[1]}")


class ConstraintReader:
    """Constraints as a tokenizer reads words and texts; made by `Constraints.reader`."""

    def __init__(self, rules: Mapping[str, _Rule], labels: tuple[str, ...], read: Any, nested: bool) -> None:
        self._rules, self._labels, self._read, self._nested = rules, labels, read, nested
        self._words = Lexicon(rules)

    def conditions(self, text: str) -> list[SpanCondition]:
        """Return what the constraints say about a text, sorted.

        A forbidden word holds wherever it occurs. A forced one holds where it is the longest word of the table, from
        left to right; inside or across a longer one, forced or forbidden, it does not count.
        """
        matches = self._words.match(self._read(text))
        found = set()
        for match in matches:
            rule = self._rules[self._words.words[match[0] - 1]]
            labels = self._labels if ANY_LABEL in rule.forbidden else rule.forbidden
            found |= {SpanCondition(match[1], match[2], label, False) for label in labels}
        for label in self._labels if self._nested else ("",):
            for number, start, end in leftmost_longest(self._rivals(matches, label)):
                forced = self._rules[self._words.words[number - 1]].forced
                if forced is not None and label in ("", forced.label):
                    found.add(SpanCondition(start, end, forced.label, True))
        return sorted(found)

    def _rivals(self, matches: Sequence[Match], label: str) -> list[Match]:
        """Return the matches of which only disjoint ones count: all, or those that speak of a label."""
        if not label:
            return list(matches)
        rules = [self._rules[self._words.words[match[0] - 1]] for match in matches]
        return [
            match
            for match, rule in zip(matches, rules)
            if (rule.forced and rule.forced.label == label) or {label, ANY_LABEL} & rule.forbidden.keys()
        ]

    def windows(self, text: str, size: int, overlap: int) -> list[Window]:
        """Cover a text with windows whose edges cut no forced word; without one as `prediction_windows`.

        Raises:
            ValueError: a forced word, or a chain of overlapping ones, is longer than a window.
        """
        forced = [one for one in self.conditions(text) if one.forced] if len(text) > size else []
        if not forced:
            return prediction_windows(len(text), size, overlap)
        longest = max(one.end - one.start for one in forced)
        if longest > size:
            raise ValueError(f"a forced word has {longest} characters, more than a window of {size}")
        return training_windows(len(text), size, overlap, forced)


def in_window(conditions: Iterable[SpanCondition], window: Window) -> list[SpanCondition]:
    """Return the conditions on spans within a window, in positions of the window."""
    start, end = window
    return [
        one._replace(start=one.start - start, end=one.end - start)
        for one in conditions
        if start <= one.start and one.end <= end
    ]


def as_constraints(choice: Any) -> Any:
    """Return the `Constraints` of a `constraints` argument, None for none.

    Args:
        choice: None; the path of a table; a mapping of words to the labels that they are; or `Constraints`.

    Raises:
        FileNotFoundError, ValueError: see `Constraints.from_file`.
        TypeError: another value.
    """
    if choice is None or hasattr(choice, "reader"):  # not isinstance: see remote_code_adner
        return choice
    if isinstance(choice, (str, os.PathLike)):
        return Constraints.from_file(choice)
    if isinstance(choice, Mapping):
        return Constraints.of(force=choice)
    raise TypeError(f"constraints is {type(choice).__name__}, expected a path, a mapping or Constraints")


def choose_constraints(choice: Any, config: Any, tokenizer: Any) -> ConstraintReader | None:
    """Return the constraints of a `constraints` argument for a model, None for none.

    Args:
        choice: see `as_constraints`.
        config: of the model (`entity_types`, `use_crf`, `is_per_label`).
        tokenizer: of the model.

    Raises:
        FileNotFoundError, TypeError, ValueError: see `as_constraints` and `Constraints.reader`.
        ValueError: a forbidden word for a model without a CRF.
    """
    choice = as_constraints(choice)
    if choice is None:
        return None
    if not config.use_crf and (row := next((row for row in choice.rows if not row.forced), None)):
        raise ValueError(
            f"{row.place or 'constraints'}: a forbidden word needs a CRF; this model labels each token on its own "
            "(softmax head), so only forced words can be exact"
        )
    options = {"lower_case": tokenizer.do_lower_case, "script_map": tokenizer.script_map}
    return choice.reader(config.entity_types, nested=getattr(config, "is_per_label", False), **options)


def mark_forced(text: str, entities: Iterable[dict[str, Any]], constraints: ConstraintReader) -> None:
    """Add `forced` to the entities of a pipeline: whether a constraint made the entity.

    A forced entity is certain; calibration, which is fitted to the model's own entities, does not apply to its scores.
    """
    forced = {one[:3] for one in constraints.conditions(text) if one.forced}
    for entity in entities:
        entity["forced"] = (entity["start"], entity["end"], entity["entity_group"]) in forced
        if entity["forced"]:
            entity |= dict.fromkeys(("score", "start_score", "end_score"), 1.0)
