"""Removal, soft removal and infidelity against the same done by hand, and what controls score."""

from dataclasses import replace

import numpy as np
import pytest

from hf_adner.audit.measuring_faithfulness import (
    _bounds,
    by_importance,
    measure_faithfulness,
    measure_removal,
    measure_soft_removal,
)
from hf_adner.audit.responses import LOG_ODDS, PROBABILITY
from hf_adner.metrics.faithfulness import removal_counts


def test_removal_hides_the_most_important_context_first(run_of):
    run = run_of("grad-x-input")
    values = measure_removal(run).values
    for number in range(3):
        home = run.behaviour.home(number)
        window, place = home.window, home.number
        context = window.context_units(place)
        order = sorted(context, key=lambda unit: -window.importance(run.maps[number])[unit])
        full, drops, gains = window.intact[place, PROBABILITY], [], []
        for count in removal_counts(len(context)):
            without = np.ones((1, window.count), dtype=bool)
            without[0, order[:count]] = False
            only = np.zeros((1, window.count), dtype=bool)
            only[0, [*order[:count], *window.own_units(place)]] = True
            drops.append(full - window.hidden(without)[0, place, PROBABILITY])
            gains.append(full - window.hidden(only)[0, place, PROBABILITY])
        assert values["comprehensiveness"][number] == pytest.approx(np.mean(drops), abs=1e-5)
        assert values["sufficiency"][number] == pytest.approx(np.mean(gains), abs=1e-5)
    for name in ("normalised_comprehensiveness", "normalised_sufficiency"):
        assert ((values[name] >= 0) & (values[name] <= 1)).all()


def test_wider_beams_bound_what_orderings_reach(run_of, audit):
    run = run_of("occlusion", settings=replace(audit.settings, beam_width=3))
    home = run.behaviour.home(0)
    full = float(home.window.intact[home.number, PROBABILITY])
    searched = _bounds(run, 0, home, full)
    drawn = _bounds(run_of("occlusion"), 0, home, full)
    for (low, high), (lowest, highest) in zip(drawn, searched):
        assert lowest <= low + 0.02 and highest >= high - 0.02 and lowest <= highest


def test_ties_are_broken_the_same_for_everyone():
    order = by_importance(np.zeros(6), range(6), seed=4)
    assert order == by_importance(np.ones(6), range(6), seed=4) and sorted(order) == list(range(6))
    assert by_importance(np.array([0, 3, 1]), [0, 1, 2], seed=4) == [1, 2, 0]


def test_a_constant_gains_nothing_by_soft_removal(run_of):
    values = measure_soft_removal(run_of("constant")).values
    assert values["soft_comprehensiveness_gain"] == pytest.approx(0, abs=1e-9)
    assert values["soft_sufficiency_gain"] == pytest.approx(0, abs=1e-9)
    defined = values["soft_sufficiency"] > 0
    assert values["soft_comprehensiveness"][defined] == pytest.approx(1) and defined.any()


def test_soft_scores_lie_in_their_range(run_of):
    found = measure_soft_removal(run_of("occlusion"))
    assert 0 <= found.details["defined"] <= 1
    for name, column in found.values.items():
        assert (np.abs(column) <= 1).all() and (name.endswith("gain") or (column >= 0).all())


def test_infidelity_of_scores_that_tell_every_change(run_of):
    """With one unit hidden at a time, what hiding does is predicted perfectly by itself."""
    run = run_of("occlusion")
    found = measure_faithfulness(run).values["infidelity"]
    other = measure_faithfulness(run_of("random")).values["infidelity"]
    assert (found >= 0).all() and np.nanmean(found) < np.nanmean(other)
    hidden, changes = run.behaviour.random_sets(0)
    effects = run.behaviour.effects(0, LOG_ODDS)
    predicted = hidden @ effects
    scale = predicted @ changes / (predicted @ predicted)
    variance = np.concatenate([run.behaviour.random_sets(number).changes for number in range(run.count)]).var()
    assert found[0] == pytest.approx(np.mean((scale * predicted - changes) ** 2) / variance, rel=1e-2)
