"""Base classes of local explainers: from texts and entities to batches, and from token scores to characters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from hf_adner.data.records import Entity, EntitySpan
from hf_adner.explain.explanation import Explanation, WordScore
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Target
from hf_adner.explain.text_windows import DEFAULT_CONTEXT, TextWindow
from hf_adner.model.pipeline_adner import check_count

DEFAULT_BATCH_SIZE = 16

Places = Sequence[Sequence[EntityTokens]]
Progress = Callable[[int], None]


class Attribution(NamedTuple):
    """Attribution of one entity to the tokens of its row.

    Attributes:
        tokens: (tokens,) score of each token of the row; those of special tokens and padding are ignored.
        words: (words,) score of each matched word, or None.
        value: the target's value.
        log_probs: (tokens, labels) of the unperturbed text, for the boundary profile.
        details: for `Explanation.details`.
        spreads_words: add the score of each matched word, split equally, to its characters.
    """

    tokens: Tensor
    words: Tensor | None
    value: float
    log_probs: Tensor
    details: dict[str, Any] = {}
    spreads_words: bool = False


class LocalExplainer(ABC):
    """Base of explainers that explain each entity from its own text; called as `explainer(texts, entities)`.

    Args:
        tagger: model and tokenizer.
        target: the scalar that is explained, a name of `TARGETS`.
        batch_size: rows of 64 characters per forward pass (windows of text, or perturbed copies of one); of others as
            many as have the same number of characters.
        context: characters on both sides of an entity that are read at least, in texts of more than twice as many and
            96; characters further away have no score. None: as many as the model takes.

    Raises:
        ValueError: an unknown target, one that the model does not support, or a batch size or context out of range.
    """

    name: ClassVar[str]

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        context: int | None = DEFAULT_CONTEXT,
    ):
        check_count(batch_size, "batch_size")
        if context is not None:
            check_count(context, "context", 0)
        self.tagger, self.batch_size, self.context = tagger, batch_size, context
        posteriors = tagger.model.entity_log_posteriors if tagger.is_adner else None
        self.target = Target(target, tagger.labels, posteriors)

    def __call__(
        self,
        texts: Sequence[str],
        entities: Sequence[Sequence[EntitySpan | Entity]] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Explanation]]:
        """Explain entities.

        Args:
            texts: any number of texts of any length; long texts are read in parts.
            entities: per text a list of (start, end, label) or `Entity`; default: the predicted entities.
            progress: called again and again with the number of entities explained since.

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
            self._for_call()._explain_all(texts, spans, results, progress or (lambda count: None))
        return results

    def _for_call(self) -> LocalExplainer:
        """Return the explainer that does the work of one call; by default this one."""
        return self

    @abstractmethod
    def _explain_all(
        self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]], results: list[list[Any]], progress: Progress
    ) -> None:
        """Fill the results, a list per text with a place per entity."""

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

    def _places(self, batch: TokenBatch, row: int, window: TextWindow) -> list[EntityTokens]:
        try:
            return [batch.tokens_of(row, span) for _, span in window.entities]
        except ValueError as error:
            raise ValueError(f"text {window.text}: {error}") from None

    def record(
        self,
        text: str,
        span: EntitySpan,
        *,
        scores: Sequence[float],
        words: Sequence[WordScore],
        batch: TokenBatch,
        row: int,
        value: float,
        log_probs: Tensor,
        window: tuple[int, int],
        details: dict[str, Any],
    ) -> Explanation:
        """Return the explanation of an entity.

        Args:
            text: of the entity.
            span: the entity.
            scores: one per character of the text.
            words: scores of the matched words.
            batch, row: where the entity was read.
            value: the target's value.
            log_probs: (tokens, labels) of the row, for the boundary profile.
            window: the characters that have a score.
            details: for `Explanation.details`.
        """
        offsets, inside = batch.offsets[row][: len(log_probs)], batch.is_text[row][: len(log_probs)]
        starts, ends = self.target.boundaries(log_probs, inside.to(log_probs.device), span[2])
        place = {} if window == (0, len(text)) else {"window": list(window)}
        return Explanation(
            text=text,
            entity=Entity(*span),
            scores=scores,
            method=self.name,
            target=self.target.name,
            value=value,
            lexicon=tuple(words),
            start_profile=_at_characters([(s, v) for (s, e), v in zip(offsets, starts.tolist()) if s < e], len(text)),
            end_profile=_at_characters([(e - 1, v) for (s, e), v in zip(offsets, ends.tolist()) if s < e], len(text)),
            details={**details, **place},
            labels=tuple(self.tagger.labels.types),
        )

    def words_of(self, text: str, batch: TokenBatch, row: int, scores: Tensor | None = None) -> list[WordScore]:
        """Return the matched words of a row with their characters in the text, and their scores (0 without any)."""
        names = ("lexicon_ids", "lexicon_starts", "lexicon_ends")
        if names[0] not in batch.inputs:
            return []
        ids, starts, ends = (batch.inputs[name][row].tolist() for name in names)
        values = [0.0] * len(ids) if scores is None else scores.tolist()
        offsets = batch.offsets[row]
        ranges = [(offsets[first][0], offsets[after - 1][1]) for first, after in zip(starts, ends)]
        return [
            WordScore(text[start:end], start, end, score)
            for word, (start, end), score in zip(ids, ranges, values)
            if word
        ]


class WindowExplainer(LocalExplainer):
    """Base of explainers that attribute the target to the tokens of a window of the text, all its entities together."""

    def _explain_all(
        self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]], results: list[list[Any]], progress: Progress
    ) -> None:
        for windows in self.tagger.window_batches(texts, spans, self.batch_size, self.context):
            self._explain(windows, texts, results)
            progress(sum(len(window.entities) for window in windows))

    def _explain(self, windows: list[TextWindow], texts: Sequence[str], results: list[list[Any]]) -> None:
        batch = self.tagger.encode(texts, windows)
        places = [self._places(batch, row, window) for row, window in enumerate(windows)]
        for row, (window, attributions) in enumerate(zip(windows, self._attribute(batch, places))):
            for (index, span), attribution in zip(window.entities, attributions, strict=True):
                results[window.text][index] = self._explanation(texts[window.text], span, batch, row, attribution)

    def _explanation(
        self, text: str, span: EntitySpan, batch: TokenBatch, row: int, attribution: Attribution
    ) -> Explanation:
        length = len(attribution.tokens)  # some explainers drop the padding of the row
        words = [] if attribution.words is None else self.words_of(text, batch, row, attribution.words)
        parts = [*zip(attribution.tokens.tolist(), batch.offsets[row][:length])]
        parts += [(word.score, (word.start, word.end)) for word in words if attribution.spreads_words]
        window, first = batch.windows[row]
        return self.record(
            text,
            span,
            scores=spread_over_characters(*zip(*parts), len(text)),
            words=words,
            batch=batch,
            row=row,
            value=attribution.value,
            log_probs=attribution.log_probs,
            window=(first, first + len(window)),
            details=attribution.details,
        )

    @abstractmethod
    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        """Return the attribution of each entity of each row of a batch."""


class RowExplainer(WindowExplainer):
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
    """Split each score equally over its characters and add them up; characters without a score get 0.

    Args:
        scores: one per token or word.
        offsets: characters (start, end) of each; those without characters are ignored.
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


def _checked_texts(texts: Any) -> list[str]:
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"texts is a single {type(texts).__name__}, expected a list of texts")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} is {type(text).__name__}, expected str")
    return texts
