"""Probable errors of annotations, from a model's exact posteriors of spans: missing, superfluous, misnamed, misplaced.

The posteriors must come from a model that was not trained on the documents, or it would find its own training labels
right (Northcutt, Jiang and Chuang 2021, Confident Learning, section 3). The worst token tells most (Wang and Mueller
2022, arXiv:2210.03920, section 3): an annotated entity is ranked by the character whose given BIO label is least
probable, the one after it included, and a place that nobody annotated by its character that is least probably outside
of entities. These marginals are exact sums over spans: those that share a character exclude one another.

Entities that overlap are told apart from errors by what the model can hold together. A flat model holds one entity at a
character: of annotated entities that overlap it is asked whether any is there. The chains of a per-label model are
independent given the text, so the posterior of entities of several labels together is the product of theirs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm.auto import tqdm

from hf_adner.audit.prediction import watched_texts
from hf_adner.data.differences import BOTH, BOUNDARY, KINDS, LABEL, MISSING, SUPERFLUOUS, Difference
from hf_adner.data.records import Document, EntitySpan
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import escape_markdown, markdown_table
from hf_adner.view.charts import shortened
from hf_adner.view.differences import ComparedNote, compared_page
from hf_adner.view.section import percent

LEAST = 1e-9
"""Posterior that spans exceed to be taken into account: it decides which of the clearest errors are looked at first."""
LEAST_SUGGESTED = 0.001
"""Posterior that a missing entity exceeds."""
DEFAULT_THRESHOLD = 0.5
SURFACE = 30

Posteriors = Mapping[EntitySpan, float]
"""Posterior of each likely span of a text, in [0, 1]."""
Exclusion = Callable[[EntitySpan, EntitySpan], bool]
"""Whether a model cannot hold both of two entities."""


def overlap(one: EntitySpan, other: EntitySpan) -> bool:
    """Return whether two entities share a character: a flat model cannot hold both."""
    return one[0] < other[1] and other[0] < one[1]


def overlap_of_one_label(one: EntitySpan, other: EntitySpan) -> bool:
    """Return whether two entities of one label share a character: a per-label model cannot hold both."""
    return one[2] == other[2] and overlap(one, other)


@dataclass(frozen=True)
class LabelError:
    """A probable error of an annotation.

    Attributes:
        document: id of the document.
        kind: one of `hf_adner.data.differences.KINDS`: what the annotation has against the model.
        score: probability by the model, in [0, 1], that the label of one character is wrong: of the worst one of the
            annotated entity, or of the place where one is missing. The whole entity is wrong with at least this
            probability. An annotated entity is not wrong where the model holds another annotated one instead.
        annotated: the entity of the annotation; None if one is missing.
        suggested: the likeliest entity in its place; None if that is none.
        posterior: of the suggestion, or None.
    """

    document: str
    kind: str
    score: float
    annotated: EntitySpan | None
    suggested: EntitySpan | None
    posterior: float | None

    def to_dict(self, text: str) -> dict[str, Any]:
        """Return the record as JSON values, with the characters of the text."""
        suggested = None if self.suggested is None else _entity(self.suggested, text)
        if suggested is not None and self.posterior is not None:
            suggested["posterior"] = round(self.posterior, 6)
        return {
            "document": self.document,
            "kind": self.kind,
            "score": round(self.score, 6),
            "annotated": None if self.annotated is None else _entity(self.annotated, text),
            "suggested": suggested,
        }


def _entity(span: EntitySpan, text: str) -> dict[str, Any]:
    start, end, label = span
    return {"start": start, "end": end, "label": label, "text": text[start:end]}


def span_posteriors(
    pipe: AdnerPipeline,
    documents: Iterable[Document],
    batch_size: int = 16,
    *,
    least: float = LEAST,
    total: int | None = None,
    progress: bool = True,
) -> Iterator[dict[EntitySpan, float]]:
    """Yield for each document the posteriors of all its spans that exceed `least`, not calibrated.

    Args:
        pipe: of a model that was not trained on the documents.
        documents: read once.
        batch_size: windows per forward pass.
        least: in (0, 1); the number of spans grows as it falls.
        total: number of documents, for the bar.
        progress: show a bar.

    Raises:
        TypeError, ValueError: as the pipeline.
    """
    texts = watched_texts(documents, [])
    found = pipe(texts, batch_size=batch_size, calibrated=False, candidates=least)
    for entities in tqdm(found, total=total, desc="reviewing", unit="document", disable=None if progress else True):
        yield {(one["start"], one["end"], one["entity_group"]): float(one["score"]) for one in entities}


def label_errors(document: Document, posteriors: Posteriors, excludes: Exclusion = overlap) -> list[LabelError]:
    """Return every annotated entity, and every place beside them, with the probability of an error there.

    Of an annotated entity the likeliest explanation names the kind: another label of the same characters, other
    boundaries of the same label, both, or no entity, whose probability is what the others leave.

    Args:
        document: with the annotation.
        posteriors: of its text.
        excludes: what the model cannot hold together, `overlap` or `overlap_of_one_label`.

    Returns:
        Sorted by score, highest first.
    """
    spans = list(dict.fromkeys(document.spans))
    found = [_of_entity(document.id, span, spans, posteriors, excludes) for span in spans]
    return sorted([*found, *_missing(document.id, spans, posteriors, excludes)], key=_order)


def _missing(
    name: str, spans: Sequence[EntitySpan], posteriors: Posteriors, excludes: Exclusion
) -> Iterator[LabelError]:
    """Yield each place without an annotated entity, once, with the likeliest entity there."""
    chosen: list[EntitySpan] = []
    likely = [span for span, value in posteriors.items() if value > LEAST_SUGGESTED and span not in spans]
    for span in sorted(likely, key=lambda one: (-posteriors[one], one)):
        if any(excludes(span, other) for other in (*spans, *chosen)):
            continue
        chosen.append(span)
        rivals = [other for other in posteriors if other == span or excludes(span, other)]
        inside = (
            sum(posteriors[one] for one in rivals if one[0] <= place < one[1]) for place in range(span[0], span[1])
        )
        beside = [posteriors.get(other, 0.0) for other in spans if overlap(span, other)]
        score = min(max(inside), 1.0) * math.prod(beside)
        yield LabelError(name, MISSING, score, None, span, posteriors[span])


def _of_entity(
    name: str, span: EntitySpan, spans: Sequence[EntitySpan], posteriors: Posteriors, excludes: Exclusion
) -> LabelError:
    instead = {other: posteriors.get(other, 0.0) for other in spans if other != span and excludes(span, other)}
    wrong = max(1 - posteriors.get(span, 0.0) - sum(instead.values()), 0.0)
    rivals: dict[str, list[tuple[float, EntitySpan]]] = defaultdict(list)
    for other, value in posteriors.items():
        if other not in spans and overlap(span, other):
            same_place, same_label = span[:2] == other[:2], span[2] == other[2]
            chance = value if excludes(span, other) else value * wrong
            rivals[LABEL if same_place else BOUNDARY if same_label else BOTH].append((chance, other))
    chances = {kind: sum(chance for chance, _ in ones) for kind, ones in rivals.items()}
    chances[SUPERFLUOUS] = max(wrong - sum(chances.values()), 0.0)
    kind = max(chances, key=lambda name: chances[name])
    suggested = max(rivals[kind])[1] if rivals[kind] else None
    score = _worst_label(span, instead, posteriors)
    return LabelError(name, kind, score, span, suggested, None if suggested is None else posteriors[suggested])


def _worst_label(span: EntitySpan, instead: Mapping[EntitySpan, float], posteriors: Posteriors) -> float:
    """Return the probability that the BIO label of a character is not that of the entity, of the worst character.

    The character after the entity is one of them: there the entity must not go on.
    """
    start, end, label = span
    given = dict.fromkeys(range(start, end), sum(instead.values()))
    goes_on = 0.0
    for other, value in posteriors.items():
        if other[2] != label or other in instead or not overlap(span, other):
            continue
        for place in range(max(start, other[0]), min(end, other[1])):
            if (place == start) == (place == other[0]):
                given[place] += value
        goes_on += value if other[1] > end else 0.0
    return min(max(1 - min(given.values()), goes_on, 0.0), 1.0)


def _order(error: LabelError) -> tuple[Any, ...]:
    place = error.annotated or error.suggested
    return -error.score, error.document, place


@dataclass(frozen=True)
class ReviewReport:
    """The probable errors of annotated documents.

    Attributes:
        documents: with the annotation.
        errors: above the threshold, sorted by score, highest first.
        threshold: least score.
    """

    documents: Sequence[Document]
    errors: Sequence[LabelError]
    threshold: float

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the errors as JSON values, with their rank from 1."""
        texts = {document.id: document.text for document in self.documents}
        for rank, error in enumerate(self.errors, start=1):
            yield {"rank": rank, **error.to_dict(texts[error.document])}

    def to_markdown(self, count: int = 20) -> str:
        """Return how many errors of each kind there are, and a table of the first `count`."""
        entities = sum(len(document.entities) for document in self.documents)
        kinds = [error.kind for error in self.errors]
        told = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in KINDS)
        head = f"{len(self.errors):,} probable errors in {len(self.documents):,} documents with {entities:,} entities"
        rows = [
            (row["rank"], f"{row['score']:.3f}", row["kind"], *map(escape_markdown, _in_words(row)))
            for row in self.rows()
            if row["rank"] <= count
        ]
        columns = ("rank", "score", "kind", "document", "annotated", "suggested")
        return f"{head} (score above {self.threshold:g}): {told}.\n\n{markdown_table(columns, rows, 'rrllll')}\n"

    def page(self, labels: Iterable[str] = ()) -> Iterator[str]:
        """Yield a page of the documents with errors, the likeliest first; annotation and suggestion beside each other.

        Args:
            labels: of the model in its order, which gives them their colours.
        """
        by_document: dict[str, list[LabelError]] = defaultdict(list)
        for error in self.errors:
            by_document[error.document].append(error)
        documents = {document.id: document for document in self.documents}
        notes = [_compared(documents[name], errors) for name, errors in by_document.items()]
        title = f"{len(self.errors)} probable errors in {len(notes)} of {len(self.documents)} documents"
        return compared_page(notes, ("annotation", "suggestion"), title=title, labels=labels)


def _in_words(row: Mapping[str, Any]) -> list[str]:
    sides = [
        "–" if one is None else f"{shortened(one['text'], SURFACE)} {one['label']} {one['start']}-{one['end']}"
        for one in (row["annotated"], row["suggested"])
    ]
    return [row["document"], *sides]


def _compared(document: Document, errors: Sequence[LabelError]) -> ComparedNote:
    """Return a note with the suggestions in place of what is probably wrong."""
    wrong = {error.annotated for error in errors}
    suggested = [span for span in document.spans if span not in wrong]
    suggested += [error.suggested for error in errors if error.suggested is not None]
    found = [Difference(error.kind, error.annotated, error.suggested) for error in errors]
    remarks = [f"{percent(error.score)} likely" for error in errors]
    return ComparedNote(document.id, document.text, document.spans, list(dict.fromkeys(suggested)), found, remarks)


def review_documents(
    documents: Sequence[Document],
    posteriors: Iterable[Posteriors],
    threshold: float = DEFAULT_THRESHOLD,
    excludes: Exclusion = overlap,
) -> ReviewReport:
    """Rank the probable errors of annotated documents.

    Args:
        documents: with the annotation; their ids differ.
        posteriors: of each document, see `span_posteriors`; read once, as there are many.
        threshold: least score of an error, in [0, 1].
        excludes: see `label_errors`.

    Raises:
        ValueError: as `rank_errors`, or other numbers of documents and posteriors.
    """
    found = (label_errors(*both, excludes) for both in zip(documents, posteriors, strict=True))
    return rank_errors(documents, found, threshold)


def rank_errors(
    documents: Sequence[Document], found: Iterable[Iterable[LabelError]], threshold: float = DEFAULT_THRESHOLD
) -> ReviewReport:
    """Put the probable errors of documents into one list.

    Args:
        documents: with the annotation; their ids differ.
        found: of each document, see `label_errors`.
        threshold: least score of an error, in [0, 1].

    Raises:
        ValueError: an id that occurs twice, or a threshold outside [0, 1].
    """
    check_threshold(threshold)
    ids = [document.id for document in documents]
    if twice := next((name for name in ids if ids.count(name) > 1), None) if len(set(ids)) < len(ids) else None:
        raise ValueError(f"the id {twice[:40]!r} occurs twice; errors are told by document")
    errors = [error for errors in found for error in errors if error.score > threshold]
    return ReviewReport(documents, sorted(errors, key=_order), threshold)


def check_threshold(threshold: float) -> None:
    """Check the least score of an error.

    Raises:
        ValueError: it is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], found {threshold!r}")


def without_annotation(documents: Iterable[Document]) -> list[Document]:
    """Return the documents without their entities, as a model reads them."""
    return [replace(document, entities=()) for document in documents]
