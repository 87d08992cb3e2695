"""Responses of a model to changed texts: the reference that all explainers of a model are measured against."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from hf_adner.audit.sample import EntitySample
from hf_adner.explain.removal import Masking
from hf_adner.explain.tagger import Tagger, TokenBatch, span_log_posteriors
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.metrics.boundary import boundary_sensitivity, boundary_sensitivity_ratio

PROBABILITY, START, END, LOG_ODDS = range(4)
"""Columns of `EntityReadings`."""

SMALLEST_HIDDEN, LARGEST_HIDDEN = 0.05, 0.5
"""Range of the share of a window that a random set of hidden units has, drawn uniformly."""

SPECIAL = -1
"""Unit of special tokens in `Masking.token_units`."""

ValueT = TypeVar("ValueT")


class EntityLocation(NamedTuple):
    """Where an entity of the sample is read.

    Attributes:
        window: its window of text.
        number: its index among the entities of the window.
        index: number of the window.
    """

    window: WindowResponses
    number: int
    index: int


class RandomSets(NamedTuple):
    """Random sets of hidden units of a window, (draws, units) bool, and the changes of log-odds, (draws, entities)."""

    hidden: np.ndarray
    changes: np.ndarray


class ModelResponses:
    """Readings of the entities of a sample in changed texts, computed on first use and cached.

    Args:
        tagger: model and tokenizer; the caller has put the model into evaluation mode (`Tagger.eval_mode`).
        sample: the entities.
        batch_size: copies per forward pass.
        replacements: random characters tried in place of each unit, draws of `replacement_changes`.
        draws: random sets of hidden units per window.
        seed: of replacements and draws.

    Attributes:
        model: the model.
    """

    def __init__(
        self,
        tagger: Tagger,
        sample: EntitySample,
        batch_size: int = 16,
        replacements: int = 2,
        draws: int = 50,
        seed: int = 0,
    ):
        self.model, self.sample = tagger.model, sample
        self._replacements, self._draws, self._seed = replacements, draws, seed
        self._cache: dict[tuple[Any, ...], Any] = {}
        self._windows: list[WindowResponses] = []
        self._locations: dict[int, tuple[int, int]] = {}
        self._fillers: list[int] = []
        self._open_windows(tagger, batch_size)

    def _open_windows(self, tagger: Tagger, batch_size: int) -> None:
        readings = EntityReadings(tagger)
        texts = [document.text for document in self.sample.documents]
        for document, numbers in self.sample.by_document().items():
            spans = [self.sample.entities[number].span for number in numbers]
            for window in tagger.windows(document, texts[document], spans):
                batch = tagger.encode(texts, [window])
                places = [batch.tokens_of(0, span) for _, span in window.entities]
                for place, (index, _) in enumerate(window.entities):
                    self._locations[numbers[index]] = (len(self._windows), place)
                self._windows.append(WindowResponses(tagger, readings, batch, places, batch_size))
                self._fillers += batch.inputs["input_ids"][batch.is_text].tolist()

    def locate(self, entity: int) -> EntityLocation:
        """Return the window of an entity (its number in the sample) and its place there."""
        index, number = self._locations[entity]
        return EntityLocation(self._windows[index], number, index)

    def intact(self, entity: int) -> np.ndarray:
        """Return the (4,) readings of an entity in its unchanged text."""
        window, number, _ = self.locate(entity)
        return window.intact[number]

    def effects(self, entity: int, column: int, replaced: bool = False) -> np.ndarray:
        """Return by how much a reading falls when each single unit is hidden, (units,) of the entity's window.

        Args:
            entity: number in the sample.
            column: of `EntityReadings`.
            replaced: replace the unit by random characters instead of the mask token (`replacement_changes`), averaged
                over them, which no occlusion explainer can copy.
        """
        if replaced:
            return self.replacement_changes(entity, column).mean(axis=0)
        window, number, index = self.locate(entity)
        readings = self.remember(("hidden", index), lambda: window.hidden(~np.eye(window.count, dtype=bool)))
        return window.intact[number, column] - readings[:, number, column]

    def replacement_changes(self, entity: int, column: int) -> np.ndarray:
        """Return by how much a reading falls when each single unit is replaced, (draws, units) of the entity's window.

        Every draw replaces each unit by another random character of the sample's texts. The draws are those of the
        window, measured once for all its entities, columns and explainers.

        Args:
            entity: number in the sample.
            column: of `EntityReadings`.
        """
        window, number, index = self.locate(entity)
        readings = self.remember(("replaced", index), lambda: self._with_each_unit_replaced(window, index))
        return window.intact[number, column] - readings[:, :, number, column]

    def response(self, entity: int) -> np.ndarray:
        """Return by how much replacing each character changes the log-odds, (characters of the text,).

        That is the mean magnitude over the draws of `replacement_changes`, 0 outside the window.
        """
        changes = np.abs(self.replacement_changes(entity, LOG_ODDS)).mean(axis=0)
        return self.locate(entity).window.over_characters(changes, len(self.sample.text_of(entity)))

    def character_effects(self, entity: int, column: int, replaced: bool = False) -> np.ndarray:
        """Return `effects` at the characters of the text, 0 outside the window."""
        length = len(self.sample.text_of(entity))
        return self.locate(entity).window.over_characters(self.effects(entity, column, replaced), length)

    def random_sets(self, entity: int) -> RandomSets:
        """Return random sets of hidden units of the entity's window and the changes of its log-odds, (draws,)."""
        window, number, index = self.locate(entity)
        hidden, changes = self.remember(("random", index), lambda: self._draw_sets(window, index))
        return RandomSets(hidden, changes[:, number])

    def remember(self, key: tuple[Any, ...], compute: Callable[[], ValueT]) -> ValueT:
        """Return the value of a key, computed at the first call: several explainers share values of the model."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def boundary_sensitivity(self, count: int | None = None) -> dict[str, float]:
        """Compute how hiding an entity's first, middle and last character, and the one outside, moves its boundaries.

        Returns:
            Means over the first `count` entities of `metrics.boundary.boundary_sensitivity`: ``start`` and ``end``
            (probability of the boundary, its own character hidden), ``start_log_odds``, ``end_log_odds``, ``middle``
            (a middle character hidden, mean of both boundaries), ``ratio`` (share of the edge beside the middle) and
            ``outer`` (absolute change, the neighbour outside hidden); NaN where no entity has a value.
        """
        rows = [self._sensitivities(entity) for entity in range(len(self.sample.entities[:count]))]
        names = ("start", "end", "start_log_odds", "end_log_odds", "middle", "ratio", "outer")
        columns = np.array(rows, dtype=np.float64).reshape(-1, len(names)).T
        return {name: _finite_mean(column) for name, column in zip(names, columns)}

    def _sensitivities(self, entity: int) -> list[float]:
        window, number, _ = self.locate(entity)
        own = window.own_units(number)
        before, after = own[0] - 1, own[-1] + 1
        middle = own[len(own) // 2] if len(own) > 2 else None
        start, end = (self._edge(entity, column, unit) for column, unit in ((START, own[0]), (END, own[-1])))
        inner = [self._edge(entity, column, middle)[1] for column in (START, END)]
        outer = [
            abs(self._edge(entity, column, unit)[1])
            for column, unit in ((START, before), (END, after))
            if 0 <= unit < window.count
        ]
        edge, mean = (start[1] + end[1]) / 2, float(np.mean(inner))
        ratio = float(boundary_sensitivity_ratio([edge], [mean])[0]) if middle is not None else float("nan")
        return [start[1], end[1], start[0], end[0], mean, ratio, float(np.mean(outer)) if outer else float("nan")]

    def _edge(self, entity: int, column: int, unit: int | None) -> tuple[float, float]:
        """Return the sensitivity of a boundary to one hidden unit, in log-odds and in probability."""
        if unit is None:
            return float("nan"), float("nan")
        intact = self.intact(entity)[column]
        masked = np.clip(intact - self.effects(entity, column)[unit], 0, 1)
        sensitivity = boundary_sensitivity([intact], [masked])
        return float(sensitivity["log_odds"][0]), float(sensitivity["probability"][0])

    def _with_each_unit_replaced(self, window: WindowResponses, index: int) -> np.ndarray:
        """Return (draws, units, entities, 4) readings with each unit replaced."""
        rng = random.Random(f"replaced {self._seed} {index}")
        each = ~np.eye(window.count, dtype=bool)
        return np.stack([window.hidden(each, self._filler(window, rng)) for _ in range(self._replacements)])

    def _filler(self, window: WindowResponses, rng: random.Random) -> list[int]:
        """Return per token of a window the id of a random token of the sample's texts, another one than its own."""
        own = window.token_ids
        filler = rng.choices(self._fillers, k=len(own))
        for place, token in enumerate(own):
            if filler[place] == token:
                others = [other for other in self._fillers if other != token]
                filler[place] = rng.choice(others) if others else token
        return filler

    def _draw_sets(self, window: WindowResponses, index: int) -> RandomSets:
        rng = np.random.default_rng([self._seed, index])
        shares = rng.uniform(SMALLEST_HIDDEN, LARGEST_HIDDEN, size=(self._draws, 1))
        hidden = rng.random((self._draws, window.count)) < shares
        changes = window.intact[:, LOG_ODDS] - window.hidden(~hidden)[:, :, LOG_ODDS]
        return RandomSets(hidden, changes)


def probability_of(readings: np.ndarray, number: int) -> np.ndarray:
    """Return the (copies,) posterior of entity `number` in readings (copies, entities, 4)."""
    return readings[:, number, PROBABILITY]


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


class EntityReadings:
    """Four numbers per entity: posterior of the span, probability of its start and of its end, log-odds of its labels.

    The posterior is as for `hf_adner.explain.tagger.entity_posteriors`; the log-odds are the target ``label`` of
    explanations.

    Args:
        tagger: model and tokenizer.
    """

    def __init__(self, tagger: Tagger):
        self._tagger = tagger
        self._label = Target("label", tagger.labels)

    def __call__(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        """Return (entities, 4) float32, the first three columns in [0, 1]."""
        probability = span_log_posteriors(self._tagger, tagging, places).exp()
        starts, ends = self._label.edges(tagging, places)
        readings = torch.stack([probability, starts, ends], dim=1).clamp(0, 1)
        return torch.cat([readings, self._label(tagging, places)[:, None]], dim=1)


class WindowResponses(Masking):
    """Readings of all entities of a window in changed copies of it.

    Units are characters (tokens, for a sub-word tokenizer). A hidden unit becomes the mask token, and the matched words
    that contain it are hidden with it.

    Args:
        tagger: model and tokenizer.
        readings: reads the entities.
        row: a batch of one row.
        places: the entities, in row 0.
        batch_size: copies per forward pass.
    """

    def __init__(
        self,
        tagger: Tagger,
        readings: EntityReadings,
        row: TokenBatch,
        places: Sequence[EntityTokens],
        batch_size: int,
    ):
        super().__init__(tagger, readings, row, "characters", places, batch_size)

    @cached_property
    def intact(self) -> np.ndarray:
        """(entities, 4) readings of the unchanged window."""
        return self.whole()[0].double().numpy()

    @property
    def token_ids(self) -> list[int]:
        """Id of each token, special ones included."""
        return self._row.inputs["input_ids"][0].tolist()

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """Characters (start, end) of each unit, counted in the whole text."""
        ranges: dict[int, tuple[int, int]] = {}
        for unit, (start, end) in zip(self.token_units.tolist(), self._row.offsets[0]):
            if unit != SPECIAL:
                first = ranges.get(unit, (start, end))
                ranges[unit] = (min(first[0], start), max(first[1], end))
        return [ranges[unit] for unit in range(self.count)]

    def own_units(self, number: int) -> list[int]:
        """Return the units of entity `number`."""
        place = self._places[number]
        return sorted(set(self.token_units[place.start : place.end].tolist()) - {SPECIAL})

    def context_units(self, number: int) -> list[int]:
        """Return the units of the window outside entity `number`."""
        own = set(self.own_units(number))
        return [unit for unit in range(self.count) if unit not in own]

    def importance(self, scores: np.ndarray) -> np.ndarray:
        """Sum the scores of each unit's characters, (characters of the text,) -> (units,)."""
        return np.array([scores[start:end].sum() for start, end in self.ranges])

    def over_characters(self, values: np.ndarray, length: int) -> np.ndarray:
        """Spread each unit's value to its characters, 0 elsewhere: (units,) -> (length,)."""
        spread = np.zeros(length)
        for value, (start, end) in zip(values, self.ranges):
            spread[start:end] = value
        return spread

    def hidden(self, kept: np.ndarray, filler: Sequence[int] | None = None) -> np.ndarray:
        """Return readings with some units hidden.

        Args:
            kept: (copies, units) bool.
            filler: per token the id that replaces it where it is hidden; default: the mask token.

        Returns:
            (copies, entities, 4).
        """
        flags = torch.as_tensor(kept, dtype=torch.bool)
        if not len(flags):
            return np.zeros((0, *self.intact.shape))
        parts = [self._run(self._filled(part, filler)) for part in flags.split(self._batch_size)]
        return torch.cat(parts).double().numpy()

    def thinned(self, keep: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Return readings with random dimensions of the embeddings set to zero.

        Equal generator states give equal random numbers, so that copies with equal probabilities are equal. A matched
        word keeps each of its dimensions with the mean probability of its characters.

        Args:
            keep: (copies, units) probabilities to keep each dimension.
            generator: on the CPU.

        Returns:
            (copies, entities, 4).
        """
        embeds, words = self._tagger.embed(self._row.inputs["input_ids"]), self._tagger.embed_words(self._row.inputs)
        probabilities = torch.as_tensor(keep, dtype=torch.float32)
        tokens = torch.where(self.token_units >= 0, probabilities[:, self.token_units.clamp(min=0)], 1.0)
        masked = _thinned(embeds, tokens, generator)
        masked_words = None if words is None else _thinned(words, self._word_means(tokens), generator)
        readings = []
        for first in range(0, len(tokens), self._batch_size):
            part = slice(first, first + self._batch_size)
            readings.append(self._run_embedded(masked[part], None if masked_words is None else masked_words[part]))
        return torch.cat(readings).double().numpy()

    @torch.no_grad()
    def _run_embedded(self, embeds: Tensor, words: Tensor | None) -> Tensor:
        tagging = self._tagger.tag(self._row.copies(len(embeds)), embeds, words)
        return self._read(tagging, len(embeds))

    def _word_means(self, tokens: Tensor) -> Tensor:
        """Average over each matched word's tokens, (copies, tokens) -> (copies, words)."""
        before = torch.nn.functional.pad(tokens.cumsum(1), (1, 0))
        starts, ends = (self._row.inputs[name][0].cpu() for name in ("lexicon_starts", "lexicon_ends"))
        return (before[:, ends] - before[:, starts]) / (ends - starts).clamp(min=1)

    def _filled(self, kept: Tensor, filler: Sequence[int] | None) -> dict[str, Tensor]:
        inputs = self._inputs(kept)
        if filler is None:
            return inputs
        hidden = ~kept[:, self.token_units.clamp(min=0)] & (self.token_units >= 0)  # (copies, tokens)
        ids = torch.as_tensor(filler, device=self._tagger.device)
        own = self._row.inputs["input_ids"]
        return {**inputs, "input_ids": torch.where(hidden.to(own.device), ids, own)}

    @torch.no_grad()
    def _read(self, tagging: Tagging, count: int) -> Tensor:
        """Return (count, entities, 4) on the CPU."""
        places = [place._replace(row=copy) for copy in range(count) for place in self._places]
        return self._target(tagging, places).view(count, len(self._places), -1).cpu()


def _thinned(vectors: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """(1, positions, size) with dimensions kept by (copies, positions) -> (copies, positions, size)."""
    chance = torch.rand(len(keep), *vectors.shape[1:], generator=generator)
    return vectors * (chance < keep[..., None]).to(vectors)
