"""The explanation record with its sums, probes and cues, and its JSON file."""

import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import Entity, Explanation
from hf_adner.explain.explanation import Cue, Probe, WordScore, as_ranges

TEXT = "四肢红斑，瘙痒"


def make(**changes) -> Explanation:
    values = {
        "text": TEXT,
        "entity": Entity(2, 4, "Disease"),
        "scores": [0.5, -1.0, 3, 0.25, 0, 0.125, 0],
        "method": "occlusion",
        "target": "label",
        "value": 2.5,
        "lexicon": [WordScore("", 5, 7, 1.5), WordScore("", 2, 4, -0.5)],
        "start_profile": [0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.0],
        "fusion_weights": {"local": [0.5] * 7},
        "stability": 0.75,
        "details": {"units": "characters", "list": [1, None, True]},
    }
    return Explanation(**{**values, **changes})


def test_fields_are_by_position():
    one = make()
    assert one.entity.text == "红斑" and one.scores == (0.5, -1.0, 3.0, 0.25, 0.0, 0.125, 0.0)
    assert one.lexicon == (("红斑", 2, 4, -0.5), ("瘙痒", 5, 7, 1.5))
    assert sum(one.shares) == pytest.approx(1) and one.shares[1] == pytest.approx(1 / 4.875)
    assert make(scores=[0] * 7).shares == (0.0,) * 7


def test_aggregate_top_and_roles():
    one = make()
    assert one.aggregate([(0, 2), (2, 4, "Disease")]) == [("四肢", 0, 2, -0.5), ("红斑", 2, 4, 3.25)]
    assert one.aggregate([(0, 2)], "max")[0].score == -1.0
    assert one.aggregate([(0, 2)], "mean")[0].score == -0.25
    assert [(span.start, span.score) for span in one.top(2)] == [(2, 3.0), (1, -1.0)]
    roles = {"left-context": -0.5, "left-edge": 3.0, "middle": 0.0, "right-edge": 0.25, "right-context": 0.125}
    assert one.by_role() == roles
    single = make(entity=Entity(2, 3, "Disease")).by_role()
    assert (single["left-edge"], single["middle"], single["right-edge"]) == (3.0, 0.0, 0.0)
    for span in ((2, 2), (-1, 2), (5, 8)):
        with pytest.raises(ValueError, match="empty or outside"):
            one.aggregate([span])
    with pytest.raises(ValueError, match="how must be"):
        one.aggregate([(0, 1)], "median")


def test_a_file_brings_back_the_record(tmp_path):
    path = tmp_path / "new" / "one.json"
    make().save(path)
    assert Explanation.load(path) == make()
    assert TEXT in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["one.json"]
    assert pickle.loads(pickle.dumps(make())) == make()


@given(
    st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_comes_back(tmp_path_factory, text, score):
    path = tmp_path_factory.mktemp("any") / "one.json"
    one = Explanation(text, Entity(0, len(text), "x"), [score] * len(text), "lime", "span", score)
    one.save(path)
    loaded = Explanation.load(path)
    assert loaded == one and len(loaded.text) == len(text)


def test_two_halves_of_a_pair_stay_two(tmp_path):
    text = "\ud83d\ude00😀"
    Explanation(text, Entity(0, 1, "x"), [0] * 3, "lime", "span", 0).save(tmp_path / "one.json")
    assert Explanation.load(tmp_path / "one.json").text == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entity": Entity(5, 8, "x")}, "entity 5-8 reaches outside the text of 7"),
        ({"scores": [1.0] * 6}, "scores has 6 numbers, the text 7 characters"),
        ({"scores": [math.nan] * 7}, "finite number, found 'nan'"),
        ({"scores": ["1"] * 7}, "finite number"),
        ({"end_profile": [0.0]}, "end_profile has 1"),
        ({"value": math.inf}, "value must be a finite"),
        ({"fusion_weights": {"local": [1.0]}}, "local has 1"),
        ({"lexicon": [("红", 6, 8, 1.0)]}, "lexicon word 6-8"),
    ],
)
def test_bad_records(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_details_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="plain JSON"):
        make(details={"x": object()}).save(tmp_path / "one.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"[]", "not an explanation"),
        (b'{"format": "x"}', "not an explanation"),
        (b'{"format": "hf_adner.explanation", "version": 99}', "version 99 is unknown"),
        (b'{"format": "hf_adner.explanation", "version": 1}', "lacks 'text'"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.json.*{message}"):
        Explanation.load(path)


@pytest.mark.parametrize(
    "change", [{"text": 3}, {"scores": None}, {"scores": [1]}, {"entity": []}, {"lexicon": [1]}, {"value": None}]
)
def test_damaged_records(tmp_path, change):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**make().to_dict(), **change}), encoding="utf-8")
    with pytest.raises(ValueError, match="bad.json"):
        Explanation.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Explanation.load(tmp_path / "none.json")


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
        ({"entity": Entity(5, 9, "Symptom")}, "5-9 is empty or outside the perturbed text of 7"),
        ({"edited": [(3, 3)]}, "3-3 is empty"),
        ({"after": 1.5}, "after must be in"),
        ({"before": float("nan")}, "before must be in"),
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
