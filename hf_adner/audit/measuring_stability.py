"""Stability under label-preserving perturbations, discriminative and plain.

Seed noise: how much of an explanation by sampling is the sampling's.

The randomisation check: explanations of the model with its weights thrown away.

Max-sensitivity: how far an explanation moves when the embeddings are shaken a little.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from hf_adner.audit.measures import ExplainerRun, Measurement, magnitudes
from hf_adner.audit.responses import noisy_embeddings, randomised_weights
from hf_adner.audit.sample import View
from hf_adner.explain.removal import SamplingExplainer
from hf_adner.metrics.discriminative_stability import discriminative_stability
from hf_adner.metrics.inputs import mean_or_nan
from hf_adner.metrics.intraclass import intraclass_correlation
from hf_adner.metrics.randomisation import randomisation
from hf_adner.metrics.sensitivity import max_sensitivity
from hf_adner.metrics.similarity import aligned, partial_spearman, role_window
from hf_adner.metrics.stability import pairwise_stability


class Pair(NamedTuple):
    """A subject in a view: its map there, None where the model lost it."""

    subject: int
    view: View
    map: np.ndarray | None

    @property
    def alignment(self) -> tuple[int | None, ...]:
        """Place of each original character in the view."""
        return self.view.perturbed.alignment.forward


def measure_stability(run: ExplainerRun) -> Measurement:
    """Compare each subject's map with those of its views; all explainers see the same views.

    A pair counts if the model found the subject in the view again, with its label, on the span it moved to; `coverage`
    is the share of such pairs and belongs to the model, not to the explainer. Values per subject are means over its
    kept pairs. Details: coverage and its counts, `within` and `between` of discriminative stability, the intraclass
    correlation `icc` (NaN below 4 views of an entity), and for each family its discriminative stability, cosine and
    coverage.
    """
    pairs = _pairs(run)
    similar = _similarities(run, pairs)
    discriminative = _discriminative(run, pairs)
    families = {
        family: {
            **_of_family(run, [pair for pair in pairs if pair.view.family == family]),
            "cosine": mean_or_nan(
                [
                    value
                    for pair, value in zip(pairs, similar["cosine"])
                    if pair.view.family == family and value == value
                ]
            ),
        }
        for family in dict.fromkeys(pair.view.family for pair in pairs)
    }
    values = {name: _means_by_subject(run.count, pairs, column) for name, column in similar.items()}
    values["discriminative_stability"] = np.array(discriminative.pop("per_entity"), dtype=np.float64)
    kept = ("within", "between", "compared", "pairs", "kept", "coverage")
    details = {**{name: discriminative[name] for name in kept}, "icc": _icc(run, pairs), "families": families}
    return Measurement(values, details)


def _pairs(run: ExplainerRun) -> list[Pair]:
    views = [view for view in run.views if any(number < run.count for number in view.subjects)]
    asked = [[number for number in view.kept if number < run.count] for view in views]
    chosen = [(view, numbers) for view, numbers in zip(views, asked) if numbers]
    texts = [view.perturbed.document.text for view, _ in chosen]
    spans = [[view.kept[number] for number in numbers] for view, numbers in chosen]
    found = {}
    for (view, numbers), explanations in zip(chosen, run.ask(run.explainer, texts, spans)):
        found.update({(id(view), number): magnitudes(one) for number, one in zip(numbers, explanations, strict=True)})
    return [
        Pair(number, view, found.get((id(view), number)))
        for view in views
        for number in view.subjects
        if number < run.count
    ]


def _similarities(run: ExplainerRun, pairs: list[Pair]) -> dict[str, np.ndarray]:
    return pairwise_stability(
        [run.maps[pair.subject] for pair in pairs],
        [pair.map for pair in pairs],
        [pair.alignment for pair in pairs],
        [run.spans[pair.subject] for pair in pairs],
    )


def _discriminative(run: ExplainerRun, pairs: list[Pair]) -> dict[str, Any]:
    own = defaultdict(list)
    for pair in pairs:
        own[pair.subject].append(pair)
    return discriminative_stability(
        run.maps,
        [[pair.map for pair in own[number]] for number in range(run.count)],
        run.spans,
        [subject.span[2] for subject in run.subjects],
        [[pair.alignment for pair in own[number]] for number in range(run.count)],
    )


def _of_family(run: ExplainerRun, pairs: list[Pair]) -> dict[str, float]:
    found = _discriminative(run, pairs)
    return {name: found[name] for name in ("discriminative_stability", "coverage", "pairs")}


def _means_by_subject(count: int, pairs: list[Pair], column: np.ndarray) -> np.ndarray:
    rows = defaultdict(list)
    for pair, value in zip(pairs, column):
        if np.isfinite(value):
            rows[pair.subject].append(value)
    return np.array([mean_or_nan(rows[number]) for number in range(count)])


def _icc(run: ExplainerRun, pairs: list[Pair]) -> float:
    rows, present, owners = [], [], []
    for pair in pairs:
        if pair.map is not None and pair.map.any():
            shares, there = aligned(run.maps[pair.subject], pair.map / pair.map.sum(), pair.alignment)
            cells, found = role_window(shares, run.spans[pair.subject], there)
            rows.append(cells)
            present.append(found)
            owners.append(pair.subject)
    return intraclass_correlation(np.array(rows), owners, np.array(present))["icc"] if rows else float("nan")


def measure_seed_noise(run: ExplainerRun) -> Measurement:
    """Similarity of explanations of the same text with two seeds, for explainers that sample; nothing for others.

    Stability under perturbation can be read only below this ceiling.
    """
    if not isinstance(run.explainer, SamplingExplainer):
        return Measurement()
    other = reseeded(run.explainer)
    found = pairwise_stability(run.maps, [magnitudes(one) for one in run.explain(other)])
    values = {f"seed_{name}": np.asarray(found[name]) for name in ("cosine", "spearman", "top_k_jaccard")}
    return Measurement(values, {"n_samples": run.explainer.n_samples})


def reseeded(explainer: Any) -> Any:
    """An explainer that samples with another seed; any other one as it is."""
    if not isinstance(explainer, SamplingExplainer):
        return explainer
    other = copy.copy(explainer)
    other.seed = explainer.seed + 1
    return other


def measure_randomisation(run: ExplainerRun) -> Measurement:
    """Rank agreement of the maps of the model and of the model with random weights, for each share of them.

    The largest share gives the values: over all characters, where the entity's own ones come first in nearly every map
    of any model; over the context; and over all given the distance to the entity (`partial_spearman`), since any model
    that reads a text in order is more sensitive to what is near. Details: for every share `metrics.randomisation`
    without its values, and `context_rank_agreement`. What an explainer learned of the model beforehand (a global table)
    it must learn again of the random one, or it is not put to the test: see `rebuild` of `ExplanationAudit.score`.
    One that samples does so with another seed, or both maps would share its noise.
    """
    shares = sorted(run.settings.random_shares)
    details = {}
    for share in shares:
        with randomised_weights(run.behaviour.model, share, run.settings.seed):
            explainer = reseeded(run.explainer) if run.rebuild is None else run.rebuild()
            others = [magnitudes(one) for one in run.explain(explainer)]
        found = randomisation(run.maps, others)
        outside = randomisation(_contexts(run, run.maps), _contexts(run, others))
        agreement, context = (np.array(one.pop("per_entity")) for one in (found, outside))
        details[f"{share:g}"] = {**found, "context_rank_agreement": outside["rank_agreement"]}
    values = {"random_agreement": agreement, "random_context_agreement": context}
    return Measurement({**values, "random_agreement_given_position": _given_position(run, others)}, details)


def _given_position(run: ExplainerRun, others: list[np.ndarray]) -> np.ndarray:
    distances = [
        -np.array([max(start - place, place - end + 1, 0) for place in range(len(values))])
        for values, (start, end) in zip(run.maps, run.spans)
    ]
    return np.array([partial_spearman(*each) for each in zip(run.maps, others, distances)])


def _contexts(run: ExplainerRun, maps: list[np.ndarray]) -> list[np.ndarray]:
    return [np.delete(values, slice(*span)) for values, span in zip(maps, run.spans)]


def measure_sensitivity(run: ExplainerRun) -> Measurement:
    """`metrics.sensitivity.max_sensitivity` of the signed scores over several noises.

    It grows with the number of draws and with the radius: compare only at the same ones. Where an explanation is zero
    and stays so it is 0; where it was zero and did not stay so there is no value.
    """
    settings = run.settings
    own = [np.array(explanation.scores) for explanation in run.originals]
    distances: list[list[float]] = [[] for _ in own]
    for draw in range(settings.sensitivity_draws):
        with noisy_embeddings(run.behaviour.model, settings.sensitivity_radius, settings.seed + draw):
            moved = run.explain(run.explainer)
        for row, before, after in zip(distances, own, moved):
            row.append(float(np.linalg.norm(np.array(after.scores) - before)))
    values = max_sensitivity(distances, [float(np.linalg.norm(scores)) for scores in own])
    values[~np.isfinite(values)] = np.nan
    details = {"draws": settings.sensitivity_draws, "radius": settings.sensitivity_radius}
    return Measurement({"max_sensitivity": values}, details)
