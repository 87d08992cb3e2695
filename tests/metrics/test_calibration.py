"""Calibration and risk-coverage of entity confidences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.calibration as calibration_module
from hf_adner.metrics.calibration import Calibration, calibration, reliability_table, risk_coverage

OUTCOMES = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


def test_known_calibration():
    scores = calibration([0.2, 0.4, 0.8, 1.0], [0, 1, 1, 1], bins=2)
    assert scores["ece"] == pytest.approx(0.5 * abs(0.5 - 0.3) + 0.5 * abs(1 - 0.9))
    assert scores["brier"] == pytest.approx((0.04 + 0.36 + 0.04 + 0) / 4)
    assert scores["aurc"] == pytest.approx((0 + 0 + 0 + 1 / 4) / 4)
    assert (scores["accuracy"], scores["mean_confidence"], scores["entities"]) == (0.75, pytest.approx(0.6), 4)
    assert scores["reliability"][0] == {
        "lowest": 0.2,
        "highest": 0.4,
        "confidence": pytest.approx(0.3),
        "accuracy": 0.5,
        "count": 2,
    }


def test_calibration_at_its_limits():
    perfect, worst = calibration([1.0, 0.0], [1, 0]), calibration([1.0, 0.0], [0, 1])
    assert (perfect["ece"], perfect["brier"]) == (0, 0)
    assert (worst["ece"], worst["brier"]) == (1, 1)


def test_calibrated_confidences_have_a_small_error():
    generator = np.random.default_rng(0)
    confidences = generator.random(20000)
    correct = generator.random(20000) < confidences
    assert calibration(confidences, correct)["ece"] < 0.015
    assert calibration(confidences**3, correct)["ece"] > 0.2


@given(outcomes=OUTCOMES, seed=st.integers(0, 99))
def test_order_does_not_matter(outcomes, seed):
    confidences, correct = map(np.array, zip(*outcomes))
    order = np.random.default_rng(seed).permutation(len(outcomes))
    before, after = calibration(confidences, correct), calibration(confidences[order], correct[order])
    assert {name: after[name] for name in ("ece", "brier", "aurc")} == pytest.approx(
        {name: before[name] for name in ("ece", "brier", "aurc")}
    )


@given(outcomes=OUTCOMES)
def test_bins_have_equal_mass(outcomes):
    table = reliability_table(*zip(*outcomes))
    counts = [row["count"] for row in table]
    assert sum(counts) == len(outcomes)
    assert len(table) == min(15, len(outcomes))
    assert max(counts) - min(counts) <= 1


def test_error_of_one_confidence_is_its_distance_from_accuracy():
    assert calibration([0.9] * 40, [1] * 30 + [0] * 10)["ece"] == pytest.approx(0.15)


def test_known_risk_and_coverage():
    curve = risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
    assert curve["coverage"] == [0.25, 0.5, 0.75, 1]
    assert curve["risk"] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert curve["aurc"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve["best_aurc"] == pytest.approx((1 / 3 + 1 / 2) / 4)


@given(outcomes=OUTCOMES)
def test_best_order_has_the_lowest_risk(outcomes):
    curve = risk_coverage(*zip(*outcomes))
    assert curve["best_aurc"] <= curve["aurc"] + 1e-12
    assert curve["risk"][-1] == pytest.approx(1 - np.mean([right for _, right in outcomes]))


def test_risk_is_the_expectation_over_ties():
    assert risk_coverage([0.5, 0.5], [1, 0])["risk"] == pytest.approx([0.5, 0.5])


def test_calibration_without_predictions_is_nan():
    scores = calibration([], [])
    assert np.isnan([scores["ece"], scores["brier"], scores["aurc"]]).all()
    assert (scores["entities"], scores["reliability"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.1], [1]), "confidences must lie in"),
        (([float("nan")], [1]), "confidences must be finite"),
        (([0.5], [0.5]), "correct must be true or false"),
        (([0.5], [1, 0]), "correct must hold 1 numbers, found 2"),
        (([0.5], [1], 0), "bins must be at least 1, found 0"),
    ],
)
def test_invalid_inputs_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        calibration(*arguments)


def test_metric_equals_the_function(load):
    confidences, correct = [0.2, 0.4, 0.8, 1.0], [False, True, True, True]
    scores = load(calibration_module, Calibration).compute(predictions=confidences, references=correct, bins=3)
    assert scores == calibration(confidences, correct, 3)
