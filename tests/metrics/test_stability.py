import numpy as np
import pytest

import hf_adner.metrics.stability as module
from hf_adner.metrics.similarity import cosine, spearman, top_k_jaccard
from hf_adner.metrics.stability import Stability, kept_by_all, pairwise_stability, stability

MAPS = [[0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.2, 0.2, 0.0], [0.3, 0.7]]
PERTURBED = [[0.4, 0.1, 0.2, 0.3], None, [0.1, 0.1, 0.8]]
ALIGNMENTS = [None, None, [0, 2]]
SPANS = [(0, 1), (1, 2), (0, 1)]


def test_identical_maps_score_one_with_full_coverage():
    scores = stability(MAPS, MAPS)
    assert scores.pop("pairs") == scores.pop("kept") == 3
    assert set(scores) == {"cosine", "spearman", "top_k_jaccard", "map_consistency", "coverage"}
    assert list(scores.values()) == pytest.approx([1.0] * 5)


def test_lost_pairs_lower_coverage_and_nothing_else():
    scores = stability(MAPS, PERTURBED, ALIGNMENTS)
    assert (scores["pairs"], scores["kept"], scores["coverage"]) == (3, 2, pytest.approx(2 / 3))
    assert scores["cosine"] == pytest.approx((cosine(MAPS[0], PERTURBED[0]) + cosine([0.3, 0.7], [0.1, 0.8])) / 2)
    assert scores["spearman"] == pytest.approx((spearman(MAPS[0], PERTURBED[0]) + 1) / 2)


def test_a_constant_map_scores_zero_rank_correlation_and_stays_in_the_mean():
    assert stability([[1, 2, 3], [1, 1, 1]], [[1, 2, 3], [1, 2, 3]])["spearman"] == pytest.approx(0.5)


def test_only_characters_of_both_texts_are_compared():
    gone = stability([[0.9, 0.1, 0.2]], [[0.1, 0.2]], [[None, 0, 1]])
    assert gone["cosine"] == pytest.approx(1.0)


def test_the_context_is_compared_without_the_entity():
    values = pairwise_stability(MAPS, PERTURBED, ALIGNMENTS, SPANS, k=1)
    assert values["context_top_k_jaccard"][0] == top_k_jaccard(MAPS[0][1:], PERTURBED[0][1:], 1) == 0.0
    assert np.isnan(values["context_top_k_jaccard"][1])


def test_a_stable_entity_does_not_hide_an_unstable_context():
    scores = stability([[9, 1, 2, 3]], [[9, 3, 2, 1]], spans=[(0, 1)], k=1)
    assert (scores["top_k_jaccard"], scores["context_top_k_jaccard"]) == (1, 0)


def test_nothing_kept_has_no_mean():
    scores = stability(MAPS[:1], [None])
    assert scores["coverage"] == 0.0
    assert np.isnan(scores["cosine"])


def test_arms_are_compared_on_what_all_kept():
    assert kept_by_all(PERTURBED, [None, MAPS[1], MAPS[2]]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perturbed": PERTURBED[:2]}, "maps 3, perturbed 2"),
        ({"maps": [MAPS[0], [1.0, float("nan")], MAPS[2]]}, r"maps\[1\] must be finite"),
        ({"spans": [(0, 1), (1, 9), (0, 1)]}, r"spans\[1\] needs whole"),
        ({"alignments": [None, None, [0, 7]]}, r"alignment of maps\[2\]"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stability(**{"maps": MAPS, "perturbed": PERTURBED, "alignments": ALIGNMENTS, **changes})


def test_metric_gives_what_the_function_gives(load):
    metric = load(module, Stability)
    scores = metric.compute(predictions=PERTURBED, references=MAPS, alignments=ALIGNMENTS, spans=SPANS, k=2)
    assert scores == stability(MAPS, PERTURBED, ALIGNMENTS, SPANS, 2)


def test_metric_takes_arrays_and_adds_up(load):
    metric = load(module, Stability)
    metric.add_batch(predictions=[np.array(PERTURBED[0])], references=[np.array(MAPS[0])])
    metric.add_batch(predictions=[None], references=[MAPS[1]])
    assert metric.compute() == stability(MAPS[:2], PERTURBED[:2])
