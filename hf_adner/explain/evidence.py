"""What stands beside an entity's scores: how it fares in changed texts, and what a whole corpus says of its text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hf_adner.data.records import Entity


@dataclass(frozen=True)
class Probe:
    """One entity in one changed text.

    Attributes:
        perturbation: readable name of what changed the text (`hf_adner.perturb.registry.PERTURBATIONS`).
        kind: ``label-preserving`` or ``boundary`` (an edit at the entity's edge: its label need not hold).
        text: the changed text.
        entity: where the entity stands in it.
        edited: ranges (start, end) of the changed text that are not as they were.
        before, after: posterior of exactly this span and label in the original and in the changed text, in [0, 1].

    Raises:
        ValueError: an entity or a range outside the text, or a number outside [0, 1].
    """

    perturbation: str
    kind: str
    text: str
    entity: Entity
    edited: tuple[tuple[int, int], ...]
    before: float
    after: float

    def __post_init__(self) -> None:
        entity = self.entity
        object.__setattr__(self, "edited", tuple((start, end) for start, end in self.edited))
        for start, end in ((entity.start, entity.end), *self.edited):
            if not 0 <= start < end <= len(self.text):
                raise ValueError(f"{start}-{end} is empty or outside the changed text of {len(self.text)} characters")
        for name in ("before", "after"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in [0, 1], found {value!r}")
        span = Entity(entity.start, entity.end, entity.label, self.text[entity.start : entity.end])
        object.__setattr__(self, "entity", span)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        entity = self.entity
        return {
            "perturbation": self.perturbation,
            "kind": self.kind,
            "text": self.text,
            "entity": {"start": entity.start, "end": entity.end, "label": entity.label},
            "edited": [list(one) for one in self.edited],
            "before": self.before,
            "after": self.after,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Probe:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        entity = values["entity"]
        span = Entity(entity["start"], entity["end"], entity["label"])
        plain = ("perturbation", "kind", "text", "before", "after")
        edited = tuple((start, end) for start, end in values["edited"])
        return cls(entity=span, edited=edited, **{name: values[name] for name in plain})


@dataclass(frozen=True)
class Cue:
    """Characters of the text that a corpus knows as a sign of the entity's type.

    Attributes:
        start, end: the characters, end exclusive.
        role: where they stand, one of `hf_adner.explain.roles.ROLES`.
        score: mean log attribution in the corpus; above 0 means more than an average character of its text.

    Raises:
        ValueError: an empty range, or a score that is not finite.
    """

    start: int
    end: int
    role: str
    score: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end or not math.isfinite(self.score):
            raise ValueError(f"a cue needs 0 <= start < end and a finite score, found {self.start}-{self.end}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"start": self.start, "end": self.end, "role": self.role, "score": self.score}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cue:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(values["start"], values["end"], values["role"], float(values["score"]))


def as_ranges(places: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Sorted places as ranges (start, end) of neighbours."""
    ranges: list[tuple[int, int]] = []
    for place in places:
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return tuple(ranges)
