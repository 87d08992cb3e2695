"""Character CoNLL: a character, a tab or space, a tag; a blank line between documents.

BIO, BMES, BIOES and BILOU are told apart by their prefixes; a file that mixes them is refused. A character that would
end the line is written `\n` or `\r`. Lines `# id = …`, `# meta = {…}` and `# entity = {…}` before a document carry what
tags cannot (ours; other tools have none).

Entities as character tags and back: BIO, BMES, BIOES and BILOU.

Tags of any of these are read by one automaton; faults that leave no doubt about the entity (an inside tag without its
beginning) are mended and counted, never passed over.

Character CoNLL in BIO, BMES, BIOES or BILOU.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
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
"""Prefixes of each scheme, the simplest first: a file that fits several is read as the first of them."""

WITHOUT_BEGINNING = "inside tag without its beginning (opens an entity)"
WITHOUT_END = "entity without its end tag (closed where it stops)"

_BIOES = {"M": "I", "L": "E", "U": "S"}


def parse_tag(tag: str) -> tuple[str, str]:
    """`"B-Drug"` -> `("B", "Drug")`, `"O"` -> `("O", "")`; prefixes as written.

    Raises:
        DataFormatError: not a tag of any scheme.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, hyphen, label = tag.partition("-")
    if not hyphen or not label or len(prefix) != 1 or prefix not in "BIMELSU":
        raise DataFormatError(f"tag {excerpt(tag, 12)} is neither 'O' nor of the form 'B-Type' (B, I, M, E, L, S, U)")
    return prefix, label


def fitting_scheme(prefixes: Iterable[str]) -> str | None:
    """The simplest scheme that has all of `prefixes`, None when they mix schemes."""
    found = set(prefixes)
    return next((name for name, allowed in SCHEMES.items() if found <= allowed), None)


def check_scheme(scheme: str) -> str:
    """`scheme` in lower case.

    Raises:
        ValueError: unknown scheme.
    """
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"tag scheme {scheme!r} is unknown; expected one of {', '.join(SCHEMES)}")
    return scheme.lower()


def spans_of_tags(parts: Sequence[tuple[str, str]], scheme: str) -> tuple[list[tuple[int, int, str]], Counter[str]]:
    """Spans (start, end, label) of parsed tags, and how often each kind of fault was mended."""
    closes_by_tag = scheme != "bio"
    spans: list[tuple[int, int, str]] = []
    repaired: Counter[str] = Counter()
    start, label = -1, ""  # the open entity; start -1: none

    for position, (prefix, name) in enumerate([*parts, (OUTSIDE, "")]):
        if prefix == OUTSIDE and start < 0:
            continue
        prefix = _BIOES.get(prefix, prefix)
        continues = start >= 0 and prefix in "IE" and name == label
        if not continues:
            if start >= 0:
                spans.append((start, position, label))
                repaired[WITHOUT_END] += closes_by_tag
            if prefix in "IE":
                repaired[WITHOUT_BEGINNING] += 1
            start, label = (position, name) if prefix != OUTSIDE else (-1, "")
        if prefix in "ES":
            spans.append((start, position + 1, label))
            start, label = -1, ""
    return spans, +repaired


def tags_of_entities(entities: Sequence[Entity], length: int, scheme: str = "bio") -> list[str]:
    """One tag per character of a text of `length` characters.

    Raises:
        DataFormatError: entities that overlap: tags cannot say so; flatten the document first.
        ValueError: unknown scheme.
    """
    scheme = check_scheme(scheme)
    overlap = first_overlap(entities, crossing=False)
    if overlap:
        raise DataFormatError(
            f"entities {overlap[0].start}-{overlap[0].end} and {overlap[1].start}-{overlap[1].end} overlap, "
            "which tags cannot express; flatten the document first"
        )
    tags = spans_to_bio([(one.start, one.end, one.label) for one in entities], length)
    if scheme == "bio":
        return tags
    renamed = {"bioes": {}, "bmes": {"I": "M"}, "bilou": {"E": "L", "S": "U"}}[scheme]
    return [renamed.get(tag[0], tag[0]) + tag[1:] for tag in bio_to_bioes(tags)]


ESCAPES = {"\\n": "\n", "\\r": "\r"}
COMMENT = re.compile(r"# (id|meta|entity) = (.*)", re.DOTALL)
_DOCUMENT_START = "-DOCSTART-"
SEVERAL_CHARACTERS = "tokens of several characters: the tag was given to each of them"


class TagFile(NamedTuple):
    """How a file is written."""

    separator: str
    scheme: str


class ConllReader(Reader):
    """Reads character CoNLL; `scheme` names the tag scheme where the tags alone would not tell."""

    overlaps = "none"

    def __init__(self, path: str | Path, report: ReadReport, *, scheme: str | None = None, **options: Any):
        super().__init__(path, report, **options)
        self._scheme = check_scheme(scheme) if scheme else None
        self._separator = "\t"
        self._parsed: dict[str, tuple[str, str]] = {}

    def records(self) -> Iterator[RawRecord]:
        """One raw record per block of lines."""
        source = TextSource(self.path, self.encoding)
        self._separator, self._scheme = look_at_tags(source, self._scheme)
        for index, block in enumerate(_blocks(source)):
            yield RawRecord(block[0][0], str(index), block)

    def document(self, raw: RawRecord) -> Document:
        """The document of a block."""
        comments, lines = _split_comments(raw.value)
        separator, parsed = self._separator, self._parsed
        tokens: list[str] = []
        parts: list[tuple[str, str]] = []
        for number, line in lines:
            token, _, tag = line.rpartition(separator)
            if len(token) != 1 or tag not in parsed:
                token, tag = self._checked(number, line)
            tokens.append(token)
            parts.append(parsed[tag])
            if len(token) > 1:
                prefix, label = parsed[tag]
                parts += [("I" if label else prefix, label)] * (len(token) - 1)
                self.report.notes[SEVERAL_CHARACTERS] += 1
        return self._assembled("".join(tokens), parts, comments, self.default_id(raw))

    def _assembled(self, text: str, parts: list[tuple[str, str]], comments: _Comments, default_id: str) -> Document:
        spans, repaired = spans_of_tags(parts, self._scheme)
        entities = tuple(Entity(*span, meta=comments.entities.pop(span, {})) for span in spans)
        if comments.entities:
            start, end, label = next(iter(comments.entities))
            raise DataFormatError(f"a comment describes entity {start}-{end} {excerpt(label, 20)}, which no tag marks")
        document = Document(comments.id or default_id, text, entities, comments.meta)
        self.report.repaired.update(repaired)
        return document

    def _checked(self, number: int, line: str) -> tuple[str, str]:
        """Token and tag of a line; the tag is then among the parsed ones."""
        token, separator, tag = line.rstrip(" \t").rpartition(self._separator)
        if not separator or not token:
            raise DataFormatError(_columns(line, self._separator), line=number)
        if len(token) > 1:
            token = ESCAPES.get(token, token)
            if self._separator in token.strip(self._separator):
                raise DataFormatError(_columns(line, self._separator), line=number)
        if tag not in self._parsed:
            try:
                self._parsed[tag] = parse_tag(tag)
            except DataFormatError as error:
                raise error.located(line=number) from None
        return token, tag


class _Comments(NamedTuple):
    id: str | None
    meta: dict[str, Any]
    entities: dict[tuple[int, int, str], dict[str, Any]]


def _columns(line: str, separator: str) -> str:
    found = len(line.split(separator))
    name = "tab" if separator == "\t" else "space"
    return f"expected 2 columns (character, tag) with a {name} between them, found {found}"


def _blocks(source: TextSource) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in source.lines():
        if not _parts_documents(line):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _parts_documents(line: str) -> bool:
    if not line or (line[-1] in " \t" and not line.strip(" \t")):
        return True
    return line[0] == "-" and line.startswith(_DOCUMENT_START)


def _split_comments(block: list[tuple[int, str]]) -> tuple[_Comments, list[tuple[int, str]]]:
    comments = _Comments(None, {}, {})
    for index, (number, line) in enumerate(block):
        match = COMMENT.fullmatch(line)
        if not match:
            return comments, block[index:]
        try:
            comments = _add_comment(comments, *match.groups())
        except DataFormatError as error:
            raise error.located(line=number) from None
    return comments, []


def _add_comment(comments: _Comments, kind: str, value: str) -> _Comments:
    if kind == "id":
        return comments._replace(id=_quoted(value) or value)
    if kind == "meta":
        return comments._replace(meta=load_meta(value))
    described = load_meta(value)
    try:
        span = (described["start"], described["end"], described["label"])
    except KeyError as error:
        raise DataFormatError(f"an entity comment has no key {error.args[0]!r}") from None
    comments.entities[span] = dict(as_object(described.get("meta", {}), "meta"))
    return comments


def _quoted(value: str) -> str | None:
    try:
        parsed = json.loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, str) else None


def look_at_tags(source: TextSource, scheme: str | None = None) -> TagFile:
    """Separator and tag scheme of a file, from one pass over its tags; `scheme` is taken as given.

    Raises:
        DataFormatError: the tags belong to no one scheme (with the line where that shows), or no line has two columns.
    """
    separator, commented = "", False
    first_seen: dict[str, int] = {}
    known: set[str] = set()
    for number, line in source.lines():
        if line[line.rfind(separator or "\t") + 1 :] in known or _parts_documents(line):
            continue
        if line.startswith("# ") and COMMENT.fullmatch(line):
            commented = True
            continue
        separator = separator or ("\t" if "\t" in line else " ")
        tag = line.rstrip(" \t").rpartition(separator)[2]
        if tag == OUTSIDE or tag[1:2] == "-":
            known.add(tag)
            first_seen.setdefault(tag[0], number)
    if not first_seen and not commented:
        raise DataFormatError("no line has the form 'character tag' with a tab or space between them", path=source.path)
    scheme = scheme or _scheme_of(first_seen, source.path)
    _check_prefixes(first_seen, scheme, source.path)
    return TagFile(separator or "\t", scheme)


def _scheme_of(first_seen: dict[str, int], path: Path) -> str:
    seen: list[str] = []
    for prefix, number in sorted(first_seen.items(), key=lambda item: item[1]):
        seen.append(prefix)
        if prefix in "BIOMESLU" and not fitting_scheme(p for p in seen if p in "BIOMESLU"):
            raise DataFormatError(
                f"the tags mix schemes: {prefix}- beside {', '.join(p + '-' for p in seen[:-1] if p != 'O')}",
                path=path,
                line=number,
            )
    return fitting_scheme(p for p in seen if p in "BIOMESLU") or "bio"


def _check_prefixes(first_seen: dict[str, int], scheme: str, path: Path) -> None:
    for prefix, number in first_seen.items():
        if prefix in "BIOMESLU" and prefix not in SCHEMES[scheme]:
            raise DataFormatError(f"prefix {prefix}- does not belong to scheme {scheme}", path=path, line=number)


_ESCAPED = {character: escape for escape, character in ESCAPES.items()}
_UNFIT_LABEL = re.compile(r"^\s|\s$|[\t\r\n]")


def conll_text(documents: Iterable[Document], scheme: str = "bio", comments: bool = True) -> Iterator[str]:
    """A line `character<tab>tag` per character, a blank line after each document.

    Args:
        documents: without overlapping entities (`Document.flattened` makes them so).
        scheme: `bio`, `bmes`, `bioes` or `bilou`.
        comments: whether lines `# id = …`, `# meta = …`, `# entity = …` before a document keep what tags cannot; leave
            them out for tools that know no comments.

    Raises:
        DataFormatError: entities overlap, a label cannot stand in a tag, or, without comments, the text is empty.
    """
    scheme = check_scheme(scheme)
    for document in documents:
        try:
            yield "".join(_block(document, scheme, comments)) + "\n"
        except DataFormatError as error:
            raise error.located(record=document.id) from None


def _block(document: Document, scheme: str, comments: bool) -> Iterator[str]:
    if not document.text and not comments:
        raise DataFormatError("a document without text leaves nothing to write without comments")
    for entity in document.entities:
        if _UNFIT_LABEL.search(entity.label):
            raise DataFormatError(f"label {excerpt(entity.label, 20)} cannot stand in a tag")
    if comments:
        yield from _comments(document)
    tags = tags_of_entities(document.entities, len(document.text), scheme)
    for character, tag in zip(document.text, tags, strict=True):
        yield f"{_ESCAPED.get(character, character)}\t{tag}\n"


def _comments(document: Document) -> Iterator[str]:
    yield _comment("id", document.id, document.id)
    if document.meta:
        yield _comment("meta", document.meta, document.id)
    for entity in document.entities:
        if entity.meta:
            described = {"start": entity.start, "end": entity.end, "label": entity.label, "meta": entity.meta}
            yield _comment("entity", described, document.id)


def _comment(name: str, value: Any, document_id: str) -> str:
    return f"# {name} = {json_text(value, document_id)}\n"
