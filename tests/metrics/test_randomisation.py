import numpy as np
import pytest

import hf_adner.metrics.randomisation as module
from hf_adner.metrics.randomisation import Randomisation, randomisation


def test_a_map_that_survives_agrees_fully_whatever_its_scale():
    maps = np.random.default_rng(0).random((4, 12))
    scores = randomisation(maps, 3 * maps + 1)
    assert (scores["rank_agreement"], scores["absolute_rank_agreement"], scores["top_k_jaccard"]) == pytest.approx(
        (1, 1, 1)
    )
    assert (scores["constant"], scores["entities"]) == (0, 4)


def test_unrelated_maps_agree_as_chance_does():
    first, second = np.random.default_rng(0).random((2, 400, 50))
    scores = randomisation(first, second)
    assert abs(scores["rank_agreement"]) < 0.02
    assert scores["absolute_rank_agreement"] == pytest.approx((2 / np.pi / 49) ** 0.5, abs=0.01)
    assert scores["top_k_jaccard"] == pytest.approx(scores["chance_jaccard"], abs=0.02)
    assert scores["chance_jaccard"] == pytest.approx(5 / 95)


def test_turned_maps_do_not_cancel_in_magnitude():
    scores = randomisation([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
    assert scores["per_entity"] == pytest.approx([1, -1])
    assert (scores["rank_agreement"], scores["absolute_rank_agreement"]) == pytest.approx((0, 1))


def test_constant_maps_score_zero_and_are_counted():
    scores = randomisation([[1, 2, 3], [1, 2, 3]], [[1, 1, 1], [1, 2, 3]])
    assert (scores["rank_agreement"], scores["constant"]) == pytest.approx((0.5, 0.5))


def test_no_entities_have_no_mean():
    assert np.isnan(randomisation([], [])["rank_agreement"])


def test_maps_of_an_entity_have_one_length():
    with pytest.raises(ValueError, match=r"randomised\[0\] must hold 2 numbers, found 3"):
        randomisation([[1, 2]], [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"trained\[0\] must be finite"):
        randomisation([[1, float("inf")]], [[1, 2]])


def test_metric_gives_what_the_function_gives(load):
    trained, random = [[1, 5, 2, 4], [0, 3, 1]], [[4, 1, 2, 3], [2, 2, 5]]
    scores = load(module, Randomisation).compute(predictions=random, references=trained, k=2)
    assert scores == randomisation(trained, random, 2)
