from pathlib import Path

import evaluate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.boundary_f1 as module
from hf_adner.metrics.boundary_f1 import BoundaryF1, boundary_f1
from hf_adner.metrics.entity_f1 import entity_f1

SPANS = st.lists(
    st.builds(
        lambda start, size, label: (start, start + size, label),
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from("ab"),
    ),
    max_size=6,
)
CORPORA = st.lists(st.tuples(SPANS, SPANS), max_size=4)
SCORES = ("precision", "recall", "f1", "correct", "predicted", "support")


def f1s(scores):
    return {edge: scores[edge]["f1"] for edge in ("start", "end", "both")}


@pytest.mark.parametrize(
    ("predicted", "untyped", "typed"),
    [
        ((1, 4, "a"), (1, 1, 1), (1, 1, 1)),
        ((1, 4, "b"), (1, 1, 1), (0, 0, 0)),
        ((1, 3, "a"), (1, 0, 0), (1, 0, 0)),
        ((2, 4, "b"), (0, 1, 0), (0, 0, 0)),
        ((4, 9, "a"), (0, 0, 0), (0, 0, 0)),  # the end of gold is no start
    ],
)
def test_each_edge_by_itself(predicted, untyped, typed):
    scores = boundary_f1([[predicted]], [[(1, 4, "a")]])
    assert tuple(f1s(scores["untyped"]).values()) == untyped
    assert tuple(f1s(scores["typed"]).values()) == typed


def test_right_edges_of_different_entities_are_no_pair():
    scores = boundary_f1([[(0, 5, "a")]], [[(0, 2, "a"), (3, 5, "a")]])["untyped"]
    assert [scores[edge]["correct"] for edge in ("start", "end", "both")] == [1, 1, 0]


def test_nested_entities_at_one_start_are_two_starts():
    scores = boundary_f1([[(0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])
    assert scores["untyped"]["start"]["recall"] == 0.5
    assert boundary_f1([[(0, 2, "b"), (0, 6, "a")]], [[(0, 6, "a"), (0, 2, "b")]])["typed"]["both"]["f1"] == 1.0


@given(documents=CORPORA)
def test_typed_score_of_both_edges_is_the_strict_entity_f1(documents):
    predicted, gold = [p for p, _ in documents], [g for _, g in documents]
    entities = entity_f1(predicted, gold)
    assert boundary_f1(predicted, gold)["typed"]["both"] == {name: entities[name] for name in SCORES}


@given(documents=CORPORA)
def test_asking_for_more_never_scores_more(documents):
    scores = boundary_f1([p for p, _ in documents], [g for _, g in documents])
    for edge in ("start", "end", "both"):
        assert scores["typed"][edge]["correct"] <= scores["untyped"][edge]["correct"]
    for kind in ("typed", "untyped"):
        assert scores[kind]["both"]["correct"] <= min(scores[kind][edge]["correct"] for edge in ("start", "end"))


def test_zero_division_without_any_span():
    assert set(f1s(boundary_f1([[]], [[]])["untyped"]).values()) == {0.0}
    assert set(f1s(boundary_f1([[]], [[]], zero_division=1)["typed"]).values()) == {1.0}


def test_unpaired_documents_are_refused():
    with pytest.raises(ValueError, match="predictions cover 0 documents, references 1"):
        boundary_f1([], [[]])


@pytest.mark.parametrize("load", ["class", "path"])
def test_metric_gives_what_the_function_gives(load, tmp_path):
    source, cache = str(Path(module.__file__)), str(tmp_path)
    metric = BoundaryF1(cache_dir=cache) if load == "class" else evaluate.load(source, cache_dir=cache)
    gold, predicted = [[(0, 2, "a")], [(1, 3, "b")]], [[(0, 2, "b")], []]
    assert metric.compute(predictions=predicted, references=gold) == boundary_f1(predicted, gold)
