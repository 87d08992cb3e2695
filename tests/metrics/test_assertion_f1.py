"""F1 of attributes: against counting by hand, and as an `evaluate.Metric`."""

import evaluate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.assertion_f1 as module
from hf_adner.metrics.assertion_f1 import AssertionF1, assertion_f1

NAMES = ["family", "historical", "negated"]
attribute_lists = st.lists(st.sampled_from(NAMES), unique=True)
pairs = st.lists(st.tuples(attribute_lists, attribute_lists, st.sampled_from("AB")), max_size=12)


def test_an_example():
    predicted, gold = [["negated"], [], ["family", "negated"]], [["negated"], ["historical"], ["family"]]
    scores = assertion_f1(predicted, gold, ["A", "A", "B"])
    assert (scores["correct"], scores["predicted"], scores["support"]) == (2, 3, 3)
    assert scores["precision"] == scores["recall"] == pytest.approx(2 / 3)
    assert (scores["exact"], scores["entities"]) == (1 / 3, 3)
    assert scores["per_attribute"]["negated"]["precision"] == 0.5
    assert scores["per_attribute"]["historical"]["recall"] == 0
    assert scores["macro_f1"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert [scores["per_label"][name]["correct"] for name in "AB"] == [1, 1]


@given(pairs)
def test_counts_are_those_of_brute_force(rows):
    predicted, gold, labels = ([row[side] for row in rows] for side in range(3))
    scores = assertion_f1(predicted, gold, labels)
    for name in NAMES:
        hits = sum(name in one and name in other for one, other in zip(predicted, gold))
        found = sum(name in one for one in predicted)
        support = sum(name in one for one in gold)
        if found or support:
            own = scores["per_attribute"][name]
            assert (own["correct"], own["predicted"], own["support"]) == (hits, found, support)
            assert own["f1"] == pytest.approx(2 * hits / (found + support))
        else:
            assert name not in scores["per_attribute"]
    assert scores["correct"] == sum(one["correct"] for one in scores["per_label"].values())
    assert scores["exact"] == (
        sum(set(one) == set(other) for one, other in zip(predicted, gold)) / len(rows) if rows else 1
    )


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (([["a"]], []), "predictions cover 1 entities, references 0"),
        (([["a", "a"]], [[]]), "entity 0 has an attribute twice"),
        (([["a"]], [[]], ["A", "B"]), "there are 2 labels for 1 entities"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        assertion_f1(*arguments)


def test_it_loads_by_path():
    metric = evaluate.load(module.__file__)
    predicted, gold = [["negated"], []], [["negated"], ["family"]]
    assert metric.compute(predictions=predicted, references=gold) == assertion_f1(predicted, gold)
    assert AssertionF1().compute(predictions=predicted, references=gold) == assertion_f1(predicted, gold)
