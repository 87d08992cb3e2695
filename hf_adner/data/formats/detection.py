"""Detection of a file's format from its suffix and its first lines or records.

A file whose suffix says plain text, but whose lines look annotated in a form that no reader knows, is refused: as plain
text it would silently lose its entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.conll import columns_of_line, is_tag
from hf_adner.data.formats.hf_dataset import is_dataset
from hf_adner.data.formats.label_studio import is_label_studio
from hf_adner.data.formats.reader import RawRecord, as_object
from hf_adner.data.formats.source import JsonStream, TextSource, begins_with, json_records

JSON_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson"))
TABLE_SUFFIXES = {".csv": "csv", ".tsv": "tsv"}
EXCEL_SUFFIXES = frozenset((".xlsx", ".xlsm"))
TAG_SUFFIXES = frozenset((".conll", ".bio", ".iob", ".bmes", ".bioes"))
TEXT_SUFFIXES = frozenset((".txt", ".text"))

HINT = "format= (--format) names the format"
_SAMPLE = 50
"""Number of lines or records from which a format is detected."""
_MAX_TOKEN = 20
"""Number of characters of the longest token that a tag is expected to follow."""
_JSON_RECORDS = re.compile(r"\s*(\{|\[\s*\{)\s*\"")  # a note may begin with [ or {
_JSON_OBJECT = re.compile(r"\s*\{")
_CHARACTER_AND_TAG = re.compile(
    r"\S{1,4}[ \t,;:|/]+(?P<tag>[BIMESLUO]|[BIMESLU][-_.:|/#]\S+|\S+[-_.:|/#][BIMESLU])\s*", re.I
)
_CHARACTER_AND_WORD = re.compile(r"[^\x00-\x7f][ \t]+(?P<tag>\S+)\s*")
_INLINE_TAG = re.compile(r"[^\s/|\\]+?[/|\\_](?P<tag>O\b|[BIMESLU][-_](?:[A-Za-z0-9_-]+|[^\s/|\\]+))")
_WORD_AND_LABEL = re.compile(r"[\u4e00-\u9fff]{1,12}[/|\\_](?P<tag>[A-Za-z][\w-]*)")
_ELEMENT = re.compile(r"<(?P<tag>[^\W\d][\w:.-]*)(?:\s[^<>]*)?>[^<>]+</(?P=tag)>")
_TYPOGRAPHY = frozenset("a b br div em font h1 h2 h3 i li ol p pre s span strong sub sup table td tr u ul".split())
_MARKED = re.compile(  # of BosonNLP, PubTator and i2b2
    r"\{\{(?P<tag>[^\W\d]\w*):[^{}]+\}\}|^\w+(?P<title>\|t\|).*\n\w+\|a\||^c=\".*\|\|t=(?P<type>\"\w+\")$", re.MULTILINE
)
_LISTED_ENTITY = re.compile(r"(?P<surface>[^\t]+)\t(?P<start>\d{1,9})\t(?P<end>\d{1,9})\t(?P<tag>\S+)")


def detect_format(path: str | Path, encoding: str | None = None, text_column: str | None = None) -> str:
    """Detect the format of a file from its suffix and its first records.

    A folder is brat if it contains `.ann` files.

    Args:
        path: the file or folder.
        encoding: encoding of the file; None detects it.
        text_column: column or key that holds the text, if it is not `text`.

    Raises:
        DataFormatError: the format cannot be detected, or the file is empty or not text.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if is_dataset(path):
        return "dataset"
    if path.is_dir():
        return _format_of_folder(path)
    suffix = path.suffix.lower()
    if suffix in EXCEL_SUFFIXES:
        return "excel"
    if suffix == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").exists()):
        return "brat"
    source = TextSource(path, encoding)
    if suffix in JSON_SUFFIXES or begins_with(source, _JSON_RECORDS):
        return _format_of_json(source, text_column or "text")
    return _format_of_lines(source, suffix, text_column or "text")


def _format_of_folder(path: Path) -> str:
    if next(path.rglob("*.ann"), None):
        return "brat"
    raise DataFormatError("the folder has no .ann files; expected brat files, or the path of a data file", path=path)


def _format_of_lines(source: TextSource, suffix: str, text_column: str) -> str:
    lines = (line for _, line in source.lines() if line.strip(" \t") and not line.startswith(("# ", "-DOCSTART-")))
    sample = list(islice(lines, _SAMPLE))
    table = _table_of_header(sample[0] if sample else "", text_column)
    if table:
        return table
    fewest = 1 if suffix in TEXT_SUFFIXES else 0  # a single line may be a note that ends with such a word
    if suffix in TAG_SUFFIXES or sum(map(_is_tagged, sample)) > max(fewest, len(sample) / 2):
        return "conll"
    if suffix in TABLE_SUFFIXES:
        return TABLE_SUFFIXES[suffix]
    if suffix in TEXT_SUFFIXES:
        _check_plain(sample, source.path)
        return "text"
    raise DataFormatError(f"the format cannot be detected; {HINT}", path=source.path)


def _table_of_header(line: str, text_column: str) -> str | None:
    """Return the format of the table that has this line as header, None if it is no header of documents."""
    for format_name, separator in (("tsv", "\t"), ("csv", ",")):
        columns = {column.strip(' "\ufeff').lower() for column in line.split(separator)}
        if text_column.lower() in columns and columns & {"id", "start", "entities", "label"}:
            return format_name
    return None


def _is_tagged(line: str) -> bool:
    columns = columns_of_line(line.rstrip(" \t"))
    return len(columns) > 1 and len(columns[0]) <= _MAX_TOKEN and is_tag(columns[-1])


def _check_plain(sample: list[str], path: Path) -> None:
    """Raise if lines of a text look annotated.

    Raises:
        DataFormatError: names what was seen; the text itself is not shown.
    """
    seen = _annotation_in(sample)
    if seen:
        kind, tag = seen
        raise DataFormatError(
            f"the text looks annotated ({kind} such as {excerpt(tag, 12)}), but not in a form that is known: "
            "as plain text it would have no entities; format='text' (--format text) reads it so, 'conll' expects "
            "a character, a blank or tab, and a tag like B-Type on each line",
            path=path,
        )


def _annotation_in(sample: list[str]) -> tuple[str, str] | None:
    """Return what kind of annotation the lines seem to have and the first tag, None if they look like plain text."""
    for pattern in (_CHARACTER_AND_TAG, _CHARACTER_AND_WORD):
        matches = [match for match in map(pattern.fullmatch, sample) if match]
        is_tagged = pattern is _CHARACTER_AND_TAG or len({match["tag"] for match in matches}) < len(matches)
        if len(matches) > max(2, len(sample) / 2) and is_tagged:  # words that never come again are findings
            return "lines of a character and a tag", matches[0]["tag"]
    listed = [match for match in map(_LISTED_ENTITY.fullmatch, sample) if match and _is_listed_entity(match)]
    if len(listed) > len(sample) / 2:
        return "lines of an entity, its offsets and a label", listed[0]["tag"]
    text = "\n".join(sample)
    for pattern in (_INLINE_TAG, _WORD_AND_LABEL):
        matches = list(pattern.finditer(text))
        if len(matches) > 2 and sum(match.end() - match.start() for match in matches) > len(text) / 2:
            return "tags behind words", matches[0]["tag"]
    if marked := _MARKED.search(text):
        return "marks", marked[marked.lastgroup]
    names = [element["tag"] for element in _ELEMENT.finditer(text) if element["tag"].lower() not in _TYPOGRAPHY]
    return ("elements in angle brackets", names[0]) if names else None


def _is_listed_entity(match: re.Match[str]) -> bool:
    return len(match["surface"]) in (length := int(match["end"]) - int(match["start"]), length + 1)


def _format_of_json(source: TextSource, text_key: str) -> str:
    if _is_dialogue_file(source):
        return "imcs"
    first = _first_records(json_records(source))
    records = [raw.value for raw in first if isinstance(raw.value, dict)]
    if not records:
        raise _no_record(source.path, first)
    detected = next(filter(None, map(_format_of_record, records)), None)
    if detected:
        return detected
    if any(text_key in record for record in records):
        return "cmeee" if source.path.suffix == ".json" else "jsonl"
    keys = ", ".join(excerpt(key, 20) for key in list(records[0])[:6]) or "none"
    raise DataFormatError(
        f"the format of the JSON records is unknown; expected a key such as 'text', 'text1', 'data' or 'dialogue', "
        f"found {keys}; {HINT}, text_column= (--text-column) the key that holds the text",
        path=source.path,
    )


def _no_record(path: Path, first: list[RawRecord]) -> DataFormatError:
    """Return the error of the first record of a file in which no inspected record can be used."""
    if not first:
        return DataFormatError("the file has no documents", path=path)
    try:
        as_object(first[0].value)
    except DataFormatError as error:
        return error.located(path, first[0].line, first[0].key)
    raise AssertionError("a record that is an object can be used")


def _first_records(records: Iterator[RawRecord]) -> list[RawRecord]:
    """Return the first records, up to one at which the file is broken: `read_documents` will report that."""
    first: list[RawRecord] = []
    try:
        first.extend(islice(records, 1))
        first.extend(islice(records, _SAMPLE))
    except DataFormatError:
        if not first:
            raise
    return first


def _is_dialogue_file(source: TextSource) -> bool:
    if not begins_with(source, _JSON_OBJECT):
        return False
    try:
        first = next(JsonStream(source).members(), None)
    except DataFormatError:
        return False
    return first is not None and isinstance(first.value, dict) and "dialogue" in first.value


def _format_of_record(record: Mapping[str, Any]) -> str | None:
    """Return the format of one record, None if it fits several formats."""
    if "text1" in record and "text2" in record:
        return "chip-sts"
    if "originalText" in record:
        return "ccks"
    if isinstance(record.get("label"), dict):
        return "cluener"
    if is_label_studio(record):
        return "label-studio"
    if isinstance(record.get("label", record.get("labels", record.get("annotations"))), list):
        return "doccano"
    return _format_of_entities(record.get("entities"))


def _format_of_entities(entities: Any) -> str | None:
    if not isinstance(entities, list) or not entities or not isinstance(entities[0], dict):
        return None
    by_key = {"start_idx": "cmeee", "start_pos": "ccks", "start_offset": "doccano", "start": "jsonl"}
    return next((name for key, name in by_key.items() if key in entities[0]), None)
