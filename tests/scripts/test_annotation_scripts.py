"""The measurements of `adner review` and of a learned head for assertion: what they count."""

import numpy as np
import pytest
import torch

from hf_adner.audit.label_errors import LabelError

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def test_a_dropped_entity_is_found_by_a_place_that_touches_it(load_script):
    script = load_script("label_errors")
    errors = [
        LabelError("a", "missing", 0.9, None, (1, 4, "X"), 0.5),
        LabelError("a", "label", 0.8, (5, 6, "X"), (5, 6, "Y"), 0.7),
        LabelError("b", "missing", 0.7, None, (1, 4, "X"), 0.7),
        LabelError("a", "missing", 0.6, None, (2, 3, "Y"), 0.6),
        LabelError("b", "superfluous", 0.1, (8, 9, "X"), None, None),
    ]
    dropped = [("a", (2, 5, "X")), ("a", (7, 9, "X"))]
    assert script.missing_places(errors, dropped) == {
        ("a", (2, 5, "X")): 0.9,
        ("a", (7, 9, "X")): 0.0,
        ("b", (1, 4, "X")): 0.7,
    }
    altered = {("a", (2, 5, "X")): "dropped", ("a", (5, 6, "X")): "other label"}
    altered |= {("b", (8, 9, "X")): "invented", ("b", (1, 2, "X")): "other boundary"}
    errors.append(LabelError("b", "superfluous", 0.05, (1, 2, "X"), None, None))
    errors.append(LabelError("b", "superfluous", 0.2, (3, 4, "X"), None, None))
    figures = script.measured(errors, altered)
    assert [figures["areas"][kind]["auroc"] for kind in script.ALTERATIONS] == [1.0, 1.0, 0.0, 0.0]
    assert (figures["recall_above_half"], figures["kind_right"], figures["above_half"]) == (0.5, 1.0, 4)


def test_lists_of_places_are_scored_by_what_they_touch(load_script):
    pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    script = load_script("label_error_methods")
    wrong = [script.Place(0, 2, 4), script.Place(1, 0, 1)]
    places = [script.Place(0, 3, 6), script.Place(0, 2, 3), script.Place(0, 8, 9), script.Place(1, 0, 2)]
    quality = script.list_quality(places, wrong)  # right, again the same, wrong, right
    assert quality["average precision"] == pytest.approx((1 + 2 / 3) / 2) and quality["places"] == 3


def test_clauses_and_sentences_of_an_entity(load_script):
    script = load_script("assertion_head")
    text = "无发热。红斑，瘙痒；"
    assert script.around(text, 4, 6, "[，。；]") == (4, 6) and script.around(text, 4, 6, "[。；]") == (4, 9)
    assert script.around(text, 1, 3, "[，。；]") == (0, 3)


def test_a_head_learns_what_its_features_say_and_is_compared_with_the_rules(load_script):
    script = load_script("assertion_head")
    generator = torch.Generator().manual_seed(0)
    gold = (torch.rand(60, 5, generator=generator) > 0.5).float()
    rules = torch.zeros(60, 5)
    data = script.Data(np.arange(60) // 2, gold + 0.1 * torch.randn(60, 5, generator=generator), rules, gold)
    head = script.fit_head([data.of(range(20))], script.STATES, 1e-3)
    held_out = data.of(range(20, 30))
    found = script.scores(
        held_out, {script.RULES: held_out.rules, script.STATES: head(held_out.features(script.STATES))}
    )
    value, low, high = found[script.STATES]["all, micro"]
    assert low <= value <= high and value > 0.95
    assert found[script.RULES]["all, micro"][0] == 0 and found[script.STATES]["micro, minus rules"][0] == value
    assert "| all, micro | " in script.table("lines", found)
