"""Documents in, the same documents with predicted entities out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hf_adner.data.records import Document, Entity
from hf_adner.model.pipeline_adner import AdnerPipeline

META_KEYS = ("score", "start_score", "end_score", "needs_review")
"""What an entity's `meta` says of the prediction: three probabilities in [0, 1], and whether a human should look."""


def predict_documents(
    pipe: AdnerPipeline, documents: Iterable[Document], batch_size: int = 16, **parameters: Any
) -> Iterator[Document]:
    """Each document with the entities that the pipeline finds, in place of those it had; id, text and meta stay.

    Streams: documents are read as results are asked for, only some batches ahead, so memory does not grow with them.

    Args:
        pipe: what predicts.
        documents: any iterable, read once.
        batch_size: windows per forward pass.
        parameters: other parameters of the call, such as `threshold` or `review_threshold`.

    Raises:
        TypeError: an item is not a `Document`; and what the pipeline raises.
    """
    waiting: deque[Document] = deque()  # read by the pipeline, not yet answered
    texts = _texts(documents, waiting)
    for entities in pipe(texts, batch_size=batch_size, **{"needs_review": True, **parameters}):
        yield replace(waiting.popleft(), entities=tuple(map(_entity, entities)))


def _texts(documents: Iterable[Document], waiting: deque[Document]) -> Iterator[str]:
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TypeError(f"document {index} is {type(document).__name__}, expected Document")
        waiting.append(document)
        yield document.text


def _entity(found: Mapping[str, Any]) -> Entity:
    meta = {key: found[key] for key in META_KEYS if key in found}
    return Entity(found["start"], found["end"], found["entity_group"], found["word"], meta)
