"""Strict entity F1 of spans and of label sequences, compared with seqeval."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.scheme import IOB2, Entities

import hf_adner.metrics.entity_f1 as entity_f1_module
import hf_adner.metrics.tag_f1 as tag_f1_module
from hf_adner.metrics.entity_f1 import EntityF1, entity_f1
from hf_adner.metrics.tag_f1 import TagF1, tag_f1

LABELS = ("Disease", "Symptom", "Drug")
TAGS = ["O"] + [f"{prefix}-{label}" for label in LABELS for prefix in "BI"]
SPANS = st.lists(
    st.builds(
        lambda start, size, label: (start, start + size, label),
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from(LABELS),
    ),
    max_size=6,
)


@st.composite
def tagged_corpora(draw):
    """Draw (gold tags, predicted tags) of a few sentences: any tags, so that invalid sequences occur on both sides."""
    lengths = draw(st.lists(st.integers(0, 8), min_size=1, max_size=4))
    gold, predicted = (
        [draw(st.lists(st.sampled_from(TAGS), min_size=length, max_size=length)) for length in lengths]
        for _ in range(2)
    )
    return gold, predicted


def strict_spans(corpus):
    """Return the entities that seqeval reads from BIO tags in strict mode."""
    sentences = Entities(corpus, IOB2).entities
    return [[(entity.start, entity.end, entity.tag) for entity in sentence] for sentence in sentences]


def assert_same(ours, expected):
    assert (ours["precision"], ours["recall"], ours["f1"], ours["support"]) == pytest.approx(
        (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("zero_division", [0, 1])
@given(corpora=tagged_corpora())
def test_equals_seqeval_strict_on_flat_data(zero_division, corpora):
    gold_tags, predicted_tags = corpora
    gold, predicted = strict_spans(gold_tags), strict_spans(predicted_tags)
    ours = entity_f1(predicted, gold, zero_division)
    if not ours["per_label"]:  # seqeval has no report for a corpus without entities
        assert (ours["f1"], ours["macro_f1"], ours["support"]) == (zero_division, zero_division, 0)
        return
    expected = classification_report(
        gold_tags, predicted_tags, mode="strict", scheme=IOB2, output_dict=True, zero_division=zero_division
    )
    assert_same(ours, expected["micro avg"])
    assert ours["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])
    assert sorted(ours["per_label"]) == sorted(expected.keys() - {"micro avg", "macro avg", "weighted avg"})
    for label, scores in ours["per_label"].items():
        assert_same(scores, expected[label])


@given(documents=st.lists(st.tuples(SPANS, SPANS), max_size=4), seed=st.integers(0, 99))
def test_order_of_spans_and_documents_does_not_matter(documents, seed):
    shuffle = random.Random(seed)
    reordered = [tuple(shuffle.sample(spans, len(spans)) for spans in pair) for pair in documents]
    shuffle.shuffle(reordered)
    before = entity_f1([p for p, _ in documents], [g for _, g in documents])
    assert before == entity_f1([p for p, _ in reordered], [g for _, g in reordered])


@given(documents=st.lists(st.tuples(SPANS, SPANS), max_size=4))
def test_swapping_predictions_and_gold_swaps_precision_and_recall(documents):
    predicted, gold = [p for p, _ in documents], [g for _, g in documents]
    there, back = entity_f1(predicted, gold), entity_f1(gold, predicted)
    assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])
    assert there["f1"] == pytest.approx(back["f1"])


@given(gold=st.lists(SPANS, min_size=1, max_size=4))
def test_gold_against_itself_is_perfect(gold):
    assert entity_f1(gold, gold, zero_division=1)["f1"] == 1.0


def test_nested_gold_counts_every_span_in_any_order():
    gold = [[(0, 6, "Disease"), (0, 2, "BodyPart"), (2, 6, "Disease")]]
    assert entity_f1([list(reversed(gold[0]))], gold)["f1"] == 1.0
    flat = entity_f1([[(0, 6, "Disease")]], gold)
    assert (flat["precision"], flat["recall"]) == (1.0, pytest.approx(1 / 3))


def test_a_wrong_edge_or_label_is_wrong():
    gold = [[(1, 4, "Disease")]]
    for span in ((0, 4, "Disease"), (1, 3, "Disease"), (1, 4, "Symptom")):
        assert entity_f1([[span]], gold)["correct"] == 0


def test_a_repeated_prediction_is_correct_once():
    scores = entity_f1([[(0, 2, "Drug"), (0, 2, "Drug")]], [[(0, 2, "Drug")]])
    assert (scores["correct"], scores["predicted"], scores["precision"]) == (1, 2, 0.5)


def test_known_scores_per_label():
    gold = [[(0, 2, "Disease"), (3, 5, "Symptom")], [(1, 2, "Symptom")]]
    predicted = [[(0, 2, "Disease"), (3, 4, "Symptom")], [(1, 2, "Symptom"), (4, 6, "Drug")]]
    scores = entity_f1(predicted, gold)
    assert (scores["precision"], scores["recall"]) == (0.5, pytest.approx(2 / 3))
    assert {label: (row["f1"], row["support"]) for label, row in scores["per_label"].items()} == {
        "Disease": (1.0, 1),
        "Drug": (0.0, 0),
        "Symptom": (0.5, 2),
    }
    assert scores["macro_f1"] == pytest.approx(0.5)


def test_no_documents_at_all():
    scores = entity_f1([], [])
    assert (scores["f1"], scores["macro_f1"], scores["support"], scores["per_label"]) == (0.0, 0.0, 0, {})


@pytest.fixture
def metric(load):
    return load(entity_f1_module, EntityF1)


GOLD = [[{"start": 0, "end": 2, "label": "Drug", "text": "软膏", "meta": {}}], []]
PREDICTED = [[(0, 2, "Drug")], [(1, 4, "Symptom")]]


def test_metric_equals_the_function(metric):
    assert metric.compute(predictions=PREDICTED, references=GOLD) == entity_f1(PREDICTED, GOLD)


def test_metric_accumulates_documents_and_batches(metric):
    metric.add(prediction=PREDICTED[0], reference=GOLD[0])
    metric.add_batch(predictions=PREDICTED[1:], references=GOLD[1:])
    assert metric.compute() == entity_f1(PREDICTED, GOLD)


def test_metric_passes_zero_division_on(metric):
    assert metric.compute(predictions=[[]], references=[[]], zero_division=1)["f1"] == 1.0


def test_metric_raises_for_a_malformed_span(metric):
    with pytest.raises(ValueError, match=r"references\[0\]\[0\]"):
        metric.compute(predictions=[[]], references=[[(2, 1, "Drug")]])


TAG_SEQUENCES = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), min_size=1, max_size=12)


def test_known_counts_of_tags():
    predicted = [["B-a", "I-a", "O", "I-b", "B-b"], ["O"]]
    gold = [["B-a", "I-a", "O", "B-b", "B-b"], ["B-a"]]
    scores = tag_f1(predicted, gold)
    assert (scores["correct"], scores["predicted"], scores["support"]) == (2, 2, 4)
    assert scores["per_label"]["b"]["recall"] == 0.5


ILL_FORMED = [["O", "I-a", "I-a", "O", "B-a", "I-b"]]


def test_an_i_that_continues_nothing_is_no_entity_unlike_in_lenient_scorers():
    gold = [["O", "B-a", "I-a", "O", "B-a", "O"]]
    scores = tag_f1(ILL_FORMED, gold)
    assert (scores["correct"], scores["predicted"], scores["support"]) == (1, 1, 2)
    assert scores["f1"] == pytest.approx(f1_score(gold, ILL_FORMED, mode="strict", scheme=IOB2)) == pytest.approx(2 / 3)
    assert f1_score(gold, ILL_FORMED) == pytest.approx(4 / 5)  # a, a and b are predicted


@given(st.lists(st.tuples(TAG_SEQUENCES, TAG_SEQUENCES), min_size=1, max_size=4))
def test_tag_f1_equals_seqeval_strict(pairs):
    pairs = [(first[: len(second)], second[: len(first)]) for first, second in pairs]
    predicted, gold = [list(sequences) for sequences in zip(*pairs)]
    ours = tag_f1(predicted, gold)
    if not ours["predicted"] + ours["support"]:
        return  # seqeval has no report for a corpus without entities
    expected = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    for label, scores in ours["per_label"].items():
        assert_same(scores, expected[label])
    assert ours["f1"] == pytest.approx(expected["micro avg"]["f1-score"])


@pytest.mark.parametrize("tag", ["a", "B-", "E-a", "", "o"])
def test_labels_that_are_not_bio_raise(tag):
    with pytest.raises(ValueError, match="label 1 is"):
        tag_f1([["O", tag]], [["O", "O"]])


def test_tag_sequences_must_have_one_length():
    with pytest.raises(ValueError, match="document 1 has 2 predicted labels, but 1 gold"):
        tag_f1([["O"], ["O", "O"]], [["O"], ["O"]])


def test_tag_metric_equals_the_function(load):
    predicted, gold = [["B-a", "I-a"], ["O"]], [["B-a", "I-a"], ["B-b"]]
    assert load(tag_f1_module, TagF1).compute(predictions=predicted, references=gold) == tag_f1(predicted, gold)
