"""Codes of entities (ICD-10, or those of a hospital) from a table of words.

An entity is looked up as it is written, then in normal form: ordinary Simplified characters of half width, lower case,
no white space. A word may have codes for some entity types only; they count before those for all types.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .lexicon_adner import lower_by_character, shorten, word_error
from .loading_adner import named_errors, write_atomically
from .script_adner import ScriptMap
from .text_lines_adner import table_rows

CODES_FILE = "codes.tsv"
EXACT, NORMALISED = "exact", "normalised"


class CodeEntry(NamedTuple):
    """A row of the table: a word, its code, and the entity type that it is meant for (empty: every type)."""

    word: str
    code: str
    label: str = ""


class CodeMatch(NamedTuple):
    """The codes of a word, in the order of the table, and how it was found: `EXACT` or `NORMALISED`."""

    codes: tuple[str, ...]
    how: str


@cache
def _standard_map() -> ScriptMap:
    return ScriptMap.standard()


def normal_form(word: str) -> str:
    """Return a word in Simplified characters of half width, lower-cased, without white space."""
    return "".join(lower_by_character(_standard_map()(word)).split())


class CodeTable:
    """A table of words and their codes.

    Args:
        entries: in the order in which the codes of a word count.

    Raises:
        ValueError: a word that is blank or has white space at its ends, or a code that is.
    """

    def __init__(self, entries: Iterable[CodeEntry]) -> None:
        self.entries = tuple(dict.fromkeys(CodeEntry(*entry) for entry in entries))
        self._codes: tuple[dict[tuple[str, str], list[str]], ...] = ({}, {})  # of words, of their normal forms
        for entry in self.entries:
            if error := word_error(entry.word) or (word_error(entry.code) and "has a code that is blank"):
                raise ValueError(f"the word {shorten(entry.word)} {error}")
            for table, word in zip(self._codes, (entry.word, normal_form(entry.word))):
                codes = table.setdefault((word, entry.label), [])
                if entry.code not in codes:
                    codes.append(entry.code)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> CodeTable:
        """Read a table: lines of a word, a code and perhaps a label, with tabs between them.

        Lines that begin with ``#`` are comments.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: a line with other columns, or no row at all; the message names file and line.
        """
        table = cls._read(path)
        if not table.entries:
            raise ValueError(f"{path}: no row found, expected word<TAB>code<TAB>[label]")
        return table

    @classmethod
    def _read(cls, path: str | os.PathLike[str]) -> CodeTable:
        return cls(CodeEntry(*fields) for _, fields in table_rows(Path(path), ("word", "code"), ("label",)))

    @classmethod
    def load_saved(cls, path: str | os.PathLike[str]) -> CodeTable:
        """Read the table that a tokenizer was saved with.

        Raises:
            CheckpointError: the file is damaged.
        """
        with named_errors(str(path)):
            return cls._read(path)  # one without rows may have been emptied

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table, atomically."""
        lines = ["# word\tcode\tlabel", *("\t".join(entry).rstrip("\t") for entry in self.entries)]
        write_atomically(Path(path), "\n".join(lines) + "\n")

    def __add__(self, other: CodeTable) -> CodeTable:
        """Return this table with the rows of `other`, which replace those of the same word and label."""
        replaced = {(entry.word, entry.label) for entry in other.entries}
        kept = [entry for entry in self.entries if (entry.word, entry.label) not in replaced]
        return CodeTable([*kept, *other.entries])

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CodeTable) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return CodeTable, (self.entries,)

    def __repr__(self) -> str:
        return f"CodeTable({len(self)} rows, {len(self.ambiguous())} words with several codes)"

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) of the rows in their order; the same in every process."""
        return hashlib.sha256(repr([tuple(entry) for entry in self.entries]).encode()).hexdigest()

    def ambiguous(self) -> dict[str, tuple[str, ...]]:
        """Return the words that have several codes for one label, or for all, with these codes."""
        return {word: tuple(codes) for (word, _), codes in self._codes[0].items() if len(codes) > 1}

    def find(self, word: str, label: str) -> CodeMatch | None:
        """Return the codes of an entity, None if the table has none.

        Args:
            word: as it is written.
            label: entity type.
        """
        for table, form, how in zip(self._codes, (word, normal_form(word)), (EXACT, NORMALISED)):
            for wanted in (label, ""):
                if codes := table.get((form, wanted)):
                    return CodeMatch(tuple(codes), how)
        return None


def code_record(match: CodeMatch | None) -> dict[str, Any]:
    """Return the code of an entity as JSON values: `code`, `code_match`, and other codes as `code_alternatives`."""
    if match is None:
        return {"code": None}
    record = {"code": match.codes[0], "code_match": match.how}
    return record | ({"code_alternatives": list(match.codes[1:])} if len(match.codes) > 1 else {})


def choose_codes(choice: Any, tokenizer: Any = None) -> Any:
    """Return the table of a `codes` argument, None for none.

    Args:
        choice: False or None; True for the table of the checkpoint's tokenizer; the path of a table, which is added to
            that if there is one; or a `CodeTable`.
        tokenizer: of the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: True, but the checkpoint has no table; or see `CodeTable.from_file`.
        TypeError: another value.
    """
    if choice is None or choice is False:
        return None
    if hasattr(choice, "entries"):  # not isinstance: see remote_code_adner
        return choice
    own = getattr(tokenizer, "code_table", None)
    if choice is True:
        if own is None:
            raise ValueError(f"codes=True, but the checkpoint has no table of codes ({CODES_FILE}); name a file")
        return own
    if isinstance(choice, (str, os.PathLike)):
        table = CodeTable.from_file(choice)
        return table if own is None else own + table
    raise TypeError(f"codes is {type(choice).__name__}, expected True, False, a path or a CodeTable")


def add_codes(found: Sequence[Sequence[dict[str, Any]]], table: Any) -> None:
    """Add `code`, and what `code_record` has beside it, to the entities of a pipeline."""
    for entity in (entity for entities in found for entity in entities):
        entity |= code_record(table.find(entity["word"], entity["entity_group"]))
