"""Predicted entities of documents and texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import replace
from typing import Any

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document, Entity
from hf_adner.explain.tagger import ScoredSpan, Tagger
from hf_adner.model.pipeline_adner import AdnerPipeline

META_KEYS = (
    *("score", "start_score", "end_score", "needs_review", "posterior"),
    *("forced", "assertion", "assertion_cues", "code", "code_match", "code_alternatives"),
)
"""Keys of the prediction in an entity's `meta`: three probabilities in [0, 1], whether a person should look, of a
calibrated checkpoint the posterior that `score` was made from, whether `constraints` made the entity, the attributes by
`assertion` with their cues, and the code by `codes` if there is one."""

CANDIDATES = "candidates"
"""Key of the candidates in a document's `meta`, if they were asked for and there are any."""
CANDIDATE_KEYS = {
    "start": "start",
    "end": "end",
    "label": "entity_group",
    "score": "score",
    "posterior": "posterior",
    "on_path": "on_path",
}
"""Key of a candidate -> key of the pipeline's entity; `posterior` only of a calibrated checkpoint."""

DEFAULT_BATCH_SIZE = 32


def predict_documents(
    pipe: AdnerPipeline, documents: Iterable[Document], batch_size: int = 16, **parameters: Any
) -> Iterator[Document]:
    """Yield each document with the predicted entities in place of its own; id, text and meta are kept.

    Documents are read a few batches ahead of the results, so memory use does not depend on their number.

    Args:
        pipe: the pipeline.
        documents: any iterable, read once.
        batch_size: windows of full length per forward pass.
        parameters: other parameters of the call, such as `threshold`, `review_threshold` or `candidates`: then the
            `candidates` of a document, which may overlap, are in its meta, beside the entities of the best path.

    Raises:
        ValueError: candidates were asked for, and a document has that key in its meta.
        TypeError: an item is not a `Document`; and what the pipeline raises.
    """
    pending: deque[Document] = deque()  # read by the pipeline, not yet predicted
    texts = watched_texts(documents, pending)
    for entities in pipe(texts, batch_size=batch_size, **{"needs_review": True, **parameters}):
        yield _predicted(pending.popleft(), entities)


def _predicted(document: Document, found: Sequence[Mapping[str, Any]]) -> Document:
    """Return a document with the entities of the best path, and with candidates in its meta if there are any."""
    path = tuple(entity_of_prediction(one) for one in found if one.get("on_path", True))
    if not any("on_path" in one for one in found):
        return replace(document, entities=path)
    if CANDIDATES in document.meta:
        raise ValueError(f"document {excerpt(document.id, 40)} has {CANDIDATES!r} in its meta already")
    candidates = [{new: one[key] for new, key in CANDIDATE_KEYS.items() if key in one} for one in found]
    return replace(document, entities=path, meta={**document.meta, CANDIDATES: candidates})


def watched_texts(documents: Iterable[Document], pending: MutableSequence[Document]) -> Iterator[str]:
    """Yield the text of each document and append the document to `pending`, for what reads ahead of its results.

    Raises:
        TypeError: an item is not a `Document`.
    """
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"document {index} is {type(document).__name__}, expected Document")
        pending.append(document)
        yield document.text


def entity_of_prediction(prediction: Mapping[str, Any]) -> Entity:
    """Convert an entity of the pipeline, with `META_KEYS` in its meta."""
    meta = {key: prediction[key] for key in META_KEYS if prediction.get(key) is not None}
    return Entity(prediction["start"], prediction["end"], prediction["entity_group"], prediction["word"], meta)


def scored_spans(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int = DEFAULT_BATCH_SIZE
) -> list[list[ScoredSpan]]:
    """Predict entities with any token classifier; see `Tagger.predict`.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels.
        tokenizer: its fast tokenizer.
        texts: texts of any length.
        batch_size: windows of full length per forward pass.

    Returns:
        Per text its entities, sorted by start; disjoint, those of a per-label model label by label.

    Raises:
        TypeError, ValueError: as `Tagger`.
    """
    return Tagger(model, tokenizer).predict(texts, batch_size)
