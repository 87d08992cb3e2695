from pathlib import Path

import evaluate
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

import hf_adner.metrics.boundary as boundary_module
import hf_adner.metrics.boundary_f1 as boundary_f1_module
from hf_adner.metrics.boundary import (
    Boundary,
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


def test_the_window_ends_at_the_text():
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


def test_effects_of_the_window_alone_will_do():
    cut = [[row[boundary_window(span, len(row))] for row, span in zip(e, SPANS)] for e in (START_EFFECTS, END_EFFECTS)]
    whole = boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS)
    assert boundary_agreement(START, cut[0], END, cut[1], SPANS) == whole


def test_what_lies_outside_the_window_does_not_count():
    far = [list(row) for row in START]
    far[0][6:], far[1][:5] = [9.0] * 3, [9.0] * 5
    before, after = (boundary_agreement(maps, START_EFFECTS, END, END_EFFECTS, SPANS) for maps in (START, far))
    assert after == before


def test_limits():
    same = boundary_agreement(START, START, END, END, SPANS)
    assert same["agreement"] == pytest.approx(1)
    turned = boundary_agreement(START, [[-v for v in row] for row in START], END, END, SPANS)
    assert (turned["start_agreement"], turned["end_agreement"]) == pytest.approx((-1, 1))
    constant = boundary_agreement([[0.5] * 9], [START[0]], [[0.0] * 9], [END[0]], SPANS[:1])
    assert (constant["agreement"], constant["constant"]) == (0, 1)


def test_no_entities_have_no_mean():
    assert np.isnan(boundary_agreement([], [], [], [], [])["agreement"])


def test_rows_must_fit_their_text():
    with pytest.raises(ValueError, match=r"start_effects\[0\] must hold 5 numbers, found 4"):
        boundary_agreement(START[:1], [[1, 2, 3, 4]], END[:1], END_EFFECTS[:1], SPANS[:1])
    with pytest.raises(ValueError, match="0 <= start < end <= 9"):
        boundary_agreement(START[:1], START_EFFECTS[:1], END[:1], END_EFFECTS[:1], [(8, 10)])
    with pytest.raises(ValueError, match="spans 2"):
        boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS[:2])


def test_sensitivity_by_hand():
    scores = boundary_sensitivity([0.9, 0.5], [0.5, 0.9])
    assert scores["log_odds"] == pytest.approx([np.log(9), -np.log(9)])
    assert scores["probability"] == pytest.approx([0.4, -0.4])


def test_sensitivity_of_certainties_is_finite():
    assert boundary_sensitivity([1.0], [0.0])["log_odds"] == pytest.approx(2 * np.log(1e6), abs=1e-4)


def test_probabilities_are_wanted():
    with pytest.raises(ValueError, match="masked must lie in"):
        boundary_sensitivity([0.5], [1.5])


def test_ratio_by_hand_and_at_its_limits():
    assert boundary_sensitivity_ratio([3, 1, 0, -2, 2], [1, 1, 0, 1, -5]) == pytest.approx(
        [0.75, 0.5, 0, 0, 1], abs=1e-6
    )


def test_mass_by_hand():
    scores = boundary_mass([[1, 2, 3, 0, 4, 0, 0, 0, 0, 0], [5, -5]], [(1, 4), (0, 1)])
    # characters 0, 1, 3, 4 hold 7 of 10; in the second text 0 and 1 hold all
    assert scores["per_entity"] == [(pytest.approx(0.7), pytest.approx(1.75)), (1, 1)]
    assert (scores["mass"], scores["lift"]) == pytest.approx((0.85, 1.375))


def test_a_constant_map_has_lift_one_and_a_zero_map_none():
    assert boundary_mass([[2] * 8], [(2, 3)])["per_entity"] == [(pytest.approx(3 / 8), pytest.approx(1))]
    assert boundary_mass([[0] * 8], [(2, 3)])["per_entity"] == [(0, 0)]


def test_metric_gives_what_the_functions_give(load):
    scores = load(boundary_module, Boundary).compute(
        predictions=START,
        references=START_EFFECTS,
        end_predictions=END,
        end_references=END_EFFECTS,
        spans=SPANS,
        maps=START,
    )
    mass = boundary_mass(START, SPANS)
    expected = boundary_agreement(START, START_EFFECTS, END, END_EFFECTS, SPANS)
    assert scores == {**expected, "mass": mass["mass"], "lift": mass["lift"]}


BOUNDARY_F1_SPANS = st.lists(
    st.builds(
        lambda start, size, label: (start, start + size, label),
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from("ab"),
    ),
    max_size=6,
)
CORPORA = st.lists(st.tuples(BOUNDARY_F1_SPANS, BOUNDARY_F1_SPANS), max_size=4)
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
        ((4, 9, "a"), (0, 0, 0), (0, 0, 0)),  # the end of gold is no start
    ],
)
def test_each_edge_by_itself(predicted, untyped, typed):
    scores = boundary_f1([[predicted]], [[(1, 4, "a")]])
    assert tuple(f1s(scores["untyped"]).values()) == untyped
    assert tuple(f1s(scores["typed"]).values()) == typed


def test_right_edges_of_different_entities_are_no_pair():
    scores = boundary_f1([[(0, 5, "a")]], [[(0, 2, "a"), (3, 5, "a")]])["untyped"]
    assert [scores[edge]["correct"] for edge in ("start", "end", "both")] == [1, 1, 0]


def test_nested_entities_at_one_start_are_two_starts():
    scores = boundary_f1([[(0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])
    assert scores["untyped"]["start"]["recall"] == 0.5
    assert boundary_f1([[(0, 2, "b"), (0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])["typed"]["both"]["f1"] == 1.0


@given(documents=CORPORA)
def test_typed_score_of_both_edges_is_the_strict_entity_f1(documents):
    predicted, gold = [p for p, _ in documents], [g for _, g in documents]
    entities = entity_f1(predicted, gold)
    assert boundary_f1(predicted, gold)["typed"]["both"] == {name: entities[name] for name in SCORES}


@given(documents=CORPORA)
def test_asking_for_more_never_scores_more(documents):
    scores = boundary_f1([p for p, _ in documents], [g for _, g in documents])
    for edge in ("start", "end", "both"):
        assert scores["typed"][edge]["correct"] <= scores["untyped"][edge]["correct"]
    for kind in ("typed", "untyped"):
        assert scores[kind]["both"]["correct"] <= min(scores[kind][edge]["correct"] for edge in ("start", "end"))


def test_zero_division_without_any_span():
    assert set(f1s(boundary_f1([[]], [[]])["untyped"]).values()) == {0.0}
    assert set(f1s(boundary_f1([[]], [[]], zero_division=1)["typed"]).values()) == {1.0}


def test_unpaired_documents_are_refused():
    with pytest.raises(ValueError, match="predictions cover 0 documents, references 1"):
        boundary_f1([], [[]])


@pytest.mark.parametrize("load", ["class", "path"])
def test_metric_gives_what_the_function_gives(load, tmp_path):
    source, cache = str(Path(boundary_f1_module.__file__)), str(tmp_path)
    metric = BoundaryF1(cache_dir=cache) if load == "class" else evaluate.load(source, cache_dir=cache)
    gold, predicted = [[(0, 2, "a")], [(1, 3, "b")]], [[(0, 2, "b")], []]
    assert metric.compute(predictions=predicted, references=gold) == boundary_f1(predicted, gold)
