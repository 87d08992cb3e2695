"""Agreement of two annotators against brute force, and its symmetry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.metrics.agreement import MEASURES, Agreement, agreement, character_tables, cohen_kappa
from hf_adner.metrics.boundary_f1 import boundary_f1
from hf_adner.metrics.entity_f1 import entity_f1

LENGTH = 12
SPAN = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 4), st.sampled_from("ABC")).map(
    lambda drawn: (drawn[0], min(drawn[0] + drawn[1], LENGTH), drawn[2])
)
SIDES = st.lists(st.tuples(st.lists(SPAN, max_size=4), st.lists(SPAN, max_size=4)), min_size=1, max_size=4)


def kappa_of_choices(first, second):
    """By its definition, over two lists of choices."""
    categories = set(first) | set(second)
    observed = np.mean([one == other for one, other in zip(first, second)])
    expected = sum(first.count(one) * second.count(one) for one in categories) / len(first) ** 2
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def choices(documents):
    return [
        frozenset(label for start, end, label in spans if start <= place < end)
        for spans in documents
        for place in range(LENGTH)
    ]


@given(SIDES)
def test_values_are_those_of_the_metrics_and_of_the_definition(sides):
    first, second = ([list(spans) for spans in side] for side in zip(*sides))
    found = agreement(first, second, [LENGTH] * len(sides), resamples=2)
    values = {name: found["all"][name]["value"] for name in MEASURES}
    if any(first) or any(second):
        edges = boundary_f1(first, second)["untyped"]
        assert values["entity_f1"] == pytest.approx(entity_f1(first, second)["f1"])
        assert values["start_f1"] == pytest.approx(edges["start"]["f1"])
        assert values["end_f1"] == pytest.approx(edges["end"]["f1"])
        assert values["boundary_f1"] == pytest.approx(edges["both"]["f1"])
    assert values["kappa"] == pytest.approx(kappa_of_choices(choices(first), choices(second)))
    for label, row in found["per_label"].items():
        ours, theirs = ([[s for s in spans if s[2] == label] for spans in side] for side in (first, second))
        assert row["entity_f1"]["value"] == pytest.approx(entity_f1(ours, theirs)["f1"])
        assert row["kappa"]["value"] == pytest.approx(kappa_of_choices(choices(ours), choices(theirs)))


@given(SIDES)
def test_it_does_not_matter_who_is_first(sides):
    first, second = zip(*sides)
    one = agreement(first, second, [LENGTH] * len(sides), resamples=3)
    other = agreement(second, first, [LENGTH] * len(sides), resamples=3)
    assert (one["all"]["first"], one["all"]["second"]) == (other["all"]["second"], other["all"]["first"])
    for name in MEASURES:
        assert one["all"][name] == pytest.approx(other["all"][name])


def test_kappa_of_tables():
    assert cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert cohen_kappa([[0, 5], [5, 0]]) == pytest.approx(-1) and cohen_kappa([[7, 0], [0, 0]]) == 1.0
    assert cohen_kappa([[25, 25], [25, 25]]) == pytest.approx(0) and cohen_kappa([[0]]) == 1.0


def test_intervals_are_over_documents():
    first, second = [[(0, 2, "A")]] * 8, [[(0, 2, "A")]] * 4 + [[(0, 3, "A")]] * 4
    row = agreement(first, second, [9] * 8)["all"]["entity_f1"]
    assert row["value"] == 0.5 and 0 < row["low"] < 0.5 < row["high"] < 1
    again = agreement(first, second, [9] * 8)["all"]["entity_f1"]
    assert again == row != agreement(first, second, [9] * 8, seed=1, resamples=50)["all"]["entity_f1"]
    same = agreement(first, first, [9] * 8)["all"]
    assert all(same[name]["low"] == same[name]["value"] == 1 for name in MEASURES)


def test_a_character_counts_once_with_all_its_labels():
    tables = character_tables([([(0, 3, "A"), (1, 2, "B")], [(0, 3, "A")])], [4])
    assert tables.sum() == 4 and sorted(tables[tables > 0].tolist()) == [1, 1, 2]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="document 1: span 0-9 is outside the text of 4 characters"):
        agreement([[], [(0, 9, "A")]], [[], []], [4, 4])
    with pytest.raises(ValueError):
        agreement([], [], [])
    with pytest.raises(ValueError):
        agreement([[]], [[]], [4, 4])


def test_the_metric_is_the_function():
    rows = [[{"start": 0, "end": 2, "label": "A"}], []]
    found = Agreement().compute(predictions=rows, references=rows[::-1], lengths=[4, 4], resamples=5)
    assert found["all"]["entity_f1"]["value"] == 0 and found["characters"] == 8
