from types import SimpleNamespace

import numpy as np
import pytest

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
