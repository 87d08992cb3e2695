"""Records of runs: there and back again, and the figures they give."""

import json
import math

import pytest

from hf_adner.comparison.record import SEEN, UNSEEN, RunRecord

from .records import record


def test_there_and_back_again(tmp_path):
    made = record("full", 3, explanations={"occlusion": {"agreement": {"0/1": 0.25}}})
    made.save(tmp_path / "run.json")
    assert RunRecord.load(tmp_path / "run.json") == made


def test_what_is_not_a_number_becomes_null(tmp_path):
    record("full", calibration={"ece": math.nan, "brier": math.nan, "aurc": math.nan}).save(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["calibration"]["ece"] is None
    assert math.isnan(RunRecord.load(tmp_path / "run.json").calibrated("ece"))


@pytest.mark.parametrize("content", ["{}", "[", '{"speed": 1}', "[1]"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.json is not a record of a run"):
        RunRecord.load(tmp_path / "run.json")


def test_figures_by_hand():
    made = record("full")
    assert made.cell == ("notes", "bert-crf") and made.families == ["confusions"]
    assert made.f1() == 0.6 and made.f1(SEEN) == 1.0
    assert made.unseen_recall == made.f1(UNSEEN) == pytest.approx(2 / 6)
    assert made.f1("confusions") == pytest.approx(2 / 8) and made.clean_f1_of("confusions") == pytest.approx(5 / 8)
    assert made.degradation == pytest.approx(1 - 2 / 5)


def test_figures_that_there_are_not():
    nothing = {**record("full").counts, UNSEEN: [[0, 0, 0]] * 4, "confusions": []}
    made = record("full", perturbed={"confusions": []})
    made = RunRecord(**{**vars(made), "counts": nothing})
    assert math.isnan(made.unseen_recall) and math.isnan(made.degradation) and made.families == []
