"""Checks of inputs, counts of matching spans, and metric classes, which load by path, offline, without the package."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import datasets
import evaluate
import numpy as np
import pytest
import torch

import hf_adner.metrics
from hf_adner.metrics.inputs import (
    NUMBER,
    ROW,
    MatchCounts,
    as_documents,
    as_flags,
    as_matrix,
    as_probabilities,
    as_probability_matrix,
    as_range,
    as_span,
    as_vector,
    f1_scores,
    mean_or_nan,
    metric,
    paired_documents,
    same_count,
)


@pytest.mark.parametrize(
    "span",
    [
        (2, 5, "Symptom"),
        [2, 5, "Symptom"],
        (np.int64(2), np.int32(5), "Symptom"),
        {"start": 2, "end": 5, "label": "Symptom", "text": "红斑疹", "meta": {}},
        SimpleNamespace(start=2, end=5, label="Symptom", text="红斑疹"),
    ],
)
def test_spans_in_any_form_are_normalised(span):
    assert as_span(span) == (2, 5, "Symptom")


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((3, 3, "a"), "start=3, end=3"),
        ((5, 2, "a"), "start=5, end=2"),
        ((-1, 2, "a"), "start=-1, end=2"),
        ((0.0, 2, "a"), "integers, found float"),
        ((0, "2", "a"), "found int and str"),
        ((0, 2, 7), "must be a string, found int"),
        ((0, 2), "start, end, label"),
        (5, "found int"),
        ({"start": 0, "end": 2}, "missing from a dict"),
        (SimpleNamespace(label="a", start=0), "missing from a SimpleNamespace"),
    ],
)
def test_malformed_spans_raise_an_error_with_the_reason(span, message):
    with pytest.raises(ValueError, match=message):
        as_span(span)


def test_error_names_the_document_and_the_span():
    with pytest.raises(ValueError, match=r"predictions\[1\]\[2\]: a span needs 0 <= start < end"):
        as_documents([[], [(0, 1, "a"), (1, 2, "a"), (4, 4, "a")]], "predictions")


def test_different_numbers_of_documents_raise():
    with pytest.raises(ValueError, match="predictions cover 2 documents, references 1"):
        paired_documents([[], []], [[]])


def test_items_match_within_their_document_only():
    counts = MatchCounts([([("a", 1)], []), ([], [("a", 1)])])
    assert (counts.correct["a"], counts.predicted["a"], counts.support["a"]) == (0, 1, 1)


def test_repeated_items_match_as_multisets():
    counts = MatchCounts([([("a", 1)] * 3, [("a", 1)] * 2)])
    assert (counts.correct["a"], counts.predicted["a"], counts.support["a"]) == (2, 3, 2)


def test_groups_include_those_that_were_only_predicted():
    assert MatchCounts([([("b", 1)], [("a", 1)])]).groups == ["a", "b"]


@pytest.mark.parametrize(
    ("counts", "zero_division", "expected"),
    [
        ((0, 0, 0), 0, (0.0, 0.0, 0.0)),
        ((0, 0, 0), 1, (1.0, 1.0, 1.0)),
        ((0, 0, 4), 0, (0.0, 0.0, 0.0)),
        ((0, 0, 4), 1, (1.0, 0.0, 0.0)),
        ((0, 4, 0), 1, (0.0, 1.0, 0.0)),
        ((0, 4, 4), 1, (0.0, 0.0, 0.0)),
        ((2, 4, 8), 0, (0.5, 0.25, 1 / 3)),
    ],
)
def test_f1_scores(counts, zero_division, expected):
    scores = f1_scores(*counts, zero_division)
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx(expected)
    assert (scores["correct"], scores["predicted"], scores["support"]) == counts


@pytest.mark.parametrize("zero_division", [0.5, -1, "warn", None, float("nan")])
def test_zero_division_must_be_0_or_1(zero_division):
    with pytest.raises(ValueError, match="zero_division must be 0 or 1"):
        f1_scores(1, 1, 1, zero_division)


@pytest.mark.parametrize("values", [[1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0]), iter([1, 2])])
def test_vectors_from_any_container_of_numbers(values):
    vector = as_vector(values)
    assert vector.dtype == np.float64
    assert vector.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_non_finite_numbers_raise_with_the_name_of_the_argument(value):
    with pytest.raises(ValueError, match="scores must be finite, found 1 NaN or infinite of 2"):
        as_vector([1.0, value], "scores")


@pytest.mark.parametrize("values", [5, object(), ["a"], [[1], [1, 2]]])
def test_other_than_a_vector_raises(values):
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


def test_empty_matrix_has_the_required_width():
    assert as_matrix([], shape=(None, 3)).shape == (0, 3)


def test_probabilities_and_flags_are_checked():
    assert as_flags([True, 0, 1.0]).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="found 1 other values"):
        as_flags([0.5, 1])
    with pytest.raises(ValueError, match="found 2 of 3 outside"):
        as_probabilities(np.array([-0.1, 1.1, 1.0]))
    with pytest.raises(ValueError, match="p must lie in .* found 1 of 4 outside"):
        as_probability_matrix([[0.1, 1.1], [1.0, 0.0]], "p")
    with pytest.raises(ValueError, match="p must hold 1 numbers, found 2"):
        as_probabilities([0.1, 0.2], "p", 1)


@pytest.mark.parametrize("span", [(2, 2), (-1, 2), (0, 5), (0.5, 2)])
def test_entity_outside_its_text_raises(span):
    with pytest.raises(ValueError, match="0 <= start < end <= 4"):
        as_range(span, 4)


def test_columns_must_have_the_same_number_of_items():
    assert same_count(maps=[1, 2], spans=None, labels="ab") == 2
    with pytest.raises(ValueError, match="maps 2, labels 1"):
        same_count(maps=[1, 2], labels=["a"])


def test_mean_of_nothing_is_nan():
    assert mean_or_nan([1, 2]) == 1.5
    assert np.isnan(mean_or_nan([]))


def scaled_mean(values, rows, factor=1.0):
    """Compute a scaled mean of numbers
    and of rows.

    Args:
        values: one number per item.
        rows: one row per item.
        factor: scale.
    """
    return {"mean": factor * np.mean([*values, *(number for row in rows for number in row)])}


@metric(scaled_mean, predictions=("values", NUMBER), rows=ROW)
class ScaledMean(evaluate.Metric):
    """A metric for tests."""


def test_metric_class_has_the_docstring_and_columns_of_its_function(tmp_path):
    scaled = ScaledMean(cache_dir=str(tmp_path))
    assert (ScaledMean.__name__, ScaledMean.__doc__) == ("ScaledMean", "A metric for tests.")
    assert scaled.description == "Compute a scaled mean of numbers and of rows."
    assert "`predictions`: the argument `values`." in scaled.inputs_description
    assert "factor: scale." in scaled.compute.__doc__
    assert scaled.features == datasets.Features({"predictions": NUMBER, "rows": ROW})


def test_metric_class_adds_arrays_item_by_item_and_passes_settings_on(tmp_path):
    scaled = ScaledMean(cache_dir=str(tmp_path))
    scaled.add(prediction=np.float64(1.0), rows=np.array([2.0, 3.0]))
    scaled.add(prediction=6.0, rows=torch.tensor([]))
    assert scaled.compute(factor=2.0) == {"mean": 6.0}
    with pytest.raises(ValueError, match="Bad inputs"):
        scaled.add_batch(predictions=[1.0], rows=[[]], columns=[1])


FOLDER = Path(hf_adner.metrics.__file__).parent
LOAD = """
import json, sys
import evaluate
loaded = {}
for path in sys.argv[2:]:
    metric = evaluate.load(path, cache_dir=sys.argv[1])
    loaded[path] = [type(metric).__name__, sorted(metric.features), bool(metric.description)]
assert "hf_adner" not in sys.modules
print(json.dumps(loaded))
"""


def metric_classes() -> dict[str, type]:
    """Return file -> its metric class."""
    classes = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"hf_adner.metrics.{path.stem}")
        members = [
            member
            for _, member in inspect.getmembers(module, inspect.isclass)
            if issubclass(member, evaluate.Metric) and member.__module__ == module.__name__
        ]
        assert len(members) <= 1, f"{path.name}: evaluate loads the first of several"
        if members:
            classes[str(path)] = members[0]
    return classes


@pytest.mark.slow
def test_every_metric_loads_by_path_without_the_package(tmp_path):
    classes = metric_classes()
    assert len(classes) >= 16
    command = [sys.executable, "-c", LOAD, str(tmp_path / "cache"), *classes]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    loaded = json.loads(run.stdout.splitlines()[-1])
    for path, metric_class in classes.items():
        features = sorted(metric_class(cache_dir=str(tmp_path)).features)
        assert loaded[path] == [metric_class.__name__, features, True]
