"""Records of changed texts and of cues, and their way through JSON."""

import json

import pytest

from hf_adner import Entity
from hf_adner.explain.explanation import Cue, Probe, as_ranges


def make_probe(**changes) -> Probe:
    values = {
        "perturbation": "punctuation",
        "kind": "label-preserving",
        "text": "四肢红斑;瘙痒",
        "entity": Entity(2, 4, "Symptom"),
        "edited": [[4, 5]],
        "before": 0.9,
        "after": 0.25,
    }
    return Probe(**{**values, **changes})


def test_a_probe_comes_back_from_json():
    probe = make_probe()
    assert probe.entity.text == "红斑" and probe.edited == ((4, 5),)
    assert Probe.from_dict(json.loads(json.dumps(probe.to_dict()))) == probe


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"entity": Entity(5, 9, "Symptom")}, "5-9 is empty or outside the changed text of 7"),
        ({"edited": [(3, 3)]}, "3-3 is empty"),
        ({"after": 1.5}, "after must lie in"),
        ({"before": float("nan")}, "before must lie in"),
    ],
)
def test_an_impossible_probe_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_probe(**changes)


def test_a_cue_comes_back_from_json():
    cue = Cue(2, 4, "left-edge", 1.5)
    assert Cue.from_dict(json.loads(json.dumps(cue.to_dict()))) == cue
    for values in ((2, 2, "middle", 1.0), (-1, 2, "middle", 1.0), (0, 1, "middle", float("inf"))):
        with pytest.raises(ValueError, match="a cue needs"):
            Cue(*values)


def test_neighbouring_places_become_ranges():
    assert as_ranges([]) == ()
    assert as_ranges([0, 1, 4, 6, 7, 8]) == ((0, 2), (4, 5), (6, 9))
