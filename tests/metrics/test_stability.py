"""Stability, discriminative stability, sensitivity and randomisation of explanations; robustness of predictions."""

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
from hf_adner.metrics.sensitivity import Sensitivity, local_lipschitz, max_sensitivity, sensitivity
from hf_adner.metrics.similarity import cosine, role_window, spearman, top_k_jaccard
from hf_adner.metrics.stability import Stability, pairwise_stability, stability

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


def test_rank_correlation_of_a_constant_map_is_zero_and_counts_in_the_mean():
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


def test_stability_without_kept_pairs_is_nan():
    scores = stability(MAPS[:1], [None])
    assert scores["coverage"] == 0.0
    assert np.isnan(scores["cosine"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perturbed": PERTURBED[:2]}, "maps 3, perturbed 2"),
        ({"maps": [MAPS[0], [1.0, float("nan")], MAPS[2]]}, r"maps\[1\] must be finite"),
        ({"spans": [(0, 1), (1, 9), (0, 1)]}, r"spans\[1\] needs whole"),
        ({"alignments": [None, None, [0, 7]]}, r"alignment of maps\[2\]"),
    ],
)
def test_invalid_pairs_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        stability(**{"maps": MAPS, "perturbed": PERTURBED, "alignments": ALIGNMENTS, **changes})


def test_stability_metric_equals_the_function(load):
    metric = load(stability_module, Stability)
    scores = metric.compute(predictions=PERTURBED, references=MAPS, alignments=ALIGNMENTS, spans=SPANS, k=2)
    assert scores == stability(MAPS, PERTURBED, ALIGNMENTS, SPANS, 2)


def test_stability_metric_accumulates_arrays(load):
    metric = load(stability_module, Stability)
    metric.add_batch(predictions=[np.array(PERTURBED[0])], references=[np.array(MAPS[0])])
    metric.add_batch(predictions=[None], references=[MAPS[1]])
    assert metric.compute() == stability(MAPS[:2], PERTURBED[:2])


# Entities of which explanations are compared: lengths of their texts, spans, labels.
LENGTHS = (12, 30, 7, 25, 9)
ENTITY_SPANS = ((0, 1), (11, 17), (5, 7), (22, 25), (2, 4))
LABELS = ("a", "b", "a", "b", "a")


def template(length, span, width=30):
    """Return a map that depends on the role of each character alone, on a scale of its own."""
    start, end = span
    left, right = np.arange(length) - start, np.arange(length) - (end - 1)
    values = np.where(left < 0, 0.5 ** -np.minimum(left, 0), np.where(right > 0, 0.7 ** np.maximum(right, 0), 4.0))
    values[start], values[end - 1] = 7.0, 5.0 if end - start > 1 else 7.0
    return length * values


def noisy(seed, spread):
    """Return random maps and three noisy views of each."""
    generator = np.random.default_rng(seed)
    maps = [generator.random(length) for length in LENGTHS]
    views = [[values + spread * generator.random(values.size) for _ in range(3)] for values in maps]
    return maps, views


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_discriminative_stability_of_a_constant_explanation_is_zero(scale):
    maps = [np.full(length, scale / length) for length in LENGTHS]
    views = [[values, 3 * values] for values in maps]
    scores = discriminative_stability(maps, views, ENTITY_SPANS, LABELS)
    assert scores["within"] == pytest.approx(1.0)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_discriminative_stability_of_a_template_of_positions_is_zero():
    spans = [(5, 9), (11, 17), (2, 5), (20, 24), (3, 7)]  # three characters or more: every role has its own slot
    maps = [template(length, span) for length, span in zip(LENGTHS, spans)]
    scores = discriminative_stability(maps, [[values] for values in maps], spans, LABELS)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_stable_explanations_that_differ_score_above_unstable_ones():
    scores = [discriminative_stability(*noisy(0, spread), ENTITY_SPANS, LABELS) for spread in (0.1, 3)]
    stable, unstable = (score["discriminative_stability"] for score in scores)
    assert stable > unstable
    assert stable > 0.1


def test_stable_orthogonal_explanations_score_one():
    maps = [[1, 0, 0], [0, 0, 1]]
    assert discriminative_stability(maps, [maps[:1], maps[1:]], [(1, 2)] * 2, "aa")[
        "discriminative_stability"
    ] == pytest.approx(1.0)


@given(seed=st.integers(0, 20))
def test_discriminative_stability_equals_its_definition(seed):
    maps, views = noisy(seed, 1.0)
    scores = discriminative_stability(maps, views, ENTITY_SPANS, LABELS, width=4)

    def similarity(first, second):
        (first_values, first_present), (second_values, second_present) = first, second
        present = first_present & second_present
        return cosine(first_values[present], second_values[present])

    windows = [role_window(values, span, width=4) for values, span in zip(maps, ENTITY_SPANS)]
    expected = []
    for index, label in enumerate(LABELS):
        within = [similarity(windows[index], role_window(view, ENTITY_SPANS[index], width=4)) for view in views[index]]
        others = [other for other in range(len(LABELS)) if LABELS[other] == label and other != index]
        expected.append(np.mean(within) - np.mean([similarity(windows[index], windows[other]) for other in others]))
    assert scores["per_entity"] == pytest.approx(expected)
    assert scores["discriminative_stability"] == pytest.approx(np.mean(expected))


def test_discriminative_stability_does_not_depend_on_the_block_size(monkeypatch):
    maps, views = noisy(1, 1.0)
    whole = discriminative_stability(maps, views, ENTITY_SPANS, LABELS)["per_entity"]
    monkeypatch.setattr(discriminative_stability_module, "BLOCK_ROWS", 2)
    assert discriminative_stability(maps, views, ENTITY_SPANS, LABELS)["per_entity"] == pytest.approx(whole)


def test_discriminative_stability_ignores_the_scale_of_maps():
    maps, views = noisy(2, 1.0)
    scaled = [10.0**index * values for index, values in enumerate(maps)]
    plain, rescaled = (discriminative_stability(values, views, ENTITY_SPANS, LABELS) for values in (maps, scaled))
    assert rescaled["per_entity"] == pytest.approx(plain["per_entity"])


def test_lost_views_and_single_entities_of_a_type_are_not_compared():
    maps, views = noisy(3, 1.0)
    views = [[None, None], views[1], [views[2][0], None, None], views[3], []]
    scores = discriminative_stability(maps, views, ENTITY_SPANS, ("a", "b", "a", "c", "a"))
    assert [value is None for value in scores["per_entity"]] == [True, True, False, True, True]
    assert (scores["entities"], scores["compared"]) == (5, 1)
    assert (scores["pairs"], scores["kept"], scores["coverage"]) == (11, 7, pytest.approx(7 / 11))


def test_views_are_aligned_with_the_original():
    maps = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]
    views = [[[9.0, 0.1, 0.5, 0.4]], [[0.3, 0.1]]]
    scores = discriminative_stability(maps, views, [(1, 2)] * 2, "aa", [[[1, 2, 3]], [[None, 0, 1]]])
    assert scores["within"] == pytest.approx(1.0)


def test_discriminative_stability_without_entities_is_nan():
    scores = discriminative_stability([], [], [], [])
    assert np.isnan(scores["discriminative_stability"])
    assert scores["per_entity"] == []


def test_views_and_alignments_must_have_one_length():
    with pytest.raises(ValueError, match=r"views\[0\] 1, alignments\[0\] 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)], "a", [[None, None]])
    with pytest.raises(ValueError, match="maps 1, views 1, spans 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)] * 2, "a")


def test_discriminative_stability_metric_equals_the_function(load):
    maps, views = noisy(4, 1.0)
    views[0][1] = None
    metric = load(discriminative_stability_module, DiscriminativeStability)
    scores = metric.compute(predictions=views, references=maps, spans=ENTITY_SPANS, labels=LABELS, width=5)
    assert scores == discriminative_stability(maps, views, ENTITY_SPANS, LABELS, width=5)


def test_max_sensitivity_is_that_of_the_worst_draw_relative_to_the_norm():
    assert max_sensitivity([[1, 3, 2], [0.5]], [2, 1]).tolist() == [1.5, 0.5]


def test_sensitivity_of_a_constant_explanation_is_zero():
    assert max_sensitivity([[0, 0]], [4]).tolist() == [0]
    assert local_lipschitz([[0, 0]], [[1, 2]]).tolist() == [0]


def test_max_sensitivity_of_a_zero_explanation():
    assert max_sensitivity([[0.0], [1.0]], [0, 0]).tolist() == [0, np.inf]


def test_local_lipschitz_is_the_steepest_slope():
    assert local_lipschitz([[1, 3], [1]], [[0.5, 3], [0]]).tolist() == [2, np.inf]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: max_sensitivity([[-1]], [1]), r"distances\[0\] must be at least 1 numbers >= 0, found 1, 1 of them"),
        (lambda: max_sensitivity([[]], [1]), r"found 0, 0 of them negative"),
        (lambda: max_sensitivity([[1]], [-1]), "norms must be numbers >= 0"),
        (lambda: max_sensitivity([[1]], [1, 2]), "distances 1, norms 2"),
        (lambda: local_lipschitz([[1]], [[1, 2]]), r"input_distances\[0\] must hold 1 numbers"),
    ],
)
def test_invalid_distances_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sensitivity_metric_equals_the_functions(load):
    distances, input_distances, norms = [[1, 3], [1], [2]], [[0.5, 3], [4], [1]], [2, 1, 8]
    metric = load(sensitivity_module, Sensitivity)
    scores = metric.compute(predictions=distances, references=input_distances, norms=norms)
    assert scores == sensitivity(distances, input_distances, norms)
    assert scores["local_lipschitz"] == {"mean": pytest.approx(4.25 / 3), "median": 2, "max": 2}
    assert scores["max_sensitivity"]["mean"] == pytest.approx(max_sensitivity(distances, norms).mean())
    assert scores["instances"] == 3


PERTURBED_SCORES = {"mask": 0.6, "swap": 0.4, "width": 0.85}


def test_known_robustness():
    scores = robustness(PERTURBED_SCORES, 0.8)
    degradation = {name: row["degradation"] for name, row in scores["families"].items()}
    assert degradation == pytest.approx({"mask": 0.25, "swap": 0.5, "width": -0.0625})
    assert scores["mean_degradation"] == pytest.approx((0.25 + 0.5 - 0.0625) / 3)
    assert (scores["worst_family"], scores["worst_degradation"], scores["worst_f1"]) == (
        "swap",
        pytest.approx(0.5),
        0.4,
    )


def test_each_family_is_compared_with_its_own_documents():
    scores = robustness(PERTURBED_SCORES, {"mask": 0.9, "swap": 0.4, "width": 0.85})
    assert (scores["worst_family"], scores["families"]["swap"]["degradation"]) == ("mask", 0)


def test_worst_family_has_the_greatest_relative_loss_not_the_lowest_f1():
    assert robustness({"a": 0.5, "b": 0.3}, {"a": 1.0, "b": 0.4})["worst_family"] == "a"


def test_degradation_is_undefined_where_the_clean_f1_is_zero():
    scores = robustness({"mask": 0.0, "swap": 0.2}, {"mask": 0.0, "swap": 0.4})
    assert np.isnan(scores["families"]["mask"]["degradation"])
    assert (scores["mean_degradation"], scores["worst_family"]) == (0.5, "swap")
    assert robustness({}, 0.8)["worst_family"] is None


def test_invalid_f1_and_families_raise():
    with pytest.raises(ValueError, match="perturbed F1 must lie in"):
        robustness({"mask": 60.0}, 0.8)
    with pytest.raises(ValueError, match="clean F1 must be finite"):
        robustness({"mask": 0.6}, float("nan"))
    with pytest.raises(ValueError, match=r"needed for the families \['mask'\], found \['swap'\]"):
        robustness({"mask": 0.6}, {"swap": 0.6})


def test_known_seen_and_unseen_recall():
    scores = seen_unseen_recall([1, 1, 0, 1, 0], [1, 1, 1, 0, 0])
    assert scores == {
        "seen_recall": pytest.approx(2 / 3),
        "unseen_recall": 0.5,
        "gap": pytest.approx(1 / 6),
        "seen": 3,
        "unseen": 2,
    }


def test_recall_without_entities_is_nan():
    scores = seen_unseen_recall([True], [True])
    assert scores["seen_recall"] == 1
    assert np.isnan(scores["unseen_recall"])
    with pytest.raises(ValueError, match="seen must hold 1 numbers, found 2"):
        seen_unseen_recall([True], [True, False])


def test_robustness_metric_equals_the_function(load):
    metric = load(robustness_module, Robustness)
    scores = metric.compute(
        predictions=list(PERTURBED_SCORES.values()), references=[0.8] * 3, families=list(PERTURBED_SCORES)
    )
    assert scores == robustness(PERTURBED_SCORES, 0.8)


def test_robustness_metric_raises_for_a_repeated_family(load):
    with pytest.raises(ValueError, match="must be unique, found 2 families with 1 names"):
        load(robustness_module, Robustness).compute(predictions=[0.5, 0.6], references=[0.8] * 2, families=["mask"] * 2)


def test_unchanged_maps_agree_fully_at_any_scale():
    maps = np.random.default_rng(0).random((4, 12))
    scores = randomisation(maps, 3 * maps + 1)
    assert (scores["rank_agreement"], scores["absolute_rank_agreement"], scores["top_k_jaccard"]) == pytest.approx(
        (1, 1, 1)
    )
    assert (scores["constant"], scores["entities"]) == (0, 4)


def test_unrelated_maps_agree_at_chance_level():
    first, second = np.random.default_rng(0).random((2, 400, 50))
    scores = randomisation(first, second)
    assert abs(scores["rank_agreement"]) < 0.02
    assert scores["absolute_rank_agreement"] == pytest.approx((2 / np.pi / 49) ** 0.5, abs=0.01)
    assert scores["top_k_jaccard"] == pytest.approx(scores["chance_jaccard"], abs=0.02)
    assert scores["chance_jaccard"] == pytest.approx(5 / 95)


def test_reversed_maps_do_not_cancel_in_absolute_agreement():
    scores = randomisation([[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [3, 2, 1]])
    assert scores["per_entity"] == pytest.approx([1, -1])
    assert (scores["rank_agreement"], scores["absolute_rank_agreement"]) == pytest.approx((0, 1))


def test_constant_maps_have_zero_agreement_and_are_counted():
    scores = randomisation([[1, 2, 3], [1, 2, 3]], [[1, 1, 1], [1, 2, 3]])
    assert (scores["rank_agreement"], scores["constant"]) == pytest.approx((0.5, 0.5))


def test_randomisation_without_entities_is_nan():
    assert np.isnan(randomisation([], [])["rank_agreement"])


def test_maps_of_an_entity_must_have_one_length():
    with pytest.raises(ValueError, match=r"randomised\[0\] must hold 2 numbers, found 3"):
        randomisation([[1, 2]], [[1, 2, 3]])
    with pytest.raises(ValueError, match=r"trained\[0\] must be finite"):
        randomisation([[1, float("inf")]], [[1, 2]])


def test_randomisation_metric_equals_the_function(load):
    trained, random = [[1, 5, 2, 4], [0, 3, 1]], [[4, 1, 2, 3], [2, 2, 5]]
    scores = load(randomisation_module, Randomisation).compute(predictions=random, references=trained, k=2)
    assert scores == randomisation(trained, random, 2)
