"""What is put in an explanation's place to find out whether it is the explanation that helps."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from hf_adner.training.saliency_cache import Key

Shares = Callable[[Key], "np.ndarray | None"]


class ExplanationControl(ABC):
    """Replaces the map of an entity, always by the same one in the same epoch of runs with the same seed.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, shares: np.ndarray, span: tuple[int, int], key: Key, epoch: int) -> np.ndarray:
        """The map to use instead.

        Args:
            shares: (text tokens,) the entity's map, summing to 1.
            span: its tokens among them, end exclusive.
            key: number of its window, and its number in it.
            epoch: from 0.
        """
        return self._replace(shares, span, key, epoch, random.Random(f"control {self.seed} {epoch} {key}"))

    @abstractmethod
    def _replace(
        self, shares: np.ndarray, span: tuple[int, int], key: Key, epoch: int, rng: random.Random
    ) -> np.ndarray: ...


class Shuffled(ExplanationControl):
    """The same shares in another order: as peaked, at the wrong places."""

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        return shares[rng.sample(range(len(shares)), len(shares))]


class Random(ExplanationControl):
    """Shares drawn uniformly from all that sum to 1."""

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        drawn = np.array([rng.expovariate(1.0) for _ in shares])
        return drawn / drawn.sum()


class OtherSentence(ExplanationControl):
    """The map of an entity of another window, laid so that both entities begin at the same token.

    Args:
        seed: of the run.
        spans: per window the text tokens (start, end) of its entities.
        shares: the map of an entity by its key, None if there is none.
        documents: per window the text that it is of; windows of one text overlap.
    """

    def __init__(
        self, seed: int, spans: Sequence[Sequence[tuple[int, int]]], shares: Shares, documents: Sequence[Hashable]
    ):
        super().__init__(seed)
        self._spans, self._shares, self._documents = spans, shares, documents
        self._donors = [number for number, own in enumerate(spans) if own]

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        donor, number = self._draw(key[0], rng)
        found = None if donor is None else self._shares((donor, number))
        if found is None:
            return np.full(len(shares), 1 / max(len(shares), 1))
        shift = span[0] - self._spans[donor][number][0]
        places = np.arange(len(shares)) - shift
        inside = (places >= 0) & (places < len(found))
        laid = np.where(inside, found[places.clip(0, len(found) - 1)], found.min()).clip(min=1e-9)
        return laid / laid.sum()

    def _draw(self, window: int, rng: random.Random) -> tuple[int | None, int]:
        for _ in range(8):
            donor = rng.choice(self._donors)
            if self._documents[donor] != self._documents[window]:
                return donor, rng.randrange(len(self._spans[donor]))
        return None, 0


def make_control(
    name: str,
    seed: int,
    spans: Sequence[Sequence[tuple[int, int]]],
    shares: Shares,
    documents: Sequence[Hashable],
) -> ExplanationControl | None:
    """A control by its name in `CONTROLS` of the arguments; None for "none". Arguments as for `OtherSentence`."""
    if name == "none":
        return None
    if name == "other-sentence":
        return OtherSentence(seed, spans, shares, documents)
    return {"shuffled": Shuffled, "random": Random}[name](seed)
