import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.plausibility as plausibility_module
from hf_adner.metrics.plausibility import Plausibility, average_precision, iou_f1, plausibility, token_f1_at_k

RANKED = st.integers(1, 7).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(-2, 3), min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size).filter(any),
    )
)


@given(ranked=RANKED)
def test_average_precision_by_its_definition(ranked):
    values, positive = map(np.array, ranked)
    area, before = 0.0, 0.0
    for threshold in sorted(set(values.tolist()), reverse=True):
        chosen = values >= threshold
        recall = positive[chosen].sum() / positive.sum()
        area += (recall - before) * positive[chosen].mean()
        before = recall
    assert average_precision(values, positive) == pytest.approx(area)


def test_average_precision_at_its_limits():
    assert average_precision([3, 2, 1, 0], [1, 1, 0, 0]) == 1
    assert average_precision([1, 1, 1, 1], [1, 0, 0, 0]) == 0.25
    assert average_precision([3, 2, 1, 0], [0, 0, 0, 1]) == 0.25


@given(ranked=RANKED, data=st.data())
def test_token_f1_is_expected_over_ties_broken_by_lot(ranked, data):
    values, positive = (row[:5] for row in ranked)
    positive[0] = True
    k = data.draw(st.integers(1, len(values)))
    tops = [sorted(order, key=lambda place: -values[place])[:k] for order in itertools.permutations(range(len(values)))]
    f1 = [2 * sum(positive[place] for place in top) / (k + sum(positive)) for top in tops]
    assert token_f1_at_k(values, positive, k) == pytest.approx(np.mean(f1))


def test_token_f1_by_hand():
    assert token_f1_at_k([5, 4, 3, 2, 1], [1, 0, 1, 0, 0], 3) == pytest.approx(2 * 2 / 5)
    assert token_f1_at_k([5, 4, 3, 2, 1], [1, 1, 0, 0, 0], 2) == 1


def test_iou_f1_by_hand():
    # pointed at: [0, 2) and [4, 5); wanted: [0, 3) with IOU 2/3, and [6, 7) missed
    assert iou_f1([9, 8, 0, 1, 7, 2, 3], [1, 1, 1, 0, 0, 0, 1], 3) == pytest.approx(0.5)
    # one of three characters in common is too little
    assert iou_f1([9, 8, 0, 0.5, 0.1], [0, 1, 1, 0, 0], 2) == 0
    assert iou_f1([9, 8, 0, 0.5, 0.1], [1, 1, 0, 0, 0], 2) == 1


def test_a_constant_map_points_at_no_run():
    assert iou_f1([1] * 9, [1, 1, 1, 0, 0, 0, 0, 0, 0]) == 0
    assert iou_f1([1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 3) == 1  # the tied third place is left out


@pytest.mark.parametrize("score", [average_precision, token_f1_at_k, iou_f1])
@given(ranked=RANKED, scale=st.sampled_from([1e-9, 3.0, 1e9]))
def test_scale_changes_nothing_and_scores_stay_in_range(score, ranked, scale):
    values, positive = ranked
    assert score([scale * value for value in values], positive) == pytest.approx(score(values, positive))
    assert 0 <= score(values, positive) <= 1 + 1e-12


@pytest.mark.parametrize("score", [average_precision, token_f1_at_k, iou_f1])
def test_without_a_positive_there_is_no_score(score):
    with pytest.raises(ValueError, match="at least one of 2 characters"):
        score([1, 2], [0, 0])
    with pytest.raises(ValueError, match="positive must hold 2 numbers"):
        score([1, 2], [1])


MAPS = [[0.0, 0.9, 0.1, 0.8, 0.7, 0.0, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4]]
CUES = [[1, 3, 4], [2]]
SPANS = [(3, 5), (2, 4)]


def test_perfect_and_context_by_hand():
    scores = plausibility(MAPS, CUES, SPANS, k=3)
    assert scores["entities"] == 2
    assert scores["all"]["auprc"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["context"]["auprc"] == 1.0
    assert (scores["context"]["kept"], scores["context"]["coverage"]) == (1, 0.5)
    assert scores["context"]["auprc_lift"] == pytest.approx(1 - 1 / 6)
    assert scores["context"]["token_f1"] == pytest.approx(2 * 1 / (3 + 1))


def test_the_uniform_entity_has_no_lift():
    inside = [[float(start <= place < end) for place in range(len(row))] for row, (start, end) in zip(MAPS, SPANS)]
    scores = plausibility(inside, CUES, SPANS)
    lifts = [value for part in ("all", "context") for name, value in scores[part].items() if name.endswith("lift")]
    assert lifts == [0.0] * 6


def test_runs_of_the_context_do_not_join_across_the_entity():
    values, cues = [5, 9, 9, 4, 1, 2, 3, 0], [0, 3]
    context = plausibility([values], [cues], [(1, 3)], k=2)["context"]
    assert context["iou_f1"] == 1.0  # two runs of one, not one run of two
    assert plausibility([[9, 0, 0, 0, 0]], [[0, 2]], [(1, 2)], k=1)["context"]["iou_f1"] == pytest.approx(2 / 3)


def test_entities_without_cues_lower_coverage_only():
    scores = plausibility([*MAPS, [1, 2]], [*CUES, []], [*SPANS, (0, 2)], k=3)
    assert scores["all"] == {**plausibility(MAPS, CUES, SPANS, k=3)["all"], "coverage": pytest.approx(2 / 3)}
    assert np.isnan(plausibility([[1, 2]], [[]], [(0, 1)])["all"]["auprc"])


@pytest.mark.parametrize("cue", [-1, 4, 0.5])
def test_a_cue_outside_the_text_is_refused(cue):
    with pytest.raises(ValueError, match=r"cues\[0\] must be positions in a text of 4 characters, found 1"):
        plausibility([[1, 2, 3, 4]], [[0, cue]], [(0, 1)])


def test_metric_gives_what_the_function_gives(load):
    scores = load(plausibility_module, Plausibility).compute(predictions=MAPS, references=CUES, spans=SPANS, k=2)
    assert scores == plausibility(MAPS, CUES, SPANS, 2)
