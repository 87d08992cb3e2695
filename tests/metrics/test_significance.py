"""Bootstrap intervals, randomisation tests and Holm's correction against exact enumeration; intraclass correlation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.intraclass as intraclass_module
import hf_adner.metrics.significance as significance_module
from hf_adner.metrics.intraclass import IntraclassCorrelation, intraclass_correlation
from hf_adner.metrics.significance import (
    Significance,
    approximate_randomisation,
    bootstrap_mean,
    bootstrap_statistic,
    holm,
    micro_f1,
    paired_bootstrap,
    pooled_bootstrap,
    significance,
)


def arms(seeds=3, documents=40, recall=(0.8, 0.6), seed=0):
    """Return the counts of two arms on the same documents, each with its own recall."""
    generator = np.random.default_rng(seed)
    support = np.broadcast_to(generator.integers(1, 6, documents), (seeds, documents))
    tables = []
    for rate in recall:
        correct = generator.binomial(support, rate)
        tables.append(np.stack([correct, correct + generator.integers(0, 2, support.shape), support], axis=-1))
    return tables


def test_known_micro_f1():
    assert micro_f1([[1, 2, 4], [0, 0, 0], [3, 3, 3]]).tolist() == [pytest.approx(1 / 3), 0, 1]


def test_f1_is_recomputed_in_every_resample():
    first, second = arms(seeds=2, documents=3)
    scores = paired_bootstrap(first, second, resamples=4000)
    samples = []
    for documents in itertools.product(range(3), repeat=3):
        picked = micro_f1(first[:, documents].sum(1)) - micro_f1(second[:, documents].sum(1))
        samples += [picked[list(seeds)].mean() for seeds in itertools.product(range(2), repeat=2)]
    # all possible resamples, each equally likely: 27 draws of documents times 4 of seeds
    assert scores["low"] == pytest.approx(np.quantile(samples, 0.025, method="inverted_cdf"), abs=0.03)
    assert scores["high"] == pytest.approx(np.quantile(samples, 0.975, method="inverted_cdf"), abs=0.03)
    assert scores["share_not_above_zero"] == pytest.approx(np.mean(np.array(samples) <= 0), abs=0.04)


def test_seeds_may_differ_in_what_is_counted():
    """Which entities are unseen depends on a seed's training documents; arms of a seed share them."""
    tables = [arms(seeds=1, documents=3, seed=seed) for seed in range(2)]
    first, second = (np.concatenate(tables_of_arm) for tables_of_arm in zip(*tables, strict=True))
    assert (first[0, :, 2] != first[1, :, 2]).any()
    scores = paired_bootstrap(first, second, resamples=4000)
    alone = [paired_bootstrap(*pair, resamples=10)["difference"] for pair in tables]
    assert scores["per_seed"] == pytest.approx(alone) and scores["difference"] == pytest.approx(np.mean(alone))
    samples = []
    for documents in itertools.product(range(3), repeat=3):
        picked = micro_f1(first[:, documents].sum(1)) - micro_f1(second[:, documents].sum(1))
        samples += [picked[list(seeds)].mean() for seeds in itertools.product(range(2), repeat=2)]
    assert scores["low"] == pytest.approx(np.quantile(samples, 0.025, method="inverted_cdf"), abs=0.03)
    swapped = [first[::-1], second]
    with pytest.raises(ValueError, match="both arms of a seed"):
        paired_bootstrap(*swapped, resamples=10)


def test_difference_is_the_mean_over_seeds():
    first, second = arms()
    scores = paired_bootstrap(first, second, resamples=50)
    expected = [micro_f1(a.sum(0)) - micro_f1(b.sum(0)) for a, b in zip(first, second)]
    assert scores["per_seed"] == pytest.approx(expected)
    assert scores["difference"] == pytest.approx(np.mean(expected))
    assert scores["low"] < scores["difference"] < scores["high"]
    assert (scores["level"], scores["resamples"]) == (0.95, 50)


def test_equal_arms_do_not_differ():
    first, _ = arms()
    scores = paired_bootstrap(first, first, resamples=100)
    assert (scores["difference"], scores["low"], scores["high"], scores["share_not_above_zero"]) == (0, 0, 0, 1)
    assert approximate_randomisation(first, first, shuffles=99)["p_value"] == 1


def test_swapped_arms_have_the_negated_interval_and_the_same_p_value():
    first, second = arms()
    there, back = paired_bootstrap(first, second, resamples=300), paired_bootstrap(second, first, resamples=300)
    assert (there["low"], there["high"]) == pytest.approx((-back["high"], -back["low"]))
    tests = [approximate_randomisation(*pair, shuffles=300)["p_value"] for pair in ((first, second), (second, first))]
    assert tests[0] == tests[1]


def test_only_a_clear_difference_is_significant():
    first, second = arms(recall=(0.9, 0.5))
    assert paired_bootstrap(first, second, resamples=500)["low"] > 0
    assert approximate_randomisation(first, second, shuffles=500)["p_value"] < 0.01
    first, second = arms(recall=(0.7, 0.7))
    scores = paired_bootstrap(first, second, resamples=500)
    assert scores["low"] < 0 < scores["high"]
    assert approximate_randomisation(first, second, shuffles=500)["p_value"] > 0.05


def test_repeated_seeds_do_not_narrow_the_interval():
    first, second = arms(seeds=1)
    single, many = (paired_bootstrap(np.repeat(first, n, 0), np.repeat(second, n, 0), resamples=2000) for n in (1, 10))
    assert many["high"] - many["low"] == pytest.approx(single["high"] - single["low"], rel=0.1)


def test_p_value_equals_that_of_all_swaps():
    first, second = arms(seeds=2, documents=6, recall=(0.9, 0.5))
    first_counts, second_counts = first.sum(0), second.sum(0)
    observed = abs(micro_f1(first_counts.sum(0)) - micro_f1(second_counts.sum(0)))
    extreme = []
    for coins in itertools.product([0, 1], repeat=6):
        moved = np.array(coins) @ (second_counts - first_counts)
        difference = micro_f1(first_counts.sum(0) + moved) - micro_f1(second_counts.sum(0) - moved)
        extreme.append(abs(difference) >= observed - 1e-12)
    p_value = approximate_randomisation(first, second, shuffles=5000)["p_value"]
    assert p_value == pytest.approx(np.mean(extreme), abs=0.02)


def test_p_value_is_bounded_by_the_number_of_shuffles():
    first, second = arms(recall=(1.0, 0.1))
    assert approximate_randomisation(first, second, shuffles=9)["p_value"] == pytest.approx(0.1)


def test_block_size_does_not_matter_and_seeds_do(monkeypatch):
    first, second = arms()
    before = paired_bootstrap(first, second, resamples=400)
    assert before == paired_bootstrap(first, second, resamples=400)
    assert before != paired_bootstrap(first, second, resamples=400, seed=1)
    monkeypatch.setattr(significance_module, "BLOCK_ELEMENTS", 40 * 7)
    after = paired_bootstrap(first, second, resamples=400)
    assert after["resamples"] == 400
    assert after["low"] == pytest.approx(before["low"], abs=0.03)


def test_known_holm_correction():
    scores = holm([0.01, 0.04, 0.03, 0.005])
    assert scores["adjusted"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert scores["rejected"] == [True, False, False, True]
    assert holm([0.9, 0.8])["adjusted"] == [1, 1]
    assert holm([]) == {"adjusted": [], "rejected": []}


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_no_correction_and_bonferroni(p_values):
    adjusted = np.array(holm(p_values)["adjusted"])
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_interval_of_a_mean_is_close_to_normal_theory():
    values = np.random.default_rng(0).standard_normal(400) + 5
    scores = bootstrap_mean(values, resamples=4000)
    half = 1.96 * values.std() / 20
    assert (scores["low"], scores["high"]) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    assert scores["mean"] == pytest.approx(values.mean())
    wide = bootstrap_mean(values, level=0.99, resamples=4000)
    assert wide["low"] < scores["low"] < scores["high"] < wide["high"]


def test_interval_of_a_statistic_equals_that_of_the_mean():
    values = np.random.default_rng(0).random(60)
    scores = bootstrap_statistic(60, lambda drawn: float(values[drawn].mean()), resamples=2000)
    expected = bootstrap_mean(values, resamples=2000)
    assert scores["value"] == pytest.approx(expected["mean"])
    assert (scores["low"], scores["high"]) == pytest.approx((expected["low"], expected["high"]), abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_bootstrap([[1, 2, 3]], [[1, 2, 3]]), r"shape \(seeds, documents, 3\), found \(1, 3\)"),
        (lambda: paired_bootstrap([], []), r"shape \(seeds, documents, 3\)"),
        (lambda: paired_bootstrap([[[1, 1, 1]], []], []), "uneven rows"),
        (lambda: paired_bootstrap([[[2, 1, 2]]], [[[1, 1, 2]]]), "first must hold whole counts"),
        (lambda: paired_bootstrap([[[1, 1, 2]]], [[[1, float("nan"), 2]]]), "second must hold whole counts"),
        (lambda: paired_bootstrap([[[1, 1, 2]]], [[[1, 1, 2]] * 2]), r"found \(1, 1\) and \(1, 2\)"),
        (lambda: paired_bootstrap([[[1, 1, 2]]], [[[1, 1, 3]]]), "found 1 with several"),
        (lambda: paired_bootstrap([[[1, 1, 2]]], [[[1, 1, 2]]], level=1), "level must lie in"),
        (lambda: approximate_randomisation([[[1, 1, 2]]], [[[1, 1, 2]]], 0), "resamples be at least 1"),
        (lambda: bootstrap_mean([]), "at least one value, found none"),
        (lambda: bootstrap_statistic(2, lambda drawn: float("nan"), resamples=3), "statistic must be finite"),
        (lambda: holm([1.5]), "p_values must lie in"),
    ],
)
def test_invalid_inputs_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metric_equals_the_functions(load):
    first, second = arms(documents=10)
    metric = load(significance_module, Significance)
    scores = metric.compute(predictions=first, references=second, resamples=200, seed=3)
    assert scores == significance(first, second, resamples=200, seed=3)
    assert scores.pop("p_value") == approximate_randomisation(first, second, 200, 3)["p_value"]
    assert scores == paired_bootstrap(first, second, resamples=200, seed=3)


def test_pooled_bootstrap_of_one_cell_is_the_paired_bootstrap():
    first, second = arms(seeds=3, documents=20)
    pooled = pooled_bootstrap([("notes", first, second)], resamples=200)
    alone = paired_bootstrap(first, second, resamples=200)
    assert {name: pooled[name] for name in ("difference", "low", "high", "share_not_above_zero")} == {
        name: alone[name] for name in ("difference", "low", "high", "share_not_above_zero")
    }


def test_cells_of_one_corpus_share_their_documents():
    """A second equal cell of the same corpus does not narrow the interval; one of another corpus does."""
    first, second = arms(seeds=1, documents=30)
    widths = []
    for corpora in (("a",), ("a", "a"), ("a", "b")):
        scores = pooled_bootstrap([(corpus, first, second) for corpus in corpora], resamples=3000)
        widths.append(scores["high"] - scores["low"])
    assert widths[1] == pytest.approx(widths[0]) and widths[2] == pytest.approx(widths[0] / np.sqrt(2), rel=0.1)


def test_pooled_interval_equals_that_of_all_draws():
    cells = [("a", *arms(2, 2, seed=1)), ("b", *arms(1, 2, seed=2))]
    scores = pooled_bootstrap(cells, resamples=6000)
    samples = [np.mean(pair) for pair in itertools.product(*(every_draw(*counts) for _, *counts in cells))]
    assert scores["low"] == pytest.approx(np.quantile(samples, 0.025, method="inverted_cdf"), abs=0.03)
    assert scores["high"] == pytest.approx(np.quantile(samples, 0.975, method="inverted_cdf"), abs=0.03)
    assert scores["difference"] == pytest.approx(np.mean(scores["per_cell"]))


def every_draw(first, second):
    """Yield the mean difference of every possible resample of seeds and documents."""
    seeds, documents = first.shape[:2]
    for drawn_documents in itertools.product(range(documents), repeat=documents):
        picked = micro_f1(first[:, drawn_documents].sum(1)) - micro_f1(second[:, drawn_documents].sum(1))
        yield from (picked[list(drawn)].mean() for drawn in itertools.product(range(seeds), repeat=seeds))


def test_pooling_needs_cells_and_one_size_per_corpus():
    first, second = arms(documents=5)
    with pytest.raises(ValueError, match="at least one"):
        pooled_bootstrap([])
    with pytest.raises(ValueError, match=r"several numbers in \['a'\]"):
        pooled_bootstrap([("a", first, second), ("a", first[:, :4], second[:, :4])])


# Shrout & Fleiss (1979), table 2: six targets rated by four judges; ICC(1) = .17
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)
TARGETS = np.repeat(np.arange(6), 4)


def test_published_intraclass_correlation():
    scores = intraclass_correlation(RATINGS.ravel(), TARGETS)
    assert (scores["between_mean_square"], scores["within_mean_square"]) == pytest.approx((11.24, 6.26), abs=0.005)
    assert scores["icc"] == pytest.approx(0.1657, abs=1e-4)
    assert (scores["instances"], scores["kept"], scores["coverage"]) == (6, 6, 1.0)


def test_order_of_views_offset_and_scale_do_not_matter():
    order = np.random.default_rng(0).permutation(24)
    moved = intraclass_correlation(1e6 + 3 * RATINGS.ravel()[order], TARGETS[order])
    assert moved["icc"] == pytest.approx(intraclass_correlation(RATINGS.ravel(), TARGETS)["icc"])


def test_columns_are_pooled():
    both = np.stack([RATINGS.ravel(), np.tile([1.0, 2.0, 3.0, 4.0], 6)], axis=1)
    scores = intraclass_correlation(both, TARGETS)
    assert scores["within_mean_square"] == pytest.approx((6.2639 + 5 / 3) / 2, abs=1e-4)
    assert scores["between_mean_square"] == pytest.approx(11.2417 / 2, abs=1e-4)


def test_absent_values_are_ignored():
    present = np.ones((24, 2))
    present[:, 1] = 0
    both = np.stack([RATINGS.ravel(), np.random.default_rng(0).random(24)], axis=1)
    expected = intraclass_correlation(RATINGS.ravel(), TARGETS)
    assert intraclass_correlation(both, TARGETS, present) == pytest.approx(expected)


def test_each_column_uses_the_views_that_have_it():
    both = np.stack([RATINGS.ravel(), RATINGS.ravel()], axis=1)
    present = np.ones((24, 2))
    present[12:, 1] = 0  # the second column exists in the first three instances only
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


def test_stable_explanations_that_differ_score_one():
    assert intraclass_correlation(np.repeat([1.0, 2.0, 5.0], 4), np.repeat([0, 1, 2], 4))["icc"] == 1.0


def test_noise_scores_about_zero():
    values = np.random.default_rng(0).standard_normal((8000, 3))
    assert intraclass_correlation(values, np.repeat(np.arange(1000), 8))["icc"] < 0.02


def test_known_share_of_variance_in_an_unbalanced_table():
    generator = np.random.default_rng(0)
    instances = np.repeat(np.arange(2000), generator.integers(4, 9, 2000))
    values = generator.standard_normal(2000)[instances] * 3**0.5 + generator.standard_normal(instances.size)
    assert intraclass_correlation(values, instances)["icc"] == pytest.approx(0.75, abs=0.02)


def test_instances_with_few_views_only_lower_coverage():
    scores = intraclass_correlation([*RATINGS.ravel(), 1e3, 0.0], [*TARGETS, 6, 6])
    assert scores["coverage"] == pytest.approx(6 / 7)
    assert scores["icc"] == pytest.approx(intraclass_correlation(RATINGS.ravel(), TARGETS)["icc"])


def test_correlation_of_one_instance_is_nan():
    assert np.isnan(intraclass_correlation([1, 2, 3, 4], [0] * 4)["icc"])


def test_invalid_tables_raise():
    with pytest.raises(ValueError, match="values 3, instances 2"):
        intraclass_correlation([1, 2, 3], [0, 1])
    with pytest.raises(ValueError, match="min_views must be at least 2, found 1"):
        intraclass_correlation([1], [0], min_views=1)
    with pytest.raises(ValueError, match="present must have the shape 1 x 2"):
        intraclass_correlation([[1, 2]], [0], [[1]])


def test_intraclass_metric_equals_the_function(load):
    rows = RATINGS.reshape(-1, 1)
    scores = load(intraclass_module, IntraclassCorrelation).compute(predictions=rows, references=TARGETS)
    assert scores == intraclass_correlation(rows, TARGETS)
