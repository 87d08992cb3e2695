"""Boundary F1 of spans, and agreement, sensitivity and attribution mass of explanations at entity boundaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

import hf_adner.metrics.boundary as boundary_module
import hf_adner.metrics.boundary_f1 as boundary_f1_module
from hf_adner.metrics.boundary import (
    Boundary,
    boundary,
    boundary_agreement,
    boundary_mass,
    boundary_sensitivity,
    boundary_sensitivity_ratio,
    boundary_window,
)
from hf_adner.metrics.boundary_f1 import BoundaryF1, boundary_f1
from hf_adner.metrics.entity_f1 import entity_f1

GENERATOR = np.random.default_rng(0)
LENGTHS, SPANS = (9, 20, 6), [(0, 2), (8, 12), (4, 6)]
START, START_EFFECTS, END, END_EFFECTS = ([GENERATOR.random(length).tolist() for length in LENGTHS] for _ in range(4))


def test_window_is_clipped_to_the_text():
    windows = [boundary_window(span, length) for span, length in zip(SPANS, LENGTHS)]
    assert windows == [slice(0, 5), slice(5, 15), slice(1, 6)]


def test_agreement_is_spearman_over_the_window():
    scores = boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS)
    windows = [slice(0, 5), slice(5, 15), slice(1, 6)]
    starts = [spearmanr(a[w], b[w]).statistic for a, b, w in zip(START, START_EFFECTS, windows)]
    ends = [spearmanr(a[w], b[w]).statistic for a, b, w in zip(END, END_EFFECTS, windows)]
    assert (scores["start_agreement"], scores["end_agreement"]) == pytest.approx((np.mean(starts), np.mean(ends)))
    assert scores["agreement"] == pytest.approx(np.mean(starts + ends))
    assert scores["per_entity"] == pytest.approx(np.mean([starts, ends], axis=0))
    assert (scores["entities"], scores["constant"]) == (3, 0.0)


def test_effects_may_be_those_of_the_window_alone():
    cut = [[row[boundary_window(span, len(row))] for row, span in zip(e, SPANS)] for e in (START_EFFECTS, END_EFFECTS)]
    whole = boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS)
    assert boundary_agreement(START, cut[0], END, cut[1], SPANS) == whole


def test_values_outside_the_window_are_ignored():
    far = [list(row) for row in START]
    far[0][6:], far[1][:5] = [9.0] * 3, [9.0] * 5
    before, after = (boundary_agreement(maps, START_EFFECTS, END, END_EFFECTS, SPANS) for maps in (START, far))
    assert after == before


def test_agreement_at_its_limits():
    same = boundary_agreement(START, START, END, END, SPANS)
    assert same["agreement"] == pytest.approx(1)
    negated = boundary_agreement(START, [[-v for v in row] for row in START], END, END, SPANS)
    assert (negated["start_agreement"], negated["end_agreement"]) == pytest.approx((-1, 1))
    constant = boundary_agreement([[0.5] * 9], [START[0]], [[0.0] * 9], [END[0]], SPANS[:1])
    assert (constant["agreement"], constant["constant"]) == (0, 1)


def test_agreement_without_entities_is_nan():
    assert np.isnan(boundary_agreement([], [], [], [], [])["agreement"])


def test_rows_must_fit_their_text():
    with pytest.raises(ValueError, match=r"start_effects\[0\] must hold 5 numbers, found 4"):
        boundary_agreement(START[:1], [[1, 2, 3, 4]], END[:1], END_EFFECTS[:1], SPANS[:1])
    with pytest.raises(ValueError, match="0 <= start < end <= 9"):
        boundary_agreement(START[:1], START_EFFECTS[:1], END[:1], END_EFFECTS[:1], [(8, 10)])
    with pytest.raises(ValueError, match="spans 2"):
        boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS[:2])


def test_known_sensitivity():
    scores = boundary_sensitivity([0.9, 0.5], [0.5, 0.9])
    assert scores["log_odds"] == pytest.approx([np.log(9), -np.log(9)])
    assert scores["probability"] == pytest.approx([0.4, -0.4])


def test_sensitivity_of_certainties_is_finite():
    assert boundary_sensitivity([1.0], [0.0])["log_odds"] == pytest.approx(2 * np.log(1e6), abs=1e-4)


def test_sensitivity_needs_probabilities():
    with pytest.raises(ValueError, match="masked must lie in"):
        boundary_sensitivity([0.5], [1.5])


def test_known_ratios_and_limits():
    assert boundary_sensitivity_ratio([3, 1, 0, -2, 2], [1, 1, 0, 1, -5]) == pytest.approx(
        [0.75, 0.5, 0, 0, 1], abs=1e-6
    )


def test_known_mass():
    scores = boundary_mass([[1, 2, 3, 0, 4, 0, 0, 0, 0, 0], [5, -5]], [(1, 4), (0, 1)])
    # characters 0, 1, 3, 4 have 7 of 10; in the second text 0 and 1 have all
    assert scores["per_entity"] == [(pytest.approx(0.7), pytest.approx(1.75)), (1, 1)]
    assert (scores["mass"], scores["lift"]) == pytest.approx((0.85, 1.375))


def test_constant_map_has_lift_1_and_zero_map_0():
    assert boundary_mass([[2] * 8], [(2, 3)])["per_entity"] == [(pytest.approx(3 / 8), pytest.approx(1))]
    assert boundary_mass([[0] * 8], [(2, 3)])["per_entity"] == [(0, 0)]


def test_metric_equals_the_functions(load):
    columns = {"predictions": START, "references": START_EFFECTS, "end_predictions": END, "end_references": END_EFFECTS}
    scores = load(boundary_module, Boundary).compute(**columns, spans=SPANS, maps=START)
    mass = boundary_mass(START, SPANS)
    expected = boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS)
    assert scores == {**expected, "mass": mass["mass"], "lift": mass["lift"]}
    assert boundary(START, START_EFFECTS, END, END_EFFECTS, SPANS) == expected


LABELLED_SPANS = st.lists(
    st.builds(
        lambda start, size, label: (start, start + size, label),
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from("ab"),
    ),
    max_size=6,
)
CORPORA = st.lists(st.tuples(LABELLED_SPANS, LABELLED_SPANS), max_size=4)
SCORES = ("precision", "recall", "f1", "correct", "predicted", "support")


def f1s(scores):
    return {edge: scores[edge]["f1"] for edge in ("start", "end", "both")}


@pytest.mark.parametrize(
    ("predicted", "untyped", "typed"),
    [
        ((1, 4, "a"), (1, 1, 1), (1, 1, 1)),
        ((1, 4, "b"), (1, 1, 1), (0, 0, 0)),
        ((1, 3, "a"), (1, 0, 0), (1, 0, 0)),
        ((2, 4, "b"), (0, 1, 0), (0, 0, 0)),
        ((4, 9, "a"), (0, 0, 0), (0, 0, 0)),  # the end of gold is not a start
    ],
)
def test_each_edge_is_scored_separately(predicted, untyped, typed):
    scores = boundary_f1([[predicted]], [[(1, 4, "a")]])
    assert tuple(f1s(scores["untyped"]).values()) == untyped
    assert tuple(f1s(scores["typed"]).values()) == typed


def test_correct_edges_of_different_entities_are_not_a_pair():
    scores = boundary_f1([[(0, 5, "a")]], [[(0, 2, "a"), (3, 5, "a")]])["untyped"]
    assert [scores[edge]["correct"] for edge in ("start", "end", "both")] == [1, 1, 0]


def test_nested_entities_with_one_start_have_two_starts():
    scores = boundary_f1([[(0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])
    assert scores["untyped"]["start"]["recall"] == 0.5
    assert boundary_f1([[(0, 2, "b"), (0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])["typed"]["both"]["f1"] == 1.0


@given(documents=CORPORA)
def test_typed_score_of_both_edges_is_strict_entity_f1(documents):
    predicted, gold = [p for p, _ in documents], [g for _, g in documents]
    entities = entity_f1(predicted, gold)
    assert boundary_f1(predicted, gold)["typed"]["both"] == {name: entities[name] for name in SCORES}


@given(documents=CORPORA)
def test_stricter_scores_are_never_higher(documents):
    scores = boundary_f1([p for p, _ in documents], [g for _, g in documents])
    for edge in ("start", "end", "both"):
        assert scores["typed"][edge]["correct"] <= scores["untyped"][edge]["correct"]
    for kind in ("typed", "untyped"):
        assert scores[kind]["both"]["correct"] <= min(scores[kind][edge]["correct"] for edge in ("start", "end"))


def test_zero_division_without_spans():
    assert set(f1s(boundary_f1([[]], [[]])["untyped"]).values()) == {0.0}
    assert set(f1s(boundary_f1([[]], [[]], zero_division=1)["typed"]).values()) == {1.0}


def test_different_numbers_of_documents_raise():
    with pytest.raises(ValueError, match="predictions cover 0 documents, references 1"):
        boundary_f1([], [[]])


def test_f1_metric_equals_the_function(load):
    gold, predicted = [[(0, 2, "a")], [(1, 3, "b")]], [[(0, 2, "b")], []]
    scores = load(boundary_f1_module, BoundaryF1).compute(predictions=predicted, references=gold)
    assert scores == boundary_f1(predicted, gold)
