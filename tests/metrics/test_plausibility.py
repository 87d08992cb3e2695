"""Plausibility of attribution maps against cue positions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.plausibility as plausibility_module
from hf_adner.metrics.plausibility import (
    Plausibility,
    auprc_trapezoid,
    average_precision,
    iou_f1,
    plausibility,
    token_f1_at_k,
)

RANKED = st.integers(1, 7).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(-2, 3), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size).filter(any),
    )
)


@given(ranked=RANKED)
def test_average_precision_equals_its_definition(ranked):
    values, positive = map(np.array, ranked)
    area, previous = 0.0, 0.0
    for threshold in sorted(set(values.tolist()), reverse=True):
        selected = values >= threshold
        recall = positive[selected].sum() / positive.sum()
        area += (recall - previous) * positive[selected].mean()
        previous = recall
    assert average_precision(values, positive) == pytest.approx(area)


def test_the_two_areas_differ_by_their_interpolation():
    values, positive = [0.9, 0.8, 0.7, 0.6], [0, 1, 0, 1]  # precision 0, 1/2, 1/3, 1/2 at recall 0, 1/2, 1/2, 1
    assert average_precision(values, positive) == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 1 / 2)
    assert auprc_trapezoid(values, positive) == pytest.approx((0 + 1 / 2) / 4 + (1 / 3 + 1 / 2) / 4)
    assert auprc_trapezoid([1, 1, 1, 1], [1, 0, 0, 0]) == (1 + 1 / 4) / 2
    assert auprc_trapezoid([3, 2, 1, 0], [1, 1, 0, 0]) == 1


@given(ranked=RANKED)
def test_the_trapezoid_is_that_of_scikit_learn(ranked):
    metrics = pytest.importorskip("sklearn.metrics")
    values, positive = ranked
    precision, recall, _ = metrics.precision_recall_curve(positive, values)
    assert auprc_trapezoid(values, positive) == pytest.approx(metrics.auc(recall, precision))
    assert average_precision(values, positive) == pytest.approx(metrics.average_precision_score(positive, values))


def test_average_precision_at_its_limits():
    assert average_precision([3, 2, 1, 0], [1, 1, 0, 0]) == 1
    assert average_precision([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25
    assert average_precision([3, 2, 1, 0], [0, 0, 0, 1]) == 0.25


@given(ranked=RANKED, data=st.data())
def test_token_f1_is_the_expectation_if_ties_are_broken_at_random(ranked, data):
    values, positive = (row[:5] for row in ranked)
    positive[0] = True
    k = data.draw(st.integers(1, len(values)))
    tops = [sorted(order, key=lambda place: -values[place])[:k] for order in itertools.permutations(range(len(values)))]
    f1 = [2 * sum(positive[place] for place in top) / (k + sum(positive)) for top in tops]
    assert token_f1_at_k(values, positive, k) == pytest.approx(np.mean(f1))


def test_known_token_f1():
    assert token_f1_at_k([5, 4, 3, 2, 1], [1, 0, 1, 0, 0], 3) == pytest.approx(2 * 2 / 5)
    assert token_f1_at_k([5, 4, 3, 2, 1], [1, 1, 0, 0, 0], 2) == 1


def test_known_iou_f1():
    # selected: [0, 2) and [4, 5); gold: [0, 3) with IOU 2/3, and [6, 7) missed
    assert iou_f1([9, 8, 0, 1, 7, 2, 3], [1, 1, 1, 0, 0, 0, 1], 3) == pytest.approx(0.5)
    # one of three characters in common is not enough
    assert iou_f1([9, 8, 0, 0.5, 0.1], [0, 1, 1, 0, 0], 2) == 0
    assert iou_f1([9, 8, 0, 0.5, 0.1], [1, 1, 0, 0, 0], 2) == 1


def test_constant_map_selects_no_run():
    assert iou_f1([1] * 9, [1, 1, 1, 0, 0, 0, 0, 0, 0]) == 0
    assert iou_f1([1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 3) == 1  # the tied third place is left out


@pytest.mark.parametrize("score", [average_precision, auprc_trapezoid, token_f1_at_k, iou_f1])
@given(ranked=RANKED, scale=st.sampled_from([1e-9, 3.0, 1e9]))
def test_scale_does_not_matter_and_scores_are_in_range(score, ranked, scale):
    values, positive = ranked
    assert score([scale * value for value in values], positive) == pytest.approx(score(values, positive))
    assert 0 <= score(values, positive) <= 1 + 1e-12


@pytest.mark.parametrize("score", [average_precision, auprc_trapezoid, token_f1_at_k, iou_f1])
def test_scores_need_a_positive(score):
    with pytest.raises(ValueError, match="at least one of 2 characters"):
        score([1, 2], [0, 0])
    with pytest.raises(ValueError, match="positive must hold 2 numbers"):
        score([1, 2], [1])


MAPS = [[0.0, 0.9, 0.1, 0.8, 0.7, 0.0, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4]]
CUES = [[1, 3, 4], [2]]
SPANS = [(3, 5), (2, 4)]


def test_known_plausibility():
    scores = plausibility(MAPS, CUES, SPANS, k=3)
    assert scores["entities"] == 2
    assert scores["all"]["average_precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["context"]["average_precision"] == 1.0
    assert (scores["context"]["kept"], scores["context"]["coverage"]) == (1, 0.5)
    assert scores["context"]["average_precision_lift"] == pytest.approx(1 - 1 / 6)
    assert scores["context"]["token_f1"] == pytest.approx(2 * 1 / (3 + 1))


def test_uniform_entity_has_no_lift():
    inside = [[float(start <= place < end) for place in range(len(row))] for row, (start, end) in zip(MAPS, SPANS)]
    scores = plausibility(inside, CUES, SPANS)
    lifts = [value for part in ("all", "context") for name, value in scores[part].items() if name.endswith("lift")]
    assert lifts == [0.0] * 8


def test_context_runs_do_not_span_the_entity():
    values, cues = [5, 9, 9, 4, 1, 2, 3, 0], [0, 3]
    context = plausibility([values], [cues], [(1, 3)], k=2)["context"]
    assert context["iou_f1"] == 1.0  # two runs of one character, not one run of two
    assert plausibility([[9, 0, 0, 0, 0]], [[0, 2]], [(1, 2)], k=1)["context"]["iou_f1"] == pytest.approx(2 / 3)


def test_entities_without_cues_only_lower_coverage():
    scores = plausibility([*MAPS, [1, 2]], [*CUES, []], [*SPANS, (0, 2)], k=3)
    assert scores["all"] == {**plausibility(MAPS, CUES, SPANS, k=3)["all"], "coverage": pytest.approx(2 / 3)}
    assert np.isnan(plausibility([[1, 2]], [[]], [(0, 1)])["all"]["average_precision"])


@pytest.mark.parametrize("cue", [-1, 4, 0.5])
def test_cue_outside_the_text_raises(cue):
    with pytest.raises(ValueError, match=r"cues\[0\] must be positions in a text of 4 characters, found 1"):
        plausibility([[1, 2, 3, 4]], [[0, cue]], [(0, 1)])


def test_metric_equals_the_function(load):
    scores = load(plausibility_module, Plausibility).compute(predictions=MAPS, references=CUES, spans=SPANS, k=2)
    assert scores == plausibility(MAPS, CUES, SPANS, 2)
