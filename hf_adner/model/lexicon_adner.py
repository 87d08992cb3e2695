"""The word list of a model: words, frequencies, and a matcher that finds them in a text.

The word stream of M-DSCMG (Luo, Che, Ji 2025, eq. 2) and of SoftLexicon (Ma et al. 2020) reads these words. Word
``words[i]`` has the id ``i + 1``; id 0 is padding. Matching uses ``ahocorasick-rs`` if it is installed (optional: the
file is part of a checkpoint's code).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from .loading_adner import RESTORE, CheckpointError, named_errors, read_json_object, write_atomically
from .script_adner import ScriptMap
from .text_lines_adner import decode_lines
from .word_vectors_adner import read_word_vectors

try:
    import ahocorasick_rs
except ImportError:  # the pure-Python matcher finds the same words, more slowly
    ahocorasick_rs = None

logger = logging.getLogger(__name__)

ORIGINS = ("list", "documents", "mix")
FORMAT = "adner-lexicon"
VERSION = 2
"""Version of the file; in version 1 the hash does not cover the origin."""
PUBLIC_DOCUMENTS = 5
"""A count over at least this many texts does not disclose any one of them."""

_FILLER = "\ufffe"  # a noncharacter
_SURROGATE = re.compile("[\ud800-\udfff]")
_INVALID = re.compile("^\\s|\\s$|[\t\n\r\ud800-\udfff]")

Match = tuple[int, int, int]  # word id, start, end (characters, end exclusive)


def lower_by_character(text: str) -> str:
    """Lower-case `text` character by character, so that every character keeps its position.

    Unlike `str.lower`, which turns U+0130 into two characters, and a capital sigma at the end of a word into another
    letter than inside one.
    """
    lowered = text.lower()
    if len(lowered) == len(text) and "\u03a3" not in text:
        return lowered
    return "".join(character.lower()[0] for character in text)


def replace_surrogates(text: str) -> str:
    """Replace every lone surrogate, which cannot be encoded, by U+FFFD; the length does not change."""
    return _SURROGATE.sub("\ufffd", text)


class Lexicon:
    """An ordered list of words with their frequencies, and the matcher for them.

    Args:
        words: the words, each once, without white space at its ends. The id of ``words[i]`` is ``i + 1``.
        frequencies: one count per word, 0 where it is unknown; all 0 when None.
        origin: ``"list"`` for a published word list, ``"documents"`` for words extracted from annotated documents
            (which may be private), ``"mix"`` for a union of both, or for a list with counts that may disclose single
            documents.

    Raises:
        TypeError: a word is not a string, or a frequency is not an integer.
        ValueError: a blank word, a repeated word, a word with a tab, a line break or a lone surrogate, a negative
            frequency, another number of frequencies than of words, or an unknown origin.
    """

    def __init__(self, words: Iterable[str], frequencies: Iterable[int] | None = None, origin: str = "list") -> None:
        self.words: tuple[str, ...] = tuple(words)
        self.frequencies: tuple[int, ...] = (0,) * len(self.words) if frequencies is None else tuple(frequencies)
        self.origin = origin
        self._matchers: dict[tuple[bool, str | None], _AutomatonMatcher | _PrefixMatcher] = {}
        self._hash: str | None = None
        self._check()

    def _check(self) -> None:
        if self.origin not in ORIGINS:
            raise ValueError(f"origin is {self.origin!r}, expected one of {ORIGINS}")
        if len(self.frequencies) != len(self.words):
            raise ValueError(f"{len(self.frequencies)} frequencies for {len(self.words)} words")
        seen: dict[str, int] = {}
        for index, (word, frequency) in enumerate(zip(self.words, self.frequencies)):
            _check_word(word, f"word {index}")
            _check_frequency(frequency, f"word {index}")
            if seen.setdefault(word, index) != index:
                raise ValueError(f"word {index} ({shorten(word)}) is word {seen[word]} again: words must be unique")

    # ---- properties -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.words)

    @property
    def size(self) -> int:
        """Number of word ids, padding included: ``len(self) + 1``."""
        return len(self.words) + 1

    @property
    def hash(self) -> str:
        """SHA-256 (hexadecimal) over origin, words and frequencies in their order; the same in every process."""
        if self._hash is None:
            self._hash = self._digest(f"{VERSION}\t{self.origin}\n")
        return self._hash

    def _digest(self, heading: str) -> str:
        digest = hashlib.sha256(heading.encode())
        for word, frequency in zip(self.words, self.frequencies):
            digest.update(f"{word}\t{frequency}\n".encode())
        return digest.hexdigest()

    def has_hash(self, expected: str) -> bool:
        """Return whether `expected` is the hash of this lexicon, also as checkpoints before version 2 have it.

        The hash of version 1 covers words and frequencies, not the origin.
        """
        return expected in (self.hash, self._digest(""))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lexicon) and self.origin == other.origin and self.hash == other.hash

    def __hash__(self) -> int:
        return hash((self.origin, self.hash))

    def __repr__(self) -> str:
        return f"Lexicon({len(self)} words, origin={self.origin!r}, hash={self.hash[:12]!r})"

    def __getstate__(self) -> dict[str, Any]:
        # automata cannot be pickled, and a pickle must not depend on whether the lexicon has been used
        return {"words": self.words, "frequencies": self.frequencies, "origin": self.origin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _matchers={}, _hash=None)

    # ---- construction -----------------------------------------------------------------------------------------

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, encoding: str | None = None, origin: str = "list") -> Lexicon:
        """Read a word list: one word per line, or ``word<TAB>frequency`` with further columns ignored.

        A word on several lines is kept once, with the sum of its frequencies. Blank lines are skipped. Both are
        counted and logged as a warning. Lines that begin with ``#`` are comments.

        Args:
            path: the file, UTF-8 (with or without byte order mark) or GB18030.
            encoding: a codec name; None tries UTF-8, then GB18030.
            origin: see the class.

        Raises:
            ValueError: no word at all, bytes in neither encoding, a blank word with a frequency, or a frequency that
                is not a whole number of 0 or more; the message names file and line.
        """
        frequencies: dict[str, int] = {}
        blank = repeated = 0
        for number, line in enumerate(decode_lines(Path(path), encoding), 1):
            if line.startswith("#"):
                continue
            if not line.strip():
                blank += 1
                continue
            word, frequency = _parse_entry(line, f"{path}:{number}")
            repeated += word in frequencies
            frequencies[word] = frequencies.get(word, 0) + frequency
        if not frequencies:
            raise ValueError(f"{path}: no word found, expected one word per line")
        if blank or repeated:
            logger.warning("%s: skipped %d blank lines, merged %d repeated words", path, blank, repeated)
        return cls(frequencies, frequencies.values(), origin=origin)

    @classmethod
    def from_documents(cls, texts_of_entities: Iterable[str], *, min_count: int = 1, min_length: int = 1) -> Lexicon:
        """Create a lexicon from the texts of annotated entities; ``origin`` is ``"documents"``.

        White space at the ends is stripped; blank texts and texts with a tab, a line break or a lone surrogate (which
        cannot be words) are skipped, counted and logged. Words are ordered by falling frequency, then by code point,
        so the order of the documents does not change the hash.

        Args:
            texts_of_entities: the surface text of every entity, repeated ones included (they are counted).
            min_count: keep words that occur at least this often.
            min_length: keep words of at least this many characters.
        """
        counts = Counter(text.strip() for text in texts_of_entities)
        unusable = [word for word in counts if word_error(word)]
        if unusable:
            logger.warning("skipped %d entity texts that cannot be words", sum(counts.pop(word) for word in unusable))
        words = [(word, n) for word, n in counts.items() if n >= min_count and len(word) >= min_length]
        words.sort(key=lambda item: (-item[1], item[0]))
        return cls([word for word, _ in words], [n for _, n in words], origin="documents")

    def union(self, other: Lexicon) -> Lexicon:
        """Return this lexicon's words with their ids, then the new words of `other`; frequencies are added."""
        frequencies = dict(zip(self.words, self.frequencies))
        for word, frequency in zip(other.words, other.frequencies):
            frequencies[word] = frequencies.get(word, 0) + frequency
        origin = self.origin if self.origin == other.origin else "mix"
        return Lexicon(frequencies, frequencies.values(), origin=origin)

    def add(self, words: Iterable[str], frequencies: Iterable[int] | None = None, origin: str = "list") -> Lexicon:
        """Return this lexicon with further words behind its own, which keep their ids and frequencies.

        A checkpoint that has the lexicon grows with it by `AdnerForTokenClassification.add_words`.

        Args:
            words, frequencies, origin: as for the class; words that are here already are passed over.

        Raises:
            TypeError, ValueError: see the class.
        """
        others, known = Lexicon(words, frequencies, origin), set(self.words)
        added = {word: count for word, count in zip(others.words, others.frequencies) if word not in known}
        origin = self.origin if origin == self.origin or not added else "mix"
        return Lexicon([*self.words, *added], [*self.frequencies, *added.values()], origin=origin)

    def with_counts(
        self,
        texts: Iterable[str],
        *,
        lower_case: bool = False,
        script_map: ScriptMap | None = None,
        skip_covered: bool = False,
        min_documents: int = 1,
    ) -> Lexicon:
        """Return the same words with frequencies counted on a corpus (the static frequencies of SoftLexicon).

        With `min_documents` below `PUBLIC_DOCUMENTS` the origin of a published list becomes ``"mix"``.

        Args:
            texts: the corpus, read once.
            lower_case: match case-insensitively, as a lower-casing tokenizer does.
            script_map: of the tokenizer, see `match`.
            skip_covered: do not count a word where a longer match covers it, as in SoftLexicon.
            min_documents: a word that occurs in fewer texts has the frequency 0.
        """
        counts, documents = Counter(), Counter()
        for text in texts:
            matches = self.match(text, lower_case=lower_case, script_map=script_map)
            word_ids = [word_id for word_id, _, _ in (_uncovered(matches) if skip_covered else matches)]
            counts.update(word_ids)
            documents.update(set(word_ids))
        frequencies = (counts[word_id] if documents[word_id] >= min_documents else 0 for word_id in range(1, self.size))
        is_private = self.origin == "list" and min_documents < PUBLIC_DOCUMENTS
        return Lexicon(self.words, frequencies, origin="mix" if is_private else self.origin)

    def check_shareable(self, allow: bool = False) -> None:
        """Refuse to share a lexicon that may disclose single documents, unless `allow` is set.

        Raises:
            ValueError: the origin is not ``"list"``.
        """
        if self.origin != "list" and not allow:
            raise ValueError(
                f"the lexicon ({len(self)} words, origin {self.origin!r}) holds words or exact counts of documents, "
                "which may be private; allow_document_lexicon=True shares it nevertheless"
            )

    # ---- matching ---------------------------------------------------------------------------------------------

    def match(self, text: str, *, lower_case: bool = False, script_map: ScriptMap | None = None) -> list[Match]:
        """Find every occurrence of every word, overlapping matches included.

        Args:
            text: any string; a lone surrogate counts as U+FFFD.
            lower_case: compare text and words lower-cased character by character; words that differ only in case
                are then all reported.
            script_map: compare text and words as a tokenizer with this map reads them, so that either script matches.

        Returns:
            ``(word_id, start, end)`` in characters, end exclusive, sorted by start, end, word id.
        """
        return self._matcher(lower_case, script_map).find(as_read(text, lower_case, script_map))

    def _matcher(self, lower_case: bool, script_map: ScriptMap | None) -> _AutomatonMatcher | _PrefixMatcher:
        key = (lower_case, None if script_map is None else script_map.hash)
        matcher = self._matchers.get(key)
        if matcher is None:
            words = [as_read(word, lower_case, script_map) for word in self.words]
            matcher = _PrefixMatcher(words) if ahocorasick_rs is None or not words else _AutomatonMatcher(words)
            self._matchers[key] = matcher
        return matcher

    # ---- files ------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the lexicon as one JSON object, atomically."""
        record = {"format": FORMAT, "version": VERSION, "origin": self.origin, "hash": self.hash}
        record |= {"words": self.words, "frequencies": self.frequencies}
        write_atomically(Path(path), json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Lexicon:
        """Read a file written by `save`.

        A file of version 1 is read too, with a warning: its origin may have been edited.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not a JSON object, another format or version, or a hash that does not fit the content.
        """
        record = read_json_object(Path(path))
        header = (record.get("format"), record.get("version"))
        if header not in [(FORMAT, version) for version in range(1, VERSION + 1)]:
            raise CheckpointError(f"{path}: found format {header!r}, expected {(FORMAT, VERSION)!r}")
        missing = {"words", "frequencies", "origin", "hash"} - record.keys()
        if missing:
            raise CheckpointError(f"{path}: the lexicon file lacks {sorted(missing)}; {RESTORE}")
        with named_errors(str(path)):
            lexicon = cls(record["words"], record["frequencies"], record["origin"])
        is_old = header[1] == 1
        if record["hash"] != (lexicon._digest("") if is_old else lexicon.hash):
            found = str(record["hash"])[:12]
            raise CheckpointError(
                f"{path} was changed after it was saved (its content is not that of {found}); {RESTORE}"
            )
        if is_old:
            message = "%s is of version 1, whose hash does not cover the origin (%r): check that before sharing it"
            logger.warning(message, path, lexicon.origin)
        return lexicon

    def vectors_from_file(
        self,
        path: str | os.PathLike[str],
        dimension: int | None = None,
        *,
        encoding: str = "utf-8",
        lower_case: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the words' vectors from a word2vec or fastText text file.

        The file may begin with a ``count dimension`` line. Words may contain spaces: the last `dimension` fields are
        the vector. If a word is repeated, its first vector counts.

        Args:
            path: the file.
            dimension: the expected dimension; None takes it from the header, or from the first line.
            encoding: of the file.
            lower_case: compare the file's words in lower case, for lists of lower-cased words; else as written.

        Returns:
            vectors (size, dimension) float32, zeros for padding and for words not in the file; covered (size,) bool.

        Raises:
            ValueError: an empty file, a line of another dimension, or, in the vector of one of the words, a field that
                is not a finite number; the message names the line.
        """

        def normalise(word: bytes) -> bytes:
            return lower_by_character(word.decode(encoding, "replace")).encode(encoding, "replace")

        ids = {word.encode(encoding): index for index, word in enumerate(self.words, 1)}
        return read_word_vectors(Path(path), ids, dimension, normalise if lower_case else None)


class _AutomatonMatcher:
    """Aho-Corasick matching in Rust; its positions are code points."""

    def __init__(self, words: Sequence[str]) -> None:
        # with the filler in front the index of a pattern is the id of its word, which saves a pass over the matches
        self._automaton = ahocorasick_rs.AhoCorasick([_FILLER, *words], store_patterns=False)

    def find(self, text: str) -> list[Match]:
        """Return the matches of `Lexicon.match`."""
        try:
            found = self._automaton.find_matches_as_indexes(text, overlapping=True)
        except UnicodeEncodeError:
            found = self._automaton.find_matches_as_indexes(replace_surrogates(text), overlapping=True)
        if _FILLER in text:
            found = [match for match in found if match[0]]
        found.sort(key=itemgetter(1))  # they are sorted by end, then by id, and the sort is stable
        return found


class _PrefixMatcher:
    """Matching in pure Python: from each position, extend the match while it is a prefix of a word."""

    def __init__(self, words: Sequence[str]) -> None:
        self._ids: dict[str, tuple[int, ...]] = {}  # every prefix of every word -> ids of the words equal to it
        for word_id, word in enumerate(words, 1):
            for length in range(1, len(word)):
                self._ids.setdefault(word[:length], ())
            self._ids[word] = (*self._ids.get(word, ()), word_id)

    def find(self, text: str) -> list[Match]:
        """Return the matches of `Lexicon.match`."""
        text = replace_surrogates(text)
        ids, length, matches = self._ids, len(text), []
        for start in range(length):
            for end in range(start + 1, length + 1):
                word_ids = ids.get(text[start:end])
                if word_ids is None:
                    break
                matches.extend((word_id, start, end) for word_id in word_ids)
        return matches


def leftmost_longest(matches: Iterable[Match]) -> list[Match]:
    """Choose disjoint matches from left to right, the longest at each position; `matches` in any order."""
    longest: dict[int, Match] = {}
    for match in matches:
        best = longest.get(match[1])
        if best is None or match[2] > best[2]:
            longest[match[1]] = match
    chosen, position = [], 0
    for start in sorted(longest):
        if start >= position:
            chosen.append(longest[start])
            position = longest[start][2]
    return chosen


def _uncovered(matches: Sequence[Match]) -> Iterator[Match]:
    """Yield the matches that no longer match contains; `matches` must be sorted by start and end."""
    furthest = -1
    for index, (word_id, start, end) in enumerate(matches):
        following = index + 1
        while following < len(matches) and matches[following][1:] == (start, end):
            following += 1
        longer_here = following < len(matches) and matches[following][1] == start
        if not longer_here and end > furthest:
            yield word_id, start, end
        if following == index + 1:
            furthest = max(furthest, end)


def as_read(text: str, lower_case: bool, script_map: ScriptMap | None) -> str:
    """Return a text or word as a tokenizer with this map, lower-casing or not, reads it; its length stays."""
    text = text if script_map is None else script_map(text)
    return lower_by_character(text) if lower_case else text


def shorten(text: str) -> str:
    """Return a word as an error message shows it, no more than its beginning."""
    return repr(text if len(text) <= 8 else text[:8] + "...")


def word_error(word: str) -> str | None:
    """Return why a string cannot be a word, or None if it can."""
    if word and not _INVALID.search(word):
        return None
    if not word.strip():
        return "is blank"
    if word != word.strip():
        return "has white space at its ends"
    return "has a lone surrogate" if _SURROGATE.search(word) else "has a tab or a line break inside"


def _check_word(word: Any, where: str) -> None:
    if not isinstance(word, str):
        raise TypeError(f"{where}: found {type(word).__name__}, expected a string")
    error = word_error(word)
    if error:
        raise ValueError(f"{where} ({shorten(word)}) {error}")


def _check_frequency(frequency: Any, where: str) -> None:
    if not isinstance(frequency, int) or isinstance(frequency, bool):
        raise TypeError(f"{where}: frequency is {type(frequency).__name__}, expected int")
    if frequency < 0:
        raise ValueError(f"{where}: frequency is {frequency}, expected 0 or more")


def _parse_entry(line: str, where: str) -> tuple[str, int]:
    word, *columns = line.split("\t")
    word = word.strip()
    _check_word(word, where)
    if not columns:
        return word, 0
    field = columns[0].strip()
    if not (field.isascii() and field.isdigit()):
        raise ValueError(f"{where}: frequency is {shorten(field)}, expected a whole number of 0 or more")
    return word, int(field)
