"""A token classifier with its tokenizer, as explainers need them: texts in, log-probabilities of BIO labels out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from hf_adner.data.records import EntitySpan
from hf_adner.explain.targets import EntityTokens, LabelTable, Tagging, Target
from hf_adner.explain.text_windows import TextTile, TextWindow, cover_text, crop_entities, place_entities, tile_entities
from hf_adner.model.encoders_adner import encoder_first_position, token_limit
from hf_adner.model.heads_adner import token_span_log_probs
from hf_adner.model.labels_adner import repair_bio, tags_to_spans
from hf_adner.model.layers_adner import count_positions
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import ENCODING, LEXICON_KEYS
from hf_adner.model.windows_adner import Window, merge_window_entities

ROW_LENGTH = 64
"""Characters of a row that a batch size is counted in."""

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class TokenBatch:
    """Windows of text as model inputs, padded on the right, with the offsets of their tokens.

    Attributes:
        inputs: tensors of the model's forward, each (batch, ...), on the model's device.
        offsets: per row and token its characters (start, end) in the whole text; (0, 0) for special tokens.
        is_text: (batch, tokens) bool, on the model's device: the token covers characters.
        windows: per row the text of the window, and its start in the whole text.
    """

    inputs: Mapping[str, Tensor]
    offsets: Sequence[Sequence[tuple[int, int]]]
    is_text: Tensor
    windows: Sequence[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.is_text)

    def row(self, number: int) -> TokenBatch:
        """Return one row as a batch, without its padding."""
        length = int(self.inputs["attention_mask"][number].sum())
        tokens = self.is_text.shape[1]
        inputs = {
            name: values[number : number + 1, :length] if values.shape[1] == tokens else values[number : number + 1]
            for name, values in self.inputs.items()
            if name not in LEXICON_KEYS
        }
        lexicon = {name: self.inputs[name][number : number + 1] for name in LEXICON_KEYS if name in self.inputs}
        if lexicon:
            words = max(int((lexicon["lexicon_ids"] > 0).sum()), 1)  # padding comes last
            lexicon = {name: values[:, :words] for name, values in lexicon.items()}
        offsets, is_text = [self.offsets[number][:length]], self.is_text[number : number + 1, :length]
        return TokenBatch({**inputs, **lexicon}, offsets, is_text, [self.windows[number]])

    def rows(self, numbers: Tensor) -> dict[str, Tensor]:
        """Return the inputs of some rows, given as (rows,) int64; a row may be taken more than once."""
        return {name: values[numbers] for name, values in self.inputs.items()}

    def copies(self, count: int, **replaced: Tensor) -> dict[str, Tensor]:
        """Return `count` copies of the inputs of a batch of one row, some of them replaced."""
        inputs = {name: values.expand(count, *values.shape[1:]) for name, values in self.inputs.items()}
        return {**inputs, **replaced}

    def tokens_of(self, row: int, entity: EntitySpan) -> EntityTokens:
        """Return the tokens of an entity given in characters of the text.

        Raises:
            ValueError: the entity begins or ends inside a token, or has no token.
        """
        start, end, label = entity
        text_tokens = self.is_text[row].nonzero()[:, 0].tolist()
        own = [token for token in text_tokens if _touches(self.offsets[row][token], start, end)]
        if not own:
            raise ValueError(f"no token is left for entity {start}-{end} ({label})")
        for token in own:
            first, last = self.offsets[row][token]
            if first < start or last > end:
                raise ValueError(
                    f"entity {start}-{end} ({label}) {'begins' if first < start else 'ends'} inside the token of "
                    f"characters {first}-{last}; explain whole tokens, or use an AdnerTokenizer"
                )
        following = next((token for token in text_tokens if token > own[-1]), -1)
        return EntityTokens(row, own[0], own[-1] + 1, label, following)


def _touches(offsets: tuple[int, int], start: int, end: int) -> bool:
    return offsets[0] < end and start < offsets[1]


class ScoredSpan(NamedTuple):
    """A predicted entity: characters `start` to `end` (exclusive), its label, and the score of both in [0, 1].

    `posterior` is what a calibrated score was made from; `forced` is set if a constraint made the entity.
    """

    start: int
    end: int
    label: str
    score: float
    posterior: float
    forced: bool = False

    @property
    def span(self) -> EntitySpan:
        """The entity without its score."""
        return self.start, self.end, self.label


class Tagger:
    """A token classifier with BIO labels and its fast tokenizer.

    Nothing of the model changes but that it is put into evaluation mode and stays there, so that several threads may
    explain with one model.

    Args:
        model: an `AdnerForTokenClassification` or any `AutoModelForTokenClassification` that takes `inputs_embeds`.
        tokenizer: its fast tokenizer.

    Raises:
        TypeError: no tokenizer, or a slow one, which has no offsets.
        ValueError: labels that are not BIO, or a tokenizer whose lexicon differs from the model's.
    """

    def __init__(self, model: nn.Module, tokenizer: Any):
        if not getattr(tokenizer, "is_fast", False):
            raise TypeError(f"explanations need a fast tokenizer (it has offsets), found {type(tokenizer).__name__}")
        # not isinstance: a checkpoint's remote code defines the class a second time
        self.is_adner = hasattr(model, "entity_log_posteriors")
        if self.is_adner:
            model.check_tokenizer(tokenizer)
        self.model, self.tokenizer = model, tokenizer
        names = [model.config.id2label[index] for index in range(len(model.config.id2label))]
        is_per_label = self.is_adner and getattr(model.config, "is_per_label", False)  # older remote code lacks it
        chains = model.config.entity_types if is_per_label else None
        self.labels = LabelTable(names, self.is_adner and bool(model.config.use_crf), chains)
        self._accepted = _accepted_inputs(model, tokenizer)
        self.max_tokens = token_limit(model, tokenizer)
        self._first_position = _first_position(model, self.is_adner)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    @property
    def mask_id(self) -> int:
        """Id that replaces hidden tokens: the mask token, or else the unknown or the padding token.

        Raises:
            ValueError: the tokenizer has none of them.
        """
        for name in ("mask_token_id", "unk_token_id", "pad_token_id"):
            if getattr(self.tokenizer, name, None) is not None:
                return getattr(self.tokenizer, name)
        raise ValueError(f"{type(self.tokenizer).__name__} has neither a mask nor an unknown token to hide text with")

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Put the model into evaluation mode, where it stays; within the context this thread has autograd on."""
        self.model.eval()
        with torch.inference_mode(False), torch.enable_grad():
            yield

    def with_own_modules(self, replaced: Mapping[int, Tensor] | None = None) -> Tagger:
        """Return a tagger whose model has the same weights in modules and configurations of its own.

        Hooks and settings of these modules are not seen by other threads that use the model.

        Args:
            replaced: id of a weight -> what these modules have in its place.
        """
        own = copy.copy(self)
        tensors = (*self.model.parameters(), *self.model.buffers())
        own.model = copy.deepcopy(self.model, {**{id(tensor): tensor for tensor in tensors}, **(replaced or {})})
        return own

    # ---- texts ------------------------------------------------------------------------------------------------

    def windows(self, number: int, text: str, entities: Sequence[EntitySpan]) -> list[TextWindow]:
        """Return the windows of text `number` in which its entities are explained; see `place_entities`."""
        return place_entities(number, text, entities, self._window_size, self._fits)

    def crops(
        self, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan]], context: int | None
    ) -> list[TextWindow]:
        """Return the windows of all texts in which entities are read, see `crop_entities`.

        Raises:
            ValueError: as `crop_entities`; names the text.
        """
        return [*self._planned(crop_entities, texts, entities, context)]

    def tiles(
        self, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan]], context: int | None
    ) -> list[TextTile]:
        """Return the tiles of all texts in which characters are hidden, see `tile_entities`.

        Raises:
            ValueError: as `tile_entities`; names the text.
        """
        return [*self._planned(tile_entities, texts, entities, context)]

    def _planned(
        self, plan: Any, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan]], context: int | None
    ) -> Iterator[Any]:
        for number, (text, text_entities) in enumerate(zip(texts, entities, strict=True)):
            try:
                if text_entities:
                    yield from plan(number, text, text_entities, context, self._window_size, self._fits)
            except ValueError as error:
                raise ValueError(f"text {number}: {error}") from None

    def window_batches(
        self,
        texts: Sequence[str],
        entities: Sequence[Sequence[EntitySpan]],
        batch_size: int,
        context: int | None = None,
    ) -> Iterator[list[TextWindow]]:
        """Yield batches of the windows of all texts, sorted by number of entities and by length against padding.

        Args:
            texts, entities: per text its entities.
            batch_size: see `rows_at_once`.
            context: see `crop_entities`; default: as much as the model takes.

        Raises:
            ValueError: as `crop_entities`; names the text.
        """
        windows = self.crops(texts, entities, context)
        windows.sort(key=lambda window: (-len(window.entities), window.window.start - window.window.end))
        yield from self.batches(windows, [window.window.end - window.window.start for window in windows], batch_size)

    def rows_at_once(self, length: int, batch_size: int) -> int:
        """Return how many rows of a length make a batch: as many as have the characters of `batch_size` rows of 64."""
        return max(1, batch_size * ROW_LENGTH // max(length, 1))

    def batches(self, rows: Sequence[RowT], lengths: Sequence[int], batch_size: int) -> Iterator[list[RowT]]:
        """Yield rows in batches, in their order; see `rows_at_once`."""
        batch: list[RowT] = []
        longest = 0
        for row, length in zip(rows, lengths, strict=True):
            longest = max(longest, length)
            if batch and len(batch) >= self.rows_at_once(longest, batch_size):
                yield batch
                batch, longest = [], length
            batch.append(row)
        if batch:
            yield batch

    def cover(self, text: str) -> list[Window]:
        """Return overlapping windows over a text that fit the model; none for an empty text."""
        return cover_text(text, self._window_size, self._fits)[0]

    @property
    def _window_size(self) -> int | None:
        special = self.tokenizer.num_special_tokens_to_add()
        return None if self.max_tokens is None else self.max_tokens - special

    def _fits(self, texts: Sequence[str]) -> bool:
        if self.max_tokens is None:
            return True
        with ENCODING:
            ids = self.tokenizer(list(texts), verbose=False)["input_ids"]
        return max(map(len, ids), default=0) <= self.max_tokens

    def encode(self, texts: Sequence[str], windows: Sequence[TextWindow]) -> TokenBatch:
        """Return windows as a batch; `TextWindow.text` is an index into `texts`."""
        pieces = [texts[window.text][window.window.start : window.window.end] for window in windows]
        with ENCODING:
            encoded = self.tokenizer(
                pieces, padding=True, padding_side="right", return_tensors="pt", return_offsets_mapping=True
            )
        offsets, is_text = [], []
        for row, (window, spans) in enumerate(zip(windows, encoded["offset_mapping"].tolist())):
            inside = [
                sequence is not None and start < end for sequence, (start, end) in zip(encoded.sequence_ids(row), spans)
            ]
            shift = window.window.start
            offsets.append([(s + shift, e + shift) if text else (0, 0) for text, (s, e) in zip(inside, spans)])
            is_text.append(inside)
        inputs = {name: values.to(self.device) for name, values in encoded.items() if name in self._accepted}
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        places = [(piece, window.window.start) for piece, window in zip(pieces, windows)]
        covers_text = torch.tensor(is_text, device=self.device)
        before = self._tokens_before(texts, windows)
        if any(before):
            inputs["position_ids"] = self._positions(inputs["attention_mask"], covers_text, before)
        return TokenBatch(inputs, offsets, covers_text, places)

    def _tokens_before(self, texts: Sequence[str], windows: Sequence[TextWindow]) -> list[int]:
        """Return how many tokens the home of each window has before it; zeros without a table of positions."""
        if self._first_position is None:
            return [0] * len(windows)
        starts = [window.window.start if window.home is None else window.home.start for window in windows]
        pieces = [texts[window.text][start : window.window.start] for window, start in zip(windows, starts)]
        with ENCODING:
            ids = self.tokenizer(pieces, add_special_tokens=False, verbose=False)["input_ids"]
        return [len(tokens) for tokens in ids]

    def _positions(self, attention_mask: Tensor, is_text: Tensor, before: Sequence[int]) -> Tensor:
        """Return position ids (batch, tokens) as in the homes of the rows; special tokens in front stay in front."""
        shift = torch.tensor(before, device=self.device)[:, None] * (is_text.cumsum(1) > 0)
        positions = count_positions(attention_mask, self._first_position) + shift
        return positions.clamp(max=self._first_position + self.max_tokens - 1)  # a part may have a token more

    # ---- the model --------------------------------------------------------------------------------------------

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return token embeddings, (batch, tokens, size), detached."""
        with torch.no_grad():
            return self.model.get_input_embeddings()(input_ids).detach()

    def embed_words(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Return vectors of the matched words, (batch, words, size), detached; None without word vectors."""
        table = self._word_table
        if table is None or "lexicon_ids" not in inputs:
            return None
        with torch.no_grad():
            return table(inputs["lexicon_ids"]).detach()

    @property
    def reads_lexicon(self) -> bool:
        """Whether the model uses matched words of the lexicon, as vectors or as edges of its graph."""
        return self.is_adner and self.model.config.needs_lexicon

    @property
    def _word_table(self) -> nn.Module | None:
        stream = getattr(self.model.adner, "dual_stream", None) if self.is_adner else None
        return None if stream is None else stream.lexicon.word_embeddings

    def tag(
        self, inputs: Mapping[str, Tensor], embeds: Tensor | None = None, words: Tensor | None = None, **options: Any
    ) -> Tagging:
        """Run the model.

        Args:
            inputs: as in `TokenBatch`.
            embeds: (batch, tokens, size), replaces `input_ids`.
            words: (batch, words, size), replaces the vectors of the matched words.
            options: further arguments of the model's forward.
        """
        return self.read(self.run(inputs, embeds, words, **options))

    def run(
        self, inputs: Mapping[str, Tensor], embeds: Tensor | None = None, words: Tensor | None = None, **options: Any
    ) -> Any:
        """Return the model's own output; arguments as for `tag`."""
        inputs = dict(inputs)
        if embeds is not None:
            inputs.pop("input_ids")
            inputs["inputs_embeds"] = embeds
        if words is not None:
            inputs["lexicon_embeds"] = words
        return self.model(**inputs, return_dict=True, **options)

    def read(self, outputs: Any) -> Tagging:
        """Convert a model output to log-probabilities."""
        if self.is_adner:
            log_probs = outputs.logits if self.labels.chains is None else outputs.chain_log_probs
            return Tagging(log_probs.float(), outputs.emissions, outputs.text_mask)
        return Tagging(outputs.logits.float().log_softmax(-1))

    # ---- entities ---------------------------------------------------------------------------------------------

    def find_entities(self, texts: Sequence[str], batch_size: int) -> list[list[EntitySpan]]:
        """Predict entities that can be explained: per text (start, end, label), in the order of `predict`."""
        predictions = self.predict(texts, batch_size)
        return [[found.span for found in entities if found.label in self.labels.types] for entities in predictions]

    def predict(self, texts: Sequence[str], batch_size: int, constraints: Any = None) -> list[list[ScoredSpan]]:
        """Predict entities of texts of any length: per text, sorted by start; disjoint, per-label those of each label.

        The score is that of `AdnerPipeline` for our models (the posterior of the span, calibrated if the checkpoint
        is), for others the product of the probabilities of its labels on the arg-max path, on which a stray I- counts
        as B-.

        Args:
            texts: the texts.
            batch_size: windows per forward pass.
            constraints: as for `AdnerPipeline`.

        Raises:
            ValueError: constraints of a model that is not ours, or as `AdnerPipeline`.
        """
        texts = list(texts)
        if constraints is not None and not self.is_adner:
            raise ValueError(f"constraints need an AdnerForTokenClassification, found {type(self.model).__name__}")
        if self.is_adner:
            pipe = AdnerPipeline(model=self.model, tokenizer=self.tokenizer, device=self.device)
            found = pipe(texts, batch_size=batch_size, constraints=constraints)
            return [[_scored_span(one) for one in entities] for entities in found]
        covers = [self.cover(text) for text in texts]
        pieces = [TextWindow(number, window) for number, windows in enumerate(covers) for window in windows]
        pieces.sort(key=lambda piece: piece.window.start - piece.window.end)
        spans: dict[tuple[int, Window], list[ScoredSpan]] = {}
        with self.eval_mode(), torch.no_grad():
            for first in range(0, len(pieces), batch_size):
                group = pieces[first : first + batch_size]
                keys = [(piece.text, piece.window) for piece in group]
                spans.update(zip(keys, self._arg_max_spans(self.encode(texts, group)), strict=True))
        return [
            merge_window_entities(windows, [spans[number, window] for window in windows])
            for number, windows in enumerate(covers)
        ]

    def _arg_max_spans(self, batch: TokenBatch) -> Iterator[list[ScoredSpan]]:
        """Yield the entities of the arg-max labels of each row."""
        log_probs = self.tag(batch.inputs).log_probs  # (batch, tokens, labels)
        ids = {name: index for index, name in enumerate(self.labels.names)}
        best = log_probs.argmax(-1).tolist()
        for row, (labels, inside) in enumerate(zip(best, batch.is_text.tolist(), strict=True)):
            tokens = [token for token, is_text in enumerate(inside) if is_text]
            path, _ = repair_bio([self.labels.names[labels[token]] for token in tokens])
            path_ids = [ids.get(name, labels[token]) for token, name in zip(tokens, path, strict=True)]
            values = log_probs[row, tokens, path_ids].double()
            offsets = [batch.offsets[row][token] for token in tokens]
            found = []
            for start, end, label in tags_to_spans(path):
                value = min(1.0, values[start:end].sum().exp().item())
                found.append(ScoredSpan(offsets[start][0], offsets[end - 1][1], label, value, value))
            yield found


def _scored_span(one: Mapping[str, Any]) -> ScoredSpan:
    """Return an entity of `AdnerPipeline`, whose score is its posterior where nothing was calibrated."""
    posterior = one.get("posterior", one["score"])
    return ScoredSpan(one["start"], one["end"], one["entity_group"], one["score"], posterior, one.get("forced", False))


def _accepted_inputs(model: nn.Module, tokenizer: Any) -> set[str]:
    """Return the tokenizer outputs that the model's forward accepts; all if it names none (a wrapped model)."""
    known = {"input_ids", "attention_mask", "token_type_ids", *LEXICON_KEYS}
    named = set(inspect.signature(model.forward).parameters)
    return known & (named if "input_ids" in named else {*tokenizer.model_input_names, "input_ids", "attention_mask"})


def _first_position(model: nn.Module, is_adner: bool) -> int | None:
    """Return the position of a text's first token; None for models that are not told positions, or have no table."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    base = getattr(model, "base_model", model)
    return encoder_first_position(base.encoder if is_adner else base)


def entity_posteriors(
    tagger: Tagger,
    texts: Sequence[str],
    entities: Sequence[Sequence[EntitySpan]],
    batch_size: int = 16,
    context: int | None = None,
) -> list[list[float]]:
    """Compute the probability of exactly these spans with these labels, as the `score` of the pipeline.

    For our models this is the posterior of the span, for others the product of the label probabilities of its tokens.

    Args:
        tagger: model and tokenizer.
        texts: of any length; long texts are split into windows.
        entities: per text its entities (start, end, label), not only predicted ones.
        batch_size: windows per forward pass.
        context: see `hf_adner.explain.text_windows.crop_entities`; default: as much as the model takes.

    Returns:
        Per text a probability in [0, 1] for each of its entities.

    Raises:
        ValueError: an entity with a boundary inside a token, or longer than the model's maximum length.
    """
    posteriors = [[0.0] * len(text_entities) for text_entities in entities]
    with tagger.eval_mode(), torch.no_grad():
        for windows in tagger.window_batches(texts, entities, batch_size, context):
            batch = tagger.encode(texts, windows)
            rows = [(row, index, span) for row, window in enumerate(windows) for index, span in window.entities]
            places = [batch.tokens_of(row, span) for row, _, span in rows]
            values = span_log_posteriors(tagger, tagger.tag(batch.inputs), places).exp().clamp(0, 1).tolist()
            for (row, index, _), value in zip(rows, values):
                posteriors[windows[row].text][index] = value
    return posteriors


def span_log_posteriors(tagger: Tagger, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
    """Return the log probability of exactly these spans and labels, (entities,) float32; see `entity_posteriors`."""
    if tagger.is_adner:
        return Target("span", tagger.labels, tagger.model.entity_log_posteriors)(tagging, places)
    spans = [(place.row, place.start, place.end, place.label) for place in places]
    return token_span_log_probs(tagging.log_probs, tagger.labels.names, spans)
