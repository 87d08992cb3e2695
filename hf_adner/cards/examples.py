"""Example texts of a card, which must not contain sentences of the training data."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from hf_adner.data.records import Document
from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus

SEED = 20_250
"""Seed of the synthetic documents that examples are taken from; no split of `ad-synthetic` uses it."""

SHORTEST_SENTENCE = 5
"""Least characters of a sentence that is checked; shorter ones (无发热) occur in any text."""

LONGEST_RUN = 12
"""Characters in a row, punctuation and spaces not counted, that an example may not share with a training text."""

_CANDIDATES = 150
_NOTE_TYPES = ("门诊病历", "现病史", "医嘱", "主诉", "问句病例")
_LENGTHS = range(15, 81)
_PLAIN = re.compile(r"[\u4e00-\u9fff\d，。、：；“”？]+")
_SENTENCE_END = re.compile(r"[。！？!?；;\n\r]+")


class TrainingTextError(ValueError):
    """An example repeats a part of the training data."""


@dataclass(frozen=True)
class Example:
    """An example text with its predicted entities.

    Attributes:
        text: the text.
        entities: `{"word", "entity_group", "score"}` of each entity; None if the model was not run on it.
    """

    text: str
    entities: Sequence[dict] | None = field(default=None)


class TrainingText:
    """Index of training documents that tells whether a text repeats a part of one of them.

    Only letters and digits are compared, in their Unicode compatibility form (NFKC) and without case: other spaces,
    line breaks, punctuation, full-width forms or invisible characters make no difference.

    Args:
        texts: the texts of the training documents.
    """

    def __init__(self, texts: Iterable[str]):
        documents = list(texts)
        self._letters = "\n".join(map(_letters, documents))
        self._sentences = {sentence for text in documents for sentence in _compared_sentences(text)}

    def shows_in(self, text: str) -> bool:
        """Return whether `text` and a training text share a sentence or `LONGEST_RUN` characters in a row.

        A sentence is shared if one of either text occurs in the other text.
        """
        letters = _letters(text)
        runs = (letters[start : start + LONGEST_RUN] for start in range(len(letters) - LONGEST_RUN + 1))
        if any(part in self._letters for part in itertools.chain(_compared_sentences(text), runs)):
            return True
        return any(sentence in letters for sentence in self._sentences)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _compared_sentences(text: str) -> Iterator[str]:
    parts = map(_letters, sentences(unicodedata.normalize("NFKC", text)))
    return (part for part in parts if len(part) >= SHORTEST_SENTENCE)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text with at least `SHORTEST_SENTENCE` characters, without their final punctuation."""
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if len(part) >= SHORTEST_SENTENCE]


def example_texts(texts: Sequence[str], training_texts: Iterable[str]) -> list[str]:
    """Return the checked `texts`, or synthetic ones if there are none; see `checked_texts` and `synthetic_texts`."""
    training = TrainingText(training_texts)
    return checked_texts(texts, training) if texts else synthetic_texts(training)


def checked_texts(texts: Sequence[str], training: TrainingText) -> list[str]:
    """Check the user's own example texts and return them as a list.

    Raises:
        ValueError: an empty text.
        TrainingTextError: a text repeats a part of the training data; see `TrainingText`.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"example text {number} is empty")
        if training.shows_in(text):
            raise TrainingTextError(
                f"example text {number} contains a sentence of the training data, or {LONGEST_RUN} characters in a row "
                "of it, which a card must not publish; write an example (--example-texts) of your own"
            )
    return list(texts)


def synthetic_texts(training: TrainingText, number: int = 3) -> list[str]:
    """Return texts of the synthetic corpus with many kinds of entities and nothing that the training data repeats.

    There are fewer than `number` if the training data contains most of the candidates.
    """
    unseen = (text for text in _candidates() if not training.shows_in(text))
    return list(itertools.islice(unseen, number))


@lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    sizes = dict.fromkeys(DEFAULT_SIZES, 0) | {"test": _CANDIDATES}
    documents = [document for document in generate_corpus(SEED, sizes)["test"] if _is_plain(document)]
    return tuple(document.text for document in sorted(documents, key=_sort_key))


def _is_plain(document: Document) -> bool:
    """Return whether a document is short and free of the Latin letters and odd punctuation of part of the corpus."""
    return len(document.text) in _LENGTHS and bool(_PLAIN.fullmatch(document.text))


def _sort_key(document: Document) -> tuple[int, int, str]:
    """Sort notes before answers, and many labels before few."""
    kind = document.meta["note_type"]
    rank = _NOTE_TYPES.index(kind) if kind in _NOTE_TYPES else len(_NOTE_TYPES)
    labels = {entity.label for entity in document.entities}
    return rank - len(labels), len(document.text), document.text
