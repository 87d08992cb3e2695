"""Strict entity F1 of label sequences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from hf_adner.metrics import tag_f1 as module
from hf_adner.metrics.tag_f1 import TagF1, tag_f1

TAGS = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), min_size=1, max_size=12)


def test_counts_by_hand():
    predicted = [["B-a", "I-a", "O", "I-b", "B-b"], ["O"]]
    gold = [["B-a", "I-a", "O", "B-b", "B-b"], ["B-a"]]
    scores = tag_f1(predicted, gold)
    assert (scores["correct"], scores["predicted"], scores["support"]) == (2, 2, 4)
    assert scores["per_label"]["b"]["recall"] == 0.5


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=4))
def test_equals_seqeval_in_strict_mode(pairs):
    pairs = [(first[: len(second)], second[: len(first)]) for first, second in pairs]
    predicted, gold = [list(one) for one in zip(*pairs)]
    found = tag_f1(predicted, gold)
    if not found["predicted"] + found["support"]:
        return  # seqeval refuses sequences without any entity
    wanted = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    for label, scores in found["per_label"].items():
        ours = [scores["precision"], scores["recall"], scores["f1"], scores["support"]]
        assert ours == pytest.approx([wanted[label][name] for name in ("precision", "recall", "f1-score", "support")])
    assert found["f1"] == pytest.approx(wanted["micro avg"]["f1-score"])


@pytest.mark.parametrize("tag", ["a", "B-", "E-a", "", "o"])
def test_other_labels_are_refused(tag):
    with pytest.raises(ValueError, match="label 1 is"):
        tag_f1([["O", tag]], [["O", "O"]])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="document 1 has 2 predicted labels, but 1 gold"):
        tag_f1([["O"], ["O", "O"]], [["O"], ["O"]])


def test_metric_gives_what_the_function_gives(load):
    predicted, gold = [["B-a", "I-a"], ["O"]], [["B-a", "I-a"], ["B-b"]]
    assert load(module, TagF1).compute(predictions=predicted, references=gold) == tag_f1(predicted, gold)
