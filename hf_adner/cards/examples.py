"""Example texts of a card, which must not contain sentences of the training data."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from hf_adner.data.records import Document
from hf_adner.data.synthetic import generate_corpus

SEED = 20_250
"""Seed of the synthetic documents that examples are taken from; no split of `ad-synthetic` uses it."""

SHORTEST_SENTENCE = 5
"""Least characters of a sentence that is checked; shorter ones (无发热) occur in any text."""

_CANDIDATES = 150
_NOTE_TYPES = ("门诊病历", "现病史", "医嘱", "主诉", "问句病例")
_LENGTHS = range(15, 81)
_PLAIN = re.compile(r"[\u4e00-\u9fff\d，。、：；“”？]+")
_SENTENCE_END = re.compile(r"[。！？!?；;\n\r]+")


class TrainingTextError(ValueError):
    """An example contains a sentence of the training data."""


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
    """Index of the sentences of training documents.

    Args:
        texts: the texts of the training documents.
    """

    def __init__(self, texts: Iterable[str]):
        self._texts = "\n".join(texts)
        self._sentences = set(sentences(self._texts))

    def shows_in(self, text: str) -> bool:
        """Return whether a sentence of `text` occurs in a training text, or a training sentence in `text`."""
        if any(sentence in self._texts for sentence in sentences(text)):
            return True
        return any(sentence in text for sentence in self._sentences)


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
        TrainingTextError: a text contains a sentence of the training data.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"example text {number} is empty")
        if training.shows_in(text):
            raise TrainingTextError(
                f"example text {number} contains a sentence of the training data, which a card must not publish"
            )
    return list(texts)


def synthetic_texts(training: TrainingText, number: int = 3) -> list[str]:
    """Return texts of the synthetic corpus with many kinds of entities and no sentence of the training data.

    There are fewer than `number` if the training data contains most of the candidates.
    """
    unseen = (text for text in _candidates() if not training.shows_in(text))
    return list(itertools.islice(unseen, number))


@lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    sizes = dict.fromkeys(("train", "validation", "test_unseen", "contrast"), 0) | {"test": _CANDIDATES}
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
