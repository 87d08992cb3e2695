"""Soft comprehensiveness and sufficiency, as published and with equal amounts removed."""

from __future__ import annotations

import numpy as np
import torch

from hf_adner.audit.behaviour import Home, probability_of
from hf_adner.audit.entity_readings import PROBABILITY
from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.metrics.similarity import average_ranks
from hf_adner.metrics.soft_faithfulness import soft_faithfulness


def measure_soft_removal(run: ExplainerRun) -> Measurement:
    """Soft-NC and Soft-NS (Zhao & Aletras 2023), over all characters of the window, the entity's own included.

    As published a dimension of a character's embedding goes with the probability importance / largest importance, so
    that flat maps remove nearly everything and a constant one scores 1 in both. The gains take that away: importance
    is a character's rank as a share of the ranks, every map removes half of the text on average, and the score of the
    constant map, with the same random numbers, is subtracted: a constant map scores 0. The empty input has all vectors
    zero but those of special tokens. Where it is no less probable than the text the entity scores 0 (and 0 gain);
    `defined` is the share of the others.
    """
    columns = {name: [] for name in ("published", "ranked", "constant")}
    for number in range(run.count):
        home = run.behaviour.home(number)
        units = home.window.importance(run.maps[number])
        largest = units.max(initial=0.0)
        columns["published"].append(_scores(run, home, units / largest if largest else units))
        columns["ranked"].append(_scores(run, home, (average_ranks(units) - 0.5) / units.size))
        columns["constant"].append(_constant(run, number, home))
    published, ranked, constant = (np.array(rows, dtype=np.float64).reshape(-1, 3) for rows in columns.values())
    values = {
        "soft_comprehensiveness": published[:, 0],
        "soft_sufficiency": published[:, 1],
        "soft_comprehensiveness_gain": ranked[:, 0] - constant[:, 0],
        "soft_sufficiency_gain": ranked[:, 1] - constant[:, 1],
    }
    details = {"draws": run.settings.soft_draws, "defined": float(published[:, 2].mean()) if run.count else None}
    return Measurement(values, details)


def _constant(run: ExplainerRun, number: int, home: Home) -> tuple[float, float, float]:
    even = np.full(home.window.count, 0.5)
    return run.behaviour.remember(("soft", run.settings.soft_draws, number), lambda: _scores(run, home, even))


def _scores(run: ExplainerRun, home: Home, importance: np.ndarray) -> tuple[float, float, float]:
    """Soft-NC, Soft-NS and whether they are defined, for importances (units,) in [0, 1]."""
    draws = run.settings.soft_draws
    keep = np.concatenate([np.tile(1 - importance, (draws, 1)), np.tile(importance, (draws, 1))])
    generator = torch.Generator().manual_seed(run.settings.seed * 1_000_003 + home.index)
    thinned = probability_of(home.window.thinned(keep, generator), home.number)
    found = soft_faithfulness(
        [home.window.intact[home.number, PROBABILITY]],
        [_empty(run, home)],
        [thinned[:draws]],
        [thinned[draws:]],
    )
    return found["soft_comprehensiveness"], found["soft_sufficiency"], found["coverage"]


def _empty(run: ExplainerRun, home: Home) -> float:
    def ask() -> np.ndarray:
        return home.window.thinned(np.zeros((1, home.window.count)), torch.Generator().manual_seed(0))

    return float(probability_of(run.behaviour.remember(("empty", home.index), ask), home.number)[0])
