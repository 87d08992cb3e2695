"""Base classes of local explainers: from texts and entities to batches, and from token scores to characters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from hf_adner.data.records import Entity, EntitySpan
from hf_adner.explain.explanation import Explanation, WordScore
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Target
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.pipeline_adner import check_count

DEFAULT_BATCH_SIZE = 16

Places = Sequence[Sequence[EntityTokens]]


class Attribution(NamedTuple):
    """Attribution of one entity to the tokens of its row.

    Attributes:
        tokens: (tokens,) score of each token of the row; those of special tokens and padding are ignored.
        words: (words,) score of each matched word, or None.
        value: the target's value.
        log_probs: (tokens, labels) of the unperturbed text, for the boundary profile.
        details: for `Explanation.details`.
    """

    tokens: Tensor
    words: Tensor | None
    value: float
    log_probs: Tensor
    details: dict[str, Any] = {}


class LocalExplainer(ABC):
    """Base of explainers that explain each entity from its own text; called as `explainer(texts, entities)`.

    Args:
        tagger: model and tokenizer.
        target: the scalar that is explained, a name of `TARGETS`.
        batch_size: rows per forward pass: windows of text, or perturbed copies of one.

    Raises:
        ValueError: an unknown target, or one that the model does not support.
    """

    name: ClassVar[str]

    def __init__(self, tagger: Tagger, target: str = "label", batch_size: int = DEFAULT_BATCH_SIZE):
        check_count(batch_size, "batch_size")
        self.tagger, self.batch_size = tagger, batch_size
        posteriors = tagger.model.entity_log_posteriors if tagger.is_adner else None
        self.target = Target(target, tagger.labels, posteriors)

    def __call__(
        self, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan | Entity]] | None = None
    ) -> list[list[Explanation]]:
        """Explain entities.

        Args:
            texts: any number of texts of any length; long texts are split into windows.
            entities: per text a list of (start, end, label) or `Entity`; default: the predicted entities.

        Returns:
            Per text a list of explanations, in the order of its entities.

        Raises:
            TypeError: `texts` is a single string, or contains something other than strings.
            ValueError: not one list of entities per text; an entity outside its text, with an unknown label, with a
                boundary inside a token, or longer than the model's maximum length.
        """
        texts = _checked_texts(texts)
        with self.tagger.eval_mode():
            if entities is None:
                entities = self.tagger.find_entities(texts, self.batch_size)
            spans = self._checked_entities(texts, list(entities))
            results: list[list[Any]] = [[None] * len(text_spans) for text_spans in spans]
            working = self._for_call()
            for windows in self.tagger.window_batches(texts, spans, self.batch_size):
                working._explain(windows, texts, results)
        return results

    def _for_call(self) -> LocalExplainer:
        """Return the explainer that does the work of one call; by default this one."""
        return self

    @abstractmethod
    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        """Return the attribution of each entity of each row of a batch."""

    def _checked_entities(self, texts: Sequence[str], entities: Sequence[Any]) -> list[list[EntitySpan]]:
        if len(entities) != len(texts):
            raise ValueError(f"{len(entities)} lists of entities for {len(texts)} texts")
        return [
            [self._checked_span(number, text, entity) for entity in text_entities]
            for number, (text, text_entities) in enumerate(zip(texts, entities))
        ]

    def _checked_span(self, number: int, text: str, entity: Any) -> EntitySpan:
        try:
            start, end, label = (entity.start, entity.end, entity.label) if isinstance(entity, Entity) else entity
            record = Entity(start, end, label)
            if record.end > len(text):
                raise ValueError(f"entity {start}-{end} reaches outside the text of {len(text)} characters")
            self.tagger.labels.check(label)
        except (TypeError, ValueError) as error:
            raise ValueError(f"text {number}: {error}") from None
        return record.start, record.end, record.label

    def _explain(self, windows: list[TextWindow], texts: Sequence[str], results: list[list[Any]]) -> None:
        batch = self.tagger.encode(texts, windows)
        places = [self._places(batch, row, window) for row, window in enumerate(windows)]
        for row, (window, attributions) in enumerate(zip(windows, self._attribute(batch, places))):
            for (index, span), attribution in zip(window.entities, attributions, strict=True):
                results[window.text][index] = self._explanation(texts[window.text], span, batch, row, attribution)

    def _places(self, batch: TokenBatch, row: int, window: TextWindow) -> list[EntityTokens]:
        try:
            return [batch.tokens_of(row, span) for _, span in window.entities]
        except ValueError as error:
            raise ValueError(f"text {window.text}: {error}") from None

    def _explanation(
        self, text: str, span: EntitySpan, batch: TokenBatch, row: int, attribution: Attribution
    ) -> Explanation:
        length = len(attribution.tokens)  # some explainers drop the padding of the row
        offsets, inside = batch.offsets[row][:length], batch.is_text[row][:length]
        starts, ends = self.target.boundaries(attribution.log_probs, inside, span[2])
        window, first = batch.windows[row]
        place = {} if len(window) == len(text) else {"window": [first, first + len(window)]}
        return Explanation(
            text=text,
            entity=Entity(*span),
            scores=spread_over_characters(attribution.tokens.tolist(), offsets, len(text)),
            method=self.name,
            target=self.target.name,
            value=attribution.value,
            lexicon=_word_scores(text, batch, row, attribution.words),
            start_profile=_at_characters([(s, v) for (s, e), v in zip(offsets, starts.tolist()) if s < e], len(text)),
            end_profile=_at_characters([(e - 1, v) for (s, e), v in zip(offsets, ends.tolist()) if s < e], len(text)),
            details={**attribution.details, **place},
        )


class RowExplainer(LocalExplainer):
    """Base of explainers that run many copies of one row, and so explain a batch row by row."""

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        return [
            self._attribute_row(batch.row(row), [place._replace(row=0) for place in row_places])
            for row, row_places in enumerate(places)
        ]

    @abstractmethod
    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        """Return the attribution of each entity of a batch of one row."""


def spread_over_characters(
    scores: Sequence[float], offsets: Sequence[tuple[int, int]], length: int
) -> tuple[float, ...]:
    """Split the score of each token equally over its characters; characters without a token get 0.

    Args:
        scores: one per token.
        offsets: characters (start, end) of each token; tokens without characters are ignored.
        length: number of characters of the text.
    """
    spread = [0.0] * length
    for score, (start, end) in zip(scores, offsets):
        for place in range(start, end):
            spread[place] += score / (end - start)
    return tuple(spread)


def _at_characters(values: Iterable[tuple[int, float]], length: int) -> tuple[float, ...]:
    """Return probabilities at single characters, 0 elsewhere, clipped to [0, 1] against rounding."""
    profile = [0.0] * length
    for place, value in values:
        profile[place] = min(max(value, profile[place], 0.0), 1.0)
    return tuple(profile)


def _word_scores(text: str, batch: TokenBatch, row: int, scores: Tensor | None) -> tuple[WordScore, ...]:
    """Return the scores of the matched words of a row, with their characters in the text."""
    if scores is None:
        return ()
    ids, starts, ends = (batch.inputs[name][row].tolist() for name in ("lexicon_ids", "lexicon_starts", "lexicon_ends"))
    offsets = batch.offsets[row]
    words = []
    for word, first, after, score in zip(ids, starts, ends, scores.tolist()):
        if word:
            start, end = offsets[first][0], offsets[after - 1][1]
            words.append(WordScore(text[start:end], start, end, score))
    return tuple(words)


def _checked_texts(texts: Any) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts is a single {type(texts).__name__}, expected a list of texts")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} is {type(text).__name__}, expected str")
    return texts
