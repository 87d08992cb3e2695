"""Replacements that a masked language model finds likely, and a store of them made beforehand."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, NamedTuple

import torch

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.windows_adner import owned_ranges, prediction_windows
from hf_adner.perturb.context import Terms
from hf_adner.perturb.edits import Edit
from hf_adner.perturb.units import HAN, WORD, Unit, character_kind, context_units, text_units

Candidate = tuple[str, float]  # string, probability


class MaskedLanguageModel:
    """Proposes what a masked language model expects at a unit; a source of replacements.

    A Chinese character is replaced by one character, so that units keep their number of characters; a word of a
    script with spaces by one whole word of the vocabulary, of any length.

    Args:
        model: any `AutoModelForMaskedLM`; it is put into evaluation mode.
        tokenizer: its fast tokenizer, with a mask token.
        top: how many candidates a replacement is drawn from.
        minimum: smallest probability of a candidate.
        terms: strings that must not come about (the entities of the training data).
        window: most characters that are read at once; longer texts are cut into overlapping windows.
        batch_size: windows per forward pass.

    Raises:
        ValueError: a tokenizer without a mask token or without offsets.
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
            raise ValueError("the tokenizer must be a fast one with a mask token")
        self.model, self.tokenizer = model.eval(), tokenizer
        self.top, self.minimum, self.terms = top, minimum, terms
        self.window, self.batch_size = window, batch_size
        self._pieces: dict[int, str] = {}

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], **options: Any) -> MaskedLanguageModel:
        """The masked language model of a checkpoint; `options` are those of the class."""
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        return cls(AutoModelForMaskedLM.from_pretrained(path), AutoTokenizer.from_pretrained(path), **options)

    def covers(self, document: Document, unit: Unit) -> bool:
        """Everything, before the model has been asked."""
        return True

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """A likely string for each unit, all of them masked at once; see `Replacements`."""
        [candidates] = self.candidates([document], [units])
        return [draw_candidate(found, rng) for found in candidates]

    def candidates(self, documents: Sequence[Document], units: Sequence[Sequence[Unit]]) -> list[list[list[Candidate]]]:
        """For each unit of each document what may replace it, the likeliest first; never what stands there.

        Args:
            documents: the texts.
            units: per document those that are masked together.
        """
        found: list[dict[Unit, list[Candidate]]] = [{} for _ in documents]
        tasks = self._tasks(documents, units)
        while batch := list(islice(tasks, self.batch_size)):
            for (index, text, spots), rows in zip(batch, self._probabilities(batch)):
                found[index].update(self._read(text, spots, rows))
        return [[known.get(unit, []) for unit in own] for known, own in zip(found, units)]

    def _tasks(self, documents: Sequence[Document], units: Sequence[Sequence[Unit]]) -> Iterator[_Task]:
        for index, (document, own) in enumerate(zip(documents, units, strict=True)):
            windows = prediction_windows(len(document.text), self.window, self.window // 4)
            for window, kept in zip(windows, owned_ranges(windows)):
                inside = [unit for unit in own if kept.start <= unit.start < kept.end and unit.end <= window.end]
                if inside:
                    yield _Task(index, document.text, self._spots(document.text, window, inside))

    def _spots(self, text: str, window: tuple[int, int], units: Sequence[Unit]) -> _Spots:
        start, end = window
        encoded = self.tokenizer(text[start:end], return_offsets_mapping=True, **self._truncation)
        offsets = [(first + start, last + start, first < last) for first, last in encoded["offset_mapping"]]
        return _Spots(encoded["input_ids"], offsets, units, self.tokenizer.mask_token_id)

    @torch.no_grad()
    def _probabilities(self, batch: Sequence[_Task]) -> list[torch.Tensor]:
        """Per task (masks, vocabulary) probabilities."""
        device = next(self.model.parameters()).device
        ids = [torch.tensor(spots.ids) for _, _, spots in batch]
        pad = self.tokenizer.pad_token_id or 0
        inputs = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)  # (batch, length)
        attended = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        logits = self.model(input_ids=inputs.to(device), attention_mask=attended.to(device)).logits
        rows = [logits[row, spots.places].float() for row, (_, _, spots) in enumerate(batch)]
        return [row.softmax(-1).cpu() for row in rows]

    def _read(self, text: str, spots: _Spots, rows: torch.Tensor) -> Iterator[tuple[Unit, list[Candidate]]]:
        probabilities, ids = rows.topk(min(self.top, rows.shape[-1]), dim=-1)  # (masks, top)
        for unit, masks in spots.masks.items():
            columns = [
                list(self._strings(ids[mask].tolist(), probabilities[mask].tolist(), unit.kind)) for mask in masks
            ]
            yield unit, self._allowed(text, unit, _combined(columns, self.top))

    def _strings(self, ids: Sequence[int], probabilities: Sequence[float], kind: str) -> Iterator[Candidate]:
        for token, probability in zip(ids, probabilities):
            string = self._string(token)
            if probability >= self.minimum and [unit.kind for unit in text_units(string)] == [kind]:
                yield string, probability

    def _string(self, token: int) -> str:
        """The token as it stands in a text; nothing for special tokens and pieces that continue a word."""
        if token not in self._pieces:
            piece = self.tokenizer.convert_ids_to_tokens(token)
            string = "" if token in self.tokenizer.all_special_ids else self.tokenizer.decode([token]).strip()
            continues = piece.startswith("##") and len(piece) > 2
            if self._opening and not piece.startswith(self._opening):
                continues = character_kind(string[:1] or " ") == WORD
            self._pieces[token] = "" if continues else string
        return self._pieces[token]

    @cached_property
    def _opening(self) -> str | None:
        """What byte-level and sentence-piece vocabularies put before the first piece of a word."""
        vocabulary = self.tokenizer.get_vocab()
        return next((sign for sign in "\u0120\u2581" if any(p[0] == sign and p[1:] for p in vocabulary if p)), None)

    @cached_property
    def _truncation(self) -> dict[str, Any]:
        positions = getattr(self.model.config, "max_position_embeddings", None) or 10**9
        longest = min(self.tokenizer.model_max_length, positions)
        return {"truncation": True, "max_length": longest} if longest < 10**6 else {}

    def _allowed(self, text: str, unit: Unit, candidates: Iterable[Candidate]) -> list[Candidate]:
        old = text[unit.start : unit.end]
        return [
            (string, probability)
            for string, probability in candidates
            if string.lower() != old.lower()
            and (len(string) == len(old) or (unit.kind == WORD and len(string) > 1))
            and not (self.terms and self.terms.made_by(text, Edit(unit.start, unit.end, string)))
        ]


class _Spots:
    """A window's tokens with units masked, and where their masks are."""

    def __init__(
        self, ids: Sequence[int], offsets: Sequence[tuple[int, int, bool]], units: Sequence[Unit], mask: int
    ) -> None:
        self.ids: list[int] = []
        self.masks: dict[Unit, list[int]] = {}  # unit -> rows of `places`
        self.places: list[int] = []
        owner = {place: unit for unit in units for place in range(unit.start, unit.end)}
        whole = _whole_units(offsets, units, owner)
        for token, (start, _, real) in zip(ids, offsets):
            unit = owner.get(start) if real else None
            if unit not in whole:
                self.ids.append(token)
            elif unit.kind == HAN or unit not in self.masks:  # the pieces of a word share one mask
                self.masks.setdefault(unit, []).append(len(self.places))
                self.places.append(len(self.ids))
                self.ids.append(mask)


class _Task(NamedTuple):
    index: int  # of the document
    text: str
    spots: _Spots


def _whole_units(
    offsets: Iterable[tuple[int, int, bool]], units: Iterable[Unit], owner: Mapping[int, Unit]
) -> set[Unit]:
    """The units whose tokens cover exactly them; of Chinese ones, with one token per character."""
    pieces: dict[Unit, list[tuple[int, int]]] = {unit: [] for unit in units}
    damaged = set()
    for start, end, real in offsets:
        owners = {owner.get(place) for place in range(start, end)} if real else set()
        if len(owners) > 1:
            damaged |= owners
        elif owners - {None}:
            pieces[owners.pop()].append((start, end))
    return {
        unit
        for unit, own in pieces.items()
        if unit not in damaged
        and sum(end - start for start, end in own) == unit.end - unit.start
        and (unit.kind == WORD or len(own) == unit.end - unit.start)
    }


def _combined(columns: Sequence[Sequence[Candidate]], top: int) -> list[Candidate]:
    """The likeliest strings that take one candidate of each column."""
    beams: list[Candidate] = [("", 1.0)]
    for column in columns:
        longer = [(string + more, weight * own) for string, weight in beams for more, own in column]
        beams = sorted(longer, key=lambda one: (-one[1], one[0]))[:top]
    return beams


def draw_candidate(candidates: Sequence[Candidate], rng: random.Random) -> str | None:
    """One of the candidates, drawn by its probability; None where there is none."""
    if not candidates:
        return None
    strings, weights = zip(*candidates)
    return rng.choices(strings, weights)[0]


class StoredProposals:
    """What a masked language model proposed beforehand; a source of replacements that needs no model.

    It holds strings only, so it goes to the workers of a data loader at no cost.

    Args:
        candidates: per document id a digest of its text, and per (start, end) the candidates there.
        lexicon: the words that were units as a whole.
    """

    def __init__(
        self,
        candidates: Mapping[str, tuple[str, Mapping[tuple[int, int], Sequence[Candidate]]]],
        lexicon: Lexicon | None = None,
    ) -> None:
        self._candidates = candidates
        self.lexicon = lexicon

    @classmethod
    def of(
        cls,
        source: MaskedLanguageModel,
        documents: Iterable[Document],
        *,
        lexicon: Lexicon | None = None,
        together: float = 0.15,
        most: int = 8,
        seed: int = 0,
    ) -> StoredProposals:
        """Ask the model for every unit of the context of every document.

        Args:
            source: the model.
            documents: with ids that are unique.
            lexicon: words that are units as a whole.
            together: share of a text that is masked at once; the model passes over it about 1 / `together` times.
            most: candidates kept for each unit.
            seed: of the choice what is masked at once.
        """
        stored = {}
        for document in documents:
            units = context_units(document, lexicon)
            random.Random(f"{seed} {document.id}").shuffle(units)
            passes = max(1, round(1 / together))
            groups = [units[first::passes] for first in range(min(passes, len(units)))]
            answers = source.candidates([document] * len(groups), groups)
            own = {
                (unit.start, unit.end): tuple(found[:most])
                for group, answer in zip(groups, answers)
                for unit, found in zip(group, answer)
                if found
            }
            stored[document.id] = (_digest(document.text), own)
        return cls(stored, lexicon)

    def __len__(self) -> int:
        """Documents."""
        return len(self._candidates)

    def covers(self, document: Document, unit: Unit) -> bool:
        """Units that something is stored for."""
        return bool(self._found(document, unit))

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """What is stored for the units; nothing if the document's text is not the stored one. See `Replacements`."""
        return [draw_candidate(self._found(document, unit), rng) for unit in units]

    def _found(self, document: Document, unit: Unit) -> Sequence[Candidate]:
        digest, own = self._candidates.get(document.id, ("", {}))
        return own.get((unit.start, unit.end), ()) if digest == _digest(document.text) else ()


@lru_cache(maxsize=64)
def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
