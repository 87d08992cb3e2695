"""Comprehensiveness and sufficiency of the context, with their bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_adner.audit.behaviour import Home, probability_of
from hf_adner.audit.entity_readings import PROBABILITY
from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.metrics.faithfulness import aopc, normalised_aopc, removal_counts
from hf_adner.metrics.removal_bounds import RemovalBeam, bounds_of_orderings

Order = Sequence[int]


def measure_removal(run: ExplainerRun) -> Measurement:
    """AOPC over 1, 5, 10, 20 and 50 % of the context, the entity's own characters kept in both, and its NAOPC.

    Characters go in the order of their importance (magnitude of their scores), equal ones in an order drawn by lot
    that is the same for every explainer. The bounds are those of the model: of orderings by the measured effect of
    each character, forwards and backwards, and of random ones, or of a beam search (`ExplanationSettings.beam_width`).
    An explainer whose own ordering goes beyond moves the bound for itself. Entities without context have no values.
    """
    rows = np.array([_of_subject(run, number) for number in range(run.count)]).reshape(-1, 4).T
    names = ("comprehensiveness", "sufficiency", "normalised_comprehensiveness", "normalised_sufficiency")
    return Measurement(dict(zip(names, rows)))


def _of_subject(run: ExplainerRun, number: int) -> list[float]:
    home = run.behaviour.home(number)
    context = home.window.context_units(home.number)
    if not context:
        return [float("nan")] * 4
    full = float(home.window.intact[home.number, PROBABILITY])
    order = by_importance(home.window.importance(run.maps[number]), context, run.settings.seed + number)
    areas = [aopc([full], curves)[0] for curves in removal_curves(home, [order])]
    bounds = run.behaviour.remember(("bounds", number), lambda: _bounds(run, number, home, full))
    normalised = [normalised_aopc([area], [limits])[0] for area, limits in zip(areas, bounds)]
    return [*areas, *normalised]


def by_importance(values: np.ndarray, units: Sequence[int], seed: int) -> list[int]:
    """Units from the most to the least important, equal ones by lot."""
    lots = np.random.default_rng(seed).permutation(len(values))
    return sorted(units, key=lambda unit: (-values[unit], lots[unit]))


def removal_curves(home: Home, orders: Sequence[Order]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (orders, steps) without the first units of each order, and with only these and the entity."""
    counts = removal_counts(len(orders[0]))
    sets = [order[:count] for order in orders for count in counts]
    without, only = (_probabilities(home, sets, hide) for hide in (True, False))
    return without.reshape(len(orders), -1), only.reshape(len(orders), -1)


def _probabilities(home: Home, sets: Sequence[Order], hide: bool) -> np.ndarray:
    """Posterior with sets of units hidden, or with nothing left but them and the entity."""
    kept = np.full((len(sets), home.window.count), hide)
    kept[:, home.window.own_units(home.number)] = True
    for row, units in zip(kept, sets):
        row[list(units)] = not hide
    return np.clip(probability_of(home.window.hidden(kept), home.number), 0, 1)


def _bounds(run: ExplainerRun, number: int, home: Home, full: float) -> list[tuple[float, float]]:
    """Lowest and highest comprehensiveness, and sufficiency."""
    context = home.window.context_units(home.number)
    if run.settings.beam_width:
        return [_searched(run.settings.beam_width, home, context, full, hide) for hide in (True, False)]
    effects = run.behaviour.effects(number, PROBABILITY)
    ranked = by_importance(effects, context, run.settings.seed + number)
    rng = np.random.default_rng([run.settings.seed, number])
    orders = [ranked, ranked[::-1], *(rng.permutation(context).tolist() for _ in range(run.settings.orderings))]
    return [bounds_of_orderings(full, curves) for curves in removal_curves(home, orders)]


def _searched(width: int, home: Home, context: Order, full: float, hide: bool) -> tuple[float, float]:
    ends = []
    for highest in (False, True):
        beam = RemovalBeam(full, len(context), width, highest, removal_counts(len(context)))
        while not beam.finished:
            sets = [[context[index] for index in proposal] for proposal in beam.proposals]
            beam.accept(_probabilities(home, sets, hide))
        ends.append(beam.bound)
    return min(ends), max(ends)
