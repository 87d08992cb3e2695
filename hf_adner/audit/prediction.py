"""Predicted entities of documents and texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hf_adner.data.records import Document, Entity
from hf_adner.explain.tagger import ScoredSpan, Tagger
from hf_adner.model.pipeline_adner import AdnerPipeline

META_KEYS = ("score", "start_score", "end_score", "needs_review")
"""Keys of the prediction in an entity's `meta`: three probabilities in [0, 1], and whether a person should look."""

DEFAULT_BATCH_SIZE = 32


def predict_documents(
    pipe: AdnerPipeline, documents: Iterable[Document], batch_size: int = 16, **parameters: Any
) -> Iterator[Document]:
    """Yield each document with the predicted entities in place of its own; id, text and meta are kept.

    Documents are read a few batches ahead of the results, so memory use does not depend on their number.

    Args:
        pipe: the pipeline.
        documents: any iterable, read once.
        batch_size: windows per forward pass.
        parameters: other parameters of the call, such as `threshold` or `review_threshold`.

    Raises:
        TypeError: an item is not a `Document`; and what the pipeline raises.
    """
    pending: deque[Document] = deque()  # read by the pipeline, not yet predicted
    texts = _texts(documents, pending)
    for entities in pipe(texts, batch_size=batch_size, **{"needs_review": True, **parameters}):
        yield replace(pending.popleft(), entities=tuple(map(entity_of_prediction, entities)))


def _texts(documents: Iterable[Document], pending: deque[Document]) -> Iterator[str]:
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"document {index} is {type(document).__name__}, expected Document")
        pending.append(document)
        yield document.text


def entity_of_prediction(prediction: Mapping[str, Any]) -> Entity:
    """Convert an entity of the pipeline, with `META_KEYS` in its meta."""
    meta = {key: prediction[key] for key in META_KEYS if key in prediction}
    return Entity(prediction["start"], prediction["end"], prediction["entity_group"], prediction["word"], meta)


def scored_spans(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int = DEFAULT_BATCH_SIZE
) -> list[list[ScoredSpan]]:
    """Predict entities with any token classifier; see `Tagger.predict`.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels.
        tokenizer: its fast tokenizer.
        texts: texts of any length.
        batch_size: windows per forward pass.

    Returns:
        Per text its entities, sorted by start and disjoint.

    Raises:
        TypeError, ValueError: as `Tagger`.
    """
    return Tagger(model, tokenizer).predict(texts, batch_size)
