import numpy as np
import pytest

import hf_adner.metrics.soft_faithfulness as module
from hf_adner.metrics.soft_faithfulness import SoftFaithfulness, soft_faithfulness

FULL, EMPTY = [0.9, 0.8], [0.1, 0.6]
REMOVED, KEPT = [[0.5, 0.3], [0.9, 0.7]], [[0.9, 0.7], [0.8, 0.8]]


def test_by_hand():
    scores = soft_faithfulness(FULL, EMPTY, REMOVED, KEPT)
    # entity 0: 1 - S0 = .8, mean loss removed .5, kept .1; entity 1: .2, .05 (a gain is no loss), 0
    assert np.array(scores["per_entity"]) == pytest.approx(np.array([[0.5 / 0.8, 0.7 / 0.8], [0.25, 1.0]]))
    assert scores["soft_comprehensiveness"] == pytest.approx((0.625 + 0.25) / 2)
    assert (scores["entities"], scores["defined"], scores["coverage"]) == (2, 2, 1.0)


def test_limits():
    best = soft_faithfulness([0.9], [0.1], [[0.1]], [[0.9]])
    worst = soft_faithfulness([0.9], [0.1], [[0.9]], [[0.1]])
    assert best["per_entity"] == [(1, 1)]
    assert worst["per_entity"] == [(0, 0)]


def test_an_input_worse_than_none_stays_in_range():
    assert soft_faithfulness([0.9], [0.5], [[0.0]], [[0.0]])["per_entity"] == [(1, 0)]


def test_where_nothing_can_be_lost_nothing_is_scored():
    scores = soft_faithfulness([0.5], [0.5], [[0.1]], [[0.5]])
    assert (scores["per_entity"], scores["defined"], scores["coverage"]) == ([(0, 0)], 0, 0.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"softly_kept\[0\] must hold at least one draw"):
        soft_faithfulness([0.5], [0.1], [[0.1]], [[]])
    with pytest.raises(ValueError, match=r"softly_removed\[0\] must lie in"):
        soft_faithfulness([0.5], [0.1], [[1.1]], [[0.5]])
    with pytest.raises(ValueError, match="full 1, empty 2"):
        soft_faithfulness([0.5], [0.1, 0.2], [[0.1]], [[0.5]])


def test_metric_gives_what_the_function_gives(load):
    scores = load(module, SoftFaithfulness).compute(
        predictions=FULL, references=EMPTY, softly_removed=REMOVED, softly_kept=KEPT
    )
    assert scores == soft_faithfulness(FULL, EMPTY, REMOVED, KEPT)
