"""Every metric of the room loads by path, offline and without the package."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import evaluate
import numpy as np
import pytest
import torch

import hf_adner.metrics
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
from hf_adner.metrics.spans import MatchCounts, as_documents, as_span, f1_scores, paired_documents


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
def test_every_form_of_a_span_is_the_same_span(span):
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
def test_malformed_spans_are_refused_by_what_is_wrong(span, message):
    with pytest.raises(ValueError, match=message):
        as_span(span)


def test_error_names_the_document_and_the_span():
    with pytest.raises(ValueError, match=r"predictions\[1\]\[2\]: a span needs 0 <= start < end"):
        as_documents([[], [(0, 1, "a"), (1, 2, "a"), (4, 4, "a")]], "predictions")


def test_unpaired_documents_are_refused():
    with pytest.raises(ValueError, match="predictions cover 2 documents, references 1"):
        paired_documents([[], []], [[]])


def test_items_match_within_their_document_only():
    counts = MatchCounts([([("a", 1)], []), ([], [("a", 1)])])
    assert (counts.correct["a"], counts.predicted["a"], counts.support["a"]) == (0, 1, 1)


def test_repeated_items_match_as_often_as_both_sides_hold_them():
    counts = MatchCounts([([("a", 1)] * 3, [("a", 1)] * 2)])
    assert (counts.correct["a"], counts.predicted["a"], counts.support["a"]) == (2, 3, 2)


def test_groups_that_were_only_predicted_are_listed():
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
def test_zero_division_is_nought_or_one(zero_division):
    with pytest.raises(ValueError, match="zero_division must be 0 or 1"):
        f1_scores(1, 1, 1, zero_division)


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


FOLDER = Path(hf_adner.metrics.__file__).parent
LOAD = """
import json, sys
import evaluate
found = {}
for path in sys.argv[2:]:
    metric = evaluate.load(path, cache_dir=sys.argv[1])
    found[path] = [type(metric).__name__, sorted(metric.features), bool(metric.description)]
assert "hf_adner" not in sys.modules
print(json.dumps(found))
"""


def metric_classes() -> dict[str, type]:
    """File -> the metric it defines."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"hf_adner.metrics.{path.stem}")
        own = [
            one
            for _, one in inspect.getmembers(module, inspect.isclass)
            if issubclass(one, evaluate.Metric) and one.__module__ == module.__name__
        ]
        assert len(own) <= 1, f"{path.name}: evaluate takes the first of several"
        if own:
            found[str(path)] = own[0]
    return found


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
