"""Cues from a global table."""

import pytest

from hf_adner import Entity, Explanation
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.probes import add_cues

SEEN = "伴红斑。"


@pytest.fixture
def table():
    found = GlobalTable()
    for number in range(8):
        found.add(SEEN, (1, 3, "Symptom"), [1.0, 2.0, 0.5, -2.0], document=f"d{number}")
    return found


def explained(text, start, end, label="Symptom"):
    return Explanation(text, Entity(start, end, label), [0.0] * len(text), "lime", "label", 0.0)


def test_known_characters_in_their_roles_are_cues(table):
    first, second = add_cues(table, [[explained("常伴红块。", 2, 4)], [explained("伴红斑", 1, 3, "Drug")]])
    assert [(cue.start, cue.role) for cue in first[0].cues] == [(2, "left-edge"), (1, "left-context")]
    assert first[0].cues[0].score > first[0].cues[1].score > 0
    assert second[0].cues == ()  # a label of which the table knows nothing


def test_as_many_cues_as_asked_for(table):
    assert len(add_cues(table, [[explained(SEEN, 1, 3)]], most=1)[0][0].cues) == 1
    assert add_cues(table, [[], []]) == [[], []]
