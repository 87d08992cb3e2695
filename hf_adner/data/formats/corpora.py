"""JSON formats of public Chinese corpora: CMeEE, CCKS 2019, CLUENER, IMCS-V2-NER and CHIP-STS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.conll import SCHEMES, parse_tag, spans_of_tags
from hf_adner.data.formats.jsonl import JsonReader, entity_list
from hf_adner.data.formats.offsets import same_words
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.formats.source import JsonStream, TextSource, json_records
from hf_adner.data.records import Document, Entity

CMEEE_EDITIONS = {"v1": 1, "v2": 0}
"""Characters from `end_idx` to the end of an entity, in the editions of CMeEE."""
EMPTY_ENTITY = "entity that encloses no character (left out)"
EXCLUSIVE = "CMeEE records with an exclusive end_idx, as in CMeEE-V2"
UNKNOWN_EDITION = (
    "CMeEE records in which nothing tells the edition, read as CMeEE-V1 (end_idx inclusive); "
    "format='cmeee-v2' (--format cmeee-v2) reads it as exclusive"
)
SELF_REPORT = "dialogue self-reports, which have no labels, were not read"
NO_SPANS = "texts of sentence pairs, which have no gold entities"


class CmeeeReader(JsonReader):
    """Reader of CMeEE: `{"text", "entities": [{"start_idx", "end_idx", "type", "entity"}]}`.

    **`end_idx` is inclusive in CMeEE-V1 and exclusive in CMeEE-V2.** The `entity` texts tell which. The file is an
    array or has one record per line. Entities may be nested; test files have none. The official train file has two
    crossing pairs, so crossing spans are allowed, and two empty entities, which are dropped and counted.

    Args:
        args: of `Reader`.
        edition: one of `CMEEE_EDITIONS`; None tells it by the entities' texts, without any it is V1.
        options: of `JsonReader`.
    """

    overlaps = "any"

    def __init__(self, *args: Any, edition: str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._edition = check_edition(edition) if edition is not None else None
        self._found: str | None = None

    def document(self, raw: RawRecord) -> Document:
        """Parse a sentence."""
        record = as_object(raw.value)
        text_key = self.text_key(record)
        text = required(record, text_key, str)
        values = [_cmeee_entity(value) for value in entity_list(record, self.require_entities)]
        after = CMEEE_EDITIONS[self._edition_of(values, text)]
        kept = [value for value in values if value["entity"] != "" or value["end_idx"] + after != value["start_idx"]]
        self.report.repaired[EMPTY_ENTITY] += len(values) - len(kept)
        entities = self.in_characters((_entity(value, after) for value in kept), text)
        document_id = given_id(record, self.default_id(raw))
        return Document(document_id, text, entities, without(record, "id", text_key, "entities"))

    def _edition_of(self, values: Sequence[Mapping[str, Any]], text: str) -> str:
        if self._edition is not None:
            return self._edition
        surfaces = [value for value in values if value["entity"]]
        for fits in (_is_at, _has_words_at, _is_as_long):
            fitting = [edition for edition in CMEEE_EDITIONS if all(fits(value, edition, text) for value in surfaces)]
            if surfaces and len(fitting) == 1:
                self._found = fitting[0]
                self.report.notes[EXCLUSIVE] += self._found == "v2"
                break
        if self._found is None and values and not surfaces:
            self.report.notes[UNKNOWN_EDITION] += 1
        return self._found or "v1"


def _is_at(value: Mapping[str, Any], edition: str, text: str) -> bool:
    end = value["end_idx"] + CMEEE_EDITIONS[edition]
    return end <= len(text) and text[value["start_idx"] : end] == value["entity"]


def _has_words_at(value: Mapping[str, Any], edition: str, text: str) -> bool:
    end = value["end_idx"] + CMEEE_EDITIONS[edition]
    return end <= len(text) and same_words(text[value["start_idx"] : end], value["entity"])


def _is_as_long(value: Mapping[str, Any], edition: str, text: str) -> bool:
    """Return whether an entity has the length of its text, in characters or in UTF-16 units."""
    surface = value["entity"]
    length = value["end_idx"] + CMEEE_EDITIONS[edition] - value["start_idx"]
    return length in (len(surface), len(surface.encode("utf-16-le", "surrogatepass")) // 2)


def check_edition(edition: str) -> str:
    """Return an edition of CMeEE.

    Raises:
        ValueError: it is unknown.
    """
    if edition not in CMEEE_EDITIONS:
        raise ValueError(f"edition must be one of {', '.join(CMEEE_EDITIONS)}, found {edition!r}")
    return edition


def _cmeee_entity(value: Any) -> dict[str, Any]:
    """Return an entity with checked types, its `entity` None if it has none."""
    entity = as_object(value, "an entity")
    for key, kind in (("start_idx", int), ("end_idx", int), ("type", str)):
        required(entity, key, kind, "an entity")
    surface = required(entity, "entity", str, "an entity") if "entity" in entity else None
    return {**entity, "entity": surface}


def _entity(value: Mapping[str, Any], after: int) -> Entity:
    meta = without(value, "start_idx", "end_idx", "type", "entity")
    return Entity(value["start_idx"], value["end_idx"] + after, value["type"], value["entity"], meta)


class CcksReader(JsonReader):
    """Reader of CCKS 2019 and Yidu-S4K: `{"originalText", "entities": [{"start_pos", "end_pos", "label_type"}]}`.

    `end_pos` is exclusive. Other keys of an entity, such as `overlap`, are kept in its `meta`.
    """

    overlaps = "any"
    text_keys = ("originalText", "text")

    def document(self, raw: RawRecord) -> Document:
        """Parse a note."""
        record = as_object(raw.value)
        text_key = self.text_key(record)
        text = required(record, text_key, str)
        entities = self.in_characters(map(_ccks_entity, entity_list(record, self.require_entities)), text)
        document_id = given_id(record, self.default_id(raw))
        return Document(document_id, text, entities, without(record, "id", text_key, "entities"))


def _ccks_entity(value: Any) -> Entity:
    entity = as_object(value, "an entity")
    start, end = (required(entity, key, int, "an entity") for key in ("start_pos", "end_pos"))
    label = required(entity, "label_type", str, "an entity")
    return Entity(start, end, label, None, without(entity, "start_pos", "end_pos", "label_type"))


class CluenerReader(JsonReader):
    """Reader of CLUENER: `{"text", "label": {type: {surface: [[start, end], ...]}}}`; `end` is inclusive."""

    overlaps = "any"

    def document(self, raw: RawRecord) -> Document:
        """Parse a sentence."""
        record = as_object(raw.value)
        text_key = self.text_key(record)
        text = required(record, text_key, str)
        labels = required(record, "label", dict) if self.require_entities or "label" in record else {}
        entities = self.in_characters(_cluener_entities(labels), text)
        document_id = given_id(record, self.default_id(raw))
        return Document(document_id, text, entities, without(record, "id", text_key, "label"))


def _cluener_entities(labels: Mapping[str, Any]) -> Iterator[Entity]:
    for label in labels:
        surfaces = required(labels, label, dict, "the label")
        for surface in surfaces:
            for span in required(surfaces, surface, list, f"type {excerpt(label, 20)}"):
                if not isinstance(span, list) or [type(offset) for offset in span] != [int, int]:
                    raise DataFormatError(f"a span of type {excerpt(label, 20)} must be [start, end], two integers")
                yield Entity(span[0], span[1] + 1, label, surface)


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
