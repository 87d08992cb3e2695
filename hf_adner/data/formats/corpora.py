"""JSON formats of the public Chinese medical corpora CMeEE, IMCS-V2-NER and CHIP-STS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.conll import SCHEMES, parse_tag, spans_of_tags
from hf_adner.data.formats.jsonl import JsonReader, entity_list
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.formats.source import JsonStream, TextSource, json_records
from hf_adner.data.records import Document, Entity

EMPTY_ENTITY = "entity that encloses no character (left out)"
SELF_REPORT = "dialogue self-reports, which have no labels, were not read"
NO_SPANS = "texts of sentence pairs, which have no gold entities"


class CmeeeReader(JsonReader):
    """Reader of CMeEE-V1/V2: `{"text", "entities": [{"start_idx", "end_idx", "type", "entity"}]}`.

    **`end_idx` is inclusive.** The file is an array or has one record per line. Entities may be nested; test files have
    none. The official train file has two crossing pairs, so crossing spans are allowed, and two empty entities, which
    are dropped and counted.
    """

    overlaps = "any"

    def document(self, raw: RawRecord) -> Document:
        """Parse a sentence."""
        record = as_object(raw.value)
        text = required(record, "text", str)
        values = [as_object(value, "an entity") for value in entity_list(record, self.require_entities)]
        entities = self.in_characters((_entity(value, text) for value in values if not self._is_empty(value)), text)
        document_id = given_id(record, self.default_id(raw))
        return Document(document_id, text, entities, without(record, "id", "text", "entities"))

    def _is_empty(self, entity: Mapping[str, Any]) -> bool:
        start, last = entity.get("start_idx"), entity.get("end_idx")
        empty = entity.get("entity") == "" and type(start) is int and type(last) is int and last == start - 1
        self.report.repaired[EMPTY_ENTITY] += empty
        return empty


def _entity(entity: Mapping[str, Any], text: str) -> Entity:
    start = required(entity, "start_idx", int, "an entity")
    last = required(entity, "end_idx", int, "an entity")
    label = required(entity, "type", str, "an entity")
    surface = required(entity, "entity", str, "an entity") if "entity" in entity else None
    if surface and surface == text[start:last] != text[start : last + 1]:
        raise DataFormatError(
            f"entity {start}-{last} matches its text only with an exclusive end_idx; in CMeEE it is inclusive"
        )
    return Entity(start, last + 1, label, surface, without(entity, "start_idx", "end_idx", "type", "entity"))


class Sentence(NamedTuple):
    """A sentence, the id of its dialogue and its number there, from 1."""

    dialogue: str
    number: int
    value: Any


class ImcsReader(Reader):
    """Reader of IMCS-V2-NER: `{"id": {"dialogue": [{"sentence", "BIO_label", "speaker", ...}], ...}}`.

    Each sentence becomes a document; its `meta` has the id of the dialogue (a `group_key` for splits), the speaker and
    the other fields of the sentence. The `self_report` of a dialogue has no labels and is not read. The character BIO
    files of this corpus are CoNLL.
    """

    overlaps = "none"

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per sentence."""
        for line, dialogue, value in JsonStream(TextSource(self.path, self.encoding)).members():
            try:
                sentences = required(as_object(value, "a dialogue"), "dialogue", list, "the dialogue")
            except DataFormatError as error:
                yield RawRecord(line, dialogue, error)
                continue
            self.report.notes[SELF_REPORT] += "self_report" in value
            for number, sentence in enumerate(sentences, 1):
                yield RawRecord(line, f"{dialogue}-{number}", Sentence(dialogue, number, sentence))

    def document(self, raw: RawRecord) -> Document:
        """Parse a sentence."""
        if isinstance(raw.value, DataFormatError):
            raise raw.value
        sentence = as_object(raw.value.value, "a sentence")
        text = required(sentence, "sentence", str, "the sentence")
        spans = self._spans(sentence, len(text))
        document_id = f"{raw.value.dialogue}-{sentence.get('sentence_id', raw.value.number)}"
        meta = _with_group(without(sentence, "sentence", "BIO_label"), "dialogue", raw.value.dialogue)
        return Document(document_id, text, tuple(Entity(*span) for span in spans), meta)

    def _spans(self, sentence: Mapping[str, Any], length: int) -> list[tuple[int, int, str]]:
        if "BIO_label" not in sentence and not self.require_entities:
            return []
        tags = required(sentence, "BIO_label", (str, list), "the sentence")
        tags = tags.split() if isinstance(tags, str) else tags
        if len(tags) != length:
            raise DataFormatError(f"BIO_label has {len(tags)} tags for a sentence of {length} characters")
        spans, repaired = spans_of_tags([_parse_bio_tag(tag) for tag in tags], "bio")
        self.report.repaired.update(repaired)
        return spans


def _parse_bio_tag(tag: Any) -> tuple[str, str]:
    if not isinstance(tag, str):
        raise DataFormatError(f"BIO_label must be strings, found {type(tag).__name__}")
    prefix, label = parse_tag(tag)
    if prefix not in SCHEMES["bio"]:
        raise DataFormatError(f"prefix {prefix}- in BIO_label is not a BIO prefix")
    return prefix, label


class ChipStsReader(Reader):
    """Reader of CHIP-STS: pairs of questions `{"id", "text1", "text2", "label", "category"}`.

    The file is an array or has one pair per line. There are no spans: each text becomes a document without entities,
    `id-1` and `id-2`, whose `meta` has the id of the pair (a `group_key` for splits), its label and its category.
    `project_words` can annotate such texts with silver entities.
    """

    def records(self) -> Iterator[RawRecord]:
        """Yield two raw records per pair."""
        for line, key, pair in json_records(TextSource(self.path, self.encoding)):
            yield RawRecord(line, key, (pair, 1))
            if not isinstance(pair, DataFormatError):
                yield RawRecord(line, key, (pair, 2))

    def document(self, raw: RawRecord) -> Document:
        """Parse one text of a pair."""
        value, side = raw.value
        pair = as_object(value, "a pair")
        text = required(pair, f"text{side}", str, "the pair")
        pair_id = given_id(pair, self.default_id(raw))
        self.report.notes[NO_SPANS] += 1
        meta = _with_group(without(pair, "id", "text1", "text2"), "pair", pair_id)
        return Document(f"{pair_id}-{side}", text, (), meta)


def _with_group(columns: dict[str, Any], name: str, group: str) -> dict[str, Any]:
    """Return `meta` with the id of the group of a document, which a column of the same name must not replace."""
    if columns.get(name, group) != group:
        raise DataFormatError(
            f"key {name!r} is reserved for the id of the {name}, found {excerpt(columns[name])} there"
        )
    return {name: group, **columns}
