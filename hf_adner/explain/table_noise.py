"""How noisy local maps are, and how far a global table is off from them: what a fusion needs to know of a corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_adner.explain.roles import ROLES


@dataclass(frozen=True)
class TableNoise:
    """Estimates over the entities of a corpus, in squared log attributions.

    Attributes:
        local_variance: mean perturbation variance of the local maps (s2), 0 or more.
        tau2: by role of `ROLES` the squared error of the table beyond s2 and the variance of its own means; an unbiased
            estimate, so that it may be a little below 0 where the table is not off at all.
        entities: how many were looked at, 1 or more.

    Raises:
        ValueError: not one finite number per role, a variance below 0, or no entities.
    """

    local_variance: float
    tau2: tuple[float, ...]
    entities: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tau2", tuple(map(float, self.tau2)))
        if len(self.tau2) != len(ROLES) or not all(map(math.isfinite, self.tau2)):
            raise ValueError(f"tau2 must be {len(ROLES)} finite numbers, one for each of {ROLES}")
        if not 0 <= self.local_variance < math.inf:
            raise ValueError(f"local_variance must be finite and 0 or more, found {self.local_variance!r}")
        if self.entities < 1:
            raise ValueError(f"noise must be estimated on at least one entity, found {self.entities!r}")

    def merged(self, other: TableNoise | None) -> TableNoise:
        """The mean of two estimates, weighted by their entities."""
        if other is None:
            return self
        total = self.entities + other.entities
        mine, theirs = self.entities / total, other.entities / total
        return TableNoise(
            mine * self.local_variance + theirs * other.local_variance,
            tuple(mine * one + theirs * two for one, two in zip(self.tau2, other.tau2)),
            total,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "local_variance": self.local_variance,
            "tau2": dict(zip(ROLES, self.tau2)),
            "entities": self.entities,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TableNoise:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(values["local_variance"], tuple(values["tau2"][role] for role in ROLES), values["entities"])


def merge_noise(estimates: Sequence[TableNoise | None]) -> TableNoise | None:
    """One estimate of several; None where there is none."""
    merged: TableNoise | None = None
    for one in estimates:
        merged = merged if one is None else one.merged(merged)
    return merged
