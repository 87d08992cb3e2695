"""The study of calibration: halves share no document, and its tables hold what was measured."""

import math
import random

import pytest

from hf_adner.audit.recalibration import Found
from hf_adner.audit.score_maps import Outcome
from hf_adner.model.calibration_adner import logistic


@pytest.fixture(scope="module")
def found() -> Found:
    """Forty documents of a model that is too sure: its log-odds are three times too large."""
    rng, found = random.Random(0), Found([], [], [], [], [])
    for number in range(40):
        odds = [rng.gauss(1, 1.5) for _ in range(8)]
        rows = [Outcome(number, "a", logistic(3 * one), rng.random() < logistic(one)) for one in odds]
        found.score.extend(rows)
        found.gold.append([one.posterior for one in rows if one.is_correct])
        found.candidates.append(sorted(one.posterior for one in rows))
    return found


def test_halves_share_no_document(script, found):
    for fitted, held_out in script.halves(found, 3):
        documents = [set(half.outcomes.documents.tolist()) for half in (fitted, held_out)]
        assert not documents[0] & documents[1] and len(documents[0] | documents[1]) == 40
        assert len(fitted.candidates) == len(held_out.candidates) == 20


def test_the_tables_hold_what_was_measured(script, found):
    rows, scored = zip(*(script.measure(*pair) for pair in script.halves(found, 4)))
    record = script.summary(list(rows), list(scored), found)
    before, after = record["pooled_ece"]
    assert after < 0.7 * before and sum(record["methods"].values()) == record["splits"] == 4
    assert record["mean"]["log_loss_after"] < record["mean"]["log_loss_before"]
    assert all(math.isfinite(value) for value in record["mean"].values())
    script.update_section(script.PAGE, script.HEADING, f"\n{script.tables({'mine': record})}")
    page = script.PAGE.read_text(encoding="utf-8")
    assert "| mine | 40 | 320 |" in page and page.count("| mine |") == 1 + 2 + 2 and "## Speed\n\nfast" in page
