import numpy as np
import pytest

import hf_adner.metrics.intraclass as module
from hf_adner.metrics.intraclass import IntraclassCorrelation, intraclass_correlation

# Shrout & Fleiss (1979), table 2: six targets rated by four judges; ICC(1) = .17
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)
TARGETS = np.repeat(np.arange(6), 4)


def test_published_example():
    scores = intraclass_correlation(RATINGS.ravel(), TARGETS)
    assert (scores["between_mean_square"], scores["within_mean_square"]) == pytest.approx((11.24, 6.26), abs=0.005)
    assert scores["icc"] == pytest.approx(0.1657, abs=1e-4)
    assert (scores["instances"], scores["kept"], scores["coverage"]) == (6, 6, 1.0)


def test_order_of_views_and_offset_and_scale_change_nothing():
    order = np.random.default_rng(0).permutation(24)
    moved = intraclass_correlation(1e6 + 3 * RATINGS.ravel()[order], TARGETS[order])
    assert moved["icc"] == pytest.approx(intraclass_correlation(RATINGS.ravel(), TARGETS)["icc"])


def test_cells_are_pooled():
    both = np.stack([RATINGS.ravel(), np.tile([1.0, 2.0, 3.0, 4.0], 6)], axis=1)
    scores = intraclass_correlation(both, TARGETS)
    assert scores["within_mean_square"] == pytest.approx((6.2639 + 5 / 3) / 2, abs=1e-4)
    assert scores["between_mean_square"] == pytest.approx(11.2417 / 2, abs=1e-4)


def test_absent_values_count_nowhere():
    present = np.ones((24, 2))
    present[:, 1] = 0
    both = np.stack([RATINGS.ravel(), np.random.default_rng(0).random(24)], axis=1)
    expected = intraclass_correlation(RATINGS.ravel(), TARGETS)
    assert intraclass_correlation(both, TARGETS, present) == pytest.approx(expected)


def test_a_cell_is_judged_by_the_views_that_have_it():
    both = np.stack([RATINGS.ravel(), RATINGS.ravel()], axis=1)
    present = np.ones((24, 2))
    present[12:, 1] = 0  # the second cell exists in the first three instances only
    both[12:, 1] = 1e6
    first, second = (
        intraclass_correlation(RATINGS.ravel(), TARGETS),
        intraclass_correlation(RATINGS.ravel()[:12], TARGETS[:12]),
    )
    scores = intraclass_correlation(both, TARGETS, present)
    assert scores["between_mean_square"] == pytest.approx(
        (5 * first["between_mean_square"] + 2 * second["between_mean_square"]) / 7
    )
    assert scores["within_mean_square"] == pytest.approx(
        (18 * first["within_mean_square"] + 9 * second["within_mean_square"]) / 27
    )


@pytest.mark.parametrize("row", [[0.0, 0.0], [0.1, 0.1], [0.1, 0.7]])
def test_constant_and_template_explanations_score_zero(row):
    noise = 1 + 1e-9 * np.random.default_rng(0).standard_normal((12, 2))
    assert intraclass_correlation(np.tile(row, (12, 1)) * noise, np.repeat([0, 1, 2], 4))["icc"] == 0.0


def test_explanations_that_do_not_move_and_differ_score_one():
    assert intraclass_correlation(np.repeat([1.0, 2.0, 5.0], 4), np.repeat([0, 1, 2], 4))["icc"] == 1.0


def test_noise_alone_scores_about_zero():
    values = np.random.default_rng(0).standard_normal((8000, 3))
    assert intraclass_correlation(values, np.repeat(np.arange(1000), 8))["icc"] < 0.02


def test_known_share_of_variance_is_found_in_an_unbalanced_table():
    generator = np.random.default_rng(0)
    instances = np.repeat(np.arange(2000), generator.integers(4, 9, 2000))
    values = generator.standard_normal(2000)[instances] * 3**0.5 + generator.standard_normal(instances.size)
    assert intraclass_correlation(values, instances)["icc"] == pytest.approx(0.75, abs=0.02)


def test_instances_with_few_views_lower_coverage_only():
    scores = intraclass_correlation([*RATINGS.ravel(), 1e3, 0.0], [*TARGETS, 6, 6])
    assert scores["coverage"] == pytest.approx(6 / 7)
    assert scores["icc"] == pytest.approx(intraclass_correlation(RATINGS.ravel(), TARGETS)["icc"])


def test_one_instance_has_no_correlation():
    assert np.isnan(intraclass_correlation([1, 2, 3, 4], [0] * 4)["icc"])


def test_shapes_and_minimum_are_checked():
    with pytest.raises(ValueError, match="values 3, instances 2"):
        intraclass_correlation([1, 2, 3], [0, 1])
    with pytest.raises(ValueError, match="min_views must be at least 2, found 1"):
        intraclass_correlation([1], [0], min_views=1)
    with pytest.raises(ValueError, match="present must have the shape 1 x 2"):
        intraclass_correlation([[1, 2]], [0], [[1]])


def test_metric_gives_what_the_function_gives(load):
    rows = RATINGS.reshape(-1, 1)
    scores = load(module, IntraclassCorrelation).compute(predictions=rows, references=TARGETS)
    assert scores == intraclass_correlation(rows, TARGETS)
