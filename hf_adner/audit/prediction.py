"""Documents in, the same documents with predicted entities out.

Predicted entities with their confidence, from our models and from any other token classifier alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from hf_adner.data.records import Document, Entity
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.labels_adner import repair_bio, tags_to_spans
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.windows_adner import Window, merge_window_entities

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


DEFAULT_BATCH_SIZE = 32


class ScoredSpan(NamedTuple):
    """A predicted entity: characters `start` to `end` (exclusive), its label, and the posterior of both in [0, 1]."""

    start: int
    end: int
    label: str
    score: float

    @property
    def span(self) -> tuple[int, int, str]:
        """The entity without its score."""
        return self.start, self.end, self.label


def scored_spans(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int = DEFAULT_BATCH_SIZE
) -> list[list[ScoredSpan]]:
    """What a token classifier finds in texts of any length.

    Our models give the posterior of the span; any other one the product of the probabilities of the entity's labels on
    the arg-max path, stray I- labels taken as B-.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels.
        tokenizer: its fast tokenizer.
        texts: the texts.
        batch_size: windows per forward pass.

    Returns:
        Per text its entities, sorted by start, never overlapping.

    Raises:
        TypeError, ValueError: as `Tagger`.
    """
    texts = list(texts)
    if hasattr(model, "entity_log_posteriors"):
        pipe = AdnerPipeline(model=model, tokenizer=tokenizer, device=model.device)
        found = pipe(texts, batch_size=batch_size)
        return [
            [ScoredSpan(one["start"], one["end"], one["entity_group"], one["score"]) for one in entities]
            for entities in found
        ]
    tagger = Tagger(model, tokenizer)
    with tagger.eval_mode(), torch.no_grad():
        return _path_spans(tagger, texts, batch_size)


def _path_spans(tagger: Tagger, texts: list[str], batch_size: int) -> list[list[ScoredSpan]]:
    windows = [tagger.cover(text) for text in texts]
    pieces = [(number, place) for number, ranges in enumerate(windows) for place in range(len(ranges))]
    pieces.sort(key=lambda piece: _length(windows[piece[0]][piece[1]]), reverse=True)
    found: list[list[list[ScoredSpan]]] = [[[] for _ in ranges] for ranges in windows]
    for first in range(0, len(pieces), batch_size):
        group = pieces[first : first + batch_size]
        batch = tagger.encode(texts, [TextWindow(number, windows[number][place]) for number, place in group])
        for (number, place), spans in zip(group, _row_spans(tagger, batch), strict=True):
            found[number][place] = spans
    return [merge_window_entities(ranges, lists) for ranges, lists in zip(windows, found, strict=True)]


def _length(window: Window) -> int:
    return window.end - window.start


def _row_spans(tagger: Tagger, batch: TokenBatch) -> Iterator[list[ScoredSpan]]:
    log_probs = tagger.tag(batch.inputs).log_probs  # (batch, tokens, labels)
    ids = {name: index for index, name in enumerate(tagger.labels.names)}
    best = log_probs.argmax(-1).tolist()
    for row, (labels, inside) in enumerate(zip(best, batch.is_text.tolist(), strict=True)):
        tokens = [token for token, is_text in enumerate(inside) if is_text]
        path, _ = repair_bio([tagger.labels.names[labels[token]] for token in tokens])
        taken = [ids.get(name, labels[token]) for token, name in zip(tokens, path, strict=True)]
        chosen = log_probs[row, tokens, taken].tolist()
        offsets = [batch.offsets[row][token] for token in tokens]
        yield [
            ScoredSpan(offsets[start][0], offsets[end - 1][1], label, _probability(chosen[start:end]))
            for start, end, label in tags_to_spans(path)
        ]


def _probability(log_probs: Sequence[float]) -> float:
    return min(1.0, float(torch.tensor(log_probs, dtype=torch.float64).sum().exp()))
