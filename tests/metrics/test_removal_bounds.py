import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.metrics.removal_bounds import RemovalBeam, bounds_of_orderings


def random_model(seed, size):
    """A probability for every set of removed units, as a table."""
    generator = np.random.default_rng(seed)
    return {
        units: generator.random() for count in range(size + 1) for units in itertools.combinations(range(size), count)
    }


def run(beam, model):
    while not beam.finished:
        beam.accept([model[units] for units in beam.proposals])
    return beam.bound


def area(model, order, depths):
    return np.mean([model[()] - model[tuple(sorted(order[:depth]))] for depth in depths])


@pytest.mark.parametrize("depths", [None, [1, 1, 3], [2], [4, 2]])
@given(seed=st.integers(0, 50))
def test_a_wide_beam_finds_the_bounds_of_all_orderings(depths, seed):
    model = random_model(seed, 4)
    areas = [area(model, order, depths or [1, 2, 3, 4]) for order in itertools.permutations(range(4))]
    high, low = (run(RemovalBeam(model[()], 4, 16, highest, depths), model) for highest in (True, False))
    assert (low, high) == pytest.approx((min(areas), max(areas)))


@given(seed=st.integers(0, 50), width=st.integers(1, 3))
def test_a_narrow_beam_stays_inside_the_bounds_and_scores_what_its_ordering_does(seed, width):
    model = random_model(seed, 5)
    beam = RemovalBeam(model[()], 5, width)
    bound = run(beam, model)
    assert bound == pytest.approx(area(model, beam.beams[0].units, range(1, 6)))
    assert bound <= run(RemovalBeam(model[()], 5, 99), model) + 1e-12


def test_an_additive_model_needs_no_width():
    weights = [0.05, 0.3, 0.1, 0.2]
    model = {units: 0.9 - sum(weights[unit] for unit in units) for units in random_model(0, 4)}
    beam = RemovalBeam(0.9, 4, width=1)
    run(beam, model)
    assert beam.beams[0].units == (1, 3, 2, 0)


def test_each_set_is_asked_for_once():
    beam = RemovalBeam(0.5, 3, width=9)
    assert beam.proposals == [(0,), (1,), (2,)]
    beam.accept([0.1, 0.2, 0.3])
    assert beam.proposals == [(0, 1), (0, 2), (1, 2)]


def test_a_search_has_its_bound_at_the_end_only():
    beam = RemovalBeam(0.5, 1)
    with pytest.raises(RuntimeError, match="depth 0 of 1"):
        _ = beam.bound
    beam.accept([0.2])
    assert beam.bound == pytest.approx(0.3)
    with pytest.raises(RuntimeError, match="finished at depth 1"):
        beam.accept([])


def test_bounds_of_given_orderings():
    assert bounds_of_orderings(0.8, [[0.8, 0.4], [0.2, 0.0], [0.6, 0.6]]) == pytest.approx((0.2, 0.7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RemovalBeam(1.5, 3), "full must lie in"),
        (lambda: RemovalBeam(0.5, 0), "size and width must be at least 1, found 0 and 5"),
        (lambda: RemovalBeam(0.5, 3, depths=[4]), r"depths must lie in 1\.\.3"),
        (lambda: RemovalBeam(0.5, 3).accept([0.1]), "probabilities must hold 3 numbers, found 1"),
        (lambda: bounds_of_orderings(0.5, []), "at least one ordering"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
