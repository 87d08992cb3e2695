"""Script normalisation: one character for each, so that a text in either script reads the same to the model.

A model that was trained on Simplified text loses a quarter of its entities in Traditional text, whose characters it has
hardly seen. Both, and variant and full-width characters, are mapped at the tokenizer's door. The map is one to one, so
every character keeps its place; offsets and words of the results are those of the text as it was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .loading_adner import RESTORE, CheckpointError, named_errors, read_json_object, write_atomically
from .script_table_adner import READ, WRITTEN

SCRIPT_FILE = "script_map.json"
FORMAT = "adner-script-map"
VERSION = 1


class ScriptMap:
    """A map of characters to characters.

    Args:
        forms: written character -> the one that is read in its place.

    Attributes:
        hash: SHA-256 (hexadecimal) of the pairs; the same in every process.

    Raises:
        ValueError: a key or value that is not one character, or a value that is itself mapped to another.
    """

    def __init__(self, forms: Mapping[str, str]) -> None:
        self.forms = {written: read for written, read in sorted(forms.items()) if written != read}
        for written, read in self.forms.items():
            if len(written) != 1 or len(read) != 1 or "\ud800" <= max(written, read) <= "\udfff":
                raise ValueError(f"{written[:8]!r} -> {read[:8]!r}: expected one character for one")
            if read in self.forms:
                raise ValueError(f"{written!r} is read as {read!r}, which is itself read as {self.forms[read]!r}")
        self.hash: str = hashlib.sha256("\n".join(map("".join, self.forms.items())).encode()).hexdigest()
        self._table = str.maketrans(self.forms)

    @classmethod
    def standard(cls) -> ScriptMap:
        """Return the map of Traditional, variant and full-width characters that the package contains."""
        return cls(dict(zip(WRITTEN, READ, strict=True)))

    def for_vocabulary(self, vocabulary: Collection[str], lower_case: bool = False) -> ScriptMap:
        """Return the map without the characters that a vocabulary has, but whose form it lacks.

        Args:
            vocabulary: the tokens.
            lower_case: the tokenizer lower-cases what it has mapped.
        """
        kept = {}
        for written, read in self.forms.items():
            known = (written.lower() if lower_case else written) in vocabulary
            if not known or (read.lower() if lower_case else read) in vocabulary:
                kept[written] = read
        return ScriptMap(kept)

    def __call__(self, text: str) -> str:
        """Return the text as it is read, of the same length."""
        return text.translate(self._table)

    def __len__(self) -> int:
        return len(self.forms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScriptMap) and self.forms == other.forms

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"ScriptMap({len(self)} characters, hash={self.hash[:12]!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the map as a JSON object: `written` and `read` are strings of equal length."""
        return {"written": "".join(self.forms), "read": "".join(self.forms.values())}

    @classmethod
    def from_dict(cls, record: Mapping[str, str]) -> ScriptMap:
        """Return the map of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: the record is not one of `to_dict`.
        """
        return cls(dict(zip(record["written"], record["read"], strict=True)))

    def save(self, path: Path) -> None:
        """Write the map as a JSON file, atomically."""
        record = {"format": FORMAT, "version": VERSION, "hash": self.hash, **self.to_dict()}
        write_atomically(path, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> ScriptMap:
        """Read a file written by `save`.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, of another format or version, or was changed after it was saved.
        """
        record = read_json_object(path)
        header = (record.get("format"), record.get("version"))
        if header != (FORMAT, VERSION):
            raise CheckpointError(f"{path}: found format {header!r}, expected {(FORMAT, VERSION)!r}")
        with named_errors(str(path)):
            script_map = cls.from_dict(record)
        if record.get("hash") != script_map.hash:
            raise CheckpointError(f"{path} was changed after it was saved; {RESTORE}")
        return script_map

    @classmethod
    def load_saved(cls, path: str | None, expected_hash: str) -> ScriptMap:
        """Load the map that a tokenizer was saved with.

        Raises no `OSError`, whose message the base class of tokenizers would hide.

        Raises:
            CheckpointError: the file is missing or damaged, or holds another map.
        """
        if path is None or not Path(path).is_file():
            raise CheckpointError(f"the tokenizer was saved with a script map, but {SCRIPT_FILE} is missing; {RESTORE}")
        script_map = cls.load(Path(path))
        if script_map.hash == expected_hash:
            return script_map
        raise CheckpointError(
            f"{path}: map has hash {script_map.hash[:12]}, script_hash of tokenizer_config.json is "
            f"{expected_hash[:12]}; {RESTORE}"
        )
