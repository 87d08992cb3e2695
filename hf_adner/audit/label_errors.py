"""Probable errors of annotations, from a model's exact posteriors of spans: missing, superfluous, misnamed, misplaced.

The posteriors must come from a model that was not trained on the documents, or it would find its own training labels
right (Northcutt, Jiang and Chuang 2021, Confident Learning, section 3). An annotated entity is ranked by the
probability that it is wrong (1 minus the posterior of exactly this span and label), a place that nobody annotated by
the probability that any entity is there: both are what the model holds for the probability that a person who looks
there finds an error.

Entities that overlap are told apart from errors by what the model can hold together. A flat model holds one entity at a
character: of annotated entities that overlap it is asked whether any is there. The chains of a per-label model are
independent given the text, so the posterior of entities of several labels together is the product of theirs.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
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

LEAST = 0.001
"""Posterior that spans which nobody annotated exceed to be taken into account."""
LEAST_OF_ANNOTATED = 1e-6
"""Posterior of an annotated span that still counts: among the clearest errors it decides which is looked at first."""
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
        score: probability of an error by the model, in [0, 1]; of an annotated entity that it could not hold beside
            another, that it holds neither; of a missing one, that the suggestion or a rival of it is there.
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
    """Yield for each document the posteriors of its spans, not calibrated.

    They are those that exceed `least`, and of annotated spans those that exceed `LEAST_OF_ANNOTATED`.

    Args:
        pipe: of a model that was not trained on the documents.
        documents: with the annotation; read once.
        batch_size: windows per forward pass.
        least: in (0, 1); the number of spans grows as it falls.
        total: number of documents, for the bar.
        progress: show a bar.

    Raises:
        TypeError, ValueError: as the pipeline; a model without a CRF gives the posteriors of its best path alone.
    """
    pending: deque[Document] = deque()  # read by the pipeline, not yet answered
    texts = watched_texts(documents, pending)
    found = pipe(texts, batch_size=batch_size, calibrated=False, candidates=min(least, LEAST_OF_ANNOTATED))
    for entities in tqdm(found, total=total, desc="reviewing", unit="document", disable=None if progress else True):
        annotated = set(pending.popleft().spans)
        spans = {(one["start"], one["end"], one["entity_group"]): float(one["score"]) for one in entities}
        yield {span: value for span, value in spans.items() if value > least or span in annotated}


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
    """Yield each place without an annotated entity, once, with the likeliest entity there.

    Entities that share a character and exclude one another are alternatives: the sum of their posteriors is the
    probability that one of them covers it.
    """
    free = {
        span: value
        for span, value in posteriors.items()
        if span not in spans and not any(excludes(span, other) for other in spans)
    }
    chosen: list[EntitySpan] = []
    for span in sorted(free, key=lambda one: (-free[one], one)):
        if any(excludes(span, other) for other in chosen):
            continue
        chosen.append(span)
        rivals = [other for other in free if other == span or excludes(span, other)]
        covered = (sum(free[one] for one in rivals if one[0] <= place < one[1]) for place in range(*span[:2]))
        beside = [posteriors.get(other, 0.0) for other in spans if overlap(span, other)]
        yield LabelError(name, MISSING, min(max(covered), 1.0) * math.prod(beside), None, span, free[span])


def _of_entity(
    name: str, span: EntitySpan, spans: Sequence[EntitySpan], posteriors: Posteriors, excludes: Exclusion
) -> LabelError:
    instead = (posteriors.get(other, 0.0) for other in spans if other != span and excludes(span, other))
    wrong = max(1 - posteriors.get(span, 0.0) - sum(instead), 0.0)
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
    return LabelError(name, kind, wrong, span, suggested, None if suggested is None else posteriors[suggested])


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
    remarks = [f"{error.score:.0%} likely" for error in errors]
    return ComparedNote(document.id, document.text, document.spans, list(dict.fromkeys(suggested)), found, remarks)


def review_documents(
    documents: Iterable[Document],
    posteriors: Iterable[Posteriors],
    threshold: float = DEFAULT_THRESHOLD,
    excludes: Exclusion = overlap,
) -> ReviewReport:
    """Rank the probable errors of annotated documents.

    Args:
        documents: with the annotation; their ids differ.
        posteriors: of each document, see `span_posteriors`.
        threshold: least score of an error, in [0, 1].
        excludes: see `label_errors`.

    Raises:
        ValueError: an id that occurs twice, a threshold outside [0, 1], or other numbers of documents and posteriors.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be in [0, 1], found {threshold!r}")
    documents = list(documents)
    ids = [document.id for document in documents]
    if twice := next((name for name in ids if ids.count(name) > 1), None) if len(set(ids)) < len(ids) else None:
        raise ValueError(f"the id {twice[:40]!r} occurs twice; errors are told by document")
    errors = [
        error
        for document, found in zip(documents, posteriors, strict=True)
        for error in label_errors(document, found, excludes)
        if error.score > threshold
    ]
    errors.sort(key=_order)
    return ReviewReport(documents, errors, threshold)


def without_annotation(documents: Iterable[Document]) -> list[Document]:
    """Return the documents without their entities, as a model reads them."""
    return [replace(document, entities=()) for document in documents]
