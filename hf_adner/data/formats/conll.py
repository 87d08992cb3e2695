"""Character CoNLL: one character, a tab or space and a tag per line; a blank line between documents.

The scheme (BIO, BMES, BIOES or BILOU) is detected from the tag prefixes; a file that mixes schemes raises. Faults that
leave the entity unambiguous, such as an inside tag without a begin tag, are repaired and counted.

A line feed or carriage return in a text is written `\\n` or `\\r`. Comment lines `# id = …`, `# meta = {…}` and
`# entity = {…}` before a document hold what tags cannot; only this package writes and reads them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import json_text
from hf_adner.data.formats.reader import RawRecord, Reader, ReadReport, as_object
from hf_adner.data.formats.source import TextSource
from hf_adner.data.records import Document, Entity, first_overlap, load_meta
from hf_adner.model.labels_adner import OUTSIDE, bio_to_bioes, spans_to_bio

SCHEMES: Mapping[str, frozenset[str]] = {
    "bio": frozenset("BIO"),
    "bmes": frozenset("BMESO"),
    "bioes": frozenset("BIOES"),
    "bilou": frozenset("BILOU"),
}
"""Prefixes of each scheme. A file that several schemes fit is read in the first of them."""

WITHOUT_BEGINNING = "inside tag without its beginning (opens an entity)"
WITHOUT_END = "entity without its end tag (closed where it stops)"
SEVERAL_CHARACTERS = "tokens of several characters: the tag was given to each of them"

_PREFIXES = "BIOMESLU"
_BIOES = {"M": "I", "L": "E", "U": "S"}
_UNESCAPED = {"\\n": "\n", "\\r": "\r"}
_ESCAPED = {character: escape for escape, character in _UNESCAPED.items()}
_COMMENT = re.compile(r"# (id|meta|entity) = (.*)", re.DOTALL)
_DOCUMENT_START = "-DOCSTART-"
_INVALID_IN_LABELS = re.compile(r"^\s|\s$|[\t\r\n]")


class TagFile(NamedTuple):
    """Column separator and tag scheme of a file."""

    separator: str
    scheme: str


class ConllReader(Reader):
    """Reader of character CoNLL; `scheme` overrides the detected tag scheme."""

    overlaps = "none"

    def __init__(self, path: str | Path, report: ReadReport, *, scheme: str | None = None, **options: Any):
        super().__init__(path, report, **options)
        self._scheme = check_scheme(scheme) if scheme else None
        self._separator = "\t"
        self._parsed: dict[str, tuple[str, str]] = {}

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per block of lines."""
        source = TextSource(self.path, self.encoding)
        self._separator, self._scheme = detect_tags(source, self._scheme)
        for index, block in enumerate(_split_into_blocks(source)):
            yield RawRecord(block[0][0], str(index), block)

    def document(self, raw: RawRecord) -> Document:
        """Parse a block of lines."""
        comments, lines = _split_comments(raw.value)
        separator, parsed = self._separator, self._parsed
        tokens: list[str] = []
        parts: list[tuple[str, str]] = []
        for number, line in lines:
            token, _, tag = line.rpartition(separator)
            if len(token) != 1 or tag not in parsed:
                token, tag = self._split_line(number, line)
            tokens.append(token)
            parts.append(parsed[tag])
            if len(token) > 1:
                prefix, label = parsed[tag]
                parts += [("I" if label else prefix, label)] * (len(token) - 1)
                self.report.notes[SEVERAL_CHARACTERS] += 1
        return self._document("".join(tokens), parts, comments, self.default_id(raw))

    def _document(self, text: str, parts: list[tuple[str, str]], comments: _Comments, default_id: str) -> Document:
        spans, repaired = spans_of_tags(parts, self._scheme)
        entities = tuple(Entity(*span, meta=comments.entities.pop(span, {})) for span in spans)
        if comments.entities:
            start, end, label = next(iter(comments.entities))
            raise DataFormatError(
                f"a comment describes entity {start}-{end} {excerpt(label, 20)}, which is not in the tags"
            )
        document = Document(comments.id or default_id, text, entities, comments.meta)
        self.report.repaired.update(repaired)
        return document

    def _split_line(self, number: int, line: str) -> tuple[str, str]:
        """Return token and tag of a line, and remember the parsed tag."""
        token, separator, tag = line.rstrip(" \t").rpartition(self._separator)
        if not separator or not token:
            raise _wrong_columns(line, self._separator, number)
        if len(token) > 1:
            token = _UNESCAPED.get(token, token)
            if self._separator in token.strip(self._separator):
                raise _wrong_columns(line, self._separator, number)
        if tag not in self._parsed:
            with error_location(line=number):
                self._parsed[tag] = parse_tag(tag)
        return token, tag


class _Comments(NamedTuple):
    """Content of the comments before a document; `entities` maps (start, end, label) to `meta`."""

    id: str | None
    meta: dict[str, Any]
    entities: dict[tuple[int, int, str], dict[str, Any]]


def _wrong_columns(line: str, separator: str, number: int) -> DataFormatError:
    name = "tab" if separator == "\t" else "space"
    columns = len(line.split(separator))
    return DataFormatError(f"expected 2 columns (character, tag) separated by a {name}, found {columns}", line=number)


def _split_into_blocks(source: TextSource) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in source.lines():
        if not _separates_documents(line):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _separates_documents(line: str) -> bool:
    if not line or (line[-1] in " \t" and not line.strip(" \t")):
        return True
    return line[0] == "-" and line.startswith(_DOCUMENT_START)


def _split_comments(block: list[tuple[int, str]]) -> tuple[_Comments, list[tuple[int, str]]]:
    comments = _Comments(None, {}, {})
    for index, (number, line) in enumerate(block):
        match = _COMMENT.fullmatch(line)
        if not match:
            return comments, block[index:]
        with error_location(line=number):
            comments = _add_comment(comments, *match.groups())
    return comments, []


def _add_comment(comments: _Comments, kind: str, value: str) -> _Comments:
    if kind == "id":
        return comments._replace(id=_json_string(value) or value)
    if kind == "meta":
        return comments._replace(meta=load_meta(value))
    entity = load_meta(value)
    try:
        span = (entity["start"], entity["end"], entity["label"])
    except KeyError as error:
        raise DataFormatError(f"an entity comment has no key {error.args[0]!r}") from None
    comments.entities[span] = dict(as_object(entity.get("meta", {}), "meta"))
    return comments


def _json_string(value: str) -> str | None:
    try:
        parsed = json.loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, str) else None


def detect_tags(source: TextSource, scheme: str | None = None) -> TagFile:
    """Detect separator and tag scheme of a file in one pass over its tags; a given `scheme` is checked, not detected.

    Raises:
        DataFormatError: no single scheme has all the tags (with the first line that does not fit), or no line has two
            columns.
    """
    separator, has_comments = "", False
    first_seen: dict[str, int] = {}
    known_tags: set[str] = set()
    for number, line in source.lines():
        if line[line.rfind(separator or "\t") + 1 :] in known_tags or _separates_documents(line):
            continue
        if line.startswith("# ") and _COMMENT.fullmatch(line):
            has_comments = True
            continue
        separator = separator or ("\t" if "\t" in line else " ")
        tag = line.rstrip(" \t").rpartition(separator)[2]
        if tag == OUTSIDE or tag[1:2] == "-":
            known_tags.add(tag)
            first_seen.setdefault(tag[0], number)
    if not first_seen and not has_comments:
        raise DataFormatError("no line has the form 'character tag', separated by a tab or space", path=source.path)
    scheme = scheme or _detect_scheme(first_seen, source.path)
    _check_prefixes(first_seen, scheme, source.path)
    return TagFile(separator or "\t", scheme)


def _detect_scheme(first_seen: dict[str, int], path: Path) -> str:
    seen: list[str] = []
    for prefix, number in sorted(first_seen.items(), key=lambda item: item[1]):
        seen.append(prefix)
        if prefix in _PREFIXES and not fitting_scheme(known for known in seen if known in _PREFIXES):
            others = ", ".join(f"{known}-" for known in seen[:-1] if known != OUTSIDE)
            raise DataFormatError(f"the tags mix schemes: {prefix}- beside {others}", path=path, line=number)
    return fitting_scheme(known for known in seen if known in _PREFIXES) or "bio"


def _check_prefixes(first_seen: dict[str, int], scheme: str, path: Path) -> None:
    for prefix, number in first_seen.items():
        if prefix in _PREFIXES and prefix not in SCHEMES[scheme]:
            raise DataFormatError(f"prefix {prefix}- does not belong to scheme {scheme}", path=path, line=number)


def parse_tag(tag: str) -> tuple[str, str]:
    """Split a tag into prefix and label: `"B-Drug"` -> `("B", "Drug")`, `"O"` -> `("O", "")`.

    Raises:
        DataFormatError: it is not a tag of any scheme.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if not hyphen or not label or len(prefix) != 1 or prefix not in "BIMELSU":
        raise DataFormatError(f"tag {excerpt(tag, 12)} is neither 'O' nor of the form 'B-Type' (B, I, M, E, L, S, U)")
    return prefix, label


def fitting_scheme(prefixes: Iterable[str]) -> str | None:
    """Return the first scheme that has all of `prefixes`, None if no scheme does."""
    prefixes = set(prefixes)
    return next((name for name, allowed in SCHEMES.items() if prefixes <= allowed), None)


def check_scheme(scheme: str) -> str:
    """Return `scheme` in lower case.

    Raises:
        ValueError: unknown scheme.
    """
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"tag scheme {scheme!r} is unknown; expected one of {', '.join(SCHEMES)}")
    return scheme.lower()


def spans_of_tags(parts: Sequence[tuple[str, str]], scheme: str) -> tuple[list[tuple[int, int, str]], Counter[str]]:
    """Return the spans (start, end, label) of parsed tags, and how often each kind of fault was repaired."""
    has_end_tags = scheme != "bio"
    spans: list[tuple[int, int, str]] = []
    repaired: Counter[str] = Counter()
    start, label = -1, ""  # the open entity; start is -1 if none is open

    for position, (prefix, name) in enumerate([*parts, (OUTSIDE, "")]):
        if prefix == OUTSIDE and start < 0:
            continue
        prefix = _BIOES.get(prefix, prefix)
        continues = start >= 0 and prefix in "IE" and name == label
        if not continues:
            if start >= 0:
                spans.append((start, position, label))
                repaired[WITHOUT_END] += has_end_tags
            if prefix in "IE":
                repaired[WITHOUT_BEGINNING] += 1
            start, label = (position, name) if prefix != OUTSIDE else (-1, "")
        if prefix in "ES":
            spans.append((start, position + 1, label))
            start, label = -1, ""
    return spans, +repaired


def tags_of_entities(entities: Sequence[Entity], length: int, scheme: str = "bio") -> list[str]:
    """Return one tag per character of a text of `length` characters.

    Raises:
        DataFormatError: entities overlap, which tags cannot express; flatten the document first.
        ValueError: unknown scheme.
    """
    scheme = check_scheme(scheme)
    overlap = first_overlap(entities, crossing=False)
    if overlap:
        raise DataFormatError(
            f"entities {overlap[0].start}-{overlap[0].end} and {overlap[1].start}-{overlap[1].end} overlap, "
            "which tags cannot express; flatten the document first"
        )
    tags = spans_to_bio([(entity.start, entity.end, entity.label) for entity in entities], length)
    if scheme == "bio":
        return tags
    renamed = {"bioes": {}, "bmes": {"I": "M"}, "bilou": {"E": "L", "S": "U"}}[scheme]
    return [renamed.get(tag[0], tag[0]) + tag[1:] for tag in bio_to_bioes(tags)]


def conll_text(documents: Iterable[Document], scheme: str = "bio", comments: bool = True) -> Iterator[str]:
    """Yield the text of each document: a line `character<tab>tag` per character and a blank line.

    Args:
        documents: documents without overlapping entities (see `Document.flattened`).
        scheme: `bio`, `bmes`, `bioes` or `bilou`.
        comments: write id and `meta` of documents and `meta` of entities as comment lines; turn this off for tools
            that do not skip comments.

    Raises:
        DataFormatError: entities overlap, a label is not valid in a tag, or the text is empty and comments are off.
    """
    scheme = check_scheme(scheme)
    for document in documents:
        with error_location(record=document.id):
            block = "".join(_block_lines(document, scheme, comments))
        yield block + "\n"


def _block_lines(document: Document, scheme: str, comments: bool) -> Iterator[str]:
    if not document.text and not comments:
        raise DataFormatError("a document without text needs comments")
    for entity in document.entities:
        if _INVALID_IN_LABELS.search(entity.label):
            raise DataFormatError(f"label {excerpt(entity.label, 20)} is not valid in a tag")
    if comments:
        yield from _comment_lines(document)
    tags = tags_of_entities(document.entities, len(document.text), scheme)
    for character, tag in zip(document.text, tags, strict=True):
        yield f"{_ESCAPED.get(character, character)}\t{tag}\n"


def _comment_lines(document: Document) -> Iterator[str]:
    yield _comment("id", document.id, document.id)
    if document.meta:
        yield _comment("meta", document.meta, document.id)
    for entity in document.entities:
        if entity.meta:
            value = {"start": entity.start, "end": entity.end, "label": entity.label, "meta": entity.meta}
            yield _comment("entity", value, document.id)


def _comment(name: str, value: Any, document_id: str) -> str:
    return f"# {name} = {json_text(value, document_id)}\n"
