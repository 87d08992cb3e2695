"""How a model behaves around the entities of a population: what all explainers of it are held against."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hf_adner.audit.entity_readings import END, LOG_ODDS, PROBABILITY, START, EntityReadings
from hf_adner.audit.population import Population
from hf_adner.audit.window_behaviour import WindowBehaviour
from hf_adner.explain.tagger import Tagger
from hf_adner.metrics.boundary import boundary_sensitivity, boundary_sensitivity_ratio

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

    window: WindowBehaviour
    number: int
    index: int


class RandomSets(NamedTuple):
    """Random sets of hidden units of a window and what they did: (draws, units) bool, (draws, entities) log-odds."""

    hidden: np.ndarray
    changes: np.ndarray


class Behaviour:
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
        population: Population,
        batch_size: int = 16,
        replacements: int = 2,
        draws: int = 50,
        seed: int = 0,
    ):
        self.model, self.population = tagger.model, population
        self._replacements, self._draws, self._seed = replacements, draws, seed
        self._known: dict[tuple[Any, ...], Any] = {}
        self._windows: list[WindowBehaviour] = []
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
                self._windows.append(WindowBehaviour(tagger, readings, batch, places, batch_size))
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

    def _single(self, window: WindowBehaviour, index: int, replaced: bool) -> np.ndarray:
        """(units, entities, 4) with each unit hidden, or replaced."""
        kept = ~np.eye(window.count, dtype=bool)
        if not replaced:
            return window.hidden(kept)
        rng = random.Random(f"replaced {self._seed} {index}")
        tokens = len(window.token_units)
        drawn = [rng.choices(self._fillers, k=tokens) for _ in range(self._replacements)]
        return np.mean([window.hidden(kept, filler) for filler in drawn], axis=0)

    def _random(self, window: WindowBehaviour, index: int) -> RandomSets:
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
