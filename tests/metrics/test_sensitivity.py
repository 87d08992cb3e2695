import numpy as np
import pytest

import hf_adner.metrics.sensitivity as module
from hf_adner.metrics.sensitivity import (
    Sensitivity,
    local_lipschitz,
    max_sensitivity,
    relative_change,
    relative_stability,
)


def test_the_worst_draw_counts_relative_to_the_norm():
    assert max_sensitivity([[1, 3, 2], [0.5]], [2, 1]).tolist() == [1.5, 0.5]


def test_a_constant_explanation_is_not_sensitive():
    assert max_sensitivity([[0, 0]], [4]).tolist() == [0]
    assert local_lipschitz([[0, 0]], [[1, 2]]).tolist() == [0]
    assert relative_stability([[1, 1]], [[[1, 1]]], [[0.5]])["median"] == 0


def test_a_zero_explanation_is_at_its_limits():
    assert max_sensitivity([[0.0], [1.0]], [0, 0]).tolist() == [0, np.inf]


def test_the_steepest_slope_counts():
    assert local_lipschitz([[1, 3], [1]], [[0.5, 3], [0]]).tolist() == [2, np.inf]


def test_relative_change_by_hand():
    assert relative_change([1, 2], [2, 1], floor=1e-6) == pytest.approx((1 + 0.25) ** 0.5)
    assert relative_change([0, 2], [1, 2], floor=0.5) == pytest.approx(2)
    assert relative_change([1, 2], [2, 1], order=np.inf) == 1


def test_relative_stability_by_hand():
    base = np.array([0.25, 0.75]) + 1e-3
    other = np.array([0.5, 0.5]) + 1e-3
    moved = np.linalg.norm((base - other) / base)
    scores = relative_stability([[1, 3]], [[[2, -2], [1, 3]]], [[0.1, 0.2]])
    assert scores["per_instance"] == pytest.approx([moved / 0.1])
    assert scores["median_log10"] == pytest.approx(np.log10(moved / 0.1))


def test_scale_of_maps_does_not_count_and_no_change_is_divided_by_the_least():
    views = [[[2, 2, 1]]]
    first, second = (relative_stability([np.array([1, 2, 3]) * scale], views, [[0.0]]) for scale in (1, 50))
    assert first["median"] == pytest.approx(second["median"])
    assert first["median"] == pytest.approx(relative_stability([[1, 2, 3]], views, [[1.0]])["median"] * 1e6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: max_sensitivity([[-1]], [1]), r"distances\[0\] must be at least 1 numbers >= 0, found 1, 1 of them"),
        (lambda: max_sensitivity([[]], [1]), r"found 0, 0 of them negative"),
        (lambda: max_sensitivity([[1]], [-1]), "norms must be numbers >= 0"),
        (lambda: max_sensitivity([[1]], [1, 2]), "distances 1, norms 2"),
        (lambda: local_lipschitz([[1]], [[1, 2]]), r"input_distances\[0\] must hold 1 numbers"),
        (lambda: relative_change([1], [1], floor=0), "floor must be positive"),
        (lambda: relative_stability([[1]], [[[1, 2]]], [[1]]), "changed values must hold 1 numbers, found 2"),
        (lambda: relative_stability([[1]], [[[1]]], [[1, 2]]), r"changes\[0\] must hold 1 numbers, found 2"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metric_gives_what_the_functions_give(load):
    moved, by, norms = [[1, 3], [1], [2]], [[0.5, 3], [4], [1]], [2, 1, 8]
    scores = load(module, Sensitivity).compute(predictions=moved, references=by, norms=norms)
    assert scores["local_lipschitz"] == {"mean": pytest.approx(4.25 / 3), "median": 2, "max": 2}
    assert scores["max_sensitivity"]["mean"] == pytest.approx(max_sensitivity(moved, norms).mean())
    assert scores["instances"] == 3
