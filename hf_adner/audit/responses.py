"""How a model behaves around the entities of a population: what all explainers of it are held against.

What a model says of given entities, as numbers that are asked for many changed copies of a text at once.

How a model behaves on one window of text when parts of it are hidden or its embeddings are thinned out.

Noise on the embeddings of every text a model reads, whoever asks it.

Weights thrown away for a while: what is left of an explanation then was not about the model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hf_adner.audit.sample import EntitySample
from hf_adner.explain.removal import Masking
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.metrics.boundary import boundary_sensitivity, boundary_sensitivity_ratio

PROBABILITY, START, END, LOG_ODDS = range(4)
"""Columns of `EntityReadings`."""


class EntityReadings:
    """Four numbers per entity: posterior of the span, probability of its start and of its end, log-odds of its labels.

    The posterior is that of exactly this span and label for our models, the product of its labels' probabilities for
    others; the log-odds are the target ``label`` of explanations.

    Args:
        tagger: model and tokenizer.
    """

    def __init__(self, tagger: Tagger):
        posteriors = tagger.model.entity_log_posteriors if tagger.is_adner else None
        self._label = Target("label", tagger.labels)
        self._span = Target("span", tagger.labels, posteriors) if posteriors else None

    def __call__(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        """(entities, 4) float32, the first three columns in [0, 1]."""
        if self._span is not None:
            probability = self._span(tagging, places).exp()
        else:
            probability = torch.stack([self._product(tagging, place) for place in places])
        starts, ends = self._label.edges(tagging, places)
        readings = torch.stack([probability, starts, ends], dim=1).clamp(0, 1)
        return torch.cat([readings, self._label(tagging, places)[:, None]], dim=1)

    def _product(self, tagging: Tagging, place: EntityTokens) -> Tensor:
        labels = self._label.labels
        ids = [labels.begin(place.label)] + [labels.inside(place.label)] * (place.end - place.start - 1)
        return tagging.log_probs[place.row, list(range(place.start, place.end)), ids].sum().exp()


SPECIAL = -1


class WindowResponses(Masking):
    """Readings of all entities of a window in changed copies of it.

    Units are characters (of a sub-word tokenizer: tokens). A hidden one becomes the mask token, and the matched words
    it belongs to are hidden with it.

    Args:
        tagger: model and tokenizer.
        readings: what is read of the entities.
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
        """(entities, 4) readings of the window as it is."""
        return self.whole()[0].double().numpy()

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
        """Units of entity `number`."""
        place = self._places[number]
        return sorted(set(self.token_units[place.start : place.end].tolist()) - {SPECIAL})

    def context_units(self, number: int) -> list[int]:
        """Units of the window that are not of entity `number`."""
        own = set(self.own_units(number))
        return [unit for unit in range(self.count) if unit not in own]

    def importance(self, scores: np.ndarray) -> np.ndarray:
        """Sums of the scores of each unit's characters, (characters of the text,) -> (units,)."""
        return np.array([scores[start:end].sum() for start, end in self.ranges])

    def over_characters(self, values: np.ndarray, length: int) -> np.ndarray:
        """Each unit's value at its characters, 0 elsewhere: (units,) -> (length,)."""
        spread = np.zeros(length)
        for value, (start, end) in zip(values, self.ranges):
            spread[start:end] = value
        return spread

    def hidden(self, kept: np.ndarray, filler: Sequence[int] | None = None) -> np.ndarray:
        """Readings with some units hidden.

        Args:
            kept: (copies, units) bool.
            filler: per token an id that stands for it where it is hidden; default: the mask token.

        Returns:
            (copies, entities, 4).
        """
        flags = torch.as_tensor(kept, dtype=torch.bool)
        if not len(flags):
            return np.zeros((0, *self.intact.shape))
        parts = [self._ask(self._filled(part, filler)) for part in flags.split(self._batch_size)]
        return torch.cat(parts).double().numpy()

    def thinned(self, keep: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Readings with dimensions of the embeddings set to zero at random.

        The same generator state gives the same random numbers, so that copies with equal probabilities are equal. A
        matched word keeps each of its dimensions with the mean probability of its characters.

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
        found = []
        for first in range(0, len(tokens), self._batch_size):
            part = slice(first, first + self._batch_size)
            leaves = (masked[part], None if masked_words is None else masked_words[part])
            found.append(self._ask_embedded(*leaves))
        return torch.cat(found).double().numpy()

    @torch.no_grad()
    def _ask_embedded(self, embeds: Tensor, words: Tensor | None) -> Tensor:
        tagging = self._tagger.tag(self._row.copies(len(embeds)), embeds, words)
        return self._read(tagging, len(embeds))

    def _word_means(self, tokens: Tensor) -> Tensor:
        """Mean over each matched word's tokens, (copies, tokens) -> (copies, words)."""
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
        """(count, entities, 4) on the CPU."""
        places = [place._replace(row=copy) for copy in range(count) for place in self._places]
        return self._target(tagging, places).view(count, len(self._places), -1).cpu()


def _thinned(vectors: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """(1, positions, size) with dimensions kept by (copies, positions) -> (copies, positions, size)."""
    chance = torch.rand(len(keep), *vectors.shape[1:], generator=generator)
    return vectors * (chance < keep[..., None]).to(vectors)


SMALLEST_HIDDEN, LARGEST_HIDDEN = 0.05, 0.5
"""Shares of a window that random sets of hidden characters have, drawn evenly between."""

ValueT = TypeVar("ValueT")


class Home(NamedTuple):
    """Where a subject is read.

    Attributes:
        window: its window of text.
        number: its place among the window's entities.
        index: number of the window.
    """

    window: WindowResponses
    number: int
    index: int


class RandomSets(NamedTuple):
    """Random sets of hidden units of a window and what they did: (draws, units) bool, (draws, entities) log-odds."""

    hidden: np.ndarray
    changes: np.ndarray


class ModelResponses:
    """Readings of changed texts, taken when they are first asked for and kept.

    Args:
        tagger: model and tokenizer; whoever asks has it in evaluation mode (`Tagger.quiet`).
        population: the entities.
        batch_size: copies per forward pass.
        replacements: random characters tried in the place of each.
        draws: random sets of hidden characters per window.
        seed: of both.

    Attributes:
        model: the model.
    """

    def __init__(
        self,
        tagger: Tagger,
        population: EntitySample,
        batch_size: int = 16,
        replacements: int = 2,
        draws: int = 50,
        seed: int = 0,
    ):
        self.model, self.population = tagger.model, population
        self._replacements, self._draws, self._seed = replacements, draws, seed
        self._known: dict[tuple[Any, ...], Any] = {}
        self._windows: list[WindowResponses] = []
        self._homes: dict[int, tuple[int, int]] = {}
        self._fillers: list[int] = []
        self._open_windows(tagger, batch_size)

    def _open_windows(self, tagger: Tagger, batch_size: int) -> None:
        readings = EntityReadings(tagger)
        texts = [document.text for document in self.population.documents]
        for document, owners in self.population.by_document().items():
            spans = [self.population.subjects[number].span for number in owners]
            for passage in tagger.passages(document, texts[document], spans):
                batch = tagger.encode(texts, [passage])
                places = [batch.tokens_of(0, span) for _, span in passage.entities]
                for place, (index, _) in enumerate(passage.entities):
                    self._homes[owners[index]] = (len(self._windows), place)
                self._windows.append(WindowResponses(tagger, readings, batch, places, batch_size))
                self._fillers += batch.inputs["input_ids"][batch.is_text].tolist()

    def home(self, subject: int) -> Home:
        """Window and place of a subject."""
        index, number = self._homes[subject]
        return Home(self._windows[index], number, index)

    def intact(self, subject: int) -> np.ndarray:
        """(4,) readings of a subject in its text."""
        window, number, _ = self.home(subject)
        return window.intact[number]

    def effects(self, subject: int, column: int, replaced: bool = False) -> np.ndarray:
        """By how much a reading falls when each single unit is hidden, (units,) of the subject's window.

        Args:
            subject: number of the subject.
            column: of `EntityReadings`.
            replaced: not hidden by the mask token but replaced by random characters of the population's texts, on
                average over them: nothing an occlusion explainer could copy.
        """
        window, number, index = self.home(subject)
        readings = self._once(("replaced" if replaced else "hidden", index), self._single, window, index, replaced)
        return window.intact[number, column] - readings[:, number, column]

    def character_effects(self, subject: int, column: int, replaced: bool = False) -> np.ndarray:
        """`effects` at the characters of the text, 0 outside the window."""
        length = len(self.population.text_of(subject))
        return self.home(subject).window.over_characters(self.effects(subject, column, replaced), length)

    def random_sets(self, subject: int) -> RandomSets:
        """Random sets of hidden units of the subject's window, and how its log-odds changed: (draws,) in place."""
        window, number, index = self.home(subject)
        hidden, changes = self._once(("random", index), self._random, window, index)
        return RandomSets(hidden, changes[:, number])

    def boundary_sensitivity(self, count: int | None = None) -> dict[str, float]:
        """How much hiding an entity's first, middle and last character, and the one outside, moves its boundaries.

        Returns:
            Means over the first `count` subjects of `metrics.boundary.boundary_sensitivity`: ``start`` and ``end``
            (probability of the boundary, its own character hidden), ``start_log_odds``, ``end_log_odds``, ``middle``
            (a middle character hidden, mean of both boundaries), ``ratio`` (share of the edge beside the middle) and
            ``outer`` (absolute change, the neighbour outside hidden); NaN where there is none.
        """
        rows = [self._sensitivities(subject) for subject in range(len(self.population.subjects[:count]))]
        names = ("start", "end", "start_log_odds", "end_log_odds", "middle", "ratio", "outer")
        columns = np.array(rows, dtype=np.float64).reshape(-1, len(names)).T
        return {name: _mean_of_known(column) for name, column in zip(names, columns)}

    def _sensitivities(self, subject: int) -> list[float]:
        window, number, _ = self.home(subject)
        own = window.own_units(number)
        before, after = own[0] - 1, own[-1] + 1
        middle = own[len(own) // 2] if len(own) > 2 else None
        start, end = (self._edge(subject, column, unit) for column, unit in ((START, own[0]), (END, own[-1])))
        inner = [self._edge(subject, column, middle)[1] for column in (START, END)]
        outer = [
            abs(self._edge(subject, column, unit)[1])
            for column, unit in ((START, before), (END, after))
            if 0 <= unit < window.count
        ]
        edge, mean = (start[1] + end[1]) / 2, float(np.mean(inner))
        ratio = float(boundary_sensitivity_ratio([edge], [mean])[0]) if middle is not None else float("nan")
        return [start[1], end[1], start[0], end[0], mean, ratio, float(np.mean(outer)) if outer else float("nan")]

    def _edge(self, subject: int, column: int, unit: int | None) -> tuple[float, float]:
        """Sensitivity of a boundary to one hidden unit, in log-odds and in probability."""
        if unit is None:
            return float("nan"), float("nan")
        intact = self.intact(subject)[column]
        masked = np.clip(intact - self.effects(subject, column)[unit], 0, 1)
        found = boundary_sensitivity([intact], [masked])
        return float(found["log_odds"][0]), float(found["probability"][0])

    def _single(self, window: WindowResponses, index: int, replaced: bool) -> np.ndarray:
        """(units, entities, 4) with each unit hidden, or replaced."""
        kept = ~np.eye(window.count, dtype=bool)
        if not replaced:
            return window.hidden(kept)
        rng = random.Random(f"replaced {self._seed} {index}")
        tokens = len(window.token_units)
        drawn = [rng.choices(self._fillers, k=tokens) for _ in range(self._replacements)]
        return np.mean([window.hidden(kept, filler) for filler in drawn], axis=0)

    def _random(self, window: WindowResponses, index: int) -> RandomSets:
        rng = np.random.default_rng([self._seed, index])
        shares = rng.uniform(SMALLEST_HIDDEN, LARGEST_HIDDEN, size=(self._draws, 1))
        hidden = rng.random((self._draws, window.count)) < shares
        changes = window.intact[:, LOG_ODDS] - window.hidden(~hidden)[:, :, LOG_ODDS]
        return RandomSets(hidden, changes)

    def _once(self, key: tuple[Any, ...], make: Callable[..., ValueT], *arguments: Any) -> ValueT:
        if key not in self._known:
            self._known[key] = make(*arguments)
        return self._known[key]

    def remember(self, key: tuple[Any, ...], make: Callable[[], ValueT]) -> ValueT:
        """What `make` gave when the key was first asked for: numbers of the model that several explainers share."""
        return self._once(("remembered", *key), make)


def probability_of(readings: np.ndarray, number: int) -> np.ndarray:
    """(copies,) posterior of entity `number` in readings (copies, entities, 4)."""
    return readings[:, number, PROBABILITY]


def _mean_of_known(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


@contextmanager
def noisy_embeddings(model: nn.Module, radius: float, seed: int = 0) -> Iterator[None]:
    """Add to the vector of each position the same noise for every text and call, and stop afterwards.

    So an explainer that reads a text many times, whole or with characters hidden, reads it with one noise: it explains
    x + d in place of x.

    Args:
        model: with a table of input embeddings.
        radius: the noise is uniform in [-radius, radius] times the table's root mean square.
        seed: of the noise.
    """
    table = model.get_input_embeddings()
    scale = radius * float(table.weight.detach().float().square().mean().sqrt())
    rows: list[torch.Tensor] = []

    def add_noise(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        for position in range(len(rows), output.shape[-2]):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + position)
            rows.append(2 * torch.rand(output.shape[-1], generator=generator) - 1)
        noise = scale * torch.stack(rows[: output.shape[-2]])  # (positions, size)
        return output + noise.to(output)

    handle = table.register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def randomised_weights(model: nn.Module, share: float = 1.0, seed: int = 0) -> Iterator[None]:
    """Random weights in the last parameters of a model, and its own ones again afterwards.

    Parameters go in the order of their registration, which runs from the input to the output, so that growing shares
    are the cascade of Adebayo et al. (2018). Each becomes independent normal numbers with its own mean and standard
    deviation, which keeps the scale of everything inside the model.

    Args:
        model: changed in place.
        share: of the parameters (tensors, not numbers) from the output down, above 0 and at most 1.
        seed: of the numbers.

    Raises:
        ValueError: a share outside that range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], found {share}")
    parameters = list(model.parameters())
    chosen = parameters[len(parameters) - math.ceil(share * len(parameters)) :]
    before = [parameter.detach().clone() for parameter in chosen]
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for parameter in chosen:
                deviation, mean = torch.std_mean(parameter.float(), correction=0)
                drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device)
                parameter.copy_(mean + deviation * drawn)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(chosen, before):
                parameter.copy_(values)
