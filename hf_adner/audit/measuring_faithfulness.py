"""Measures of faithfulness, boundaries and plausibility: do explanations name what the model needs?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hf_adner.audit.measures import ExplainerRun, Measurement
from hf_adner.audit.responses import END, PROBABILITY, START, EntityLocation, probability_of
from hf_adner.data.records import Document
from hf_adner.metrics.boundary import boundary_agreement, boundary_mass, boundary_window
from hf_adner.metrics.complexity import complexity
from hf_adner.metrics.faithfulness import RemovalBeam, aopc, bounds_of_orderings, normalised_aopc, removal_counts
from hf_adner.metrics.infidelity import infidelity
from hf_adner.metrics.monotonicity import monotonicity
from hf_adner.metrics.monotonicity_correlation import monotonicity_correlation
from hf_adner.metrics.plausibility import plausibility
from hf_adner.metrics.similarity import average_ranks, partial_spearman
from hf_adner.metrics.soft_faithfulness import soft_faithfulness
from hf_adner.metrics.sparseness import sparseness

Order = Sequence[int]

RESTORING_STEPS = 10
"""Steps in which monotonicity restores a text."""

_COMPLEXITY = {"sparseness": sparseness, "complexity": complexity}
_PLAUSIBILITY = {
    "average_precision": ("all", "average_precision"),
    "average_precision_lift": ("all", "average_precision_lift"),
    "context_average_precision": ("context", "average_precision"),
    "context_average_precision_lift": ("context", "average_precision_lift"),
    "auprc_trapezoid": ("all", "auprc_trapezoid"),
    "context_auprc_trapezoid": ("context", "auprc_trapezoid"),
    "context_token_f1": ("context", "token_f1"),
    "context_iou_f1": ("context", "iou_f1"),
}
"""Measure -> part and score of `metrics.plausibility`."""


def measure_removal(run: ExplainerRun) -> Measurement:
    """Measure AOPC over 1, 5, 10, 20 and 50 % of the context, the entity's own characters always kept, and NAOPC.

    Characters are removed in the order of their importance (magnitude of their scores), ties in a random order that is
    the same for every explainer. The bounds are those of the model: of orderings by the measured effect of each
    character, forwards and backwards, and of random ones, or of a beam search (`ExplanationSettings.beam_width`). An
    explainer whose own ordering exceeds a bound extends it for itself. Entities without context have no values.
    """
    rows = np.array([_removal_scores(run, number) for number in range(run.count)]).reshape(-1, 4).T
    names = ("comprehensiveness", "sufficiency", "normalised_comprehensiveness", "normalised_sufficiency")
    return Measurement(dict(zip(names, rows)))


def _removal_scores(run: ExplainerRun, number: int) -> list[float]:
    location = run.responses.locate(number)
    context = location.window.context_units(location.number)
    if not context:
        return [float("nan")] * 4
    full = float(location.window.intact[location.number, PROBABILITY])
    order = by_importance(location.window.importance(run.maps[number]), context, run.settings.seed + number)
    areas = [aopc([full], curves)[0] for curves in removal_curves(location, [order])]
    bounds = run.responses.remember(("bounds", number), lambda: _bounds(run, number, location, full))
    normalised = [normalised_aopc([area], [limits])[0] for area, limits in zip(areas, bounds)]
    return [*areas, *normalised]


def by_importance(values: np.ndarray, units: Sequence[int], seed: int) -> list[int]:
    """Sort units from the most to the least important, ties at random."""
    lots = np.random.default_rng(seed).permutation(len(values))
    return sorted(units, key=lambda unit: (-values[unit], lots[unit]))


def removal_curves(location: EntityLocation, orders: Sequence[Order]) -> tuple[np.ndarray, np.ndarray]:
    """Return (orders, steps) probabilities without the first units of each order, and with only them and the entity."""
    counts = removal_counts(len(orders[0]))
    sets = [order[:count] for order in orders for count in counts]
    without, only = (_probabilities(location, sets, hide) for hide in (True, False))
    return without.reshape(len(orders), -1), only.reshape(len(orders), -1)


def _probabilities(location: EntityLocation, sets: Sequence[Order], hide: bool) -> np.ndarray:
    """Return the posterior with sets of units hidden, or with all other units but the entity hidden."""
    kept = np.full((len(sets), location.window.count), hide)
    kept[:, location.window.own_units(location.number)] = True
    for row, units in zip(kept, sets):
        row[list(units)] = not hide
    return np.clip(probability_of(location.window.hidden(kept), location.number), 0, 1)


def _bounds(run: ExplainerRun, number: int, location: EntityLocation, full: float) -> list[tuple[float, float]]:
    """Return the bounds (lowest, highest) of comprehensiveness and of sufficiency."""
    context = location.window.context_units(location.number)
    if run.settings.beam_width:
        return [_beam_bounds(run.settings.beam_width, location, context, full, hide) for hide in (True, False)]
    effects = run.responses.effects(number, PROBABILITY)
    ranked = by_importance(effects, context, run.settings.seed + number)
    rng = np.random.default_rng([run.settings.seed, number])
    orders = [ranked, ranked[::-1], *(rng.permutation(context).tolist() for _ in range(run.settings.orderings))]
    return [bounds_of_orderings(full, curves) for curves in removal_curves(location, orders)]


def _beam_bounds(width: int, location: EntityLocation, context: Order, full: float, hide: bool) -> tuple[float, float]:
    bounds = []
    for highest in (False, True):
        beam = RemovalBeam(full, len(context), width, highest, removal_counts(len(context)))
        while not beam.finished:
            sets = [[context[index] for index in proposal] for proposal in beam.proposals]
            beam.accept(_probabilities(location, sets, hide))
        bounds.append(beam.bound)
    return min(bounds), max(bounds)


def measure_soft_removal(run: ExplainerRun) -> Measurement:
    """Measure Soft-NC and Soft-NS (Zhao & Aletras 2023) over all characters of the window, the entity's own included.

    As published, a dimension of a character's embedding is removed with the probability importance / largest
    importance, so that flat maps remove nearly everything and a constant one scores 1 in both. The gains correct that:
    importance is a character's rank as a share of the ranks, so that every map removes half of the text on average, and
    the score of the constant map with the same random numbers is subtracted: a constant map scores 0. In the empty
    input all vectors are zero except those of special tokens. If it is no less probable than the text, the entity
    scores 0 (and 0 gain); `defined` is the share of the other entities.
    """
    columns = {name: [] for name in ("published", "ranked", "constant")}
    for number in range(run.count):
        location = run.responses.locate(number)
        units = location.window.importance(run.maps[number])
        largest = units.max(initial=0.0)
        columns["published"].append(_soft_scores(run, location, units / largest if largest else units))
        columns["ranked"].append(_soft_scores(run, location, (average_ranks(units) - 0.5) / units.size))
        columns["constant"].append(_constant_scores(run, number, location))
    published, ranked, constant = (np.array(rows, dtype=np.float64).reshape(-1, 3) for rows in columns.values())
    values = {
        "soft_comprehensiveness": published[:, 0],
        "soft_sufficiency": published[:, 1],
        "soft_comprehensiveness_gain": ranked[:, 0] - constant[:, 0],
        "soft_sufficiency_gain": ranked[:, 1] - constant[:, 1],
    }
    details = {"draws": run.settings.soft_draws, "defined": float(published[:, 2].mean()) if run.count else None}
    return Measurement(values, details)


def _constant_scores(run: ExplainerRun, number: int, location: EntityLocation) -> tuple[float, float, float]:
    even = np.full(location.window.count, 0.5)
    return run.responses.remember(("soft", run.settings.soft_draws, number), lambda: _soft_scores(run, location, even))


def _soft_scores(run: ExplainerRun, location: EntityLocation, importance: np.ndarray) -> tuple[float, float, float]:
    """Return Soft-NC, Soft-NS and whether they are defined, for importances (units,) in [0, 1]."""
    draws = run.settings.soft_draws
    keep = np.concatenate([np.tile(1 - importance, (draws, 1)), np.tile(importance, (draws, 1))])
    generator = torch.Generator().manual_seed(run.settings.seed * 1_000_003 + location.index)
    thinned = probability_of(location.window.thinned(keep, generator), location.number)
    scores = soft_faithfulness(
        [location.window.intact[location.number, PROBABILITY]],
        [_empty_probability(run, location)],
        [thinned[:draws]],
        [thinned[draws:]],
    )
    return scores["soft_comprehensiveness"], scores["soft_sufficiency"], scores["coverage"]


def _empty_probability(run: ExplainerRun, location: EntityLocation) -> float:
    def readings() -> np.ndarray:
        return location.window.thinned(np.zeros((1, location.window.count)), torch.Generator().manual_seed(0))

    return float(probability_of(run.responses.remember(("empty", location.index), readings), location.number)[0])


def measure_complexity(run: ExplainerRun) -> Measurement:
    """Measure `metrics.sparseness` and `metrics.complexity`: over how many characters the maps spread."""
    values = {name: measure(run.maps)["per_entity"] for name, measure in _COMPLEXITY.items()}
    return Measurement({name: np.array(column, dtype=np.float64) for name, column in values.items()})


def measure_monotonicity(run: ExplainerRun) -> Measurement:
    """Measure `metrics.monotonicity` and `metrics.monotonicity_correlation`.

    The first restores the characters of a text that is hidden whole, the entity's own included, from the least
    important on, in `RESTORING_STEPS` steps of equal size (fewer in shorter texts), and reads the posterior. The second
    compares the magnitudes with the change of the posterior when each character is replaced. Details: `rising`, the
    mean share of steps without a fall.
    """
    curves = [_restoring_curve(run, number) for number in range(run.count)]
    locations = [run.responses.locate(number) for number in range(run.count)]
    changes = [run.responses.replacement_changes(number, PROBABILITY) for number in range(run.count)]
    maps = [location.window.importance(values) for location, values in zip(locations, run.maps)]
    restored, correlated = monotonicity(curves), monotonicity_correlation(maps, changes)
    values = {"monotonicity": restored["per_entity"], "monotonicity_correlation": correlated["per_entity"]}
    columns = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    return Measurement(columns, {"rising": restored["rising"]})


def _restoring_curve(run: ExplainerRun, number: int) -> np.ndarray:
    """Return the (steps,) posterior as characters are restored, the least important first."""
    location = run.responses.locate(number)
    units = range(location.window.count)
    order = by_importance(location.window.importance(run.maps[number]), units, run.settings.seed + number)[::-1]
    step = math.ceil(len(order) / RESTORING_STEPS)
    kept = np.zeros((math.ceil(len(order) / step), len(order)), dtype=bool)
    for row, count in zip(kept, range(step, len(order) + step, step)):
        row[order[:count]] = True
    return np.clip(probability_of(location.window.hidden(kept), location.number), 0, 1)


def measure_faithfulness(run: ExplainerRun) -> Measurement:
    """Measure removal (`measure_removal`), soft removal (`measure_soft_removal`), monotonicity and infidelity.

    Infidelity compares the signed scores of randomly hidden characters with the change of the log-odds, at the optimal
    scale, divided by the variance of all changes; an uninformative explanation has about 1.
    """
    parts = (measure_removal(run), measure_soft_removal(run), measure_monotonicity(run))
    infidelities, details = _infidelity(run)
    values = {name: column for part in parts for name, column in part.values.items()}
    details |= {name: figure for part in parts for name, figure in part.details.items()}
    return Measurement({**values, "infidelity": infidelities}, details)


def _infidelity(run: ExplainerRun) -> tuple[np.ndarray, dict[str, float]]:
    predicted, measured = [], []
    for number, explanation in enumerate(run.originals):
        hidden, changes = run.responses.random_sets(number)
        window = run.responses.locate(number).window
        predicted.append(hidden @ window.importance(np.array(explanation.scores)))
        measured.append(changes)
    scores = infidelity(predicted, measured)
    variance = scores["change_variance"]
    values = np.array(scores["per_entity"]) / (variance if variance else np.nan)
    return values, {"change_variance": variance}


def measure_boundary(run: ExplainerRun) -> Measurement:
    """Measure boundary-faithful agreement, with and without the effect of distance, and the mass at the boundary.

    The targets of the explainer are the start and the end (`with_target`). Magnitudes of its scores are correlated by
    rank with magnitudes of the effect on that boundary's probability of random characters in each character's place
    (``replaced_agreement``, BFArep), and of hiding it (``agreement``). An explainer that hides characters itself is
    close to the second by construction: the first is the one to compare explainers by. Characters near a boundary
    matter more to it, so that a template of distances agrees well: ``.._given_position`` partial out the distance to
    the boundary's character from both ranks (`partial_spearman`), and a template of that distance scores 0. Details:
    both edges separately, and the share of ranks that were constant.
    """
    starts, ends = run.edge_maps
    details, values = {}, {}
    for name, replaced in (("replaced_agreement", True), ("agreement", False)):
        effects = [_effects(run, column, replaced) for column in (START, END)]
        agreement = boundary_agreement(starts, effects[0], ends, effects[1], run.spans)
        values[name] = np.array(agreement["per_entity"])
        values[f"{name}_given_position"] = _given_position(run, (starts, ends), effects)
        details[name] = {key: agreement[key] for key in ("start_agreement", "end_agreement", "constant")}
    mass = boundary_mass(run.maps, run.spans)
    values["boundary_mass_lift"] = np.array([lift for _, lift in mass["per_entity"]])
    return Measurement(values, {**details, "boundary_mass": mass["mass"]})


def _given_position(
    run: ExplainerRun, maps: Sequence[list[np.ndarray]], effects: Sequence[list[np.ndarray]]
) -> np.ndarray:
    """Return the (entities,) mean over both edges of the partial rank correlation in the boundary's window."""
    rows = []
    for number, (start, end) in enumerate(run.spans):
        window = boundary_window((start, end), len(maps[0][number]))
        places = np.arange(window.start, window.stop)
        rows.append(
            [
                partial_spearman(scores[number][window], measured[number][window], -np.abs(places - edge))
                for scores, measured, edge in zip(maps, effects, (start, end - 1))
            ]
        )
    return np.array(rows).reshape(-1, 2).mean(axis=1)


def _effects(run: ExplainerRun, column: int, replaced: bool) -> list[np.ndarray]:
    return [np.abs(run.responses.character_effects(number, column, replaced)) for number in range(run.count)]


def measure_plausibility(run: ExplainerRun) -> Measurement:
    """Measure `metrics.plausibility` against the cues of each entity, for documents whose meta has ``cues``.

    A cue is ``{"entity": index, "start": ..., "end": ...}``, as in the synthetic corpus. Entities without a cue have no
    values; `with_cues` and `with_context_cues` are the shares of entities with one (outside the entity).
    """
    columns = {name: np.full(run.count, np.nan) for name in _PLAUSIBILITY}
    for number, audited in enumerate(run.entities):
        cues = cue_positions(run.sample.documents[audited.document], audited.entity)
        if cues:
            scores = plausibility([run.maps[number]], [cues], [audited.span[:2]])
            for name, (part, score) in _PLAUSIBILITY.items():
                columns[name][number] = scores[part][score]
    details = {
        "with_cues": float(np.isfinite(columns["average_precision"]).mean()) if run.count else None,
        "with_context_cues": float(np.isfinite(columns["context_average_precision"]).mean()) if run.count else None,
    }
    return Measurement(columns, details)


def cue_positions(document: Document, entity: int) -> list[int]:
    """Return the sorted positions of the characters that are cues of one of the document's entities."""
    cues = [cue for cue in document.meta.get("cues") or () if cue["entity"] == entity]
    return sorted({place for cue in cues for place in range(cue["start"], cue["end"])})
