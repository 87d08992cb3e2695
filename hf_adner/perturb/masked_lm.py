"""Replacements proposed by a masked language model."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import torch

from hf_adner.data.records import Document
from hf_adner.model.encoders_adner import token_limit
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.loading_adner import load_complete
from hf_adner.model.windows_adner import owned_ranges, prediction_windows
from hf_adner.perturb.context import Terms
from hf_adner.perturb.edits import Edit, draw_weighted
from hf_adner.perturb.reading import as_compared
from hf_adner.perturb.units import HAN, WORD, Unit, character_kind, text_units

Candidate = tuple[str, float]
"""A string and its probability."""


class MaskedLanguageModel:
    """Likely strings for masked units; a source of replacements.

    A Chinese character is replaced by one character, so that units keep their number of characters; a word of a
    script with spaces by one whole word of the vocabulary, of any length.

    Args:
        model: any `AutoModelForMaskedLM`; it is put into evaluation mode.
        tokenizer: its fast tokenizer, with a mask token.
        top: number of candidates that a replacement is drawn from.
        minimum: smallest probability of a candidate.
        terms: terms that a replacement must not create (the entities of the training data).
        window: largest number of characters read at once; longer texts are cut into overlapping windows.
        batch_size: windows per forward pass.

    Raises:
        ValueError: if the tokenizer has no mask token or is not a fast tokenizer.
    """

    lexicon: Lexicon | None = None

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        top: int = 20,
        minimum: float = 0.01,
        terms: Terms | None = None,
        window: int = 256,
        batch_size: int = 16,
    ) -> None:
        if tokenizer.mask_token_id is None or not tokenizer.is_fast:
            raise ValueError("expected a fast tokenizer with a mask token")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.top, self.minimum, self.terms = top, minimum, terms
        self.window, self.batch_size = window, batch_size
        self._pieces: dict[int, str] = {}

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], **options: Any) -> MaskedLanguageModel:
        """Load the model and the tokenizer of a checkpoint; `options` are arguments of the class."""
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        return cls(load_complete(AutoModelForMaskedLM, path), AutoTokenizer.from_pretrained(path), **options)

    def covers(self, document: Document, unit: Unit) -> bool:
        """Return True: only the model can tell."""
        return True

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """Draw a likely string for each unit, all units masked at once."""
        [rows] = self.candidates([document], [units])
        return [draw_weighted(candidates, rng) for candidates in rows]

    def candidates(self, documents: Sequence[Document], units: Sequence[Sequence[Unit]]) -> list[list[list[Candidate]]]:
        """Return replacements for each unit of each document, the likeliest first, without the original string.

        Args:
            documents: the documents.
            units: per document the units that are masked together.
        """
        candidates: list[dict[Unit, list[Candidate]]] = [{} for _ in documents]
        tasks = self._tasks(documents, units)
        while batch := list(islice(tasks, self.batch_size)):
            for task, probabilities in zip(batch, self._probabilities(batch)):
                candidates[task.index].update(self._read(task.text, task.window, probabilities))
        return [[found.get(unit, []) for unit in own] for found, own in zip(candidates, units)]

    def _tasks(self, documents: Sequence[Document], units: Sequence[Sequence[Unit]]) -> Iterator[_Task]:
        for index, (document, own) in enumerate(zip(documents, units, strict=True)):
            windows = prediction_windows(len(document.text), self.window, self.window // 4)
            for window, owned in zip(windows, owned_ranges(windows)):
                inside = [unit for unit in own if owned.start <= unit.start < owned.end and unit.end <= window.end]
                if inside:
                    yield _Task(index, document.text, self._mask(document.text, window, inside))

    def _mask(self, text: str, window: tuple[int, int], units: Sequence[Unit]) -> _MaskedWindow:
        start, end = window
        encoded = self.tokenizer(text[start:end], return_offsets_mapping=True, **self._truncation)
        offsets = [(first + start, last + start, first < last) for first, last in encoded["offset_mapping"]]
        return _MaskedWindow(encoded["input_ids"], offsets, units, self.tokenizer.mask_token_id)

    @torch.no_grad()
    def _probabilities(self, batch: Sequence[_Task]) -> list[torch.Tensor]:
        """Return (masks, vocabulary) probabilities per task."""
        device = next(self.model.parameters()).device
        ids = [torch.tensor(task.window.ids) for task in batch]
        pad = self.tokenizer.pad_token_id or 0
        inputs = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)  # (batch, length)
        attended = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        logits = self.model(input_ids=inputs.to(device), attention_mask=attended.to(device)).logits
        rows = [logits[row, task.window.places].float() for row, task in enumerate(batch)]
        return [row.softmax(-1).cpu() for row in rows]

    def _read(
        self, text: str, window: _MaskedWindow, probabilities: torch.Tensor
    ) -> Iterator[tuple[Unit, list[Candidate]]]:
        """Yield the candidates of each unit from the (masks, vocabulary) probabilities of a window."""
        best, ids = probabilities.topk(min(self.top, probabilities.shape[-1]), dim=-1)  # (masks, top)
        for unit, masks in window.masks.items():
            columns = [list(self._strings(ids[mask].tolist(), best[mask].tolist(), unit.kind)) for mask in masks]
            yield unit, self._allowed(text, unit, _combine(columns, self.top))

    def _strings(self, ids: Sequence[int], probabilities: Sequence[float], kind: str) -> Iterator[Candidate]:
        for token, probability in zip(ids, probabilities):
            string = self._string(token)
            if probability >= self.minimum and [unit.kind for unit in text_units(string)] == [kind]:
                yield string, probability

    def _string(self, token: int) -> str:
        """Return the token as text; empty for special tokens and pieces that continue a word."""
        if token not in self._pieces:
            piece = self.tokenizer.convert_ids_to_tokens(token)
            string = "" if token in self.tokenizer.all_special_ids else self.tokenizer.decode([token]).strip()
            continues = piece.startswith("##") and len(piece) > 2
            if self._word_prefix and not piece.startswith(self._word_prefix):
                continues = character_kind(string[:1] or " ") == WORD
            self._pieces[token] = "" if continues else string
        return self._pieces[token]

    @cached_property
    def _word_prefix(self) -> str | None:
        """Prefix of the first piece of a word in byte-level and SentencePiece vocabularies, None in others."""
        pieces = [piece for piece in self.tokenizer.get_vocab() if len(piece) > 1]
        return next((prefix for prefix in "\u0120\u2581" if any(piece[0] == prefix for piece in pieces)), None)

    @cached_property
    def _truncation(self) -> dict[str, Any]:
        longest = token_limit(self.model, self.tokenizer)
        return {} if longest is None else {"truncation": True, "max_length": longest}

    def _allowed(self, text: str, unit: Unit, candidates: Iterable[Candidate]) -> list[Candidate]:
        old = text[unit.start : unit.end]
        own = as_compared(old)
        return [
            (string, probability)
            for string, probability in candidates
            if as_compared(string) != own
            and (len(string) == len(old) or (unit.kind == WORD and len(string) > 1))
            and not (self.terms and self.terms.made_by(text, Edit(unit.start, unit.end, string)))
        ]


class _MaskedWindow:
    """The tokens of a window with units masked.

    Attributes:
        ids: token ids.
        masks: unit -> its rows of `places`.
        places: indices of the mask tokens in `ids`.
    """

    def __init__(
        self, ids: Sequence[int], offsets: Sequence[tuple[int, int, bool]], units: Sequence[Unit], mask: int
    ) -> None:
        self.ids: list[int] = []
        self.masks: dict[Unit, list[int]] = {}
        self.places: list[int] = []
        owner = {place: unit for unit in units for place in range(unit.start, unit.end)}
        separable = _separable_units(offsets, units, owner)
        for token, (start, _, real) in zip(ids, offsets):
            unit = owner.get(start) if real else None
            if unit not in separable:
                self.ids.append(token)
            elif unit.kind == HAN or unit not in self.masks:  # the pieces of a word share one mask
                self.masks.setdefault(unit, []).append(len(self.places))
                self.places.append(len(self.ids))
                self.ids.append(mask)


class _Task(NamedTuple):
    index: int  # of the document
    text: str
    window: _MaskedWindow


def _separable_units(
    offsets: Iterable[tuple[int, int, bool]], units: Iterable[Unit], owner: Mapping[int, Unit]
) -> set[Unit]:
    """Return the units that have tokens of their own; Chinese units need one token per character."""
    pieces: dict[Unit, list[tuple[int, int]]] = {unit: [] for unit in units}
    mixed = set()
    for start, end, real in offsets:
        owners = {owner.get(place) for place in range(start, end)} if real else set()
        if len(owners) > 1:
            mixed |= owners
        elif owners - {None}:
            pieces[owners.pop()].append((start, end))
    return {
        unit
        for unit, own in pieces.items()
        if unit not in mixed
        and sum(end - start for start, end in own) == unit.end - unit.start
        and (unit.kind == WORD or len(own) == unit.end - unit.start)
    }


def _combine(columns: Sequence[Sequence[Candidate]], top: int) -> list[Candidate]:
    """Return the likeliest strings with one candidate of each column (beam search)."""
    beams: list[Candidate] = [("", 1.0)]
    for column in columns:
        longer = [(prefix + string, weight * probability) for prefix, weight in beams for string, probability in column]
        beams = sorted(longer, key=lambda beam: (-beam[1], beam[0]))[:top]
    return beams
