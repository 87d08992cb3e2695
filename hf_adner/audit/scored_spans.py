"""Predicted entities with their confidence, from our models and from any other token classifier alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from hf_adner.explain.passages import Passage
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.model.labels_adner import repair_bio, tags_to_spans
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.windows_adner import Window, merge_window_entities

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
    with tagger.quiet(), torch.no_grad():
        return _path_spans(tagger, texts, batch_size)


def _path_spans(tagger: Tagger, texts: list[str], batch_size: int) -> list[list[ScoredSpan]]:
    windows = [tagger.cover(text) for text in texts]
    pieces = [(number, place) for number, ranges in enumerate(windows) for place in range(len(ranges))]
    pieces.sort(key=lambda piece: _length(windows[piece[0]][piece[1]]), reverse=True)
    found: list[list[list[ScoredSpan]]] = [[[] for _ in ranges] for ranges in windows]
    for first in range(0, len(pieces), batch_size):
        group = pieces[first : first + batch_size]
        batch = tagger.encode(texts, [Passage(number, windows[number][place]) for number, place in group])
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
