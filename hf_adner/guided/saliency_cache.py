"""Cache of local maps of earlier visits, by window and entity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DECAY = 0.7
"""Weight of what was remembered against a new map, and of the global table's statistics from epoch to epoch."""

FIRST_VARIANCE = 0.5
"""Perturbation variance of a map that is assumed before any was measured, in squared log attributions."""

Key = tuple[int, int]


class SaliencyCache:
    """Maps by (window, entity): remembered ones, which stay as they are during an epoch, and the epoch's new ones.

    New maps are blended into the remembered ones by `advance`, in the order of their keys, so that neither the order of
    visits nor the number of processes matters.
    """

    def __init__(self) -> None:
        self.remembered: dict[Key, Memory] = {}
        self.pending: dict[Key, Observation] = {}

    def __len__(self) -> int:
        """Entities with a remembered map."""
        return len(self.remembered)

    def observe(self, key: Key, logs: np.ndarray, variance: float) -> None:
        """Take note of a map; it is remembered from the next epoch on."""
        self.pending[key] = Observation(np.asarray(logs, dtype=np.float32), float(variance))

    def join(self, others: Iterable[Mapping[Key, Observation]]) -> None:
        """Add what other processes observed."""
        for other in others:
            self.pending.update(other)

    def advance(self) -> Iterator[tuple[Key, Observation]]:
        """End an epoch: weights decay, new maps are remembered; they come back, sorted by key."""
        for key, memory in self.remembered.items():
            self.remembered[key] = memory._replace(weight=memory.weight * DECAY)
        pending, self.pending = self.pending, {}
        for key in sorted(pending):
            self.remembered[key] = blend(self.remembered.get(key), pending[key])
            yield key, pending[key]

    @property
    def mean_variance(self) -> float:
        """Mean of the measured perturbation variances."""
        measured = [memory.variance for memory in self.remembered.values() if not np.isnan(memory.variance)]
        return float(np.mean(measured)) if measured else FIRST_VARIANCE

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, Tensor]:
        """All of it as flat tensors."""
        memories, observations = self.remembered.values(), self.pending.values()
        return {
            **_packed("remembered", self.remembered, [one.mean for one in memories]),
            "remembered.variance": _doubles(one.variance for one in memories),
            "remembered.weight": _doubles(one.weight for one in memories),
            **_packed("pending", self.pending, [one.logs for one in observations]),
            "pending.variance": _doubles(one.variance for one in observations),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> SaliencyCache:
        """Inverse of `to_tensors`."""
        cache = cls()
        numbers = (tensors[f"remembered.{name}"].tolist() for name in ("variance", "weight"))
        cache.remembered = {key: Memory(*rest) for key, *rest in zip(*_unpacked("remembered", tensors), *numbers)}
        variances = tensors["pending.variance"].tolist()
        cache.pending = {key: Observation(*rest) for key, *rest in zip(*_unpacked("pending", tensors), variances)}
        return cache


class Memory(NamedTuple):
    """Averages over the maps of an entity.

    Attributes:
        mean: (tokens,) float32, the moving average of its maps.
        variance: moving average of their perturbation variance, NaN if it was never measured.
        weight: how many of its maps the global table still holds; they decay.
    """

    mean: np.ndarray
    variance: float
    weight: float


class Observation(NamedTuple):
    """A new map of an entity.

    Attributes:
        logs: (tokens,) float32 log attributions.
        variance: half the mean squared difference to the map of a view, NaN where there was no view.
    """

    logs: np.ndarray
    variance: float


def blend(memory: Memory | None, seen: Observation) -> Memory:
    """Update the averages with another map."""
    if memory is None:
        return Memory(seen.logs, seen.variance, 1.0)
    mean = (DECAY * memory.mean + (1 - DECAY) * seen.logs).astype(np.float32)
    return Memory(mean, blended_variance(memory.variance, seen.variance), memory.weight + 1.0)


def blended_variance(old: float, new: float) -> float:
    """The moving average of a variance; a side that is NaN is left out."""
    if np.isnan(old) or np.isnan(new):
        return float(new if np.isnan(old) else old)
    return float(DECAY * old + (1 - DECAY) * new)


def _doubles(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def _packed(name: str, keys: Iterable[Key], maps: list[np.ndarray]) -> dict[str, Tensor]:
    flat = np.concatenate(maps) if maps else np.zeros(0, dtype=np.float32)
    return {
        f"{name}.keys": torch.tensor(list(keys), dtype=torch.int64).view(-1, 2),
        f"{name}.lengths": torch.tensor([len(one) for one in maps], dtype=torch.int64),
        f"{name}.maps": torch.from_numpy(flat.astype(np.float32)),
    }


def _unpacked(name: str, tensors: Mapping[str, Tensor]) -> tuple[list[Key], list[np.ndarray]]:
    ends = np.cumsum(tensors[f"{name}.lengths"].numpy())
    maps = np.split(tensors[f"{name}.maps"].numpy(), ends[:-1]) if len(ends) else []
    return [tuple(key) for key in tensors[f"{name}.keys"].tolist()], maps
