import numpy as np
import pytest
import torch

from hf_adner.metrics.inputs import (
    as_flags,
    as_matrix,
    as_probabilities,
    as_range,
    as_vector,
    as_vectors,
    mean_or_nan,
    same_count,
)


@pytest.mark.parametrize("values", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0]), iter([1, 2])])
def test_vectors_come_from_anything_that_holds_numbers(values):
    vector = as_vector(values)
    assert vector.dtype == np.float64
    assert vector.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), None])
def test_numbers_that_are_not_finite_are_refused_by_name(strange):
    with pytest.raises(ValueError, match="scores must be finite, found 1 NaN or infinite of 2"):
        as_vector([1.0, strange], "scores")


@pytest.mark.parametrize("values", [5, object(), ["a"], [[1], [1, 2]]])
def test_what_is_no_vector_is_refused(values):
    with pytest.raises(ValueError, match="scores must hold numbers in rows of equal length"):
        as_vector(values, "scores")


def test_dimensions_and_sizes_are_checked():
    with pytest.raises(ValueError, match="found 2 dimensions"):
        as_vector([[1, 2]])
    with pytest.raises(ValueError, match="scores must hold 3 numbers, found 2"):
        as_vector([1, 2], "scores", 3)
    with pytest.raises(ValueError, match="found 1 dimensions"):
        as_matrix([1, 2])
    with pytest.raises(ValueError, match="shape any x 3, found 1 x 2"):
        as_matrix([[1, 2]], shape=(None, 3))
    with pytest.raises(ValueError, match=r"maps\[1\]"):
        as_vectors([[1], [np.nan]], "maps")


def test_an_empty_matrix_keeps_its_width():
    assert as_matrix([], shape=(None, 3)).shape == (0, 3)


def test_probabilities_and_flags_are_what_they_say():
    assert as_flags([True, 0, 1.0]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="found 1 other values"):
        as_flags([0.5, 1])
    with pytest.raises(ValueError, match="found 2 of 3 outside"):
        as_probabilities(np.array([-0.1, 1.1, 1.0]))


@pytest.mark.parametrize("span", [(2, 2), (-1, 2), (0, 5), (0.5, 2)])
def test_an_entity_outside_its_text_is_refused(span):
    with pytest.raises(ValueError, match="0 <= start < end <= 4"):
        as_range(span, 4)


def test_columns_must_agree():
    assert same_count(maps=[1, 2], spans=None, labels="ab") == 2
    with pytest.raises(ValueError, match="maps 2, labels 1"):
        same_count(maps=[1, 2], labels=["a"])


def test_a_mean_of_nothing_is_no_number():
    assert mean_or_nan([1, 2]) == 1.5
    assert np.isnan(mean_or_nan([]))
