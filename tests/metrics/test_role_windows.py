import numpy as np
import pytest

from hf_adner.metrics.similarity import role_window, window_cosines


def test_every_character_in_its_role():
    cells, present = role_window([1, 2, 3, 4, 5, 6, 7, 8, 9], (3, 7), width=3)
    assert cells.tolist() == [1, 2, 3, 4, 5.5, 7, 8, 9, 0]
    assert present.tolist() == [True] * 8 + [False]


@pytest.mark.parametrize(("end", "roles"), [(2, [2, 2, 2]), (3, [2, 2.5, 3]), (4, [2, 3, 4])])
def test_short_entities_fill_all_their_roles(end, roles):
    cells, present = role_window([1, 2, 3, 4, 5], (1, end), width=1)
    assert cells[1:4].tolist() == roles
    assert present[1:4].all()


def test_characters_that_are_gone_leave_their_cells_absent():
    there = np.array([True, False, True, False, True, True])
    cells, present = role_window([1, 9, 3, 9, 5, 6], (1, 5), there, width=1)
    assert cells.tolist() == [1, 0, 3, 5, 6]
    assert present.tolist() == [True, False, True, True, True]


def test_cosines_are_over_common_cells():
    windows, present = np.array([[3.0, 4.0, 5.0], [3.0, 4.0, -7.0]]), np.array([[1, 1, 1], [1, 1, 0]], dtype=bool)
    cosines = window_cosines(windows, present, windows, present)
    assert cosines == pytest.approx(np.ones((2, 2)))


def test_windows_without_a_common_cell_are_unlike():
    windows, present = np.array([[3.0, 0.0], [0.0, 4.0]]), np.eye(2, dtype=bool)
    assert window_cosines(windows, present, windows, present).tolist() == [[1, 0], [0, 1]]


def test_an_entity_outside_its_map_is_refused():
    with pytest.raises(ValueError, match="0 <= start < end <= 3"):
        role_window([1, 2, 3], (2, 4))
