"""Submissions to CBLUE: `cmeee` (V1 and V2) and `imcs` (V1 and V2), and a check of such a file against the test file.

CMeEE wants an array with the `text` and the `entities` of each record of the test file, IMCS an object with the tags of
each sentence of each dialogue: `{dialogue: {sentence_id: "B-Symptom I-Symptom O"}}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.conll import tags_of_entities
from hf_adner.data.formats.corpora import CMEEE_EDITIONS, CmeeeReader, ImcsReader, check_edition
from hf_adner.data.formats.jsonl import json_text
from hf_adner.data.formats.reader import Reader, ReadReport, as_object, required
from hf_adner.data.formats.source import JsonStream, TextSource
from hf_adner.data.records import Document

LABELS = {
    "cmeee": ("dis", "sym", "dru", "equ", "pro", "bod", "ite", "mic", "dep"),
    "imcs": ("Symptom", "Drug", "Drug_Category", "Medical_Examination", "Operation"),
}
"""Labels of each task."""


def cmeee_text(documents: Iterable[Document], edition: str = "v1") -> Iterator[str]:
    """Yield an array with one record per line; ids and `meta` are not written.

    Args:
        documents: the records of the test file, in its order.
        edition: `v1`, whose `end_idx` is inclusive, or `v2`, whose `end_idx` is exclusive.

    Raises:
        ValueError: the edition is unknown.
    """
    after = CMEEE_EDITIONS[check_edition(edition)]
    separator = "[\n"
    for document in documents:
        entities = [
            {"start_idx": each.start, "end_idx": each.end - after, "type": each.label, "entity": each.text}
            for each in document.entities
        ]
        yield separator + json_text({"text": document.text, "entities": entities}, document.id)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def imcs_text(documents: Iterable[Document]) -> Iterator[str]:
    """Yield an object with one dialogue per line.

    Args:
        documents: the sentences of the test file, as `ImcsReader` gives them, in its order; without overlaps.

    Raises:
        DataFormatError: a document does not name its dialogue, a dialogue or sentence comes twice, or the tags cannot
            be written.
    """
    separator, written = "{\n", set()
    for dialogue, sentences in groupby(documents, key=_dialogue_of):
        if dialogue in written:
            raise DataFormatError(f"the sentences of dialogue {excerpt(dialogue, 20)} do not follow each other")
        written.add(dialogue)
        tags: dict[str, str] = {}
        for document in sentences:
            sentence = _sentence_of(document, dialogue)
            if sentence in tags:
                raise DataFormatError(f"sentence {excerpt(sentence, 20)} comes twice in a dialogue", record=document.id)
            tags[sentence] = _bio(document)
        yield f"{separator}{json_text(dialogue, dialogue)}: {json_text(tags, dialogue)}"
        separator = ",\n"
    yield "\n}\n" if separator != "{\n" else "{}\n"


def _dialogue_of(document: Document) -> str:
    dialogue = document.meta.get("dialogue")
    if not isinstance(dialogue, str):
        raise DataFormatError(
            "the document's meta does not name its dialogue; expected the sentences of an IMCS file (format='imcs')",
            record=document.id,
        )
    return dialogue


def _sentence_of(document: Document, dialogue: str) -> str:
    sentence = document.meta.get("sentence_id", document.id.removeprefix(f"{dialogue}-"))
    if not isinstance(sentence, (str, int)):
        raise DataFormatError("sentence_id in the document's meta must be a string or integer", record=document.id)
    return str(sentence)


def _bio(document: Document) -> str:
    with error_location(record=document.id):
        tags = tags_of_entities(document.entities, len(document.text))
        spaced = next((tag for tag in tags if len(tag.split()) != 1), None)
        if spaced:
            raise DataFormatError(f"label {excerpt(spaced[2:], 20)} has white space, which parts the tags")
    return " ".join(tags)


def check_submission(path: str | Path, test_path: str | Path, format: str) -> int:
    """Check that a submission has the records of the test file, in its order, with valid entities.

    Args:
        path: the submission.
        test_path: the official test file, for `imcs` the one with the dialogues.
        format: `cmeee-v1` (or `cmeee`), `cmeee-v2` or `imcs`.

    Returns:
        The number of records (for `imcs` of sentences).

    Raises:
        DataFormatError: the first fault, with file and record.
        ValueError: the format is unknown.
    """
    name, _, edition = format.lower().replace("_", "-").partition("-")
    if name == "imcs" and not edition:
        return _check_imcs(Path(path), Path(test_path))
    if name != "cmeee":
        raise ValueError(f"format {format!r} is no submission; expected cmeee-v1, cmeee-v2 or imcs")
    reader = CmeeeReader(path, ReadReport(), edition=edition or "v1")
    return _check_cmeee(reader, CmeeeReader(test_path, ReadReport(), require_entities=False))


def _check_cmeee(submission: CmeeeReader, test: CmeeeReader) -> int:
    number = 0
    for number, (found, expected) in enumerate(zip_longest(_documents(submission), _documents(test)), 1):
        with error_location(submission.path, record=str(number - 1)):
            if found is None or expected is None:
                raise DataFormatError(f"the submission has {_more(expected)} records than the test file")
            if found.text != expected.text:
                raise DataFormatError("the text differs from that of the test file at this place")
            _check_labels((entity.label for entity in found.entities), "cmeee")
    return number


def _more(expected: Any) -> str:
    return "more" if expected is None else "fewer"


def _documents(reader: Reader) -> Iterator[Document]:
    for raw in reader.records():
        with error_location(reader.path, raw.line, raw.key):
            yield reader.document(raw)


def _check_imcs(path: Path, test_path: Path) -> int:
    test = groupby(_documents(ImcsReader(test_path, ReadReport(), require_entities=False)), key=_dialogue_of)
    submitted = JsonStream(TextSource(path)).members()
    number = 0
    for raw, group in zip_longest(submitted, test):
        if raw is None or group is None:
            raise DataFormatError(f"the submission has {_more(group)} dialogues than the test file", path=path)
        dialogue, sentences = group
        with error_location(path, raw.line, raw.key):
            if raw.key != dialogue:
                raise DataFormatError(f"dialogue {excerpt(dialogue, 20)} of the test file is missing at this place")
            number += _check_dialogue(as_object(raw.value, "a dialogue"), list(sentences))
    return number


def _check_dialogue(found: Any, sentences: list[Document]) -> int:
    expected = {_sentence_of(document, document.meta["dialogue"]): document.text for document in sentences}
    if list(found) != list(expected):
        raise DataFormatError(
            f"expected the {len(expected)} sentences of the test file in order, found {len(found)} others"
        )
    for sentence, text in expected.items():
        tags = required(found, sentence, str, "the dialogue").split()
        if len(tags) != len(text):
            raise DataFormatError(f"sentence {excerpt(sentence, 20)} has {len(tags)} tags for {len(text)} characters")
        if any(tag != "O" and tag[:2] not in ("B-", "I-") for tag in tags):
            raise DataFormatError(f"sentence {excerpt(sentence, 20)} has a tag that is neither 'O' nor BIO")
        _check_labels((tag[2:] for tag in tags if tag != "O"), "imcs")
    return len(sentences)


def _check_labels(labels: Iterable[str], task: str) -> None:
    unknown = next((label for label in labels if label not in LABELS[task]), None)
    if unknown is not None:
        raise DataFormatError(f"label {excerpt(unknown, 20)} is none of the task's: {', '.join(LABELS[task])}")
