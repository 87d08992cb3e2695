"""The part that each character plays for an entity."""

from __future__ import annotations

import numpy as np

ROLES = ("left-context", "left-edge", "middle", "right-edge", "right-context")
"""Before the entity, its first character, between, its last character, behind it."""

LEFT_CONTEXT, LEFT_EDGE, MIDDLE, RIGHT_EDGE, RIGHT_CONTEXT = range(len(ROLES))


def character_roles(length: int, start: int, end: int) -> np.ndarray:
    """Roles of all characters of a text.

    Args:
        length: characters of the text.
        start, end: the entity, end exclusive. Of an entity of one character, that is the left edge.

    Returns:
        (length,) int64, indices of `ROLES`.

    Raises:
        ValueError: an entity that is empty or outside the text.
    """
    if not 0 <= start < end <= length:
        raise ValueError(f"entity {start}-{end} is empty or outside the text of {length} characters")
    roles = np.full(length, MIDDLE, dtype=np.int64)
    roles[:start] = LEFT_CONTEXT
    roles[end:] = RIGHT_CONTEXT
    roles[end - 1] = RIGHT_EDGE
    roles[start] = LEFT_EDGE
    return roles
