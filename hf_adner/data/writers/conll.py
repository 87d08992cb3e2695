"""Character CoNLL in BIO, BMES, BIOES or BILOU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.readers.conll import ESCAPES
from hf_adner.data.records import Document
from hf_adner.data.tags import check_scheme, tags_of_entities
from hf_adner.data.writers.json_text import json_text

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
