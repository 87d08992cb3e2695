import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.discriminative_stability as discriminative_stability_module
import hf_adner.metrics.randomisation as randomisation_module
import hf_adner.metrics.robustness as robustness_module
import hf_adner.metrics.sensitivity as sensitivity_module
import hf_adner.metrics.stability as stability_module
from hf_adner.metrics.discriminative_stability import DiscriminativeStability, discriminative_stability
from hf_adner.metrics.randomisation import Randomisation, randomisation
from hf_adner.metrics.robustness import Robustness, robustness, seen_unseen_recall
from hf_adner.metrics.sensitivity import (
    Sensitivity,
    local_lipschitz,
    max_sensitivity,
    relative_change,
    relative_stability,
)
from hf_adner.metrics.similarity import cosine, role_window, spearman, top_k_jaccard
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
    metric = load(stability_module, Stability)
    scores = metric.compute(predictions=PERTURBED, references=MAPS, alignments=ALIGNMENTS, spans=SPANS, k=2)
    assert scores == stability(MAPS, PERTURBED, ALIGNMENTS, SPANS, 2)


def test_metric_takes_arrays_and_adds_up(load):
    metric = load(stability_module, Stability)
    metric.add_batch(predictions=[np.array(PERTURBED[0])], references=[np.array(MAPS[0])])
    metric.add_batch(predictions=[None], references=[MAPS[1]])
    assert metric.compute() == stability(MAPS[:2], PERTURBED[:2])


LENGTHS, DS_SPANS, LABELS = (
    (12, 30, 7, 25, 9),
    ((0, 1), (11, 17), (5, 7), (22, 25), (2, 4)),
    ("a", "b", "a", "b", "a"),
)


def template(length, span, width=30):
    """A map that depends on the role of a character alone, on a scale of its own."""
    start, end = span
    left, right = np.arange(length) - start, np.arange(length) - (end - 1)
    values = np.where(left < 0, 0.5 ** -np.minimum(left, 0), np.where(right > 0, 0.7 ** np.maximum(right, 0), 4.0))
    values[start], values[end - 1] = 7.0, 5.0 if end - start > 1 else 7.0
    return length * values


def noisy(seed, spread):
    generator = np.random.default_rng(seed)
    maps = [generator.random(length) for length in LENGTHS]
    views = [[values + spread * generator.random(values.size) for _ in range(3)] for values in maps]
    return maps, views


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_constant_explanation_scores_zero(scale):
    maps = [np.full(length, scale / length) for length in LENGTHS]
    views = [[values, 3 * values] for values in maps]
    scores = discriminative_stability(maps, views, DS_SPANS, LABELS)
    assert scores["within"] == pytest.approx(1.0)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_a_template_of_positions_scores_zero():
    spans = [(5, 9), (11, 17), (2, 5), (20, 24), (3, 7)]  # three characters or more: every role has its own cell
    maps = [template(length, span) for length, span in zip(LENGTHS, spans)]
    scores = discriminative_stability(maps, [[values] for values in maps], spans, LABELS)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_stable_explanations_that_differ_score_above_unstable_ones():
    steady, shaky = (
        discriminative_stability(*noisy(0, spread), DS_SPANS, LABELS)["discriminative_stability"] for spread in (0.1, 3)
    )
    assert steady > shaky
    assert steady > 0.1


def test_orthogonal_explanations_that_stay_score_one():
    maps = [[1, 0, 0], [0, 0, 1]]
    assert discriminative_stability(maps, [maps[:1], maps[1:]], [(1, 2)] * 2, "aa")[
        "discriminative_stability"
    ] == pytest.approx(1.0)


@given(seed=st.integers(0, 20))
def test_equals_the_definition_entity_by_entity(seed):
    maps, views = noisy(seed, 1.0)
    scores = discriminative_stability(maps, views, DS_SPANS, LABELS, width=4)

    def likeness(first, second):
        (one, here), (other, there) = first, second
        return cosine(one[here & there], other[here & there])

    windows = [role_window(values, span, width=4) for values, span in zip(maps, DS_SPANS)]
    expected = []
    for index, label in enumerate(LABELS):
        within = [likeness(windows[index], role_window(view, DS_SPANS[index], width=4)) for view in views[index]]
        others = [other for other in range(len(LABELS)) if LABELS[other] == label and other != index]
        expected.append(np.mean(within) - np.mean([likeness(windows[index], windows[other]) for other in others]))
    assert scores["per_entity"] == pytest.approx(expected)
    assert scores["discriminative_stability"] == pytest.approx(np.mean(expected))


def test_blocks_change_nothing(monkeypatch):
    maps, views = noisy(1, 1.0)
    whole = discriminative_stability(maps, views, DS_SPANS, LABELS)["per_entity"]
    monkeypatch.setattr(discriminative_stability_module, "BLOCK_ROWS", 2)
    assert discriminative_stability(maps, views, DS_SPANS, LABELS)["per_entity"] == pytest.approx(whole)


def test_scale_of_each_map_changes_nothing():
    maps, views = noisy(2, 1.0)
    scaled = [10.0**index * values for index, values in enumerate(maps)]
    before, after = (discriminative_stability(each, views, DS_SPANS, LABELS)["per_entity"] for each in (maps, scaled))
    assert after == pytest.approx(before)


def test_lost_views_and_lonely_types_are_counted_not_compared():
    maps, views = noisy(3, 1.0)
    views = [[None, None], views[1], [views[2][0], None, None], views[3], []]
    scores = discriminative_stability(maps, views, DS_SPANS, ("a", "b", "a", "c", "a"))
    assert [value is None for value in scores["per_entity"]] == [True, True, False, True, True]
    assert (scores["entities"], scores["compared"]) == (5, 1)
    assert (scores["pairs"], scores["kept"], scores["coverage"]) == (11, 7, pytest.approx(7 / 11))


def test_views_are_brought_back_to_the_characters_of_the_original():
    maps = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]
    views = [[[9.0, 0.1, 0.5, 0.4]], [[0.3, 0.1]]]
    scores = discriminative_stability(maps, views, [(1, 2)] * 2, "aa", [[[1, 2, 3]], [[None, 0, 1]]])
    assert scores["within"] == pytest.approx(1.0)


def test_nothing_to_compare_has_no_score():
    scores = discriminative_stability([], [], [], [])
    assert np.isnan(scores["discriminative_stability"])
    assert scores["per_entity"] == []


def test_views_and_alignments_must_pair_up():
    with pytest.raises(ValueError, match=r"views\[0\] 1, alignments\[0\] 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)], "a", [[None, None]])
    with pytest.raises(ValueError, match="maps 1, views 1, spans 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)] * 2, "a")


def test_metric_gives_what_the_function_gives_discriminative_stability(load):
    maps, views = noisy(4, 1.0)
    views[0][1] = None
    metric = load(discriminative_stability_module, DiscriminativeStability)
    scores = metric.compute(predictions=views, references=maps, spans=DS_SPANS, labels=LABELS, width=5)
    assert scores == discriminative_stability(maps, views, DS_SPANS, LABELS, width=5)


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
def test_what_does_not_fit_is_refused_sensitivity(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metric_gives_what_the_functions_give(load):
    moved, by, norms = [[1, 3], [1], [2]], [[0.5, 3], [4], [1]], [2, 1, 8]
    scores = load(sensitivity_module, Sensitivity).compute(predictions=moved, references=by, norms=norms)
    assert scores["local_lipschitz"] == {"mean": pytest.approx(4.25 / 3), "median": 2, "max": 2}
    assert scores["max_sensitivity"]["mean"] == pytest.approx(max_sensitivity(moved, norms).mean())
    assert scores["instances"] == 3


PERTURBED_SCORES = {"mask": 0.6, "swap": 0.4, "width": 0.85}


def test_by_hand():
    scores = robustness(PERTURBED_SCORES, 0.8)
    lost = {name: row["degradation"] for name, row in scores["families"].items()}
    assert lost == pytest.approx({"mask": 0.25, "swap": 0.5, "width": -0.0625})
    assert scores["mean_degradation"] == pytest.approx((0.25 + 0.5 - 0.0625) / 3)
    assert (scores["worst_family"], scores["worst_degradation"], scores["worst_f1"]) == (
        "swap",
        pytest.approx(0.5),
        0.4,
    )


def test_each_family_against_its_own_documents():
    scores = robustness(PERTURBED_SCORES, {"mask": 0.9, "swap": 0.4, "width": 0.85})
    assert (scores["worst_family"], scores["families"]["swap"]["degradation"]) == ("mask", 0)


def test_the_worst_is_the_greatest_relative_loss_not_the_lowest_f1():
    assert robustness({"a": 0.5, "b": 0.3}, {"a": 1.0, "b": 0.4})["worst_family"] == "a"


def test_where_there_was_nothing_to_lose():
    scores = robustness({"mask": 0.0, "swap": 0.2}, {"mask": 0.0, "swap": 0.4})
    assert np.isnan(scores["families"]["mask"]["degradation"])
    assert (scores["mean_degradation"], scores["worst_family"]) == (0.5, "swap")
    assert robustness({}, 0.8)["worst_family"] is None


def test_what_does_not_fit_is_refused_robustness():
    with pytest.raises(ValueError, match="perturbed F1 must lie in"):
        robustness({"mask": 60.0}, 0.8)
    with pytest.raises(ValueError, match="clean F1 must be finite"):
        robustness({"mask": 0.6}, float("nan"))
    with pytest.raises(ValueError, match=r"needed for the families \['mask'\], found \['swap'\]"):
        robustness({"mask": 0.6}, {"swap": 0.6})


def test_recall_is_split_by_what_was_seen():
    scores = seen_unseen_recall([1, 1, 0, 1, 0], [1, 1, 1, 0, 0])
    assert scores == {
        "seen_recall": pytest.approx(2 / 3),
        "unseen_recall": 0.5,
        "gap": pytest.approx(1 / 6),
        "seen": 3,
        "unseen": 2,
    }


def test_recall_of_nothing_is_no_number():
    scores = seen_unseen_recall([True], [True])
    assert scores["seen_recall"] == 1
    assert np.isnan(scores["unseen_recall"])
    with pytest.raises(ValueError, match="seen must hold 1 numbers, found 2"):
        seen_unseen_recall([True], [True, False])


def test_metric_gives_what_the_function_gives_robustness(load):
    metric = load(robustness_module, Robustness)
    scores = metric.compute(
        predictions=list(PERTURBED_SCORES.values()), references=[0.8] * 3, families=list(PERTURBED_SCORES)
    )
    assert scores == robustness(PERTURBED_SCORES, 0.8)


def test_metric_refuses_a_family_named_twice(load):
    with pytest.raises(ValueError, match="named once, found 2 with 1 names"):
        load(robustness_module, Robustness).compute(predictions=[0.5, 0.6], references=[0.8] * 2, families=["mask"] * 2)


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


def test_metric_gives_what_the_function_gives_randomisation(load):
    trained, random = [[1, 5, 2, 4], [0, 3, 1]], [[4, 1, 2, 3], [2, 2, 5]]
    scores = load(randomisation_module, Randomisation).compute(predictions=random, references=trained, k=2)
    assert scores == randomisation(trained, random, 2)
