"""Texts of a pretraining run: reading, holding out, vocabulary coverage, and packing into blocks of tokens."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from hf_adner.data.formats import read_documents
from hf_adner.data.formats.hf_dataset import is_dataset
from hf_adner.data.input_files import files_by_split
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.reporting import markdown_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


logger = logging.getLogger(__name__)

_RECORDS = (".json", ".jsonl", ".csv", ".tsv", ".xlsx", ".xlsm")

HUGE = 100_000
"""Number of characters above which a text is probably several texts."""
PART = 16
"""Characters from which on a part of a text counts as that text; shorter ones are phrases that many texts share."""


def read_texts(paths: Sequence[str], format: str = "lines", **options: Any) -> list[str]:
    """Read the texts of files, folders and glob patterns, without blank texts.

    Args:
        paths: files, folders or glob patterns.
        format: format of the files; by default every line is a text.
        options: options of `read_documents`; with `skip_invalid` broken records are skipped with a warning.

    Raises:
        DataFormatError: if a file is empty, in an unknown encoding or has a broken record; names file and line.
        FileNotFoundError: if a file does not exist.
        ValueError: if all texts are blank, or a file of records would be read as lines.
    """
    files = [file for path in paths for file in files_by_split({"text": path})["text"]]
    options = {"overlaps": "any", "require_entities": False, **options}
    texts: list[str] = []
    with tqdm(desc="reading", unit="text", disable=None) as bar:
        for file in files:
            texts += _read_file(file, format, options, bar)
    if not texts:
        raise ValueError(f"{', '.join(map(str, files[:3]))}: found no text, expected at least one that is not blank")
    longest = max(map(len, texts))
    if longest > HUGE:
        logger.warning(
            "the longest text has %d characters: is every line a single text? It is cut into blocks", longest
        )
    return texts


def _read_file(file: Path, format: str, options: dict[str, Any], bar: tqdm) -> list[str]:
    _check_lines(file, format)
    stream = read_documents(file, "dataset" if is_dataset(file) else format, **options)
    texts = []
    for document in stream:
        texts += [document.text] if document.text.strip() else []
        bar.update()
    for warning in stream.report.warnings():
        logger.warning("%s", warning)
    return texts


def _check_lines(file: Path, format: str) -> None:
    """Refuse files of records, whose syntax would be learned as text."""
    if format == "lines" and file.suffix.lower() in _RECORDS:
        raise ValueError(f"{file}: holds records, not lines of text; name their format, such as --format jsonl")


def read_evaluation_texts(paths: Sequence[str]) -> list[str]:
    """Read the texts of files, folders and glob patterns of any format that `read_documents` knows.

    Raises:
        DataFormatError, FileNotFoundError, ValueError: as `read_texts`.
    """
    files = [file for path in paths for file in files_by_split({"text": path})["text"]]
    streams = (read_documents(file, overlaps="any", require_entities=False) for file in files)
    return [document.text for stream in streams for document in stream]


def without_evaluation_texts(texts: Sequence[str], evaluation: Iterable[str]) -> list[str]:
    """Return the texts that neither are, hold nor belong to a text that a model will be evaluated on.

    An encoder that has read a test set, if without its labels, may score higher on it than on new texts. Compared are
    characters in their compatible form, white space aside; for parts, texts of `PART` characters or more.

    Args:
        texts: texts to pretrain on.
        evaluation: texts to keep out.

    Raises:
        ValueError: nothing is left.
    """
    compact = [_compact(text) for text in texts]
    held = set(filter(None, map(_compact, evaluation)))
    starts: dict[str, list[str]] = {}
    for text in held:
        if len(text) >= PART:
            starts.setdefault(text[:PART], []).append(text)
    joined, begins = "\n".join(sorted(held)), {text[:PART] for text in compact}
    pieces = (joined[place : place + PART] for place in range(len(joined) - PART + 1))
    inner = begins.intersection(pieces)

    def belongs(text: str) -> bool:
        if text in held or (len(text) >= PART and text[:PART] in inner and text in joined):
            return True
        places = range(len(text) - PART + 1)
        return any(
            text.startswith(other, place) for place in places for other in starts.get(text[place : place + PART], ())
        )

    kept = [text for text, plain in zip(texts, compact, strict=True) if not belongs(plain)]
    if not kept:
        raise ValueError(f"all {len(texts)} texts belong to the excluded ones: nothing is left to pretrain on")
    return kept


def _compact(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


def hold_out_texts(texts: Iterable[str], share: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """Split texts into training texts and held-out texts; equal texts stay together.

    Args:
        texts: the texts.
        share: share of the texts to hold out, in [0, 1); at least one text unless it is 0.
        seed: seed of the choice.

    Raises:
        ValueError: if the share is out of range, or there are too few different texts for both parts.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of held-out text is {share}, expected 0 or more and less than 1")
    texts = list(texts)
    if not share:
        return texts, []
    places = {text: _place(text, seed) for text in texts}
    if len(places) < 2:
        raise ValueError(
            "found only a single text, so none can be held out; expected one text per line, or --validation-share 0"
        )
    limit = min(max(share, min(places.values())), math.nextafter(max(places.values()), 0))  # a text each
    train = [text for text in texts if places[text] > limit]
    return train, [text for text in texts if places[text] <= limit]


def _place(text: str, seed: int) -> float:
    """Return a number from 0 to 1 that depends only on the text and the seed."""
    digest = sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True)
class VocabularyCoverage:
    """Coverage of texts by a vocabulary.

    Attributes:
        texts: number of texts.
        characters: number of characters, white space included.
        distinct: number of different characters.
        unknown: number of characters that become ``[UNK]``.
        unknown_characters: the most frequent unknown characters with their counts.
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
        """Return all values as a JSON-serialisable dictionary."""
        return {**asdict(self), "unknown_rate": self.unknown_rate}

    def to_markdown(self) -> str:
        """Return the values and a table of the unknown characters as Markdown."""
        lines = [
            f"{self.texts:,} texts, {self.characters:,} characters ({self.distinct:,} different ones)",
            f"[UNK]: {self.unknown:,} characters, {100 * self.unknown_rate:.3f} %",
        ]
        if self.unknown_characters:
            rows = [(_shown(unknown), f"U+{ord(unknown):04X}", count) for unknown, count in self.unknown_characters]
            lines += ["", markdown_table(("unknown", "code point", "times"), rows, "llr")]
        return "\n".join(lines)


def _shown(character: str) -> str:
    return character if character.isprintable() and character != "|" else unicodedata.name(character, "?")


def vocabulary_coverage(texts: Iterable[str], tokenizer: AdnerTokenizer, top: int = 20) -> VocabularyCoverage:
    """Count the characters of texts that are unknown to a tokenizer.

    Args:
        texts: the texts.
        tokenizer: tokenizer with one token per character.
        top: number of the most frequent unknown characters to report.
    """
    counts: Counter[str] = Counter()
    number = 0
    for text in tqdm(texts, desc="counting", unit="text", disable=None):
        counts.update(text)
        number += 1
    unknown = {character: counts[character] for character in _unknown(sorted(counts), tokenizer)}
    frequent = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:top]
    return VocabularyCoverage(number, counts.total(), len(counts), sum(unknown.values()), frequent)


def _unknown(characters: list[str], tokenizer: AdnerTokenizer) -> Iterator[str]:
    if characters:
        rows = tokenizer(characters, add_special_tokens=False)["input_ids"]
        pairs = zip(characters, rows, strict=True)
        yield from (character for character, row in pairs if tokenizer.unk_token_id in row)


_BATCH = 1000
_OPEN = 32
_SENTENCE_END = re.compile(r"[。！？；!?;\n]")


class TextBlocks:
    """Dataset of blocks ``[CLS] text [SEP] text [SEP] ...``.

    Short texts share a block. A text is only cut if it is longer than a block, then at the end of a sentence if one is
    near, and without losing any of it. Tokens are kept in memory with 4 bytes each and never written to disk.

    Args:
        texts: the texts; blank texts are skipped.
        tokenizer: tokenizer with [CLS] and [SEP].
        max_length: largest number of tokens of a block, special tokens included.

    Attributes:
        texts: number of texts that are not blank.
        tokens: number of their tokens.

    Raises:
        ValueError: if `max_length` leaves no room for text, or the tokenizer lacks [CLS] or [SEP].
    """

    def __init__(self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, max_length: int = 512) -> None:
        self._begin, self._separator = tokenizer.cls_token_id, tokenizer.sep_token_id
        if self._begin is None or self._separator is None:
            raise ValueError(f"{type(tokenizer).__name__} has no [CLS] or no [SEP] token, which blocks need")
        if max_length < 3:
            raise ValueError(f"max_length is {max_length}, which leaves no room for text beside [CLS] and [SEP]")
        self.max_length = max_length
        self.texts = self.tokens = 0
        self._ids, ends = array("i"), array("q", [0])
        for block in self._packed(self._pieces(texts, tokenizer)):
            self._ids.extend(block)
            ends.append(len(self._ids))
        self._ends = np.array(ends)  # (blocks + 1,)
        self._ids = np.array(self._ids, dtype=np.int32)  # (all tokens,)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return `input_ids`, (tokens,) int64, of a block."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        index %= len(self)
        return {"input_ids": self._ids[self._ends[index] : self._ends[index + 1]].astype(np.int64)}

    @property
    def fill(self) -> float:
        """Share of the tokens of full blocks that are text, 0 to 1."""
        return self.tokens / (len(self) * self.max_length) if len(self) else 0.0

    def _packed(self, pieces: Iterable[list[int]]) -> Iterator[list[int]]:
        """Put each piece into the fullest of a few open blocks that has room for it (best fit)."""
        opened: list[list[int]] = []
        for piece in pieces:
            fitting = [block for block in opened if len(block) + len(piece) < self.max_length]
            if not fitting:
                if len(opened) == _OPEN:
                    fullest = max(range(_OPEN), key=lambda number: len(opened[number]))
                    yield opened.pop(fullest)
                fitting = [[self._begin]]
                opened += fitting
            max(fitting, key=len).extend([*piece, self._separator])
        yield from opened

    def _pieces(self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
        size = self.max_length - 2
        pieces = self._texts(texts, size)
        while batch := list(islice(pieces, _BATCH)):
            for ids in tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]:
                self.tokens += len(ids)
                # with word pieces there may be more tokens than characters
                yield from (ids[start : start + size] for start in range(0, len(ids), size))

    def _texts(self, texts: Iterable[str], size: int) -> Iterator[str]:
        for text in texts:
            if text.strip():
                self.texts += 1
                yield from cut_text(text, size)


def cut_text(text: str, size: int) -> Iterator[str]:
    """Cut a text into consecutive pieces of at most `size` characters.

    A piece ends after the last end of a sentence in its second half, or else at `size` characters.
    """
    start = 0
    while len(text) - start > size:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, start + size // 2, start + size)]
        end = ends[-1] if ends else start + size
        yield text[start:end]
        start = end
    yield text[start:]
