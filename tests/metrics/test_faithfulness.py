"""Faithfulness (AOPC, bounds, soft) and infidelity from known probabilities and score changes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.faithfulness as faithfulness_module
import hf_adner.metrics.infidelity as infidelity_module
import hf_adner.metrics.soft_faithfulness as soft_faithfulness_module
from hf_adner.metrics.faithfulness import (
    Faithfulness,
    RemovalBeam,
    aopc,
    bounds_of_orderings,
    faithfulness,
    normalised_aopc,
    removal_counts,
)
from hf_adner.metrics.infidelity import Infidelity, infidelity
from hf_adner.metrics.soft_faithfulness import SoftFaithfulness, soft_faithfulness

FULL, WITHOUT, ONLY = [0.9, 0.6], [[0.8, 0.4], [0.6, 0.0]], [[0.1, 0.5], [0.6, 0.7]]


@pytest.mark.parametrize(
    ("length", "counts"), [(100, [1, 5, 10, 20, 50]), (30, [1, 2, 3, 6, 15]), (3, [1, 1, 1, 1, 2])]
)
def test_shares_are_rounded_up(length, counts):
    assert removal_counts(length) == counts


def test_share_of_zero_raises():
    with pytest.raises(ValueError, match="shares must lie in"):
        removal_counts(10, [0.0])


def test_known_areas():
    assert aopc(FULL, WITHOUT) == pytest.approx([0.3, 0.3])
    assert faithfulness(FULL, WITHOUT, ONLY) == {
        "comprehensiveness": pytest.approx(0.3),
        "sufficiency": pytest.approx((0.6 - 0.05) / 2),
        "entities": 2,
    }


def test_area_is_0_without_effect_and_1_for_full_loss():
    assert aopc([0.7, 1.0], [[0.7, 0.7], [0.0, 0.0]]).tolist() == [0, 1]


def test_known_normalised_areas():
    assert normalised_aopc([0.3, -0.1, 0.2], [[0.1, 0.5], [-0.1, 0.4], [0.2, 0.2]]) == pytest.approx([0.5, 0, 0.5])


def test_value_beyond_its_bounds_replaces_the_bound():
    assert normalised_aopc([0.6, 0.0], [[0.1, 0.5], [0.1, 0.5]]).tolist() == [1, 0]


def test_scale_and_offset_of_the_model_cancel():
    values, bounds = np.array([0.1, 0.3]), np.array([[0.0, 0.4], [0.2, 0.5]])
    assert normalised_aopc(values * 0.3 + 0.1, bounds * 0.3 + 0.1) == pytest.approx(normalised_aopc(values, bounds))


def test_faithfulness_without_entities_is_nan():
    assert np.isnan(faithfulness([], [], [])["comprehensiveness"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aopc([1.2], [[0.5]]), "full must lie in"),
        (lambda: aopc([0.2], [[float("nan")]]), "reduced must be finite"),
        (lambda: aopc([0.2], [[0.1], [0.1]]), "reduced must have the shape 1 x any, found 2 x 1"),
        (lambda: aopc([0.2], [[]]), "at least one step"),
        (lambda: normalised_aopc([0.2], [[0.3, 0.1]]), "found 1 of 1 the other way round"),
    ],
)
def test_invalid_probabilities_and_bounds_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_faithfulness_metric_equals_the_function(load):
    bounds = [[0.0, 0.5], [0.1, 0.9]]
    scores = load(faithfulness_module, Faithfulness).compute(
        predictions=FULL, without_top=WITHOUT, only_top=ONLY, comprehensiveness_bounds=bounds, sufficiency_bounds=bounds
    )
    assert scores == faithfulness(FULL, WITHOUT, ONLY, bounds, bounds)
    assert 0 <= scores["normalised_sufficiency"] <= 1


def random_model(seed, size):
    """Return a table: set of removed units -> probability."""
    generator = np.random.default_rng(seed)
    return {
        units: generator.random() for count in range(size + 1) for units in itertools.combinations(range(size), count)
    }


def run(beam, model):
    while not beam.finished:
        beam.accept([model[units] for units in beam.proposals])
    return beam.bound


def area(model, order, depths):
    return np.mean([model[()] - model[tuple(sorted(order[:depth]))] for depth in depths])


@pytest.mark.parametrize("depths", [None, [1, 1, 3], [2], [4, 2]])
@given(seed=st.integers(0, 50))
def test_wide_beam_finds_the_bounds_of_all_orderings(depths, seed):
    model = random_model(seed, 4)
    areas = [area(model, order, depths or [1, 2, 3, 4]) for order in itertools.permutations(range(4))]
    high, low = (run(RemovalBeam(model[()], 4, 16, highest, depths), model) for highest in (True, False))
    assert (low, high) == pytest.approx((min(areas), max(areas)))


@given(seed=st.integers(0, 50), width=st.integers(1, 3))
def test_narrow_beam_has_the_area_of_its_ordering_inside_the_bounds(seed, width):
    model = random_model(seed, 5)
    beam = RemovalBeam(model[()], 5, width)
    bound = run(beam, model)
    assert bound == pytest.approx(area(model, beam.beams[0].units, range(1, 6)))
    assert bound <= run(RemovalBeam(model[()], 5, 99), model) + 1e-12


def test_additive_model_is_solved_at_width_1():
    weights = [0.05, 0.3, 0.1, 0.2]
    model = {units: 0.9 - sum(weights[unit] for unit in units) for units in random_model(0, 4)}
    beam = RemovalBeam(0.9, 4, width=1)
    run(beam, model)
    assert beam.beams[0].units == (1, 3, 2, 0)


def test_each_set_is_proposed_once():
    beam = RemovalBeam(0.5, 3, width=9)
    assert beam.proposals == [(0,), (1,), (2,)]
    beam.accept([0.1, 0.2, 0.3])
    assert beam.proposals == [(0, 1), (0, 2), (1, 2)]


def test_search_has_a_bound_only_at_its_end():
    beam = RemovalBeam(0.5, 1)
    with pytest.raises(RuntimeError, match="depth 0 of 1"):
        _ = beam.bound
    beam.accept([0.2])
    assert beam.bound == pytest.approx(0.3)
    with pytest.raises(RuntimeError, match="finished at depth 1"):
        beam.accept([])


def test_bounds_of_given_orderings():
    assert bounds_of_orderings(0.8, [[0.8, 0.4], [0.2, 0.0], [0.6, 0.6]]) == pytest.approx((0.2, 0.7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RemovalBeam(1.5, 3), "full must lie in"),
        (lambda: RemovalBeam(0.5, 0), "size and width must be at least 1, found 0 and 5"),
        (lambda: RemovalBeam(0.5, 3, depths=[4]), r"depths must lie in 1\.\.3"),
        (lambda: RemovalBeam(0.5, 3).accept([0.1]), "probabilities must hold 3 numbers, found 1"),
        (lambda: bounds_of_orderings(0.5, []), "at least one ordering"),
    ],
)
def test_invalid_searches_and_orderings_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


PREDICTED, MEASURED = [[1.0, 2.0, 3.0], [1.0, -1.0]], [[2.0, 4.0, 6.5], [0.0, 1.0]]


def test_known_infidelity():
    scores = infidelity(PREDICTED, MEASURED)
    scale = (2 + 8 + 19.5) / 14
    first = np.mean((scale * np.array([1, 2, 3]) - [2, 4, 6.5]) ** 2)
    second = np.mean((-0.5 * np.array([1, -1]) - [0, 1]) ** 2)
    assert scores["per_entity"] == pytest.approx([first, second])
    assert scores["change_variance"] == pytest.approx(np.var([2, 4, 6.5, 0, 1]))
    assert scores["normalised_infidelity"] == pytest.approx(np.mean([first, second]) / np.var([2, 4, 6.5, 0, 1]))


@given(scale=st.sampled_from([-3.0, 1e-200, 1e200]))
def test_infidelity_ignores_the_scale_of_the_attribution(scale):
    scaled = [[scale * value for value in row] for row in PREDICTED]
    assert infidelity(scaled, MEASURED)["per_entity"] == pytest.approx(infidelity(PREDICTED, MEASURED)["per_entity"])


@given(scale=st.sampled_from([1e-3, 1e3]))
def test_normalised_infidelity_ignores_the_scale_of_the_score(scale):
    scaled = [[scale * value for value in row] for row in MEASURED]
    before, after = (infidelity(PREDICTED, measured)["normalised_infidelity"] for measured in (MEASURED, scaled))
    assert after == pytest.approx(before)


@given(scale=st.floats(-5, 5))
def test_no_other_scale_is_better(scale):
    predicted, measured = np.array(PREDICTED[0]), np.array(MEASURED[0])
    assert infidelity([predicted], [measured])["infidelity"] <= np.mean((scale * predicted - measured) ** 2) + 1e-12


def test_infidelity_of_proportional_and_zero_attributions():
    assert infidelity([[1, 2]], [[3, 6]])["normalised_infidelity"] == pytest.approx(0, abs=1e-12)
    assert infidelity([[0, 0]], [[3, 5]])["infidelity"] == pytest.approx(17)


def test_infidelity_of_a_constant_score_change():
    assert infidelity([[1, 1]], [[2, 2]])["normalised_infidelity"] == 0
    assert infidelity([[1, 2]], [[2, 2]])["normalised_infidelity"] == np.inf


def test_infidelity_without_entities_is_nan():
    assert np.isnan(infidelity([], [])["infidelity"])


def test_invalid_score_changes_raise():
    with pytest.raises(ValueError, match=r"predicted\[0\] must hold 1 numbers, found 2"):
        infidelity([[1, 2]], [[1]])
    with pytest.raises(ValueError, match=r"measured\[0\] must hold at least one draw"):
        infidelity([[]], [[]])


def test_infidelity_metric_equals_the_function(load):
    scores = load(infidelity_module, Infidelity).compute(predictions=PREDICTED, references=MEASURED)
    assert scores == infidelity(PREDICTED, MEASURED)


SOFT_FULL, SOFT_EMPTY = [0.9, 0.8], [0.1, 0.6]
SOFTLY_REMOVED, SOFTLY_KEPT = [[0.5, 0.3], [0.9, 0.7]], [[0.9, 0.7], [0.8, 0.8]]


def test_known_soft_faithfulness():
    scores = soft_faithfulness(SOFT_FULL, SOFT_EMPTY, SOFTLY_REMOVED, SOFTLY_KEPT)
    # entity 0: 1 - S0 = .8, mean loss removed .5, kept .1; entity 1: .2, .05 (a gain is no loss), 0
    assert np.array(scores["per_entity"]) == pytest.approx(np.array([[0.5 / 0.8, 0.7 / 0.8], [0.25, 1.0]]))
    assert scores["soft_comprehensiveness"] == pytest.approx((0.625 + 0.25) / 2)
    assert (scores["entities"], scores["defined"], scores["coverage"]) == (2, 2, 1.0)


def test_soft_faithfulness_at_its_limits():
    best = soft_faithfulness([0.9], [0.1], [[0.1]], [[0.9]])
    worst = soft_faithfulness([0.9], [0.1], [[0.9]], [[0.1]])
    assert best["per_entity"] == [(1, 1)]
    assert worst["per_entity"] == [(0, 0)]


def test_soft_faithfulness_is_clipped():
    assert soft_faithfulness([0.9], [0.5], [[0.0]], [[0.0]])["per_entity"] == [(1, 0)]


def test_soft_faithfulness_is_undefined_where_nothing_can_be_lost():
    scores = soft_faithfulness([0.5], [0.5], [[0.1]], [[0.5]])
    assert (scores["per_entity"], scores["defined"], scores["coverage"]) == ([(0, 0)], 0, 0.0)


def test_invalid_draws_raise():
    with pytest.raises(ValueError, match=r"softly_kept\[0\] must hold at least one draw"):
        soft_faithfulness([0.5], [0.1], [[0.1]], [[]])
    with pytest.raises(ValueError, match=r"softly_removed\[0\] must lie in"):
        soft_faithfulness([0.5], [0.1], [[1.1]], [[0.5]])
    with pytest.raises(ValueError, match="full 1, empty 2"):
        soft_faithfulness([0.5], [0.1, 0.2], [[0.1]], [[0.5]])


def test_soft_faithfulness_metric_equals_the_function(load):
    scores = load(soft_faithfulness_module, SoftFaithfulness).compute(
        predictions=SOFT_FULL, references=SOFT_EMPTY, softly_removed=SOFTLY_REMOVED, softly_kept=SOFTLY_KEPT
    )
    assert scores == soft_faithfulness(SOFT_FULL, SOFT_EMPTY, SOFTLY_REMOVED, SOFTLY_KEPT)
