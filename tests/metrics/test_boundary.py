import numpy as np
import pytest
from scipy.stats import spearmanr

import hf_adner.metrics.boundary as module
from hf_adner.metrics.boundary import (
    Boundary,
    boundary_agreement,
    boundary_mass,
    boundary_sensitivity,
    boundary_sensitivity_ratio,
    boundary_window,
)

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
    scores = load(module, Boundary).compute(
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
