import numpy as np
import pytest

import hf_adner.metrics.faithfulness as module
from hf_adner.metrics.faithfulness import Faithfulness, aopc, faithfulness, normalised_aopc, removal_counts

FULL, WITHOUT, ONLY = [0.9, 0.6], [[0.8, 0.4], [0.6, 0.0]], [[0.1, 0.5], [0.6, 0.7]]


@pytest.mark.parametrize(
    ("length", "counts"), [(100, [1, 5, 10, 20, 50]), (30, [1, 2, 3, 6, 15]), (3, [1, 1, 1, 1, 2])]
)
def test_shares_are_rounded_up(length, counts):
    assert removal_counts(length) == counts


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="shares must lie in"):
        removal_counts(10, [0.0])


def test_areas_by_hand():
    assert aopc(FULL, WITHOUT) == pytest.approx([0.3, 0.3])
    assert faithfulness(FULL, WITHOUT, ONLY) == {
        "comprehensiveness": pytest.approx(0.3),
        "sufficiency": pytest.approx((0.6 - 0.05) / 2),
        "entities": 2,
    }


def test_removal_that_changes_nothing_is_zero_and_that_takes_all_is_one():
    assert aopc([0.7, 1.0], [[0.7, 0.7], [0.0, 0.0]]).tolist() == [0, 1]


def test_normalised_by_hand():
    assert normalised_aopc([0.3, -0.1, 0.2], [[0.1, 0.5], [-0.1, 0.4], [0.2, 0.2]]) == pytest.approx([0.5, 0, 0.5])


def test_a_value_beyond_its_bounds_becomes_the_bound():
    assert normalised_aopc([0.6, 0.0], [[0.1, 0.5], [0.1, 0.5]]).tolist() == [1, 0]


def test_scale_and_offset_of_the_model_cancel():
    values, bounds = np.array([0.1, 0.3]), np.array([[0.0, 0.4], [0.2, 0.5]])
    assert normalised_aopc(values * 0.3 + 0.1, bounds * 0.3 + 0.1) == pytest.approx(normalised_aopc(values, bounds))


def test_no_entities_have_no_mean():
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
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metric_gives_what_the_function_gives(load):
    bounds = [[0.0, 0.5], [0.1, 0.9]]
    scores = load(module, Faithfulness).compute(
        predictions=FULL, without_top=WITHOUT, only_top=ONLY, comprehensiveness_bounds=bounds, sufficiency_bounds=bounds
    )
    assert scores == faithfulness(FULL, WITHOUT, ONLY, bounds, bounds)
    assert 0 <= scores["normalised_sufficiency"] <= 1
