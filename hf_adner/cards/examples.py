"""Example texts of a card, none of which may be a sentence of the training data."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from hf_adner.data.records import Document
from hf_adner.data.synthetic import generate_corpus

SEED = 20_250
"""Of the synthetic documents that examples are taken from; no split of `ad-synthetic` is made with it."""

SHORTEST_SENTENCE = 5
"""Characters from which on a sentence must not be one of the training data; shorter ones (无发热) are everybody's."""

_CANDIDATES = 150
_NOTE_TYPES = ("门诊病历", "现病史", "医嘱", "主诉", "问句病例")
_LENGTHS = range(15, 81)
_PLAIN = re.compile(r"[\u4e00-\u9fff\d，。、：；“”？]+")
_SENTENCE_END = re.compile(r"[。！？!?；;\n\r]+")


class TrainingTextError(ValueError):
    """An example shows a sentence of the training data."""


@dataclass(frozen=True)
class Example:
    """A text and what the model finds in it.

    Attributes:
        text: the text.
        entities: `{"word", "entity_group", "score"}` of each entity; None where no model was asked.
    """

    text: str
    entities: Sequence[dict] | None = field(default=None)


class TrainingText:
    """The sentences of training documents, to be asked whether a text shows one of them.

    Args:
        texts: the texts of the training documents.
    """

    def __init__(self, texts: Iterable[str]):
        self._texts = "\n".join(texts)
        self._sentences = set(sentences(self._texts))

    def shows_in(self, text: str) -> bool:
        """Whether a sentence of `text` occurs in a training text, or a training sentence in `text`."""
        return any(one in self._texts for one in sentences(text)) or any(one in text for one in self._sentences)


def sentences(text: str) -> list[str]:
    """The sentences of a text that have `SHORTEST_SENTENCE` characters or more, without their last punctuation."""
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if len(part) >= SHORTEST_SENTENCE]


def example_texts(given: Sequence[str], training_texts: Iterable[str]) -> list[str]:
    """The texts a card shows: those given, or else invented ones; see `checked_texts` and `synthetic_texts`."""
    training = TrainingText(training_texts)
    return checked_texts(given, training) if given else synthetic_texts(training)


def checked_texts(texts: Sequence[str], training: TrainingText) -> list[str]:
    """The user's own example texts.

    Raises:
        ValueError: an empty text.
        TrainingTextError: a text shows a sentence of the training data.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"example text {number} is empty")
        if training.shows_in(text):
            raise TrainingTextError(
                f"example text {number} shows a sentence of the training data, which no card may do; give another one"
            )
    return list(texts)


def synthetic_texts(training: TrainingText, number: int = 3) -> list[str]:
    """Texts of the synthetic corpus that hold many kinds of entities and no sentence of the training data.

    Fewer than `number` where the training data leaves no more.
    """
    shown = (text for text in _candidates() if not training.shows_in(text))
    return list(itertools.islice(shown, number))


@lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    wanted = dict.fromkeys(("train", "validation", "test_unseen", "contrast"), 0) | {"test": _CANDIDATES}
    documents = [one for one in generate_corpus(SEED, wanted)["test"] if _is_plain(one)]
    return tuple(one.text for one in sorted(documents, key=_attraction))


def _is_plain(document: Document) -> bool:
    """Neither long nor with the foreign letters and odd punctuation that part of the corpus has."""
    return len(document.text) in _LENGTHS and bool(_PLAIN.fullmatch(document.text))


def _attraction(document: Document) -> tuple[int, int, str]:
    """Notes before answers, many labels before few."""
    kind = document.meta["note_type"]
    place = _NOTE_TYPES.index(kind) if kind in _NOTE_TYPES else len(_NOTE_TYPES)
    labels = {entity.label for entity in document.entities}
    return -len(labels) + place, len(document.text), document.text
