"""IMCS-V2-NER dialogue JSON: `{"id": {"dialogue": [{"sentence", "BIO_label", "speaker", ...}], ...}}`.

Every sentence becomes a document; `meta` holds the dialogue's id (a `group_key` for splits), the speaker and whatever
else the sentence has. A dialogue's `self_report` carries no labels and is not read. Character BIO files of the same
corpus are read as CoNLL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.json_stream import JsonStream
from hf_adner.data.readers.reader import RawRecord, Reader, as_object, required, without
from hf_adner.data.readers.source import TextSource
from hf_adner.data.records import Document, Entity
from hf_adner.data.tags import SCHEMES, parse_tag, spans_of_tags

SELF_REPORT = "dialogue self-reports, which have no labels, were not read"


class Sentence(NamedTuple):
    """A sentence and the place it has in its dialogue."""

    dialogue: str
    number: int
    value: Any


class ImcsReader(Reader):
    """Reads IMCS-V2-NER dialogues, sentence by sentence."""

    overlaps = "none"

    def records(self) -> Iterator[RawRecord]:
        """One raw record per sentence."""
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
        """The document of a sentence."""
        if isinstance(raw.value, DataFormatError):
            raise raw.value
        sentence = as_object(raw.value.value, "a sentence")
        text = required(sentence, "sentence", str, "the sentence")
        spans = self._spans(sentence, len(text))
        document_id = f"{raw.value.dialogue}-{sentence.get('sentence_id', raw.value.number)}"
        meta = {"dialogue": raw.value.dialogue, **without(sentence, "sentence", "BIO_label")}
        return Document(document_id, text, tuple(Entity(*span) for span in spans), meta)

    def _spans(self, sentence: Mapping[str, Any], length: int) -> list[tuple[int, int, str]]:
        if "BIO_label" not in sentence and not self.require_entities:
            return []
        tags = required(sentence, "BIO_label", (str, list), "the sentence")
        tags = tags.split() if isinstance(tags, str) else tags
        if len(tags) != length:
            raise DataFormatError(f"BIO_label has {len(tags)} tags for a sentence of {length} characters")
        spans, repaired = spans_of_tags([_bio(tag) for tag in tags], "bio")
        self.report.repaired.update(repaired)
        return spans


def _bio(tag: Any) -> tuple[str, str]:
    if not isinstance(tag, str):
        raise DataFormatError(f"BIO_label must hold strings, found {type(tag).__name__}")
    prefix, label = parse_tag(tag)
    if prefix not in SCHEMES["bio"]:
        raise DataFormatError(f"prefix {prefix}- in BIO_label is not BIO")
    return prefix, label
