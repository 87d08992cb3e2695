"""The texts of a pretraining run: read, held out in part, and looked at before hours are spent."""

from __future__ import annotations

import logging
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_adner.data.readers import read_documents
from hf_adner.data.split_files import files_by_split
from hf_adner.model.tokenization_adner import AdnerTokenizer

logger = logging.getLogger(__name__)

_RECORDS = (".json", ".jsonl", ".csv", ".tsv", ".xlsx", ".xlsm")

HUGE = 100_000
"""Characters from which on a text is suspected to be many."""


def read_texts(
    paths: Sequence[str], format: str = "lines", encoding: str | None = None, skip_invalid: bool = False
) -> list[str]:
    """The texts of files, folders and glob patterns; blank ones are left out.

    Args:
        paths: where they are.
        format: of the files; by default every line is a text.
        encoding: of the files; None finds out (UTF-8, UTF-16 with byte order mark, GB18030).
        skip_invalid: pass over broken records and warn of them.

    Raises:
        DataFormatError: an empty file, bytes in no known encoding, or a broken record; names file and line.
        FileNotFoundError: there is no such file.
        ValueError: all texts are blank, or a file of records is to be read as lines.
    """
    files = [file for path in paths for file in files_by_split({"text": path})["text"]]
    options = {"encoding": encoding, "skip_invalid": skip_invalid, "overlaps": "any", "require_entities": False}
    texts: list[str] = []
    for file in tqdm(files, desc="reading", unit="file", disable=None):
        texts += _texts_of(file, format, options)
    if not texts:
        raise ValueError(f"{', '.join(map(str, files[:3]))}: found no text, expected at least one that is not blank")
    longest = max(map(len, texts))
    if longest > HUGE:
        logger.warning("the longest text has %d characters: is a line really one text? It is cut into blocks", longest)
    return texts


def _texts_of(file: Path, format: str, options: dict[str, Any]) -> list[str]:
    _check_lines(file, format)
    stream = read_documents(file, format, **options)
    texts = [document.text for document in stream if document.text.strip()]
    for warning in stream.report.warnings():
        logger.warning("%s", warning)
    return texts


def _check_lines(file: Path, format: str) -> None:
    """Refuse files of records, whose punctuation would be learned as text."""
    if format == "lines" and file.suffix.lower() in _RECORDS:
        raise ValueError(f"{file}: holds records, not lines of text; name their format, such as --format jsonl")


def hold_out_texts(texts: Iterable[str], share: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """Divide texts into those to learn from and those to measure perplexity on; equal texts stay together.

    Args:
        texts: the texts.
        share: of those held out, 0 to less than 1; at least one text where it is more than 0.
        seed: another one holds out others.

    Raises:
        ValueError: a share outside its range, or too few different texts for both parts.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of held-out text is {share}, expected 0 or more and less than 1")
    texts = list(texts)
    if not share:
        return texts, []
    places = {text: _place(text, seed) for text in texts}
    if len(places) < 2:
        raise ValueError(
            "found one single text, from which none can be held out; expected one text a line, or --validation_share 0"
        )
    limit = min(max(share, min(places.values())), math.nextafter(max(places.values()), 0))  # a text each
    train = [text for text in texts if places[text] > limit]
    return train, [text for text in texts if places[text] <= limit]


def _place(text: str, seed: int) -> float:
    """A number from 0 to 1 that only the text and the seed determine."""
    digest = sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True)
class VocabularyCoverage:
    """How much of a text a vocabulary knows.

    Attributes:
        texts: number of texts.
        characters: number of their characters, white space included.
        distinct: number of different characters.
        unknown: number of characters that become ``[UNK]``.
        unknown_characters: the most frequent of these and how often they occur.
    """

    texts: int
    characters: int
    distinct: int
    unknown: int
    unknown_characters: list[tuple[str, int]]

    @property
    def unknown_rate(self) -> float:
        """Share of the characters that become ``[UNK]``, 0 to 1."""
        return self.unknown / self.characters if self.characters else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {**asdict(self), "unknown_rate": self.unknown_rate}

    def to_markdown(self) -> str:
        """The figures and a table of the unknown characters."""
        lines = [
            f"{self.texts:,} texts, {self.characters:,} characters ({self.distinct:,} different ones)",
            f"[UNK]: {self.unknown:,} characters, {100 * self.unknown_rate:.3f} %",
        ]
        if self.unknown_characters:
            lines += ["", "| unknown | code point | times |", "|---|---|---:|"]
            lines += [f"| {_shown(one)} | U+{ord(one):04X} | {times:,} |" for one, times in self.unknown_characters]
        return "\n".join(lines)


def _shown(character: str) -> str:
    return character if character.isprintable() and character != "|" else unicodedata.name(character, "?")


def vocabulary_coverage(texts: Iterable[str], tokenizer: AdnerTokenizer, top: int = 20) -> VocabularyCoverage:
    """Count the characters of texts that a tokenizer does not know.

    Args:
        texts: the texts.
        tokenizer: with one token per character.
        top: how many of the most frequent unknown characters are told.
    """
    counts: Counter[str] = Counter()
    number = 0
    for text in tqdm(texts, desc="counting", unit="text", disable=None):
        counts.update(text)
        number += 1
    unknown = {one: counts[one] for one in _unknown(sorted(counts), tokenizer)}
    frequent = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:top]
    return VocabularyCoverage(number, counts.total(), len(counts), sum(unknown.values()), frequent)


def _unknown(characters: list[str], tokenizer: AdnerTokenizer) -> Iterator[str]:
    if characters:
        rows = tokenizer(characters, add_special_tokens=False)["input_ids"]
        yield from (one for one, row in zip(characters, rows, strict=True) if tokenizer.unk_token_id in row)
