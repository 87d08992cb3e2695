"""The formats that can be read, their names, and how a file's format is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.brat import BratReader
from hf_adner.data.readers.chip_sts import ChipStsReader
from hf_adner.data.readers.cmeee import CmeeeReader
from hf_adner.data.readers.conll import ConllReader
from hf_adner.data.readers.doccano import DoccanoReader
from hf_adner.data.readers.imcs import ImcsReader
from hf_adner.data.readers.json_stream import JsonStream, begins_with, json_records
from hf_adner.data.readers.jsonl import JsonlReader
from hf_adner.data.readers.label_studio import LabelStudioReader
from hf_adner.data.readers.reader import Reader
from hf_adner.data.readers.source import TextSource
from hf_adner.data.readers.table import CsvReader, ExcelReader, TsvReader
from hf_adner.data.readers.text import LinesReader, TextReader

READERS: dict[str, type[Reader]] = {
    "brat": BratReader,
    "chip-sts": ChipStsReader,
    "cmeee": CmeeeReader,
    "conll": ConllReader,
    "csv": CsvReader,
    "doccano": DoccanoReader,
    "excel": ExcelReader,
    "imcs": ImcsReader,
    "jsonl": JsonlReader,
    "label-studio": LabelStudioReader,
    "lines": LinesReader,
    "text": TextReader,
    "tsv": TsvReader,
}
"""Reader of each format."""

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cmeee-v1": ("cmeee", {}),
    "cmeee-v2": ("cmeee", {}),
    "json": ("jsonl", {}),
    "bio": ("conll", {"scheme": "bio"}),
    "bmes": ("conll", {"scheme": "bmes"}),
    "bioes": ("conll", {"scheme": "bioes"}),
    "bilou": ("conll", {"scheme": "bilou"}),
    "imcs-bio": ("conll", {"scheme": "bio"}),
    "imcs-v2-ner": ("imcs", {}),
    "chip": ("chip-sts", {}),
    "label-studio-min": ("label-studio", {}),
    "xlsx": ("excel", {}),
    "txt": ("text", {}),
}
"""Other names: the format they mean and the options that go with them."""

_LOOKED_AT = 50
_EXCEL = {".xlsx", ".xlsm"}
_SEPARATED = {".csv": "csv", ".tsv": "tsv"}


def resolve_format(name: str) -> tuple[str, dict[str, Any]]:
    """A format's own name and the options an alias stands for.

    Raises:
        ValueError: unknown format.
    """
    key = name.lower().replace("_", "-")
    format_name, options = ALIASES.get(key, (key, {}))
    if format_name not in READERS:
        raise ValueError(f"format {name!r} is unknown; known: {', '.join(sorted(READERS))}")
    return format_name, dict(options)


def detect_format(path: str | Path) -> str:
    """Name of the format of a file, from its suffix and its first records.

    A folder is brat if it holds `.ann` files.

    Raises:
        DataFormatError: the format cannot be told, or the file is empty or not text.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        return _format_of_folder(path)
    if path.suffix.lower() in _EXCEL:
        return "excel"
    if path.suffix.lower() == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").exists()):
        return "brat"
    return _format_of_text(TextSource(path))


def _format_of_folder(path: Path) -> str:
    if next(path.rglob("*.ann"), None):
        return "brat"
    raise DataFormatError("the folder holds no .ann files; expected brat files, or the path of a data file", path=path)


def _format_of_text(source: TextSource) -> str:
    if begins_with(source, _JSON):
        return _format_of_json(source)
    suffix = source.path.suffix.lower()
    if suffix in _SEPARATED and begins_with(source, _HEADER_WITH_TEXT):
        return _SEPARATED[suffix]
    if _has_tags(source):
        return "conll"
    if suffix == ".txt":
        return "text"
    raise DataFormatError(
        f"the format cannot be told from the file; name it (format=...), one of {', '.join(sorted(READERS))}",
        path=source.path,
    )


_JSON = re.compile(r"\s*[\[{]")
_HEADER_WITH_TEXT = re.compile(r"[^\n]*\btext\b", re.IGNORECASE)
_TAGGED = re.compile(r"[^\t]+[\t ](O|[BIMELSU]-\S.*)\s*")


def _has_tags(source: TextSource) -> bool:
    lines = (line for _, line in source.lines() if line.strip(" \t") and not line.startswith(("# ", "-DOCSTART-")))
    looked_at = list(islice(lines, _LOOKED_AT))
    tagged = sum(_TAGGED.fullmatch(line) is not None for line in looked_at)
    return tagged > len(looked_at) / 2


def _format_of_json(source: TextSource) -> str:
    if _is_dialogue_file(source):
        return "imcs"
    records = [raw.value for raw in _readable(json_records(source)) if isinstance(raw.value, dict)]
    told = next(filter(None, map(_format_of_record, records)), None)
    if told:
        return told
    if any("text" in record for record in records):
        return "cmeee" if source.path.suffix == ".json" else "jsonl"
    raise DataFormatError(
        "the JSON records are of no known format; expected a key such as 'text', 'text1', 'data' or 'dialogue'",
        path=source.path,
    )


def _readable(records: Iterator[Any]) -> list[Any]:
    """The first records, up to one that breaks the file off: reading it in earnest will say what is wrong."""
    found: list[Any] = []
    try:
        found.extend(islice(records, 1))
        found.extend(islice(records, _LOOKED_AT))
    except DataFormatError:
        if not found:
            raise
    return found


def _is_dialogue_file(source: TextSource) -> bool:
    if not begins_with(source, _OBJECT):
        return False
    try:
        first = next(JsonStream(source).members(), None)
    except DataFormatError:
        return False
    return first is not None and isinstance(first.value, dict) and "dialogue" in first.value


_OBJECT = re.compile(r"\s*\{")


def _format_of_record(record: Mapping[str, Any]) -> str | None:
    """What one record tells about its format, None where it fits several."""
    if "text1" in record and "text2" in record:
        return "chip-sts"
    if isinstance(record.get("data"), dict) or "annotations" in record:
        return "label-studio"
    spans = record.get("label", record.get("labels"))
    if isinstance(spans, list):
        return "label-studio" if spans and isinstance(spans[0], dict) else "doccano"
    return _format_of_entities(record.get("entities"))


def _format_of_entities(entities: Any) -> str | None:
    if not isinstance(entities, list) or not entities or not isinstance(entities[0], dict):
        return None
    by_key = {"start_idx": "cmeee", "start_offset": "doccano", "start": "jsonl"}
    return next((name for key, name in by_key.items() if key in entities[0]), None)
