"""Roles of characters."""

import numpy as np
import pytest

from hf_adner import Entity, Explanation
from hf_adner.explain.cells import ROLES, character_roles


@pytest.mark.parametrize(
    ("length", "start", "end", "expected"),
    [
        (6, 1, 5, [0, 1, 2, 2, 3, 4]),
        (4, 1, 3, [0, 1, 3, 4]),
        (3, 1, 2, [0, 1, 4]),
        (1, 0, 1, [1]),
        (2, 0, 2, [1, 3]),
    ],
)
def test_roles(length, start, end, expected):
    assert character_roles(length, start, end).tolist() == expected


def test_an_explanation_sums_over_the_same_roles():
    scores = np.arange(1.0, 8.0)
    for start in range(7):
        for end in range(start + 1, 8):
            one = Explanation("红斑伴瘙痒三年", Entity(start, end, "Disease"), tuple(scores), "m", "label", 0.0)
            roles = character_roles(7, start, end)
            assert one.by_role() == {role: scores[roles == number].sum() for number, role in enumerate(ROLES)}


@pytest.mark.parametrize(("start", "end"), [(2, 2), (-1, 2), (0, 4), (3, 1)])
def test_bad_entities(start, end):
    with pytest.raises(ValueError, match=f"entity {start}-{end} is empty or outside the text of 3"):
        character_roles(3, start, end)
