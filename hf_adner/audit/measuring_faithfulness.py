"""Faithfulness: does the model need what an explanation points at?

Comprehensiveness and sufficiency of the context, with their bounds.

Soft comprehensiveness and sufficiency, as published and with equal amounts removed.

Boundaries: do explanations of an entity's start and end agree with what moves them?

Plausibility: do explanations point at the cues that the documents are known to have?
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hf_adner.audit.measures import ExplainerRun, Measurement, magnitudes, with_target
from hf_adner.audit.responses import END, PROBABILITY, START, Home, probability_of
from hf_adner.data.records import Document
from hf_adner.metrics.boundary import boundary_agreement, boundary_mass, boundary_window
from hf_adner.metrics.faithfulness import aopc, normalised_aopc, removal_counts
from hf_adner.metrics.infidelity import infidelity
from hf_adner.metrics.plausibility import plausibility
from hf_adner.metrics.removal_bounds import RemovalBeam, bounds_of_orderings
from hf_adner.metrics.similarity import average_ranks, partial_spearman
from hf_adner.metrics.soft_faithfulness import soft_faithfulness

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


def measure_faithfulness(run: ExplainerRun) -> Measurement:
    """Removal of the context (`removal`), soft removal (`soft_removal`) and infidelity.

    Infidelity holds the signed scores of randomly hidden characters against the change of the log-odds, at the
    optimal scale, divided by the variance of all changes; 1 is what an explanation of nothing has, about.
    """
    parts = (measure_removal(run), measure_soft_removal(run))
    unfaithful, details = _infidelity(run)
    values = {name: column for part in parts for name, column in part.values.items()}
    return Measurement({**values, "infidelity": unfaithful}, {**parts[1].details, **details})


def _infidelity(run: ExplainerRun) -> tuple[np.ndarray, dict[str, float]]:
    predicted, measured = [], []
    for number, explanation in enumerate(run.originals):
        hidden, changes = run.behaviour.random_sets(number)
        window = run.behaviour.home(number).window
        predicted.append(hidden @ window.importance(np.array(explanation.scores)))
        measured.append(changes)
    found = infidelity(predicted, measured)
    variance = found["change_variance"]
    values = np.array(found["per_entity"]) / (variance if variance else np.nan)
    return values, {"change_variance": variance}


def measure_boundary(run: ExplainerRun) -> Measurement:
    """Boundary-faithful agreement, with and without what nearness alone explains, and the mass at the boundary.

    The explainer is asked for the start and for the end (`with_target`); magnitudes of its scores are ranked against
    magnitudes of the effect that hiding each character has on that boundary's probability (``agreement``), and against
    the effect of random characters in its place (``replaced_agreement``). An explainer that hides characters itself is
    close to the first by construction; the second is the fairer contest. What is near a boundary matters more to it,
    so that a template of distances agrees well: ``.._given_position`` take the distance to the boundary's character out
    of both ranks (`partial_spearman`), and a template of just that scores 0. Details: both edges apart, and the share
    of ranks that were constant.
    """
    starts, ends = ([magnitudes(one) for one in run.explain(with_target(run.explainer, edge))] for edge in _EDGES)
    details, values = {}, {}
    for name, replaced in (("agreement", False), ("replaced_agreement", True)):
        effects = [_effects(run, column, replaced) for column in (START, END)]
        found = boundary_agreement(starts, effects[0], ends, effects[1], run.spans)
        values[name] = np.array(found["per_entity"])
        values[f"{name}_given_position"] = _given_position(run, (starts, ends), effects)
        details[name] = {key: found[key] for key in ("start_agreement", "end_agreement", "constant")}
    mass = boundary_mass(run.maps, run.spans)
    values["boundary_mass_lift"] = np.array([lift for _, lift in mass["per_entity"]])
    return Measurement(values, {**details, "boundary_mass": mass["mass"]})


_EDGES = ("start", "end")


def _given_position(
    run: ExplainerRun, maps: Sequence[list[np.ndarray]], effects: Sequence[list[np.ndarray]]
) -> np.ndarray:
    """(entities,) mean over both edges of the partial rank correlation in the boundary's window."""
    rows = []
    for number, (start, end) in enumerate(run.spans):
        window = boundary_window((start, end), len(maps[0][number]))
        places = np.arange(window.start, window.stop)
        rows.append(
            [
                partial_spearman(found[number][window], measured[number][window], -np.abs(places - edge))
                for found, measured, edge in zip(maps, effects, (start, end - 1))
            ]
        )
    return np.array(rows).reshape(-1, 2).mean(axis=1)


def _effects(run: ExplainerRun, column: int, replaced: bool) -> list[np.ndarray]:
    return [np.abs(run.behaviour.character_effects(number, column, replaced)) for number in range(run.count)]


_NAMES = {
    "auprc": ("all", "auprc"),
    "auprc_lift": ("all", "auprc_lift"),
    "context_auprc": ("context", "auprc"),
    "context_auprc_lift": ("context", "auprc_lift"),
    "context_token_f1": ("context", "token_f1"),
    "context_iou_f1": ("context", "iou_f1"),
}


def measure_plausibility(run: ExplainerRun) -> Measurement:
    """`metrics.plausibility` against the cues of each entity, for documents whose meta has ``cues``.

    A cue is ``{"entity": index, "start": ..., "end": ...}``, as in the synthetic corpus. Entities without a cue have no
    values; `with_cues` and `with_context_cues` are the shares that have one (outside the entity).
    """
    columns = {name: np.full(run.count, np.nan) for name in _NAMES}
    for number, subject in enumerate(run.subjects):
        cues = cue_positions(run.population.documents[subject.document], subject.entity)
        if cues:
            found = plausibility([run.maps[number]], [cues], [subject.span[:2]])
            for name, (part, score) in _NAMES.items():
                columns[name][number] = found[part][score]
    known = {
        "with_cues": float(np.isfinite(columns["auprc"]).mean()) if run.count else None,
        "with_context_cues": float(np.isfinite(columns["context_auprc"]).mean()) if run.count else None,
    }
    return Measurement(columns, known)


def cue_positions(document: Document, entity: int) -> list[int]:
    """Places of the characters that are cues of one of the document's entities, sorted."""
    cues = [cue for cue in document.meta.get("cues") or () if cue["entity"] == entity]
    return sorted({place for cue in cues for place in range(cue["start"], cue["end"])})
