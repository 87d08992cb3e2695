"""What all local explainers share: from texts and entities to batches, and from token scores to characters."""

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
    """What an explainer says of one entity.

    Attributes:
        tokens: (tokens,) score of each token of its row; those of tokens that stand for no text are not read.
        words: (words,) score of each matched word, or None.
        value: the target's value.
        log_probs: (tokens, labels) of the text as it is, for the boundary profile.
        details: for `Explanation.details`.
    """

    tokens: Tensor
    words: Tensor | None
    value: float
    log_probs: Tensor
    details: dict[str, Any] = {}


class LocalExplainer(ABC):
    """Explains entities of texts one by one; `explainer(texts, entities)`.

    Args:
        tagger: model and tokenizer.
        target: what is explained, a name of `TARGETS`.
        batch_size: rows per forward pass: windows of text, or perturbed copies of one.

    Raises:
        ValueError: an unknown target, or one that the model cannot give.
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
            texts: any number of texts of any length; long ones go through windows.
            entities: per text a list of (start, end, label) or `Entity`; default: what the model finds.

        Returns:
            Per text a list of explanations, in the order of its entities.

        Raises:
            TypeError: `texts` is a single string, or holds something else than strings.
            ValueError: not one list of entities per text; an entity outside its text, with a label that the model does
                not have, with a boundary inside a token, or longer than the model.
        """
        texts = _checked_texts(texts)
        with self.tagger.eval_mode():
            if entities is None:
                entities = self.tagger.find_entities(texts, self.batch_size)
            spans = self._checked_entities(texts, list(entities))
            results: list[list[Any]] = [[None] * len(ones) for ones in spans]
            for group in self._groups(texts, spans):
                self._explain(group, texts, results)
        return results

    @abstractmethod
    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        """Attributions for each entity of each row of a batch."""

    def _checked_entities(self, texts: Sequence[str], entities: Sequence[Any]) -> list[list[EntitySpan]]:
        if len(entities) != len(texts):
            raise ValueError(f"{len(entities)} lists of entities for {len(texts)} texts")
        return [
            [self._checked_span(number, text, entity) for entity in ones]
            for number, (text, ones) in enumerate(zip(texts, entities))
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

    def _groups(self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]]) -> Iterable[list[TextWindow]]:
        """Batches of windows; those with as many entities, and then those of like length, stand together."""
        passages = []
        for number, (text, ones) in enumerate(zip(texts, spans)):
            if not ones:
                continue
            try:
                passages += self.tagger.passages(number, text, ones)
            except ValueError as error:
                raise ValueError(f"text {number}: {error}") from None
        passages.sort(key=lambda one: (-len(one.entities), one.window.start - one.window.end))
        return (passages[first : first + self.batch_size] for first in range(0, len(passages), self.batch_size))

    def _explain(self, group: list[TextWindow], texts: Sequence[str], results: list[list[Any]]) -> None:
        batch = self.tagger.encode(texts, group)
        places = [self._places(batch, row, passage) for row, passage in enumerate(group)]
        for row, (passage, found) in enumerate(zip(group, self._attribute(batch, places))):
            for (index, span), attribution in zip(passage.entities, found, strict=True):
                results[passage.text][index] = self._explanation(texts[passage.text], span, batch, row, attribution)

    def _places(self, batch: TokenBatch, row: int, passage: TextWindow) -> list[EntityTokens]:
        try:
            return [batch.tokens_of(row, span) for _, span in passage.entities]
        except ValueError as error:
            raise ValueError(f"text {passage.text}: {error}") from None

    def _explanation(
        self, text: str, span: EntitySpan, batch: TokenBatch, row: int, attribution: Attribution
    ) -> Explanation:
        length = len(attribution.tokens)  # without the row's padding where the explainer took it away
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


def spread_over_characters(
    scores: Sequence[float], offsets: Sequence[tuple[int, int]], length: int
) -> tuple[float, ...]:
    """Split each token's score equally over its characters; characters without a token get 0.

    Args:
        scores: one per token.
        offsets: characters (start, end) of each token; tokens without characters are left out.
        length: characters of the text.
    """
    spread = [0.0] * length
    for score, (start, end) in zip(scores, offsets):
        for place in range(start, end):
            spread[place] += score / (end - start)
    return tuple(spread)


def _at_characters(values: Iterable[tuple[int, float]], length: int) -> tuple[float, ...]:
    """Probabilities at single characters, 0 elsewhere; rounding may not leave [0, 1]."""
    profile = [0.0] * length
    for place, value in values:
        profile[place] = min(max(value, profile[place], 0.0), 1.0)
    return tuple(profile)


def _word_scores(text: str, batch: TokenBatch, row: int, scores: Tensor | None) -> tuple[WordScore, ...]:
    """Scores of the matched words of a row, with their places in the text."""
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
