"""The pipeline `adner-ner`: texts of any length in, entities with exact posteriors out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from transformers import BatchEncoding, TokenClassificationPipeline

from .labels_adner import split_tag
from .windows_adner import Window, merge_window_entities, prediction_windows

DEFAULT_BATCH_SIZE = 16
DEFAULT_OVERLAP = 64
DEFAULT_WINDOW = 510
"""Characters of a window where neither tokenizer nor encoder names a limit."""
SCORED_TOGETHER = 32
"""Windows whose entities are scored in one pass of the CRF, which costs about the same for one row as for many."""
REVIEW_THRESHOLD = 0.8
"""Below this posterior at least one entity in five is wrong, if the model is calibrated."""
STABILITY_THRESHOLD = 0.5
"""Below this stability an explanation depends more on what should not matter than on the entity."""


class _Settings(NamedTuple):
    """What one call does, after its parameters have been joined with the pipeline's own."""

    batch_size: int
    window_size: int
    window_overlap: int
    threshold: float
    review_threshold: float | None
    stability_threshold: float
    explain: Any


class _Piece(NamedTuple):
    """One window of a buffered text."""

    text: int
    number: int
    window: Window


class AdnerPipeline(TokenClassificationPipeline):
    """Find entities with an `AdnerForTokenClassification`; `pipeline("adner-ner", model=path)` makes one.

    Entities are those of the model's best path. Their `score` is the exact posterior of that span and label given the
    text (softmax heads: the product of its tokens' probabilities); `start_score` and `end_score` are the marginals of
    its boundaries, with a CRF never below `score`. Text longer than `window_size` goes through overlapping windows;
    each entity comes from the window in which it has most context. The model runs in evaluation mode and keeps its own.

    Args:
        model: an `AdnerForTokenClassification`. For any other token classifier use the stock `token-classification`.
        tokenizer: its `AdnerTokenizer`.
        batch_size: windows per forward pass (default 16); windows of like length share a batch.
        threshold: entities with a lower score are left out, in [0, 1] (default 0: all of the best path).
        needs_review: add the flag `needs_review` to each entity: its score is below `review_threshold`, or it is
            explained and its explanation's stability below `stability_threshold`.
        review_threshold: in [0, 1], default 0.8: of calibrated entities at that score one in five is wrong.
        window_size: characters of a window; default and limit is what tokenizer and encoder take, 510 if unlimited.
        window_overlap: characters that neighbouring windows share, default 64, at most half of a window.
        stability_threshold: in [0, 1], default 0.5. With `explain` and `needs_review` the stability of explanations is
            measured, which takes several times as long as explaining; 0 leaves that out.
        explain: add an `explanation` to each entity. The value goes to `explainer_factory`, which the package sets.
        kwargs: as for any pipeline (`device`, `task`, ...).

    Raises:
        TypeError: the model is not an Adner tagger, or there is no tokenizer.
        ValueError: the tokenizer's lexicon is not the model's, or a parameter is out of range.
    """

    explainer_factory: ClassVar[Callable[..., Callable[..., Sequence[Sequence[Any]]]] | None] = None
    """`factory(pipeline, explain, measure_stability)` gives `explainer(texts, entities)`: per text a list of
    explanations, one for each of its `(start, end, label)` entities."""

    buffer_batches: ClassVar[int] = 32
    """Batches whose windows are sorted by length together; streams are read that far ahead."""

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any):
        _check_model(model, tokenizer)
        self._labels = [split_tag(model.config.id2label[index]) for index in range(len(model.config.id2label))]
        super().__init__(model=model, tokenizer=tokenizer, **kwargs)
        self._settings(self._batch_size, {})

    def __call__(self, inputs: str | Iterable[str], *, batch_size: int | None = None, **parameters: Any) -> Any:
        """Find the entities of one text or of many.

        Args:
            inputs: a text; a list or tuple of texts; or any other iterable of texts (a generator, a column of a
                dataset, a `KeyDataset`), which is read as its results are asked for, `buffer_batches` batches ahead.
            batch_size, parameters: as for the class, for this call only.

        Returns:
            For a text a list of entities, sorted by start, never overlapping; for a list of texts a list of such lists;
            for another iterable an iterator of such lists, in the order of the texts. An entity is a dictionary of
            `entity_group`, `score`, `start_score`, `end_score` (floats in [0, 1]), `word` (`text[start:end]`), `start`
            and `end` (characters, end exclusive), and `needs_review` and `explanation` where asked for.

        Raises:
            TypeError: `inputs` or one of its texts has another type, or a parameter is unknown.
            ValueError: a parameter is out of range, the model gives NaN or infinity, or the tokenizer does not make one
                token of each character.
            ImportError: `explain` without the package that explains.
        """
        settings = self._settings(self._batch_size if batch_size is None else batch_size, parameters)
        if settings.explain:
            settings = settings._replace(explain=self._explainer(settings))
        if isinstance(inputs, str):
            return next(self._stream([inputs], settings))
        if isinstance(inputs, (list, tuple)):
            return list(self._stream([_checked_text(text, index) for index, text in enumerate(inputs)], settings))
        return self._stream(_texts_of(inputs), settings)

    def push_to_hub(self, repo_id: str, *, allow_document_lexicon: bool = False, **kwargs: Any) -> Any:
        """Push model, tokenizer and code, unless the lexicon tells of documents that may be private.

        Args:
            repo_id, kwargs: as for the base class.
            allow_document_lexicon: push it all the same.

        Raises:
            ValueError: the lexicon's origin is not ``"list"``.
        """
        lexicon = getattr(self.tokenizer, "lexicon", None)
        if lexicon is not None:
            lexicon.check_shareable(allow_document_lexicon)
        return super().push_to_hub(repo_id, **kwargs)

    # ---- parameters -------------------------------------------------------------------------------------------

    def _sanitize_parameters(
        self,
        threshold: float | None = None,
        needs_review: bool | None = None,
        review_threshold: float | None = None,
        stability_threshold: float | None = None,
        window_size: int | None = None,
        window_overlap: int | None = None,
        explain: Any = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        windows = {"window_size": window_size, "window_overlap": window_overlap}
        choices = {
            "threshold": threshold,
            "needs_review": needs_review,
            "review_threshold": review_threshold,
            "stability_threshold": stability_threshold,
            "explain": explain,
        }
        return _given(windows), {}, _given(choices)

    def _settings(self, batch_size: int | None, parameters: Mapping[str, Any]) -> _Settings:
        windows, _, choices = self._sanitize_parameters(**parameters)
        windows, choices = {**self._preprocess_params, **windows}, {**self._postprocess_params, **choices}
        size, overlap = self._window_sizes(**windows)
        review_threshold = _probability(choices.get("review_threshold", REVIEW_THRESHOLD), "review_threshold")
        return _Settings(
            batch_size=check_count(DEFAULT_BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1),
            window_size=size,
            window_overlap=overlap,
            threshold=_probability(choices.get("threshold", 0.0), "threshold"),
            review_threshold=review_threshold if choices.get("needs_review") else None,
            stability_threshold=_probability(
                choices.get("stability_threshold", STABILITY_THRESHOLD), "stability_threshold"
            ),
            explain=choices.get("explain") or None,
        )

    def _window_sizes(self, window_size: int | None = None, window_overlap: int | None = None) -> tuple[int, int]:
        limit = longest_text(self.model, self.tokenizer)
        size = check_count((limit or DEFAULT_WINDOW) if window_size is None else window_size, "window_size", 1)
        if limit is not None and size > limit:
            raise ValueError(f"window_size is {size} characters, but tokenizer and encoder take {limit} at most")
        overlap = min(DEFAULT_OVERLAP, size // 2) if window_overlap is None else window_overlap
        if check_count(overlap, "window_overlap", 0) >= size:
            raise ValueError(f"window_overlap is {overlap} characters, expected less than window_size ({size})")
        return size, overlap

    def _explainer(self, settings: _Settings) -> Callable[..., Sequence[Sequence[Any]]]:
        factory = type(self).explainer_factory
        if factory is None:
            raise ImportError(
                "explain=True needs the package hf_adner, for a checkpoint does not carry the explainers: install it "
                "(`pip install .` in a clone of its repository) and `import hf_adner` before making the pipeline"
            )
        measure_stability = settings.review_threshold is not None and settings.stability_threshold > 0
        return factory(self, settings.explain, measure_stability)

    # ---- from texts to entities -------------------------------------------------------------------------------

    def _stream(self, texts: Iterable[str], settings: _Settings) -> Iterator[list[dict[str, Any]]]:
        first = 0
        for buffer, windows in self._buffers(texts, settings):
            results = self._tag_buffer(buffer, windows, first, settings)
            first += len(buffer)
            yield from results

    def _buffers(self, texts: Iterable[str], settings: _Settings) -> Iterator[tuple[list[str], list[list[Window]]]]:
        """Texts and their windows, until there are enough of them to sort by length."""
        buffer, windows, held = [], [], 0
        for text in texts:
            buffer.append(text)
            windows.append(prediction_windows(len(text), settings.window_size, settings.window_overlap))
            held += max(len(windows[-1]), 1)
            if held >= settings.batch_size * self.buffer_batches:
                yield buffer, windows
                buffer, windows, held = [], [], 0
        if buffer:
            yield buffer, windows

    def _tag_buffer(
        self, texts: list[str], windows: list[list[Window]], first: int, settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        found: list[list[list[dict[str, Any]]]] = [[[] for _ in ranges] for ranges in windows]
        pieces = [
            _Piece(text, number, window) for text, ranges in enumerate(windows) for number, window in enumerate(ranges)
        ]
        pieces.sort(key=lambda piece: piece.window.start - piece.window.end)  # longest first: memory fails at once
        group_size = settings.batch_size * -(-SCORED_TOGETHER // settings.batch_size)
        with _evaluating(self.model):
            for group in _chunks(pieces, group_size):
                outputs = [self._run(batch, texts, first) for batch in _chunks(group, settings.batch_size)]
                for piece, entities in zip(group, self.postprocess(outputs, group, texts)):
                    found[piece.text][piece.number] = entities
        merged = [
            lists[0] if len(lists) == 1 else merge_window_entities(ranges, lists)
            for ranges, lists in zip(windows, found)
        ]
        return self._finish(texts, merged, settings)

    def _run(self, batch: Sequence[_Piece], texts: list[str], first: int) -> dict[str, torch.Tensor]:
        characters = [texts[piece.text][piece.window.start : piece.window.end] for piece in batch]
        try:
            return self.forward(self.preprocess(characters))
        except Exception as error:
            numbers = ", ".join(str(first + piece.text) for piece in batch)
            error.add_note(f"the rows of this batch are windows of the texts {numbers} (counted from 0)")
            raise

    def preprocess(self, characters: list[str]) -> BatchEncoding:
        """Windows of text -> padded inputs, one token per character."""
        inputs = self.tokenizer(characters, padding=True, padding_side="right", return_tensors="pt")
        special = self.tokenizer.num_special_tokens_to_add()
        for tokens, text in zip(inputs["attention_mask"].sum(1).tolist(), characters):
            if tokens != len(text) + special:
                raise ValueError(
                    f"the tokenizer ({type(self.tokenizer).__name__}) made {tokens - special} tokens of {len(text)} "
                    "characters; AdnerPipeline needs one for each, as AdnerTokenizer makes them"
                )
        return inputs

    def _forward(self, model_inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Padded inputs -> the entities of the best paths, and what their posteriors are computed from.

        `spans` (entities, 4): row, start and end in the row's text, label id; `boundaries` (entities, 2): marginals of
        start and end; `emissions` (batch, text, states) and `mask` (batch, text) as the model returns them.
        """
        outputs = self.model(**model_inputs)
        spans, tokens = self._path_spans(outputs.predictions, model_inputs["attention_mask"])
        row, first, last = tokens.unbind(1)
        boundaries = torch.stack((outputs.start_probs[row, first], outputs.end_probs[row, last]), 1)
        return {"spans": spans, "boundaries": boundaries, "emissions": outputs.emissions, "mask": outputs.text_mask}

    def _path_spans(self, path: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Entities of label paths (batch, tokens): as `spans` of `_forward`, and (entities, 3) row, first, last token.

        The model repairs its paths, so an entity's labels are always B, I, ..., I.
        """
        path = path.clamp(min=0)  # (batch, tokens), -100 outside the text becomes O
        opens, inside = (
            torch.tensor([prefix == wanted for prefix, _ in self._labels], device=path.device)[path] for wanted in "BI"
        )
        goes_on = torch.nn.functional.pad(inside[:, 1:], (0, 1))
        row, first = opens.nonzero().unbind(1)
        last = ((opens | inside) & ~goes_on).nonzero()[:, 1]
        text_start = attention_mask.argmax(1) + 1  # behind the first attended token, which is special
        spans = (row, first - text_start[row], last + 1 - text_start[row], path[row, first])
        return torch.stack(spans, 1), torch.stack((row, first, last), 1)

    def postprocess(
        self, model_outputs: Sequence[Mapping[str, torch.Tensor]], group: Sequence[_Piece], texts: Sequence[str]
    ) -> list[list[dict[str, Any]]]:
        """Outputs of the batches of some windows -> per window its entities, in characters of the whole text."""
        found: list[list[dict[str, Any]]] = [[] for _ in group]
        joined = _joined(model_outputs)
        scores = torch.cat((self._posteriors(joined)[:, None], joined["boundaries"]), 1).float().clamp(0, 1).tolist()
        for (row, start, end, label), (score, start_score, end_score) in zip(joined["spans"].tolist(), scores):
            piece = group[row]
            start, end = start + piece.window.start, end + piece.window.start
            entity = {
                "entity_group": self._labels[label][1],
                "score": score,
                "start_score": start_score,
                "end_score": end_score,
                "word": texts[piece.text][start:end],
                "start": start,
                "end": end,
            }
            found[row].append(entity)
        return found

    @torch.no_grad()
    def _posteriors(self, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Posterior of each entity, (entities,)."""
        rows, row = outputs["spans"][:, 0].unique(return_inverse=True)  # most rows may have none
        if not len(rows):
            return torch.zeros(0)
        places = torch.cat((row[:, None], outputs["spans"][:, 1:]), 1).tolist()
        entities = [(row, start, end, self._labels[label][1]) for row, start, end, label in places]
        emissions, mask = (outputs[name][rows].to(self.device) for name in ("emissions", "mask"))
        return self.model.entity_log_posteriors(emissions, mask, entities).exp().cpu()

    def _finish(
        self, texts: list[str], found: list[list[dict[str, Any]]], settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        found = [[entity for entity in entities if entity["score"] >= settings.threshold] for entities in found]
        if settings.review_threshold is not None:
            for entity in (entity for entities in found for entity in entities):
                entity["needs_review"] = entity["score"] < settings.review_threshold
        if settings.explain is not None:
            self._explain(texts, found, settings)
        return found

    def _explain(self, texts: list[str], found: list[list[dict[str, Any]]], settings: _Settings) -> None:
        places = [
            [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities] for entities in found
        ]
        for entities, explanations in zip(found, settings.explain(texts, entities=places), strict=True):
            for entity, explanation in zip(entities, explanations, strict=True):
                entity["explanation"] = _with_posterior(explanation, entity["score"])
                stability = getattr(explanation, "stability", None)
                if settings.review_threshold is not None and stability is not None:
                    entity["needs_review"] |= stability < settings.stability_threshold


def _with_posterior(explanation: Any, posterior: float) -> Any:
    """The explanation with the entity's score, where it has a place for it."""
    return replace(explanation, posterior=posterior) if hasattr(explanation, "posterior") else explanation


def _check_model(model: Any, tokenizer: Any) -> None:
    # by what it can do, not by class: a checkpoint's own code defines the class a second time
    if not hasattr(model, "entity_log_posteriors"):
        raise TypeError(
            f"AdnerPipeline needs an AdnerForTokenClassification, found {type(model).__name__}; for other models use "
            'pipeline("token-classification", aggregation_strategy="simple", stride=...)'
        )
    if tokenizer is None:
        raise TypeError("AdnerPipeline needs a tokenizer, found None")
    model.check_tokenizer(tokenizer)


def longest_text(model: Any, tokenizer: Any) -> int | None:
    """Characters that both tokenizer and encoder take at once; None if neither has a limit."""
    limits = [tokenizer.model_max_length]
    config = model.config.encoder_config
    positions = getattr(config, "max_position_embeddings", None)
    if positions and positions > 0:
        embeddings = getattr(getattr(model.adner.encoder, "embeddings", None), "position_embeddings", None)
        padding = getattr(embeddings, "padding_idx", None)  # the RoBERTa family counts positions from behind it
        limits.append(positions if padding is None else positions - padding - 1)
    stated = [limit for limit in limits if limit and limit < 1e6]  # tokenizers say "no limit" by a huge number
    return min(stated) - tokenizer.num_special_tokens_to_add() if stated else None


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _probability(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], found {value!r}")
    return float(value)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return an argument that must be an integer of at least `least` (True and False are none).

    Raises:
        ValueError: anything else; the message names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of {least} or more, found {value!r}")
    return value


def _checked_text(text: Any, index: int) -> str:
    if isinstance(text, str):
        return text
    hint = '; of a dataset pass its text column, dataset["text"]' if isinstance(text, Mapping) else ""
    raise TypeError(f"text {index} is {type(text).__name__}, expected str{hint}")


def _texts_of(inputs: Any) -> Iterator[str]:
    """An iterator that checks each text; what cannot be one is refused at once."""
    if isinstance(inputs, (bytes, bytearray, Mapping)):
        raise TypeError(f"inputs is {type(inputs).__name__}, expected str or an iterable of str")
    if hasattr(inputs, "__iter__"):
        items = iter(inputs)
    elif hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):  # a torch Dataset such as KeyDataset
        items = (inputs[index] for index in range(len(inputs)))
    else:
        raise TypeError(f"inputs is {type(inputs).__name__}, expected str or an iterable of str")
    return (_checked_text(text, index) for index, text in enumerate(items))


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[place : place + size] for place in range(0, len(items), size))


def _joined(outputs: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Outputs of several batches as those of one, padded to the longest."""
    longest = max(output["mask"].shape[1] for output in outputs)
    spans, first = [], 0
    for output in outputs:
        spans.append(output["spans"] + torch.tensor([first, 0, 0, 0]))
        first += len(output["mask"])
    missing = [longest - output["mask"].shape[1] for output in outputs]
    pad = torch.nn.functional.pad
    return {
        "spans": torch.cat(spans),
        "boundaries": torch.cat([output["boundaries"] for output in outputs]),
        "emissions": torch.cat([pad(output["emissions"], (0, 0, 0, extra)) for output, extra in zip(outputs, missing)]),
        "mask": torch.cat([pad(output["mask"], (0, extra)) for output, extra in zip(outputs, missing)]),
    }


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
