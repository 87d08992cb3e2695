"""Character CoNLL: one character, tabs or blanks and a tag per line; a blank line between documents.

The first column is the character and the last the tag; columns between them (part of speech, chunk) are not read. The
form of the tags (`B-Type`, `B_Type` or `Type-B`) and their scheme (BIO, BMES, BIOES or BILOU) are detected; a file that
mixes schemes raises. Faults that leave the entity unambiguous, such as an inside tag without a begin tag, are repaired
and counted.

A line feed or carriage return in a text is written `\\n` or `\\r`. Comment lines `# id = …`, `# meta = {…}` and
`# entity = {…}` before a document hold what tags cannot; only this package writes and reads them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import entity_of, json_text
from hf_adner.data.formats.reader import RawRecord, Reader, ReadReport
from hf_adner.data.formats.source import TextSource, parse_line
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
OTHER_COLUMNS = "lines with columns between character and tag, which were not read"
POSITIONS = "characters followed by their position in a word (such as '高0'): the digit was left out"
OTHER_COMMENTS = "comment lines that were not read"

_PREFIXED = re.compile(r"(?P<prefix>[BIMELSU])[-_](?P<label>.+)", re.IGNORECASE | re.DOTALL)
_SUFFIXED = re.compile(r"(?P<label>[^/]+)[-_](?P<prefix>[BIMELSU])", re.DOTALL)
_FORMS = (_PREFIXED, _SUFFIXED)
_SEVERAL_TAGS = re.compile(r"\S+?(( +|[|;,+&])(O|[BIMELSU][-_]\S+))+")
_INLINE_TAG = re.compile(r"[^\s/]/(O|[BIMELSU][-_]\S+)(\s|$)", re.IGNORECASE)
_BIOES = {"M": "I", "L": "E", "U": "S"}
_UNESCAPED = {"\\n": "\n", "\\r": "\r"}
_ESCAPED = {character: escape for escape, character in _UNESCAPED.items()}
_COMMENT = re.compile(r"# (id|meta|entity) = (.*)", re.DOTALL)
_DOCUMENT_START = "-DOCSTART-"
_INVALID_IN_LABELS = re.compile(r"^\s|\s$|[\t\r\n]")


class TagFile(NamedTuple):
    """How a file writes its tags.

    Attributes:
        columns: number of columns.
        form: pattern of a tag, with the groups `prefix` and `label`.
        scheme: tag scheme.
        has_positions: each character is followed by its position in a word, as in Weibo NER.
    """

    columns: int
    form: re.Pattern[str]
    scheme: str
    has_positions: bool


class ConllReader(Reader):
    """Reader of character CoNLL; `scheme` (`--scheme`) overrides the detected tag scheme."""

    overlaps = "none"

    def __init__(self, path: str | Path, report: ReadReport, *, scheme: str | None = None, **options: Any):
        super().__init__(path, report, **options)
        self._scheme = check_scheme(scheme) if scheme else None
        self._parsed: dict[str, tuple[str, str]] = {}

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per block of lines."""
        source = TextSource(self.path, self.encoding)
        self._file = detect_tags(source, self._scheme)
        index = 0
        for block in _split_into_blocks(source):
            if all(_is_other_comment(line) for _, line in block):
                self.report.notes[OTHER_COMMENTS] += len(block)
                continue
            yield RawRecord(block[0][0], str(index), block)
            index += 1

    def document(self, raw: RawRecord) -> Document:
        """Parse a block of lines."""
        comments, lines = _split_comments(raw.value)
        parsed, is_plain = self._parsed, self._file.columns == 2
        tokens: list[str] = []
        parts: list[tuple[str, str]] = []
        notes: Counter[str] = Counter({OTHER_COMMENTS: comments.others})
        for number, line in lines:
            token, tag = line[:1], line[2:]
            if not (is_plain and tag in parsed and line[1] in "\t "):
                token, tag = self._split_line(number, line, notes)
            tokens.append(token)
            if len(token) == 1:
                parts.append(parsed[tag])
            else:
                parts += parts_of_token(parsed[tag], len(token))
                notes[SEVERAL_CHARACTERS] += 1
        if not is_plain and len(tokens) > 1 and tokens == [str(number) for number, _ in enumerate(tokens, 1)]:
            raise DataFormatError("the first column numbers the lines; expected the characters there")
        document = self._document("".join(tokens), parts, comments, self.default_id(raw))
        self.report.notes.update(+notes)
        return document

    def _document(self, text: str, parts: list[tuple[str, str]], comments: _Comments, default_id: str) -> Document:
        spans, repaired = spans_of_tags(parts, self._file.scheme)
        entities = tuple(Entity(*span, meta=comments.entities.pop(span, {})) for span in spans)
        if comments.entities:
            start, end, label = next(iter(comments.entities))
            raise DataFormatError(
                f"a comment describes entity {start}-{end} {excerpt(label, 20)}, which is not in the tags"
            )
        document = Document(default_id if comments.id is None else comments.id, text, entities, comments.meta or {})
        self.report.repaired.update(repaired)
        return document

    def _split_line(self, number: int, line: str, notes: Counter[str]) -> tuple[str, str]:
        """Return token and tag of a line, and remember the parsed tag."""
        line = line.rstrip(" \t")
        with error_location(line=number):
            if "\r" in line[1:]:
                raise DataFormatError("a carriage return within the line; expected line feeds at line ends")
            token, tag = _token_and_tag(line, self._file.columns)
            if tag not in self._parsed:
                self._parsed[tag] = parse_tag(tag, self._file.form)
        notes[OTHER_COLUMNS] += self._file.columns > 2
        if self._file.has_positions:
            notes[POSITIONS] += 1
            return token[0], tag
        return _UNESCAPED.get(token, token), tag


def columns_of_line(line: str) -> list[str]:
    """Return the columns of a line without blanks at its end: separated by tabs, or by blanks if it has no tab."""
    return [column.strip(" ") for column in line.split("\t")] if "\t" in line else re.split(" +", line)


def _token_and_tag(line: str, expected: int) -> tuple[str, str]:
    """Return token and tag of a line that should have `expected` columns.

    A blank token leaves one column less and at least two blanks or tabs at the beginning: itself and the separator.
    """
    columns = columns_of_line(line)
    filled = [column for column in columns if column]
    if len(filled) == expected or (len(columns) == expected and columns[0]):
        return filled[0], filled[-1]
    blanks = len(line) - len(line.lstrip(" \t"))
    if len(filled) == expected - 1 and blanks > 1:
        return line[0], filled[-1]
    raise DataFormatError(_fault(line, expected, filled))


def _fault(line: str, expected: int, columns: list[str]) -> str:
    """Return what is wrong with a line that has these columns in place of `expected` ones."""
    if _INLINE_TAG.search(line):
        return "tags stand behind their words in the line ('word/B-Type'); expected one character and its tag per line"
    if len(columns) == expected - 1 and is_tag(columns[-1]) and (line[0] in " \t" or expected == 2):
        return "the line has a tag but no character: a blank or tab was lost, write it before the separator"
    what = "character, tag" if expected == 2 else "as in the first line with a tag; the last is the tag"
    return f"expected {expected} columns ({what}) separated by tabs or blanks, found {len(columns)}"


def is_tag(column: str) -> bool:
    """Return whether a column is `O` or a tag in one of the known forms."""
    return column in ("O", "o") or any(form.fullmatch(column) for form in _FORMS)


class _Comments(NamedTuple):
    """Content of the comments before a document; `entities` maps (start, end, label) to `meta`."""

    id: str | None
    meta: dict[str, Any] | None
    entities: dict[tuple[int, int, str], dict[str, Any]]
    others: int = 0


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
    comments = _Comments(None, None, {})
    for index, (number, line) in enumerate(block):
        match = _COMMENT.fullmatch(line)
        if match:
            with error_location(line=number):
                comments = _add_comment(comments, *match.groups())
        elif _is_other_comment(line):
            comments = comments._replace(others=comments.others + 1)
        else:
            return comments, block[index:]
    return comments, []


def _is_other_comment(line: str) -> bool:
    """Return whether a line is a comment of another tool, such as `# text = …`, and not the token `#` with its tag."""
    return line.startswith("# ") and not is_tag(columns_of_line(line.rstrip(" \t"))[-1])


def _add_comment(comments: _Comments, kind: str, value: str) -> _Comments:
    if kind != "entity" and getattr(comments, kind) is not None:
        raise DataFormatError(f"the document has two {kind} comments")
    if kind == "id":
        return comments._replace(id=_id_of_comment(value))
    if kind == "meta":
        return comments._replace(meta=load_meta(value))
    entity = entity_of(load_meta(value))
    span = (entity.start, entity.end, entity.label)
    if span in comments.entities:
        raise DataFormatError(f"two comments describe entity {entity.start}-{entity.end} {excerpt(entity.label, 20)}")
    comments.entities[span] = dict(entity.meta)
    return comments


def _id_of_comment(value: str) -> str:
    """Return an id, which other tools may write without quotes."""
    if not value.startswith(('"', "[", "{")):
        return value
    parsed = parse_line(value)
    if isinstance(parsed, DataFormatError):
        raise parsed
    if not isinstance(parsed, str):
        raise DataFormatError(f"an id comment must be a JSON string, found {type(parsed).__name__}")
    return parsed


def detect_tags(source: TextSource, scheme: str | None = None) -> TagFile:
    """Detect how a file writes its tags, in one pass over it; a given `scheme` is checked, not detected.

    Raises:
        DataFormatError: no single scheme has all the tags (with the first line that does not fit), or no line has two
            columns of which the last is a tag.
    """
    columns, has_comments, positions = 0, False, _Positions()
    first_seen: dict[str, int] = {}
    first_line: tuple[int, str] | None = None
    for number, line in source.lines():
        if _separates_documents(line):
            positions.end_block()
            continue
        if positions.fit:
            positions.add(line)
        if line[2:] in first_seen:
            continue
        if line.startswith("# ") and (_COMMENT.fullmatch(line) or _is_other_comment(line)):
            has_comments = has_comments or _COMMENT.fullmatch(line) is not None
            continue
        first_line = first_line or (number, line)
        found = columns_of_line(line.rstrip(" \t"))
        if len(found) > 1 and is_tag(found[-1]):
            columns = columns or max(2, sum(map(bool, found)))
            first_seen.setdefault(found[-1], number)
    if not first_seen and not has_comments:
        raise _no_tags(source.path, first_line)
    form, scheme = form_of_tags(first_seen, scheme, source.path)
    return TagFile(columns or 2, form, scheme, positions.fit and bool(first_seen))


def _no_tags(path: Path, first_line: tuple[int, str] | None) -> DataFormatError:
    number, line = first_line or (None, "")
    reason = "no line has the form 'character tag', separated by a tab or space"
    return DataFormatError(_fault(line, 2, []) if _INLINE_TAG.search(line) else reason, path=path, line=number)


class _Positions:
    """Whether all tokens so far are a character and its position in a word, from 0."""

    def __init__(self) -> None:
        self.fit = True
        self._previous = -1

    def add(self, line: str) -> None:
        """Take the token of a line into account."""
        digit = line[1:2]
        self.fit = digit in set("0123456789") and line[2:3] in ("\t", " ") and int(digit) in (0, self._previous + 1)
        self._previous = int(digit) if self.fit else -1

    def end_block(self) -> None:
        """The next token begins a word."""
        self._previous = -1


def form_of_tags(first_seen: Mapping[str, int | None], scheme: str | None, path: Path) -> tuple[re.Pattern[str], str]:
    """Return the form and the scheme of tags; a given `scheme` is checked, not detected.

    Args:
        first_seen: line of each tag, if known.
        scheme: tag scheme; None detects it.
        path: the file, for errors.

    Raises:
        DataFormatError: no single scheme has all the tags.
    """
    form = max(_FORMS, key=lambda form: sum(form.fullmatch(tag) is not None for tag in first_seen))
    prefixes: dict[str, int | None] = {}
    for tag, number in first_seen.items():
        match = form.fullmatch(tag)
        prefixes.setdefault(match["prefix"].upper() if match else OUTSIDE, number)
    scheme = scheme or _detect_scheme(prefixes, path)
    _check_prefixes(prefixes, scheme, path)
    return form, scheme


def parts_of_token(part: tuple[str, str], length: int) -> list[tuple[str, str]]:
    """Return the prefix and label of each character of a token of several characters, given those of the token."""
    prefix, label = part
    if length < 2 or prefix == OUTSIDE:
        return [part] * length
    first, last = {"E": ("I", "E"), "L": ("I", "L"), "S": ("B", "E"), "U": ("B", "L")}.get(prefix, (prefix, "I"))
    return [(first, label), *[("I", label)] * (length - 2), (last, label)]


def _detect_scheme(first_seen: Mapping[str, int | None], path: Path) -> str:
    seen: list[str] = []
    for prefix, number in sorted(first_seen.items(), key=lambda item: item[1] or 0):
        seen.append(prefix)
        if not fitting_scheme(seen):
            others = ", ".join(f"{known}-" for known in seen[:-1] if known != OUTSIDE)
            raise DataFormatError(f"the tags mix schemes: {prefix}- beside {others}", path=path, line=number)
    return fitting_scheme(seen) or "bio"


def _check_prefixes(first_seen: Mapping[str, int | None], scheme: str, path: Path) -> None:
    for prefix, number in first_seen.items():
        if prefix not in SCHEMES[scheme]:
            raise DataFormatError(f"prefix {prefix}- does not belong to scheme {scheme}", path=path, line=number)


def parse_tag(tag: str, form: re.Pattern[str] = _PREFIXED) -> tuple[str, str]:
    """Split a tag into prefix and label: `"B-Drug"` -> `("B", "Drug")`, `"O"` -> `("O", "")`.

    Args:
        tag: the tag; lower-case prefixes are read as upper-case.
        form: pattern with the groups `prefix` and `label`; by default `B-Type` or `B_Type`.

    Raises:
        DataFormatError: it is not a tag of this form, or several tags.
    """
    if tag in ("O", "o"):
        return OUTSIDE, ""
    match = form.fullmatch(tag)
    if not match:
        expected = "Type-B" if form is _SUFFIXED else "B-Type"
        raise DataFormatError(
            f"tag {excerpt(tag, 12)} is neither 'O' nor of the form {expected!r} (B, I, M, E, L, S, U)"
        )
    if _SEVERAL_TAGS.fullmatch(tag):
        raise DataFormatError(f"{excerpt(tag, 12)} has several tags; expected one character and its tag per line")
    return match["prefix"].upper(), match["label"]


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
    for number, document in enumerate(documents):
        with error_location(record=document.id):
            block = "".join(_block_lines(document, scheme, comments))
        if number == 0 and block.startswith("\ufeff"):
            yield "\ufeff"  # a byte order mark, for which a reader would take the first character
        yield block + "\n"


def _block_lines(document: Document, scheme: str, comments: bool) -> Iterator[str]:
    if not document.text and not comments:
        raise DataFormatError("a document without text needs comments")
    for entity in document.entities:
        if _INVALID_IN_LABELS.search(entity.label) or _SEVERAL_TAGS.fullmatch(entity.label):
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
