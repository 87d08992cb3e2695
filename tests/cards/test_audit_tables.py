"""Tables of the audits' reports, and that they ask for what the audits write."""

from dataclasses import fields

import pytest

from hf_adner.audit.calibration import CalibrationReport, calibration_of_spans
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.measures import GROUPS as MEASURED_GROUPS
from hf_adner.audit.robustness import RobustnessReport
from hf_adner.cards.tables import (
    CALIBRATION,
    GROUPS,
    calibration_rows,
    explanation_tables,
    population_line,
    risk_rows,
    robustness_tables,
)

ESTIMATE = {"mean": 0.5, "low": 0.25, "high": 0.75, "entities": 3}


@pytest.fixture
def report() -> ExplanationReport:
    scores = ExplainerScores("occlusion", 3, {"cosine": ESTIMATE, "agreement": ESTIMATE}, {"cosine": [0.5]})
    population = {"documents": 2, "gold": 9, "found": 4, "coverage": 4 / 9, "entities": 3, "document": [0, 0, 1]}
    model = {"boundary_sensitivity": {"start": 0.9, "ratio": 2.0, "outer": float("nan")}}
    return ExplanationReport({"occlusion": scores}, population, model, {"views": 2})


@pytest.mark.parametrize("full", [False, True])
def test_explanations_in_both_forms(report, full):
    tables = explanation_tables(report.to_dict(full=full))
    assert (
        "| cosine ↑ | 0.500 (0.250–0.750) |" in tables and "**boundary**" in tables and "**faithfulness**" not in tables
    )
    assert "| first character of the entity (its start) | 0.9000 |" in tables and "neighbour" not in tables
    assert population_line(report.to_dict()) == "3 of the 4 gold entities that the model finds (9 in 2 documents)"


def test_every_group_of_measures_is_explained():
    assert set(GROUPS) == set(MEASURED_GROUPS)


def test_robustness():
    families = {"confusions": {"f1": 0.5, "clean_f1": 0.8, "degradation": 0.375, "coverage": 1.0, "kind": "P"}}
    found = RobustnessReport(4, 0.8, families, 0.375, "confusions", 0.375, 0.5)
    assert "| confusions | 0.5000 | 0.8000 | 0.3750 | 1.0000 |" in robustness_tables(found.to_dict())
    assert "recall" not in robustness_tables(found.to_dict())


def test_calibration():
    assert set(CALIBRATION) <= {field.name for field in fields(CalibrationReport)}
    found = calibration_of_spans([[(0, 2, "a", 0.9)], [(1, 2, "a", 0.6)]], [[(0, 2, "a")], []], resamples=20).to_dict()
    rows = dict(calibration_rows(found))
    assert rows["predicted entities"] == "2" and rows["share of predicted entities that are right"] == "0.5000"
    assert dict(risk_rows(found))["100%"] == "50.0 %"


def test_nothing_measured_gives_nothing():
    assert explanation_tables(None) == robustness_tables(None) == "" and calibration_rows(None) == []
    assert population_line(None) is None and list(risk_rows(None)) == []
