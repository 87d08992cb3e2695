"""Probable errors of annotations from posteriors of spans."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Document, Entity
from hf_adner.audit.label_errors import (
    LabelError,
    label_errors,
    overlap,
    overlap_of_one_label,
    review_documents,
    span_posteriors,
)
from hf_adner.data.differences import KINDS
from hf_adner.model.labels_adner import spans_to_bio

from ..view.notes import Page

TEXT = "面部红斑伴瘙痒，无皮疹。<b>"
DOCUMENT = Document("a", TEXT, (Entity(0, 2, "BodySite"), Entity(2, 4, "Symptom"), Entity(5, 6, "Symptom")))


def test_each_kind_of_error():
    posteriors = {
        (0, 2, "BodySite"): 0.9,
        (2, 4, "Disease"): 0.7,
        (2, 4, "Symptom"): 0.2,
        (5, 7, "Symptom"): 0.6,
        (9, 11, "Symptom"): 0.8,
    }
    kinds = {one.kind: one for one in label_errors(DOCUMENT, posteriors)}
    assert kinds["label"] == LabelError("a", "label", 0.8, (2, 4, "Symptom"), (2, 4, "Disease"), 0.7)
    assert kinds["missing"] == LabelError("a", "missing", 0.8, None, (9, 11, "Symptom"), 0.8)
    assert kinds["boundary"] == LabelError("a", "boundary", 0.6, (5, 6, "Symptom"), (5, 7, "Symptom"), 0.6)
    assert kinds["superfluous"] == LabelError("a", "superfluous", pytest.approx(0.1), (0, 2, "BodySite"), None, None)
    both = label_errors(Document("a", TEXT, (Entity(0, 2, "X"),)), {(0, 3, "Y"): 0.9})[0]
    assert (both.kind, both.suggested, both.score) == ("label and boundary", (0, 3, "Y"), 1.0)
    assert label_errors(Document("a", TEXT, (Entity(0, 2, "X"),)), {})[0].kind == "superfluous"


SPAN = st.tuples(st.integers(0, 8), st.integers(1, 3), st.sampled_from("AB")).map(lambda d: (d[0], d[0] + d[1], d[2]))


@given(st.sets(SPAN, max_size=4), st.dictionaries(SPAN, st.floats(0.001, 1), max_size=5))
def test_every_entity_is_ranked_and_no_span_is_missing_beside_one(spans, posteriors):
    document = Document("a", "x" * 12, tuple(Entity(*span) for span in sorted(spans)))
    found = label_errors(document, posteriors)
    assert sorted(one.annotated for one in found if one.annotated) == sorted(spans)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert 0 <= one.score <= 1 and one.kind in KINDS
        if one.annotated is None:
            assert one.kind == "missing" and min(posteriors[one.suggested], 1) <= one.score
            assert not any(overlap(one.suggested, span) for span in spans)
            listed = [other.suggested for other in found if other.annotated is None and other is not one]
            assert not any(overlap(one.suggested, other) for other in listed)
        else:
            assert one.suggested not in spans


def random_segmentations(seed: int):
    """Return (probability, entities that do not overlap) of all outcomes of a made-up model, and its posteriors."""
    rng = random.Random(seed)
    spans = [(start, end, label) for start in range(4) for end in range(start + 1, 5) for label in "AB"]
    outcomes = [[]]
    for span in spans:
        outcomes += [[*one, span] for one in outcomes if not any(overlap(span, other) for other in one)]
    weights = [rng.random() ** 4 for _ in outcomes]
    weighted = [(weight / sum(weights), set(one)) for weight, one in zip(weights, outcomes)]
    return weighted, {span: sum(p for p, one in weighted if span in one) for span in spans}


def bio(entities, length: int = 5) -> list[str]:
    return spans_to_bio(sorted(entities), length)


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_worst_character(seed):
    """Against the enumeration of all that a model may hold."""
    outcomes, posteriors = random_segmentations(seed)
    for annotated in [(0, 2, "A"), (3, 4, "B")], [(1, 3, "B")], []:
        document = Document("a", "x" * 5, tuple(Entity(*span) for span in annotated))
        given = bio(annotated)
        for error in label_errors(document, posteriors):
            start, end, label = error.annotated or error.suggested
            if error.annotated is None:
                wrong = [sum(p for p, one in outcomes if bio(one)[at] != "O") for at in range(start, end)]
            else:
                wrong = [sum(p for p, one in outcomes if bio(one)[at] != given[at]) for at in range(start, end)]
                longer = [one for one in posteriors if one[2] == label and one[0] < end < one[1] and one[1] > start]
                wrong.append(sum(p for p, one in outcomes if one & set(longer)))
            assert error.score == pytest.approx(max(wrong))


def test_a_place_is_missing_once():
    posteriors = {(9, 11, "Symptom"): 0.4, (8, 11, "Symptom"): 0.3, (9, 11, "Disease"): 0.2, (12, 13, "Symptom"): 0.1}
    posteriors |= {(0, 2, "BodySite"): 1.0, (2, 4, "Symptom"): 1.0, (5, 6, "Symptom"): 1.0, (6, 9, "Symptom"): 0.05}
    missing = [one for one in label_errors(DOCUMENT, posteriors) if one.kind == "missing"]
    assert [(one.suggested, one.posterior) for one in missing] == [
        ((9, 11, "Symptom"), 0.4),
        ((6, 9, "Symptom"), 0.05),
        ((12, 13, "Symptom"), 0.1),
    ]
    assert [one.score for one in missing] == [pytest.approx(0.9), pytest.approx(0.35), 0.1]  # 6-9 shares 8 with 8-11
    by_label = [one for one in label_errors(DOCUMENT, posteriors, overlap_of_one_label) if one.kind == "missing"]
    assert {one.suggested: one.score for one in by_label}[9, 11, "Disease"] == 0.2


OUTER, INNER = (0, 4, "Symptom"), (0, 2, "BodySite")
NESTED = Document("a", TEXT, (Entity(*OUTER), Entity(*INNER)))


def test_a_flat_model_is_not_asked_for_both_of_two_nested_entities():
    """It holds the outer one alone, which says nothing against the inner one."""
    for posteriors in ({OUTER: 0.97, INNER: 0.01}, {OUTER: 0.3, INNER: 0.68}):
        assert all(one.score == pytest.approx(0.02) for one in label_errors(NESTED, posteriors))
    neither = {one.annotated: one for one in label_errors(NESTED, {OUTER: 0.02, INNER: 0.03, (0, 4, "Drug"): 0.9})}
    assert [one.score for one in neither.values()] == [pytest.approx(0.95)] * 2
    assert (neither[OUTER].kind, neither[OUTER].suggested) == ("label", (0, 4, "Drug"))
    alone = Document("a", TEXT, (Entity(*INNER),))  # the outer one is not annotated: either is right
    (found,) = label_errors(alone, {OUTER: 0.97, INNER: 0.01})
    assert (found.kind, found.suggested, found.score) == ("label and boundary", OUTER, pytest.approx(0.99))


def test_a_per_label_model_holds_entities_of_several_labels():
    posteriors = {OUTER: 0.9, INNER: 0.8}
    scores = {one.annotated: one.score for one in label_errors(NESTED, posteriors, overlap_of_one_label)}
    assert scores == {OUTER: pytest.approx(0.1), INNER: pytest.approx(0.2)}
    alone = Document("a", TEXT, (Entity(*OUTER),))
    by_kind = {one.kind: one for one in label_errors(alone, posteriors, overlap_of_one_label)}
    assert by_kind["missing"].suggested == INNER and by_kind["missing"].posterior == 0.8
    assert by_kind["missing"].score == pytest.approx(0.8 * 0.9)  # both are there: their chains are independent
    assert [one.kind for one in label_errors(alone, posteriors)].count("missing") == 0
    other = {one.annotated: one for one in label_errors(alone, {INNER: 0.8, OUTER: 0.05}, overlap_of_one_label)}
    assert (other[OUTER].kind, other[OUTER].suggested, other[OUTER].posterior) == ("label and boundary", INNER, 0.8)
    assert other[None].score == pytest.approx(0.8 * 0.05)
    same = label_errors(Document("a", TEXT, (Entity(0, 3, "Symptom"),)), {OUTER: 0.9}, overlap_of_one_label)
    assert [(one.kind, one.suggested) for one in same] == [("boundary", OUTER)]


def test_report_rows_table_and_page():
    documents = [DOCUMENT, Document("b|c", "无")]
    report = review_documents(
        documents, [{(2, 4, "Disease"): 0.9, (0, 2, "BodySite"): 0.99, (5, 6, "Symptom"): 0.8}, {}]
    )
    (row,) = report.rows()
    assert row == {
        "rank": 1,
        "document": "a",
        "kind": "label",
        "score": 1.0,
        "annotated": {"start": 2, "end": 4, "label": "Symptom", "text": "红斑"},
        "suggested": {"start": 2, "end": 4, "label": "Disease", "text": "红斑", "posterior": 0.9},
    }
    table = report.to_markdown()
    assert (
        "1 probable errors in 2 documents with 3 entities (score above 0.5): 0 missing, 0 superfluous, 1 label" in table
    )
    assert "| 1 | 1.000 | label | a | 红斑 Symptom 2-4 | 红斑 Disease 2-4 |" in table
    page = Page("".join(report.page(["Disease", "Symptom"])))
    assert page.text_of("h1") == "1 probable errors in 1 of 2 documents"
    assert page.text_of("div", "text", without="chip") == TEXT * 2 and "100% likely" in page.text_of("tbody")
    nearly = replace(report, errors=[replace(report.errors[0], score=0.9996)])
    assert "> 99% likely" in Page("".join(nearly.page())).text_of("tbody")
    differing = [one["class"] for one in page.with_class("differs")]
    assert ["t1" in differing[0].split(), "t0" in differing[1].split()] == [True, True]
    assert len(review_documents(documents, [{}, {}], threshold=1.0).errors) == 0


def test_what_cannot_be_reviewed_is_refused():
    with pytest.raises(ValueError, match="the id 'a' occurs twice"):
        review_documents([DOCUMENT, DOCUMENT], [{}, {}])
    with pytest.raises(ValueError, match="threshold must be in"):
        review_documents([DOCUMENT], [{}], threshold=2)
    with pytest.raises(ValueError):
        review_documents([DOCUMENT], [])


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(3)
    tokenizer = AdnerTokenizer.from_texts([TEXT])
    sizes = {"character_embedding_size": 16, "bilstm_size": 16}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["A", "B"], "bilstm-crf", **sizes).eval()
    return AdnerPipeline(model=model, tokenizer=tokenizer)


def test_posteriors_are_those_of_the_model(pipe):
    """Of exactly these spans; all that exceed the least are there."""
    documents = [Document("a", TEXT), Document("b", ""), Document("c", "红斑")]
    found = list(span_posteriors(pipe, documents, 2, progress=False))
    assert len(found) == 3 and found[1] == {}
    from hf_adner.explain.tagger import Tagger, entity_posteriors

    spans = [(start, end, label) for start in range(2) for end in range(start + 1, 3) for label in "AB"]
    (expected,) = entity_posteriors(Tagger(pipe.model, pipe.tokenizer), ["红斑"], [spans])
    for span, value in zip(spans, expected):
        assert found[2].get(span, 0.0) == pytest.approx(value, abs=1e-6)


def test_the_score_of_a_missing_entity_is_a_marginal_of_the_model(pipe):
    (posteriors,) = span_posteriors(pipe, [Document("a", TEXT)], progress=False)
    first = label_errors(Document("a", TEXT), posteriors)[0]
    with torch.no_grad():
        outside = pipe.model(**pipe.preprocess([TEXT])).logits[0, 1:-1, 0].exp()
    start, end, _ = first.suggested
    assert first.score == pytest.approx(1 - outside[start:end].min().item(), abs=1e-3)
