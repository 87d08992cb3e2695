"""Calibration reports of predicted documents, against numbers worked out by hand."""

import json

import pytest

from hf_adner import Document, Entity
from hf_adner.audit.calibration import calibration_report

TEXT = "红斑瘙痒发热咳嗽"
GOLD = Document("a", TEXT, (Entity(0, 2, "Sign"), Entity(2, 4, "Symptom"), Entity(4, 6, "Symptom")))


def predicted(*found) -> Document:
    return Document("a", TEXT, tuple(Entity(*span, None, meta={"score": score}) for *span, score in found))


def test_figures():
    found = calibration_report([predicted((0, 2, "Sign", 0.9), (2, 4, "Sign", 0.6))], [GOLD], bins=1, resamples=20)
    assert (found.documents, found.entities, found.gold) == (1, 2, 3)
    assert found.coverage == pytest.approx(1 / 3) and found.accuracy == 0.5
    assert found.ece == pytest.approx(abs(0.5 - 0.75)) and found.brier == pytest.approx((0.1**2 + 0.6**2) / 2)
    assert found.aurc == found.best_aurc == pytest.approx(0.25)
    assert [row["risk"] for row in found.risk_coverage] == [0.0] * 7 + [0.5] * 3
    assert set(found.intervals) == {"ece", "brier", "aurc"}


def test_intervals_hold_the_value_where_documents_agree():
    documents = [predicted((0, 2, "Sign", 0.8))] * 5
    found = calibration_report(documents, [GOLD] * 5, resamples=30)
    assert found.intervals["brier"]["low"] == pytest.approx(0.04) == found.intervals["brier"]["high"]


def test_json_and_markdown():
    found = calibration_report([predicted((0, 2, "Sign", 0.9))], [GOLD], resamples=10)
    assert json.loads(json.dumps(found.to_dict()))["entities"] == 1
    assert "| ece |" in found.to_markdown() and "1 predicted entities of 1 documents" in found.to_markdown()


def test_nothing_predicted():
    found = calibration_report([Document("a", TEXT)], [GOLD], resamples=10)
    assert found.entities == 0 and found.coverage == 0 and found.ece != found.ece
    assert found.to_dict()["ece"] is None
    assert found.risk_coverage == [] and found.intervals == {} and "| ece | - | - | - |" in found.to_markdown()


def test_errors():
    with pytest.raises(ValueError, match="'b' has another text than gold document 'a'"):
        calibration_report([Document("b", "红")], [GOLD])
    with pytest.raises(ValueError, match="document 'a': entity 0-2 has no score"):
        calibration_report([Document("a", TEXT, (Entity(0, 2, "Sign"),))], [GOLD])
    with pytest.raises(ValueError):
        calibration_report([], [GOLD])
