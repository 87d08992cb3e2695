"""Silver entities: words of a labelled lexicon marked wherever they stand in a text.

They are no gold: every entity and every document made here says so in its `meta` (`silver: True`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.source import TextSource
from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon

SILVER = "silver"


def labelled_words(documents: Iterable[Document], min_count: int = 1, min_length: int = 2) -> dict[str, str]:
    """A word list with labels from annotated documents: each entity text with the label it has most often.

    Args:
        documents: annotated ones (train documents only, if the result is to be scored).
        min_count: take texts annotated at least that often.
        min_length: take texts of at least that many characters; single characters are mostly parts of other words.

    Returns:
        Label of each word; of equally frequent labels the one that sorts first.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        for entity in document.entities:
            counts[entity.text.strip()][entity.label] += 1
    return {
        word: min(labels, key=lambda label: (-labels[label], label))
        for word, labels in sorted(counts.items())
        if len(word) >= min_length and labels.total() >= min_count and not set(word) & set("\t\r\n")
    }


def labelled_words_from_file(path: str | Path, encoding: str | None = None) -> dict[str, str]:
    """A word list with labels from lines `word<tab>label`.

    Raises:
        DataFormatError: a line without both, or a word with two labels.
    """
    words: dict[str, str] = {}
    for number, line in TextSource(path, encoding).lines():
        word, _, label = (part.strip() for part in line.partition("\t"))
        if not line.strip():
            continue
        if not word or not label or "\t" in label:
            raise DataFormatError("expected a word, a tab and a label", path=path, line=number)
        if words.setdefault(word, label) != label:
            raise DataFormatError("the word has another label further up", path=path, line=number)
    return words


def project_words(documents: Iterable[Document], words: Mapping[str, str]) -> Iterator[Document]:
    """Give documents the words found in their text as entities, leftmost first, the longest of those.

    Args:
        documents: without entities.
        words: label of each word (`labelled_words`, or a list of one's own).

    Yields:
        The document with disjoint silver entities, and `silver: True` in its `meta` and theirs.

    Raises:
        DataFormatError: a document that has entities: silver must not replace or mix with gold.
    """
    lexicon = Lexicon(words)
    labels = [words[word] for word in lexicon.words]
    for document in documents:
        if document.entities:
            raise DataFormatError("the document is annotated; silver entities are for texts only", record=document.id)
        entities = tuple(
            Entity(start, end, labels[word_id - 1], meta={SILVER: True})
            for word_id, start, end in _leftmost_longest(lexicon.match(document.text))
        )
        yield replace(document, entities=entities, meta={**document.meta, SILVER: True})


def _leftmost_longest(matches: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    position = 0
    for match in sorted(matches, key=lambda one: (one[1], -one[2])):
        if match[1] >= position:
            yield match
            position = match[2]
