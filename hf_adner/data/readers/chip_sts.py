"""CHIP-STS JSON: pairs of questions `{"id", "text1", "text2", "label", "category"}`.

There are no spans, so each of the two texts loads as a document without entities, `id-1` and `id-2`; `meta` holds the
pair's id (a `group_key` for splits), its label and category. `projection` can mark words of a lexicon in them, as
silver.
"""

from __future__ import annotations

from collections.abc import Iterator

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.json_stream import json_records
from hf_adner.data.readers.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.readers.source import TextSource
from hf_adner.data.records import Document

NO_SPANS = "texts of sentence pairs, which have no gold entities"


class ChipStsReader(Reader):
    """Reads CHIP-STS pairs, array or one pair a line, as single texts."""

    def records(self) -> Iterator[RawRecord]:
        """Two raw records per pair."""
        for line, key, pair in json_records(TextSource(self.path, self.encoding)):
            yield RawRecord(line, key, (pair, 1))
            if not isinstance(pair, DataFormatError):
                yield RawRecord(line, key, (pair, 2))

    def document(self, raw: RawRecord) -> Document:
        """One text of a pair."""
        value, side = raw.value
        pair = as_object(value, "a pair")
        text = required(pair, f"text{side}", str, "the pair")
        pair_id = given_id(pair, self.default_id(raw))
        self.report.notes[NO_SPANS] += 1
        return Document(f"{pair_id}-{side}", text, (), {"pair": pair_id, **without(pair, "id", "text1", "text2")})
