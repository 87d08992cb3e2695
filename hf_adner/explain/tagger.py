"""A token classifier with its tokenizer, as explainers need them: texts in, log-probabilities of BIO labels out.

A tagger that reads the masked characters of perturbed texts as hidden ones.

How probable a model finds given entities.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_adner.data.records import EntitySpan
from hf_adner.explain.targets import EntityTokens, LabelTable, Tagging, Target
from hf_adner.explain.text_windows import TextWindow, cover_text, place_entities
from hf_adner.model.labels_adner import tags_to_spans
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.windows_adner import Window, merge_window_entities
from hf_adner.perturb.perturbed import masked_tokens

LEXICON_KEYS = ("lexicon_ids", "lexicon_starts", "lexicon_ends")
UNLIMITED = 10**6  # tokenizers without a length limit say a number beyond this


@dataclass(frozen=True)
class TokenBatch:
    """Windows of text as model inputs, padded on the right, and where their tokens stand in the text.

    Attributes:
        inputs: tensors of the model's forward, each (batch, ...), on the model's device.
        offsets: per row and token its characters (start, end), counted in the whole text; (0, 0) for special tokens.
        is_text: (batch, tokens) bool, on the model's device: the token stands for characters.
        windows: per row the characters of the window, and where in the whole text it begins.
    """

    inputs: Mapping[str, Tensor]
    offsets: Sequence[Sequence[tuple[int, int]]]
    is_text: Tensor
    windows: Sequence[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.is_text)

    def row(self, number: int) -> TokenBatch:
        """One row as a batch, without its padding."""
        length = int(self.inputs["attention_mask"][number].sum())
        tokens = self.is_text.shape[1]
        inputs = {
            name: values[number : number + 1, :length] if values.shape[1] == tokens else values[number : number + 1]
            for name, values in self.inputs.items()
            if name not in LEXICON_KEYS
        }
        lexicon = {name: self.inputs[name][number : number + 1] for name in LEXICON_KEYS if name in self.inputs}
        if lexicon:
            words = max(int((lexicon["lexicon_ids"] > 0).sum()), 1)  # padding rows stand behind
            lexicon = {name: values[:, :words] for name, values in lexicon.items()}
        offsets, is_text = [self.offsets[number][:length]], self.is_text[number : number + 1, :length]
        return TokenBatch({**inputs, **lexicon}, offsets, is_text, [self.windows[number]])

    def copies(self, count: int, **replaced: Tensor) -> dict[str, Tensor]:
        """Inputs of a batch of one row, `count` times; `replaced` ones are taken as they are."""
        inputs = {name: values.expand(count, *values.shape[1:]) for name, values in self.inputs.items()}
        return {**inputs, **replaced}

    def tokens_of(self, row: int, entity: EntitySpan) -> EntityTokens:
        """The tokens of an entity given in characters of the text.

        Raises:
            ValueError: it begins or ends inside a token, or has no token.
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


class Tagger:
    """A token classifier with BIO labels and its fast tokenizer; the model is left as it was found.

    Args:
        model: an `AdnerForTokenClassification` or any `AutoModelForTokenClassification` that takes `inputs_embeds`.
        tokenizer: its fast tokenizer.

    Raises:
        TypeError: no tokenizer, or one without offsets.
        ValueError: labels that are not BIO, or a tokenizer with another lexicon than the model's.
    """

    def __init__(self, model: nn.Module, tokenizer: Any):
        if not getattr(tokenizer, "is_fast", False):
            raise TypeError(f"explanations need a fast tokenizer (it has offsets), found {type(tokenizer).__name__}")
        # by what it can do, not by class: a checkpoint's own code defines the class a second time
        self.is_adner = hasattr(model, "entity_log_posteriors")
        if self.is_adner:
            model.check_tokenizer(tokenizer)
        self.model, self.tokenizer = model, tokenizer
        names = [model.config.id2label[index] for index in range(len(model.config.id2label))]
        self.labels = LabelTable(names, is_chain=self.is_adner and bool(model.config.use_crf))
        self._accepted = _accepted_inputs(model, tokenizer)
        self.max_tokens = _token_limit(model, tokenizer)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def mask_id(self) -> int:
        """What stands for a hidden token: the mask token, or else the unknown or the padding token.

        Raises:
            ValueError: the tokenizer has none of them.
        """
        for name in ("mask_token_id", "unk_token_id", "pad_token_id"):
            if getattr(self.tokenizer, name, None) is not None:
                return getattr(self.tokenizer, name)
        raise ValueError(f"{type(self.tokenizer).__name__} has neither a mask nor an unknown token to hide text with")

    @contextmanager
    def eval_mode(self) -> Iterator[None]:
        """Evaluation mode with gradients allowed, whatever the caller is in; nothing stays behind."""
        training = [module for module in self.model.modules() if module.training]
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            if self.device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in self.model.modules()):
                # cudnn's recurrent layers have no backward in evaluation mode
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            for module in training:
                module.training = False
            try:
                yield
            finally:
                for module in training:
                    module.training = True

    # ---- texts ------------------------------------------------------------------------------------------------

    def passages(self, number: int, text: str, entities: Sequence[EntitySpan]) -> list[TextWindow]:
        """Windows of text `number` in which its entities are explained; see `place_entities`."""
        return place_entities(number, text, entities, self._window_size, self._fits)

    def cover(self, text: str) -> list[Window]:
        """Overlapping windows over a text, each of which fits the model; none for an empty text."""
        return cover_text(text, self._window_size, self._fits)[0]

    @property
    def _window_size(self) -> int | None:
        special = self.tokenizer.num_special_tokens_to_add()
        return None if self.max_tokens is None else self.max_tokens - special

    def _fits(self, texts: Sequence[str]) -> bool:
        if self.max_tokens is None:
            return True
        ids = self.tokenizer(list(texts), verbose=False)["input_ids"]
        return max(map(len, ids), default=0) <= self.max_tokens

    def encode(self, texts: Sequence[str], passages: Sequence[TextWindow]) -> TokenBatch:
        """The windows of passages as a batch; `texts` are those that passages count in."""
        windows = [texts[passage.text][passage.window.start : passage.window.end] for passage in passages]
        encoded = self.tokenizer(
            windows, padding=True, padding_side="right", return_tensors="pt", return_offsets_mapping=True
        )
        offsets, is_text = [], []
        for row, (passage, spans) in enumerate(zip(passages, encoded["offset_mapping"].tolist())):
            inside = [
                sequence is not None and start < end for sequence, (start, end) in zip(encoded.sequence_ids(row), spans)
            ]
            shift = passage.window.start
            offsets.append([(s + shift, e + shift) if text else (0, 0) for text, (s, e) in zip(inside, spans)])
            is_text.append(inside)
        inputs = {name: values.to(self.device) for name, values in encoded.items() if name in self._accepted}
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
        places = [(window, passage.window.start) for window, passage in zip(windows, passages)]
        return TokenBatch(inputs, offsets, torch.tensor(is_text, device=self.device), places)

    # ---- the model --------------------------------------------------------------------------------------------

    def embed(self, input_ids: Tensor) -> Tensor:
        """Rows of the embedding table, (batch, tokens, size), detached."""
        with torch.no_grad():
            return self.model.get_input_embeddings()(input_ids).detach()

    def embed_words(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Vectors of the matched words, (batch, words, size), detached; None where the model reads no word vectors."""
        table = self._word_table
        if table is None or "lexicon_ids" not in inputs:
            return None
        with torch.no_grad():
            return table(inputs["lexicon_ids"]).detach()

    @property
    def reads_lexicon(self) -> bool:
        """Whether the matched words of the lexicon reach the model, as vectors or as edges of its graph."""
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
            embeds: (batch, tokens, size) in place of `input_ids`; everything else is passed along.
            words: (batch, words, size) in place of the matched words' vectors.
        """
        return self.read(self.run(inputs, embeds, words, **options))

    def run(
        self, inputs: Mapping[str, Tensor], embeds: Tensor | None = None, words: Tensor | None = None, **options: Any
    ) -> Any:
        """The model's own output; arguments as for `tag`."""
        inputs = dict(inputs)
        if embeds is not None:
            inputs.pop("input_ids")
            inputs["inputs_embeds"] = embeds
        with _output_replaced(self._word_table, words):
            return self.model(**inputs, return_dict=True, **options)

    def read(self, outputs: Any) -> Tagging:
        """A model output as log-probabilities."""
        if self.is_adner:
            return Tagging(outputs.logits.float(), outputs.emissions, outputs.text_mask)
        return Tagging(outputs.logits.float().log_softmax(-1))

    # ---- entities ---------------------------------------------------------------------------------------------

    def find_entities(self, texts: Sequence[str], batch_size: int) -> list[list[EntitySpan]]:
        """What the model finds: per text its entities (start, end, label), sorted, never overlapping."""
        if self.is_adner:
            pipe = AdnerPipeline(model=self.model, tokenizer=self.tokenizer, device=self.device)
            found = pipe(list(texts), batch_size=batch_size)
            return [[(one["start"], one["end"], one["entity_group"]) for one in entities] for entities in found]
        return [self._find(text, batch_size) for text in texts]

    def _find(self, text: str, batch_size: int) -> list[EntitySpan]:
        windows = self.cover(text)
        found: list[list[EntitySpan]] = []
        for first in range(0, len(windows), batch_size):
            passages = [TextWindow(0, window) for window in windows[first : first + batch_size]]
            found += self._spans(self.encode([text], passages))
        return merge_window_entities(windows, found)

    @torch.no_grad()
    def _spans(self, batch: TokenBatch) -> list[list[EntitySpan]]:
        """Entities of the arg-max labels of each row; a stray I- opens an entity."""
        best = self.tag(batch.inputs).log_probs.argmax(-1).tolist()
        rows = []
        for ids, offsets, inside in zip(best, batch.offsets, batch.is_text.tolist()):
            tokens = [token for token, is_text in enumerate(inside) if is_text]
            spans = tags_to_spans([self.labels.names[ids[token]] for token in tokens])
            spans = [(offsets[tokens[start]][0], offsets[tokens[end - 1]][1], label) for start, end, label in spans]
            rows.append([span for span in spans if span[2] in self.labels.types])
        return rows


@contextmanager
def _output_replaced(module: nn.Module | None, output: Tensor | None) -> Iterator[None]:
    """Let a module return a given tensor."""
    if output is None:
        yield
        return
    handle = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()


def _accepted_inputs(model: nn.Module, tokenizer: Any) -> set[str]:
    """Tokenizer outputs that the model's forward names (all of them where it names none: a wrapped model)."""
    known = {"input_ids", "attention_mask", "token_type_ids", *LEXICON_KEYS}
    named = set(inspect.signature(model.forward).parameters)
    return known & (named if "input_ids" in named else {*tokenizer.model_input_names, "input_ids", "attention_mask"})


def _token_limit(model: nn.Module, tokenizer: Any) -> int | None:
    """Tokens that both tokenizer and encoder take at once; None if neither has a limit."""
    limits = [tokenizer.model_max_length]
    tables = [
        module
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding)
    ]
    for table in tables:  # the RoBERTa family counts positions from behind a padding row
        limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
    if not tables:
        config = getattr(model.config, "encoder_config", None) or model.config
        limits.append(getattr(config, "max_position_embeddings", None))
    stated = [limit for limit in limits if limit and 0 < limit < UNLIMITED]
    return min(stated) if stated else None


class MaskedTagger(Tagger):
    """The same model and tokenizer; tokens of masked characters become the mask token.

    Args:
        tagger: what reads texts as they are.
        masked: for each of the texts that will be read, by number, the places of its masked characters
            (`Perturbed.masked`).

    Raises:
        ValueError: the tokenizer has no token to hide text with.
    """

    def __init__(self, tagger: Tagger, masked: Sequence[Sequence[int]]):
        vars(self).update(vars(tagger))
        self.masked = masked
        if any(masked):
            self._hidden_id = self.mask_id

    def encode(self, texts: Sequence[str], passages: Sequence[TextWindow]) -> TokenBatch:
        """As `Tagger.encode`; passages count in the texts that `masked` was given for."""
        batch = super().encode(texts, passages)
        rows = [masked_tokens(spans, self.masked[one.text]) for spans, one in zip(batch.offsets, passages)]
        hidden = torch.tensor(rows, device=batch.is_text.device).view_as(batch.is_text) & batch.is_text
        if not hidden.any():
            return batch
        ids = batch.inputs["input_ids"].masked_fill(hidden, self._hidden_id)  # (batch, tokens)
        return replace(batch, inputs={**batch.inputs, "input_ids": ids})


def entity_posteriors(
    tagger: Tagger, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan]], batch_size: int = 16
) -> list[list[float]]:
    """Probability of exactly these spans with these labels, as the pipeline's `score`.

    Our models give the posterior of the span, others the product of its tokens' label probabilities.

    Args:
        tagger: model and tokenizer.
        texts: of any length; long ones go through windows.
        entities: per text its entities (start, end, label), which need not be what the model finds.
        batch_size: windows per forward pass.

    Returns:
        Per text one probability in [0, 1] for each of its entities.

    Raises:
        ValueError: an entity with a boundary inside a token, or longer than the model.
    """
    found = [[0.0] * len(ones) for ones in entities]
    with tagger.eval_mode(), torch.no_grad():
        for group in _groups(tagger, texts, entities, batch_size):
            batch = tagger.encode(texts, group)
            homes = [(row, index, span) for row, one in enumerate(group) for index, span in one.entities]
            places = [batch.tokens_of(row, span) for row, _, span in homes]
            values = _log_posteriors(tagger, tagger.tag(batch.inputs), places).exp().clamp(0, 1).tolist()
            for (row, index, _), value in zip(homes, values):
                found[group[row].text][index] = value
    return found


def _groups(
    tagger: Tagger, texts: Sequence[str], entities: Sequence[Sequence[EntitySpan]], size: int
) -> Iterator[list]:
    """Batches of windows of like length."""
    passages: list[TextWindow] = []
    for number, (text, ones) in enumerate(zip(texts, entities, strict=True)):
        passages += tagger.passages(number, text, ones) if ones else []
    passages.sort(key=lambda one: one.window.start - one.window.end)
    return (passages[first : first + size] for first in range(0, len(passages), size))


def _log_posteriors(tagger: Tagger, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
    """(entities,) float32."""
    if tagger.is_adner:
        return Target("span", tagger.labels, tagger.model.entity_log_posteriors)(tagging, places)
    values = [_token_product(tagger, tagging, place) for place in places]
    return torch.stack(values) if values else tagging.log_probs.new_zeros(0)


def _token_product(tagger: Tagger, tagging: Tagging, place: EntityTokens) -> Tensor:
    inside = [tagger.labels.inside(place.label)] * (place.end - place.start - 1)
    labels = [tagger.labels.begin(place.label), *inside]
    return tagging.log_probs[place.row, range(place.start, place.end), labels].sum()
