"""What a global table knows of the characters around an entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hf_adner.explain.evidence import Cue
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.global_table import GlobalTable, TableEntry
from hf_adner.explain.roles import ROLES, character_roles

DEFAULT_CUES = 8
OBSERVED = 1.0
"""Observations from which on the table itself speaks, and not what it backs off to."""


def add_cues(
    table: GlobalTable, explanations: Sequence[Sequence[Explanation]], most: int = DEFAULT_CUES
) -> list[list[Explanation]]:
    """Give explanations the characters of their text that usually matter most for their label in that role.

    Args:
        table: of the model that is explained.
        explanations: per text those of its entities.
        most: cues of an entity at most.

    Returns:
        The same explanations with `cues`, the strongest first; none for characters that the table never saw in the
        role, or that matter less than an average character.
    """
    flat = [one for ones in explanations for one in ones]
    spans = [(one.entity.start, one.entity.end, one.entity.label) for one in flat]
    entries = iter(table.lookup_many([one.text for one in flat], spans))
    return [[replace(one, cues=_cues(one, next(entries), most)) for one in ones] for ones in explanations]


def _cues(explanation: Explanation, entry: TableEntry, most: int) -> tuple[Cue, ...]:
    roles = character_roles(len(explanation.text), explanation.entity.start, explanation.entity.end)
    known = np.where(entry.count >= OBSERVED, entry.mean, -np.inf)  # (length,)
    best = [int(place) for place in np.argsort(-known, kind="stable")[:most] if known[place] > 0]
    return tuple(Cue(place, place + 1, ROLES[roles[place]], float(entry.mean[place])) for place in best)
