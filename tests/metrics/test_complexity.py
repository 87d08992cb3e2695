"""Sparseness, complexity and monotonicity: cases worked by hand, and Quantus where it is installed."""

import numpy as np
import pytest

import hf_adner.metrics.complexity as complexity_module
import hf_adner.metrics.monotonicity as monotonicity_module
import hf_adner.metrics.monotonicity_correlation as correlation_module
import hf_adner.metrics.sparseness as sparseness_module
from hf_adner.metrics.complexity import Complexity, complexity
from hf_adner.metrics.monotonicity import Monotonicity, monotonicity
from hf_adner.metrics.monotonicity_correlation import MonotonicityCorrelation, monotonicity_correlation
from hf_adner.metrics.sparseness import Sparseness, sparseness


@pytest.mark.parametrize(
    ("values", "gini"),
    [
        ([0, 0, 0, 5], 3 / 4),
        ([2, -2, 2, 2], 0),
        ([1, 2, 3, 4], (-3 * 1 - 1 * 2 + 1 * 3 + 3 * 4) / (4 * 10)),
        ([4, -1, 3, 2], 1 / 4),
        ([0, 0, 0], 0),
        ([], 0),
        ([1e308, 1e308, 0], 1 / 3),
    ],
)
def test_sparseness_by_hand(values, gini):
    assert sparseness([values])["per_entity"] == pytest.approx([gini])


@pytest.mark.parametrize(
    ("values", "entropy"),
    [
        ([0, 0, 7], 0),
        ([3, -3, 3, 3], np.log(4)),
        ([1, 1, 2], 0.5 * np.log(4) + 0.5 * np.log(2)),
        ([0, 0, 0], np.log(3)),
        ([1e308, 1e308], np.log(2)),
        ([5e-324, 1e300], 0),
    ],
)
def test_complexity_by_hand(values, entropy):
    assert complexity([values])["per_entity"] == pytest.approx([entropy], abs=1e-12)


def test_both_ignore_scale_sign_and_order():
    values = np.random.default_rng(0).normal(size=20)
    for measure in (sparseness, complexity):
        scores = measure([values, -3 * values, values[::-1]])["per_entity"]
        assert scores == pytest.approx([scores[0]] * 3)


def test_monotonicity_by_hand():
    scores = monotonicity([[0.1, 0.1, 0.5], [0.3, 0.2, 0.9], [0.4]])
    assert scores == {
        "monotonicity": pytest.approx(2 / 3),
        "rising": pytest.approx((1 + 1 / 2 + 1) / 3),
        "entities": 3,
        "per_entity": [1.0, 0.0, 1.0],
    }


def test_monotonicity_correlation_by_hand():
    changes = [[0.1, -0.2, 0.0], [0.1, 0.2, 0.5]]  # mean squares .01, .04, .125
    scores = monotonicity_correlation([[1, -2, 3], [3, 2, 1], [1, 1, 1]], [changes] * 3)
    assert scores["per_entity"] == pytest.approx([1, -1, 0])
    assert scores["monotonicity_correlation"] == pytest.approx(0) and scores["constant"] == pytest.approx(1 / 3)


def test_without_entities_all_are_nan():
    assert np.isnan(sparseness([])["sparseness"]) and np.isnan(complexity([])["complexity"])
    assert np.isnan(monotonicity([])["monotonicity"]) and np.isnan(monotonicity([])["rising"])
    assert np.isnan(monotonicity_correlation([], [])["monotonicity_correlation"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sparseness([[1, np.inf]]), r"maps\[0\] must be finite"),
        (lambda: complexity([[1], []]), r"maps\[1\] must hold at least one number"),
        (lambda: monotonicity([[]]), r"curves\[0\] must hold at least one number"),
        (lambda: monotonicity_correlation([[1, 2]], [[]]), r"changes\[0\] must hold at least one draw"),
        (lambda: monotonicity_correlation([[1, 2]], [[[1, 2, 3]]]), r"changes\[0\] must have the shape any x 2"),
        (lambda: monotonicity_correlation([[1, 2]], []), "maps 1, changes 0"),
    ],
)
def test_invalid_rows_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


MAPS = [[0.1, -0.4, 0.0], [2.0, 1.0]]
CHANGES = [[[0.1, 0.2, 0.0]], [[0.3, 0.1], [0.0, 0.2]]]


def test_metrics_equal_the_functions(load):
    assert load(sparseness_module, Sparseness).compute(predictions=MAPS) == sparseness(MAPS)
    assert load(complexity_module, Complexity).compute(predictions=MAPS) == complexity(MAPS)
    assert load(monotonicity_module, Monotonicity).compute(predictions=MAPS) == monotonicity(MAPS)
    metric = load(correlation_module, MonotonicityCorrelation)
    metric.add(prediction=MAPS[0], reference=CHANGES[0])
    metric.add_batch(predictions=MAPS[1:], references=CHANGES[1:])
    assert metric.compute() == monotonicity_correlation(MAPS, CHANGES)


class Network:
    """What Quantus asks of a model: the probability of class 0 is a product, so that characters interact."""

    def __init__(self):
        self.predicted = []

    def shape_input(self, x, *args, **kwargs):
        return x

    def predict(self, x):
        rows = x.reshape(len(x), -1)
        values = 1 / (1 + np.exp(-(rows @ np.linspace(-1, 2, rows.shape[1]) + rows[:, 0] * rows[:, -1])))
        self.predicted.append(values)
        return values[:, None]


@pytest.fixture
def quantus():
    return pytest.importorskip("quantus")


def batch(seed: int, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """(1, 1, size) inputs and attributions without ties."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(1, 1, size)), np.abs(generator.normal(size=(1, 1, size)))


@pytest.mark.parametrize("seed", range(5))
def test_sparseness_and_complexity_are_those_of_quantus(quantus, seed):
    x, maps = batch(seed)
    for theirs, ours in ((quantus.Sparseness, sparseness), (quantus.Complexity, complexity)):
        (score,) = theirs(disable_warnings=True).evaluate_batch(x_batch=x, a_batch=maps.copy())
        assert ours([maps[0, 0]])["per_entity"] == pytest.approx([score], abs=1e-5)  # theirs add 1e-7 or 1e-12


def restoring(text: np.ndarray):
    """The step of Arya et al. for Quantus, whose default replaces the baseline by itself and so restores nothing."""

    def restore(arr, indices, **options):
        restored = arr.copy()
        np.put_along_axis(restored, indices, np.take_along_axis(text, indices, 1), 1)
        return restored

    return restore


def test_monotonicity_is_that_of_quantus(quantus):
    found = []
    for seed in range(40):
        x, maps = batch(seed, size=3)
        network = Network()
        restore = restoring(x.reshape(1, -1))
        metric = quantus.Monotonicity(perturb_func=restore, perturb_baseline="black", disable_warnings=True)
        (score,) = metric.evaluate_batch(network, x, np.array([0]), maps.copy())
        assert monotonicity([np.concatenate(network.predicted)])["per_entity"] == [float(score)]
        found.append(score)
    assert set(found) == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_monotonicity_correlation_is_that_of_quantus(quantus, seed):
    x, maps = batch(seed)
    network = Network()
    metric = quantus.MonotonicityCorrelation(nr_samples=4, features_in_step=1, disable_warnings=True)
    (score,) = metric.evaluate_batch(network, x, np.array([0]), maps.copy())
    first, *rest = np.concatenate(network.predicted)
    order = np.argsort(maps[0, 0])
    changes = np.zeros((4, order.size))
    changes[:, order] = first - np.reshape(rest, (order.size, 4)).T
    assert monotonicity_correlation([maps[0, 0]], [changes])["per_entity"] == pytest.approx([score])
