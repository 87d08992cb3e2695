"""The `adner-ner` pipeline: entities with exact posteriors, for texts of any length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from transformers import BatchEncoding, TokenClassificationPipeline

from .assertion_adner import choose_rules
from .calibration_adner import Calibration
from .codes_adner import choose_codes
from .conditioned_adner import condition_head
from .constraints_adner import choose_constraints, in_window
from .encoders_adner import longest_text
from .heads_adner import LikelyEntity
from .labels_adner import split_tag
from .pipeline_inputs_adner import check_count, check_model, check_probability, checked_text, given, texts_of
from .pipeline_results_adner import entity_dictionary, finish_entities
from .windows_adner import (
    Window,
    length_batches,
    merge_by_label,
    merge_window_entities,
    prediction_windows,
    with_candidates,
)

DEFAULT_BATCH_SIZE = 16
DEFAULT_OVERLAP = 64
DEFAULT_WINDOW = 510
"""Characters per window if neither tokenizer nor encoder has a limit."""
SCORING_BATCH_SIZE = 32
"""Windows, at least, whose entities are scored in one CRF pass, which costs hardly more for many rows than for one."""


class AdnerPipeline(TokenClassificationPipeline):
    """Find entities with an `AdnerForTokenClassification`; created by `pipeline("adner-ner", model=path)`.

    Entities are those of the model's best path; of a per-label model those of each label's best path, so that entities
    of different labels may overlap. An entity's `score` is the exact posterior of its span and label given
    the text (softmax heads: the product of its tokens' probabilities); `start_score` and `end_score` are the marginals
    of its boundaries, with a CRF never below `score`. If the checkpoint was calibrated (`adner calibrate`), the three
    are calibrated, and `posterior` is what `score` was made from. A text longer than `window_size` is split into
    overlapping windows; each entity is taken from the window in which it has most context. The model is put into
    evaluation mode and stays there, so that several threads may use a pipeline, or pipelines of one model, at once.

    Args:
        model: an `AdnerForTokenClassification`. For any other token classifier use the stock `token-classification`.
        tokenizer: its `AdnerTokenizer`.
        batch_size: windows of full length per forward pass (default 16), or more shorter ones of similar length.
        threshold: drop entities with a lower score, in [0, 1] (default 0: keep the whole best path).
        needs_review: add the flag `needs_review` to each entity: True if its score is below `review_threshold`.
        review_threshold: in [0, 1]; the default is that of the checkpoint's review budget (`adner calibrate`), else
            0.8: of calibrated entities at that score one in five is wrong.
        calibrated: False gives posteriors as scores, as if the checkpoint were not calibrated (default True).
        candidates: also return every span and label off the best path whose posterior exceeds the checkpoint's
            candidate threshold (`adner calibrate --coverage`), or a threshold of your own in (0, 1). Each entity gets
            `on_path`, whether it is one of the best path; those off it may overlap any others.
        window_size: characters per window; default and maximum is what tokenizer and encoder take, 510 if unlimited.
        window_overlap: characters that neighbouring windows share, default 64, at most half of a window.
        assertion: add to each entity `assertion`, the sorted list of those of ``family``, ``historical``,
            ``hypothetical``, ``negated`` and ``uncertain`` that hold, and `assertion_cues`, by rules: True for those of
            the checkpoint, the path of a table of rules to add to them, or an `AssertionRules`.
        constraints: words that are entities of a label wherever they occur, and words that are none: the path of a
            table, a mapping of words to labels, or `Constraints`. Entities, scores and candidates are those of the
            model's distribution given the constraints; each entity gets `forced`, whether one made it.
        codes: add to each entity `code`, that of its word in a table (None: it has none), `code_match`, ``exact`` or
            ``normalised``, and `code_alternatives` if there are several: True for the table of the checkpoint, the path
            of one to add to it, or a `CodeTable`.
        explain: add an `explanation` to each entity. The value is passed to `explainer_factory`, which the package
            sets.
        observer: called for each group of windows with the numbers of their texts (from 0) and a mapping of the tensors
            that scores are computed from: `emissions` (windows, text, ...) and `mask` (windows, text).
        kwargs: as for any pipeline (`device`, `task`, ...).

    Raises:
        TypeError: the model is not an Adner tagger, or there is no tokenizer.
        ValueError: the tokenizer's lexicon is not the model's, or a parameter is out of range.
    """

    explainer_factory: ClassVar[Callable[..., Callable[..., Sequence[Sequence[Any]]]] | None] = None
    """`factory(pipeline, explain)` returns `explainer(texts, entities)`, which returns per text a list of explanations,
    one per `(start, end, label)` entity."""

    buffer_batches: ClassVar[int] = 32
    """Number of batches whose windows are sorted by length together; an iterable is read that far ahead."""

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any):
        check_model(model, tokenizer)
        self._labels = [split_tag(model.config.id2label[index]) for index in range(len(model.config.id2label))]
        super().__init__(model=model, tokenizer=tokenizer, **kwargs)
        self._settings(self._batch_size, {})

    def __call__(self, inputs: str | Iterable[str], *, batch_size: int | None = None, **parameters: Any) -> Any:
        """Find the entities of one or more texts.

        Args:
            inputs: a text; a list or tuple of texts; or any other iterable of texts (a generator, a column of a
                dataset, a `KeyDataset`), which is read lazily, `buffer_batches` batches ahead of the results.
            batch_size, parameters: as for the class, for this call only.

        Returns:
            For a text a list of entities, sorted by start; those of the best path never overlap (of a per-label model:
            those of a label; longer ones come first). For a list of texts a list of such lists; for another iterable an
            iterator of such lists, in the order of the texts. An entity is a dictionary of `entity_group`, `score`,
            `start_score`, `end_score` (floats in [0, 1]), `word` (`text[start:end]`), `start` and `end` (characters,
            end exclusive), of a calibrated checkpoint `posterior`, and `needs_review`, `on_path`, `forced`,
            `assertion`, `assertion_cues` (dictionaries of `attribute`, `start` and `end`), `code`, `code_match`,
            `code_alternatives` and `explanation` if requested.

        Raises:
            TypeError: `inputs` or one of its texts has another type, or a parameter is unknown.
            ValueError: a parameter is out of range, the model returns NaN or infinity, or the tokenizer does not make
                one token of each character.
            ImportError: `explain` without the package that explains.
        """
        settings = self._settings(self._batch_size if batch_size is None else batch_size, parameters)
        if settings.explain:
            settings = settings._replace(explain=self._explainer(settings))
        if isinstance(inputs, str):
            return next(self._stream([inputs], settings))
        if isinstance(inputs, (list, tuple)):
            return list(self._stream([checked_text(text, index) for index, text in enumerate(inputs)], settings))
        return self._stream(texts_of(inputs), settings)

    def push_to_hub(self, repo_id: str, *, allow_document_lexicon: bool = False, **kwargs: Any) -> Any:
        """Push model, tokenizer and code; refuse a lexicon that was made from (possibly private) documents.

        Args:
            repo_id, kwargs: as for the base class.
            allow_document_lexicon: push such a lexicon nevertheless.

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
        calibrated: bool | None = None,
        candidates: bool | float | None = None,
        window_size: int | None = None,
        window_overlap: int | None = None,
        constraints: Any = None,
        assertion: Any = None,
        codes: Any = None,
        explain: Any = None,
        observer: Callable[[list[int], Mapping[str, torch.Tensor]], None] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        windows = {"window_size": window_size, "window_overlap": window_overlap}
        choices = {
            "threshold": threshold,
            "needs_review": needs_review,
            "review_threshold": review_threshold,
            "calibrated": calibrated,
            "candidates": candidates,
            "constraints": constraints,
            "assertion": assertion,
            "codes": codes,
            "explain": explain,
            "observer": observer,
        }
        return given(windows), {}, given(choices)

    def _settings(self, batch_size: int | None, parameters: Mapping[str, Any]) -> _Settings:
        windows, _, choices = self._sanitize_parameters(**parameters)
        windows, choices = {**self._preprocess_params, **windows}, {**self._postprocess_params, **choices}
        size, overlap = self._window_sizes(**windows)
        config = self.model.config
        calibration = Calibration.from_config(config.calibration, config.entity_types)
        review_below = calibration.review_below(choices.get("review_threshold"))
        threshold = check_probability(choices.get("threshold", 0.0), "threshold")
        least = calibration.candidates_above(choices.get("candidates"), threshold)
        return _Settings(
            batch_size=check_count(DEFAULT_BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1),
            window_size=size,
            window_overlap=overlap,
            threshold=threshold,
            review_below=review_below if choices.get("needs_review") else None,
            calibration=calibration if choices.get("calibrated", True) else Calibration(),
            candidate_threshold=least,
            constraints=choose_constraints(choices.get("constraints"), config, self.tokenizer),
            assertion=choose_rules(choices.get("assertion"), self.tokenizer),
            codes=choose_codes(choices.get("codes"), self.tokenizer),
            explain=choices.get("explain") or None,
            observer=choices.get("observer"),
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
                "explain=True needs the package hf_adner (a checkpoint does not contain the explainers): install it "
                "(`pip install .` in a clone of its repository) and `import hf_adner` before creating the pipeline"
            )
        return factory(self, settings.explain)

    # ---- from texts to entities -------------------------------------------------------------------------------

    def _stream(self, texts: Iterable[str], settings: _Settings) -> Iterator[list[dict[str, Any]]]:
        first = 0
        for buffer, windows in self._buffers(texts, settings):
            results = self._tag_buffer(buffer, windows, first, settings)
            first += len(buffer)
            yield from results

    def _buffers(self, texts: Iterable[str], settings: _Settings) -> Iterator[tuple[list[str], list[list[Window]]]]:
        """Yield texts with their windows, `buffer_batches` batches at a time."""
        buffer, windows, count = [], [], 0
        for text in texts:
            buffer.append(text)
            windows.append(_windows(text, settings))
            count += max(len(windows[-1]), 1)
            if count >= settings.batch_size * self.buffer_batches:
                yield buffer, windows
                buffer, windows, count = [], [], 0
        if buffer:
            yield buffer, windows

    def _tag_buffer(
        self, texts: list[str], windows: list[list[Window]], first: int, settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        """Return the entities of each text; `first` is the number of the first text in the whole input."""
        found, likely = ([[[] for _ in ranges] for ranges in windows] for _ in range(2))
        rows = [
            _Row(text, number, window) for text, ranges in enumerate(windows) for number, window in enumerate(ranges)
        ]
        lengths = [row.window.end - row.window.start for row in rows]
        batches = ([rows[number] for number in batch] for batch in length_batches(lengths, settings.batch_size))
        for group_batches in _groups(batches, SCORING_BATCH_SIZE):
            group = [row for batch in group_batches for row in batch]
            joined = _concatenate([self._run(batch, texts, first) for batch in group_batches])
            if settings.observer is not None:
                settings.observer([first + row.text for row in group], joined)
            path, others = (find(joined, group, texts, settings) for find in (self.postprocess, self._likely_entities))
            self._condition(joined, group, texts, settings, path, others)
            for row, entities, more in zip(group, path, others):
                found[row.text][row.number], likely[row.text][row.number] = entities, more
        merged = [self._merged(ranges, lists) for ranges, lists in zip(windows, found)]
        if settings.candidate_threshold is not None:
            merged = [with_candidates(*sides) for sides in zip(merged, windows, likely)]
        return self._finish(texts, merged, settings)

    def _merged(self, ranges: list[Window], found: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        if getattr(self.model.config, "is_per_label", False):  # older remote code has no such field
            return merge_by_label(ranges, found, lambda entity: entity["entity_group"])
        return found[0] if len(found) == 1 else merge_window_entities(ranges, found)

    def _run(self, batch: Sequence[_Row], texts: list[str], first: int) -> dict[str, torch.Tensor]:
        characters = [texts[row.text][row.window.start : row.window.end] for row in batch]
        try:
            return self.forward(self.preprocess(characters))
        except Exception as error:
            numbers = ", ".join(str(first + row.text) for row in batch)
            error.add_note(f"the rows of this batch are windows of the texts {numbers} (counted from 0)")
            raise

    def preprocess(self, characters: list[str]) -> BatchEncoding:
        """Tokenize windows of text: padded inputs, one token per character."""
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
        """Return the entities of the best paths and the tensors that their posteriors are computed from.

        `spans` (entities, 4): row, start and end in the row's text, label id; `boundaries` (entities, 2): marginals of
        start and end; `emissions` (batch, text, states) and `mask` (batch, text) as returned by the model.
        """
        self.model.eval()  # not for the call alone: other threads may be in the middle of theirs
        outputs = self.model(**model_inputs)
        sides = (outputs.predictions, outputs.start_probs, outputs.end_probs)
        path, starts, ends = (side if side.dim() == 3 else side[..., None] for side in sides)  # (batch, tokens, chains)
        spans, (row, chain, first, last) = self._path_spans(path, model_inputs["attention_mask"])
        boundaries = torch.stack((starts[row, first, chain], ends[row, last, chain]), 1)
        return {"spans": spans, "boundaries": boundaries, "emissions": outputs.emissions, "mask": outputs.text_mask}

    def _path_spans(
        self, path: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return the entities of label paths (batch, tokens, chains): `spans` of `_forward`, and where they are.

        The latter is row, chain, first and last token, each (entities,). The model repairs its paths, so an entity's
        labels are always B, I, ..., I.
        """
        path = path.transpose(1, 2).clamp(min=0)  # (batch, chains, tokens), -100 outside the text becomes O
        opens, inside = (
            torch.tensor([prefix == letter for prefix, _ in self._labels], device=path.device)[path] for letter in "BI"
        )
        continues = torch.nn.functional.pad(inside[..., 1:], (0, 1))
        row, chain, first = opens.nonzero().unbind(1)
        last = ((opens | inside) & ~continues).nonzero()[:, 2]
        text_start = attention_mask.argmax(1) + 1  # after the first attended token, which is special
        spans = (row, first - text_start[row], last + 1 - text_start[row], path[row, chain, first])
        return torch.stack(spans, 1), (row, chain, first, last)

    def postprocess(
        self, outputs: Mapping[str, torch.Tensor], group: Sequence[_Row], texts: Sequence[str], settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        """Return the entities of each window's best path, positions in the whole text, from outputs of `_forward`."""
        found: list[list[dict[str, Any]]] = [[] for _ in group]
        scores = torch.cat((self._posteriors(outputs)[:, None], outputs["boundaries"]), 1).float().clamp(0, 1)
        for (row, start, end, label), probabilities in zip(outputs["spans"].tolist(), scores.tolist()):
            span = _in_text(group[row], (start, end, self._labels[label][1]))
            found[row].append(entity_dictionary(texts[group[row].text], span, probabilities, settings.calibration))
        return found

    def _likely_entities(
        self, outputs: Mapping[str, torch.Tensor], group: Sequence[_Row], texts: Sequence[str], settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        """Return the candidates of each window, or nothing if they were not asked for."""
        found: list[list[dict[str, Any]]] = [[] for _ in group]
        if settings.candidate_threshold is None:
            return found
        emissions, mask = (outputs[name].to(self.device) for name in ("emissions", "mask"))
        for one in self.model.head.likely_entities(emissions, mask.bool(), settings.candidate_threshold):
            found[one.row].append(_likely_entity(one, group[one.row], texts, settings))
        return found

    def _condition(
        self,
        outputs: Mapping[str, torch.Tensor],
        group: Sequence[_Row],
        texts: Sequence[str],
        settings: _Settings,
        path: list[list[dict[str, Any]]],
        likely: list[list[dict[str, Any]]],
    ) -> None:
        """Replace entities and candidates of the windows with constraints by those of the model given these."""
        if settings.constraints is None:
            return
        of_text = {row.text: settings.constraints.conditions(texts[row.text]) for row in group}
        conditions = [in_window(of_text[row.text], row.window) for row in group]
        rows = [number for number, own in enumerate(conditions) if own]
        if not rows:
            return
        emissions, mask = (outputs[name][rows].to(self.device) for name in ("emissions", "mask"))
        given_them = condition_head(self.model.head, emissions, mask.bool(), [conditions[row] for row in rows])
        sides = [(path, given_them.path_entities())]
        if settings.candidate_threshold is not None:
            sides.append((likely, given_them.likely_entities(settings.candidate_threshold)))
        for found, entities in sides:
            for row in rows:
                found[row] = []
            for one in entities:
                row = rows[one.row]
                found[row].append(_likely_entity(one, group[row], texts, settings))

    @torch.no_grad()
    def _posteriors(self, outputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the posterior of each entity, (entities,)."""
        rows, row = outputs["spans"][:, 0].unique(return_inverse=True)  # most rows may have none
        if not len(rows):
            return torch.zeros(0)
        spans = torch.cat((row[:, None], outputs["spans"][:, 1:]), 1).tolist()
        entities = [(row, start, end, self._labels[label][1]) for row, start, end, label in spans]
        emissions, mask = (outputs[name][rows].to(self.device) for name in ("emissions", "mask"))
        return self.model.entity_log_posteriors(emissions, mask, entities).exp().cpu()

    def _finish(
        self, texts: list[str], found: list[list[dict[str, Any]]], settings: _Settings
    ) -> list[list[dict[str, Any]]]:
        tables = {"constraints": settings.constraints, "assertion": settings.assertion, "codes": settings.codes}
        found = finish_entities(texts, found, settings.threshold, review_below=settings.review_below, **tables)
        if settings.explain is not None:
            self._explain(texts, found, settings)
        return found

    def _explain(self, texts: list[str], found: list[list[dict[str, Any]]], settings: _Settings) -> None:
        spans = [
            [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities] for entities in found
        ]
        for entities, explanations in zip(found, settings.explain(texts, entities=spans), strict=True):
            for entity, explanation in zip(entities, explanations, strict=True):
                entity["explanation"] = _with_scores(explanation, entity)


class _Settings(NamedTuple):
    """Parameters of one call, merged with the pipeline's defaults."""

    batch_size: int
    window_size: int
    window_overlap: int
    threshold: float
    review_below: float | None
    calibration: Calibration
    candidate_threshold: float | None
    constraints: Any
    assertion: Any
    codes: Any
    explain: Any
    observer: Callable[[list[int], Mapping[str, torch.Tensor]], None] | None


class _Row(NamedTuple):
    """A row of a batch: window `number` of the buffered text number `text`."""

    text: int
    number: int
    window: Window


def _in_text(row: _Row, span: tuple[int, int, str]) -> tuple[int, int, str]:
    """Return a span of a window as one of the text."""
    return span[0] + row.window.start, span[1] + row.window.start, span[2]


def _likely_entity(one: LikelyEntity, row: _Row, texts: Sequence[str], settings: _Settings) -> dict[str, Any]:
    probabilities = [min(max(value, 0.0), 1.0) for value in (one.posterior, one.start_prob, one.end_prob)]
    span = _in_text(row, (one.start, one.end, one.type))
    return entity_dictionary(texts[row.text], span, probabilities, settings.calibration)


def _windows(text: str, settings: _Settings) -> list[Window]:
    size, overlap = settings.window_size, settings.window_overlap
    if settings.constraints is None:
        return prediction_windows(len(text), size, overlap)
    return settings.constraints.windows(text, size, overlap)


def _with_scores(explanation: Any, entity: Mapping[str, Any]) -> Any:
    """Return the explanation with the entity's posterior and calibrated score, if it has fields for them."""
    scores = {"posterior": entity.get("posterior", entity["score"])}
    scores |= {"score": entity["score"]} if "posterior" in entity else {}
    given = {name: value for name, value in scores.items() if hasattr(explanation, name)}
    return replace(explanation, **given) if given else explanation


def _groups(batches: Iterable[list[_Row]], least: int) -> Iterator[list[list[_Row]]]:
    """Join successive batches until they have `least` rows."""
    group: list[list[_Row]] = []
    for batch in batches:
        group.append(batch)
        if sum(map(len, group)) >= least:
            yield group
            group = []
    if group:
        yield group


def _concatenate(outputs: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Concatenate the outputs of several batches, padded to the longest."""
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
