import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.infidelity as module
from hf_adner.metrics.infidelity import Infidelity, infidelity

PREDICTED, MEASURED = [[1.0, 2.0, 3.0], [1.0, -1.0]], [[2.0, 4.0, 6.5], [0.0, 1.0]]


def test_by_hand():
    scores = infidelity(PREDICTED, MEASURED)
    scale = (2 + 8 + 19.5) / 14
    first = np.mean((scale * np.array([1, 2, 3]) - [2, 4, 6.5]) ** 2)
    second = np.mean((-0.5 * np.array([1, -1]) - [0, 1]) ** 2)
    assert scores["per_entity"] == pytest.approx([first, second])
    assert scores["change_variance"] == pytest.approx(np.var([2, 4, 6.5, 0, 1]))
    assert scores["normalised_infidelity"] == pytest.approx(np.mean([first, second]) / np.var([2, 4, 6.5, 0, 1]))


@given(scale=st.sampled_from([-3.0, 1e-200, 1e200]))
def test_scale_of_the_attribution_does_not_count(scale):
    scaled = [[scale * value for value in row] for row in PREDICTED]
    assert infidelity(scaled, MEASURED)["per_entity"] == pytest.approx(infidelity(PREDICTED, MEASURED)["per_entity"])


@given(scale=st.sampled_from([1e-3, 1e3]))
def test_scale_of_the_score_cancels_in_the_normalised_form(scale):
    scaled = [[scale * value for value in row] for row in MEASURED]
    before, after = (infidelity(PREDICTED, each)["normalised_infidelity"] for each in (MEASURED, scaled))
    assert after == pytest.approx(before)


@given(scale=st.floats(-5, 5))
def test_no_other_scale_is_better(scale):
    mine, found = np.array(PREDICTED[0]), np.array(MEASURED[0])
    assert infidelity([mine], [found])["infidelity"] <= np.mean((scale * mine - found) ** 2) + 1e-12


def test_a_proportional_attribution_is_perfect_and_none_explains_nothing():
    assert infidelity([[1, 2]], [[3, 6]])["normalised_infidelity"] == pytest.approx(0, abs=1e-12)
    assert infidelity([[0, 0]], [[3, 5]])["infidelity"] == pytest.approx(17)


def test_a_score_that_never_varies():
    assert infidelity([[1, 1]], [[2, 2]])["normalised_infidelity"] == 0
    assert infidelity([[1, 2]], [[2, 2]])["normalised_infidelity"] == np.inf


def test_no_entities_have_no_mean():
    assert np.isnan(infidelity([], [])["infidelity"])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"predicted\[0\] must hold 1 numbers, found 2"):
        infidelity([[1, 2]], [[1]])
    with pytest.raises(ValueError, match=r"measured\[0\] must hold at least one draw"):
        infidelity([[]], [[]])


def test_metric_gives_what_the_function_gives(load):
    scores = load(module, Infidelity).compute(predictions=PREDICTED, references=MEASURED)
    assert scores == infidelity(PREDICTED, MEASURED)
