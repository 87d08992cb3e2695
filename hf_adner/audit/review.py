"""Which entities a person should look at: the share with the lowest scores, for a budget that is set once."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity

DIGITS = 4
"""Decimals that scores are compared by: more would depend on how texts are put together in batches."""


def check_budget(share: Any) -> float:
    """Return a review budget, the share of entities that a person looks at.

    Raises:
        ValueError: it is not a number in [0, 1].
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"the review budget must be a share in [0, 1], found {share!r}")
    return float(share)


def budget_threshold(scores: Sequence[float], budget: float) -> float:
    """Return the score below which a share `budget` of entities lies, as nearly as equal scores allow.

    Args:
        scores: of the entities of development documents, at least one.
        budget: in [0, 1].
    """
    ranked = sorted(scores)
    count = round(check_budget(budget) * len(ranked))
    if count == 0:
        return 0.0
    if count == len(ranked):
        return 1.0
    return (ranked[count - 1] + ranked[count]) / 2


class Cutoff(NamedTuple):
    """The entities of a corpus that are flagged: all below a score, and the first ones of exactly that score."""

    score: float
    first: int


def corpus_cutoff(scores: array[float], budget: float) -> Cutoff:
    """Return the cutoff that flags exactly the share `budget` of entities, rounded to a number of entities.

    Args:
        scores: of all entities in the order of the corpus, rounded to `DIGITS`.
        budget: in [0, 1].
    """
    count = round(check_budget(budget) * len(scores))
    if count == 0:
        return Cutoff(-1.0, 0)
    limit = sorted(scores)[count - 1]
    return Cutoff(limit, count - sum(score < limit for score in scores))


def with_budget(read: Callable[[], Iterable[Document]], budget: float) -> Iterator[Document]:
    """Yield predicted documents with `needs_review` set for the share `budget` of entities with the lowest scores.

    The flags are those of the whole corpus; of equal scores (in `DIGITS` decimals) the earlier entities are flagged.
    Memory: one number per entity.

    Args:
        read: returns the documents of `predict_documents`; it is called twice and must return the same.
        budget: in [0, 1].
    """
    scores = array("d", (_rounded(entity) for document in read() for entity in document.entities))
    cutoff = corpus_cutoff(scores, budget)
    left = cutoff.first
    for document in read():
        entities = []
        for entity in document.entities:
            score = _rounded(entity)
            flag = score < cutoff.score or (score == cutoff.score and left > 0)
            left -= score == cutoff.score
            entities.append(replace(entity, meta={**entity.meta, "needs_review": flag}))
        yield replace(document, entities=tuple(entities))


def _rounded(entity: Entity) -> float:
    return round(entity.meta["score"], DIGITS)


@contextmanager
def reviewed(documents: Iterable[Document], budget: float | None) -> Iterator[Iterable[Document]]:
    """Return a stream of predicted documents with the flags of `with_budget`; as it is if the budget is None.

    Until all are read, documents are kept in a temporary file, which only its owner can read.

    Args:
        documents: of `predict_documents`, read once.
        budget: in [0, 1].
    """
    if budget is None:
        yield documents
        return
    with tempfile.TemporaryDirectory(prefix="adner-") as folder:
        path = Path(folder) / "documents.jsonl"
        number = write_documents(documents, path, "jsonl")

        def read() -> Iterable[Document]:
            return read_documents(path, "jsonl", encoding="utf-8", overlaps="any") if number else ()

        yield with_budget(read, budget)
