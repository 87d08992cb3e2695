"""Scores of rules on documents whose entities state their attributes."""

import pytest

from hf_adner.audit.assertion import evaluate_assertions
from hf_adner.data.assertion import assertion_of
from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity
from hf_adner.model.assertion_adner import AssertionRules

RULES = AssertionRules.standard()
TEXT = "无发热，全身红斑，父亲曾患哮喘"


def note(*asserted, labels=("Symptom", "Symptom", "Disease")) -> Document:
    places = [(1, 3), (6, 8), (13, 15)]
    entities = tuple(
        Entity(*place, label, meta={} if holds is None else {"assertion": holds})
        for place, label, holds in zip(places, labels, asserted, strict=True)
    )
    return Document("note", TEXT, entities)


def test_gold_entities_are_scored():
    report = evaluate_assertions(RULES, [note(["negated"], [], ["family"])])
    assert report.documents == 1 and report.scores["entities"] == 3
    assert (report.scores["correct"], report.scores["predicted"], report.scores["support"]) == (2, 3, 2)
    assert report.f1 == pytest.approx(0.8)
    assert "| family | 1.0000 | 1.0000 | 1.0000 | 1 | 1 | 1 |" in report.to_markdown()
    assert report.to_dict()["scores"]["per_label"]["Disease"]["correct"] == 1


def test_labels_may_be_left_out():
    document = note(["negated"], [], None)
    with pytest.raises(DataFormatError, match="note.*entity 13-15 has no assertion"):
        evaluate_assertions(RULES, [document])
    assert evaluate_assertions(RULES, [document], ["Disease"]).f1 == 1


@pytest.mark.parametrize("value", ["negated", ["negated", "family"], ["denied"], [1]])
def test_a_statement_of_another_kind_is_refused(value):
    with pytest.raises(DataFormatError, match="assertion of entity 1-3 is"):
        assertion_of(Entity(1, 3, "X", meta={"assertion": value}))
