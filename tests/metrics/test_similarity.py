"""Similarities of attribution maps, compared with SciPy and with their definitions; alignment and role windows."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from hf_adner.metrics import similarity
from hf_adner.metrics.similarity import (
    aligned,
    average_ranks,
    cosine,
    map_consistency,
    partial_spearman,
    role_window,
    spearman,
    top_k_jaccard,
    top_membership,
    top_size,
    window_cosines,
)

VALUES = st.integers(-3, 3).map(float)
PAIRS = st.integers(2, 9).flatmap(lambda size: st.tuples(*[st.lists(VALUES, min_size=size, max_size=size)] * 2))
SIMILARITIES = [cosine, spearman, top_k_jaccard, map_consistency]
DISTINCT = [0.4, 0.1, 0.3, 0.2, 0.9]


@pytest.mark.parametrize("measure", SIMILARITIES)
def test_identical_maps_score_one(measure):
    assert measure(DISTINCT, DISTINCT) == pytest.approx(1.0)


@pytest.mark.parametrize("measure", SIMILARITIES)
@given(pair=PAIRS, scale=st.sampled_from([1e-200, 1e-3, 7.0, 1e200]))
def test_scale_and_order_of_maps_do_not_matter(measure, pair, scale):
    first, second = pair
    value = measure(first, second)
    assert measure([scale * number for number in first], second) == pytest.approx(value, abs=1e-12)
    assert measure(second, first) == pytest.approx(value, abs=1e-12)
    assert -1 - 1e-12 <= value <= 1 + 1e-12


@pytest.mark.parametrize("measure", SIMILARITIES)
@given(pair=PAIRS, seed=st.integers(0, 99))
def test_no_position_is_preferred(measure, pair, seed):
    order = np.random.default_rng(seed).permutation(len(pair[0]))
    moved = [np.array(values)[order] for values in pair]
    assert measure(*moved) == pytest.approx(measure(*pair), abs=1e-12)


@given(pair=PAIRS)
def test_ranks_and_spearman_equal_scipy(pair):
    first, second = pair
    np.testing.assert_array_equal(average_ranks(first), rankdata(first))
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


@pytest.mark.parametrize("constant", [[0.0] * 5, [0.2] * 5, [0.2, 0.2 + 1e-12, 0.2, 0.2 - 1e-12, 0.2]])
def test_rank_correlation_of_a_constant_map_is_zero(constant):
    assert spearman(constant, DISTINCT) == spearman(DISTINCT, constant) == spearman(constant, constant) == 0.0


def test_cosine_of_a_zero_map_is_zero():
    assert cosine([0, 0], [1, 2]) == cosine([0, 0], [0, 0]) == 0.0


def test_known_cosine():
    assert cosine([1, 0, 0], [1, 1, 0]) == pytest.approx(0.5**0.5)


def test_known_jaccard():
    assert top_k_jaccard([5, 4, 3, 2, 1, 0], [5, 0, 3, 4, 1, 2], 3) == pytest.approx(2 / 4)
    assert top_k_jaccard([5, 4, 3, 2, 1, 0], [0, 5, 1, 2, 3, 4], 3) == pytest.approx(1 / 5)
    assert top_k_jaccard([3, 2, 1], [1, 2, 3], 2) == pytest.approx(1 / 3)


def test_known_consistency():
    # top 1 shares none of 1, top 2 one of 2, top 3 three of 3
    assert map_consistency([3, 2, 1], [1, 2, 3]) == pytest.approx((0 + 1 / 2 + 1) / 3)
    assert map_consistency([3, 2, 1], [1, 2, 3], k=1) == 0.0


def test_consistency_does_not_depend_on_the_size_of_blocks(monkeypatch):
    first, second = np.random.default_rng(0).integers(0, 9, (2, 50))
    whole = map_consistency(first, second)
    monkeypatch.setattr(similarity, "BLOCK_ELEMENTS", 120)
    assert map_consistency(first, second) == pytest.approx(whole, abs=1e-15)


def test_constant_map_overlaps_at_chance_level():
    distinct, k = np.arange(20.0), 4
    assert top_k_jaccard(np.ones(20), distinct, k) == pytest.approx(k / (2 * 20 - k))


@given(values=st.lists(VALUES, min_size=1, max_size=6), data=st.data())
def test_membership_is_the_chance_if_ties_are_broken_at_random(values, data):
    k = data.draw(st.integers(1, len(values)))
    chances = np.zeros(len(values))
    orders = list(itertools.permutations(range(len(values))))
    for order in orders:
        chances[sorted(order, key=lambda place: -values[place])[:k]] += 1 / len(orders)
    np.testing.assert_allclose(top_membership(np.array(values), [k])[0], chances, atol=1e-12)


@pytest.mark.parametrize(("length", "top"), [(0, 0), (2, 2), (3, 3), (30, 3), (31, 4), (512, 52)])
def test_top_is_a_tenth_by_default(length, top):
    assert top_size(length) == top
    assert top_size(length, 5) == min(length, 5)


def test_similarity_of_empty_maps_is_zero():
    assert [measure([], []) for measure in SIMILARITIES] == [0.0] * 4


@pytest.mark.parametrize("measure", SIMILARITIES)
def test_invalid_maps_raise(measure):
    with pytest.raises(ValueError, match="second map must hold 2 numbers, found 3"):
        measure([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="first map must be finite"):
        measure([1, float("nan")], [1, 2])


@pytest.mark.parametrize("measure", [top_k_jaccard, map_consistency])
def test_top_of_zero_raises(measure):
    with pytest.raises(ValueError, match="k must be at least 1, found 0"):
        measure([1], [1], 0)


def test_alignment_returns_values_at_the_original_characters():
    values, present = aligned([1, 2, 3], [9, 7, 8, 6], [1, None, 3])
    assert values.tolist() == [7, 0, 6]
    assert present.tolist() == [True, False, True]


@pytest.mark.parametrize("alignment", [[0, 1, 4], [0, 1, -2], [0, 1, 0.5]])
def test_alignment_must_point_into_the_perturbed_text(alignment):
    with pytest.raises(ValueError, match="point into the 4 perturbed characters"):
        aligned([1, 2, 3], [9, 7, 8, 6], alignment)


def test_alignment_must_cover_the_original():
    with pytest.raises(ValueError, match="alignment of map must hold 3 numbers, found 2"):
        aligned([1, 2, 3], [9, 7, 8, 6], [0, 1])
    with pytest.raises(ValueError, match="perturbed map must hold 3 numbers, found 4"):
        aligned([1, 2, 3], [9, 7, 8, 6])


def test_partial_correlation_equals_that_of_rank_residuals():
    rng = np.random.default_rng(0)
    given_map = rng.normal(size=40)
    first, second = given_map + rng.normal(size=40), given_map + rng.normal(size=40)
    ranks = [rankdata(values) - 20.5 for values in (first, second, given_map)]
    residuals = [values - (values @ ranks[2]) / (ranks[2] @ ranks[2]) * ranks[2] for values in ranks[:2]]
    expected = np.corrcoef(*residuals)[0, 1]
    assert partial_spearman(first, second, given_map) == pytest.approx(expected)
    assert abs(expected) < spearman(first, second)


def test_partial_correlation_of_explained_maps_is_zero():
    assert partial_spearman(DISTINCT, [0.1, 0.4, 0.2, 0.3, 0.0], DISTINCT) == 0
    assert partial_spearman([1.0] * 5, DISTINCT, DISTINCT[::-1]) == 0
    assert partial_spearman(DISTINCT, DISTINCT, [1.0] * 5) == pytest.approx(1)


def test_known_role_window():
    window, present = role_window([1, 2, 3, 4, 5, 6, 7, 8, 9], (3, 7), width=3)
    assert window.tolist() == [1, 2, 3, 4, 5.5, 7, 8, 9, 0]
    assert present.tolist() == [True] * 8 + [False]


@pytest.mark.parametrize(("end", "roles"), [(2, [2, 2, 2]), (3, [2, 2.5, 3]), (4, [2, 3, 4])])
def test_short_entities_fill_all_roles(end, roles):
    window, present = role_window([1, 2, 3, 4, 5], (1, end), width=1)
    assert window[1:4].tolist() == roles
    assert present[1:4].all()


def test_removed_characters_leave_their_slots_absent():
    still_there = np.array([True, False, True, False, True, True])
    window, present = role_window([1, 9, 3, 9, 5, 6], (1, 5), still_there, width=1)
    assert window.tolist() == [1, 0, 3, 5, 6]
    assert present.tolist() == [True, False, True, True, True]


def test_window_cosines_are_over_common_slots():
    windows, present = np.array([[3.0, 4.0, 5.0], [3.0, 4.0, -7.0]]), np.array([[1, 1, 1], [1, 1, 0]], dtype=bool)
    cosines = window_cosines(windows, present, windows, present)
    assert cosines == pytest.approx(np.ones((2, 2)))


def test_windows_without_a_common_slot_have_cosine_zero():
    windows, present = np.array([[3.0, 0.0], [0.0, 4.0]]), np.eye(2, dtype=bool)
    assert window_cosines(windows, present, windows, present).tolist() == [[1, 0], [0, 1]]


def test_role_window_of_an_entity_outside_its_map_raises():
    with pytest.raises(ValueError, match="0 <= start < end <= 3"):
        role_window([1, 2, 3], (2, 4))
