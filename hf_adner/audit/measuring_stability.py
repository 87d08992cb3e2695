"""Measures of stability: under perturbation, under another seed, under noise, and under random weights."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_adner.audit.measures import ExplainerRun, Measurement, Pair, magnitudes
from hf_adner.explain.removal import SamplingExplainer
from hf_adner.metrics.discriminative_stability import discriminative_stability
from hf_adner.metrics.inputs import mean_or_nan
from hf_adner.metrics.intraclass import intraclass_correlation
from hf_adner.metrics.randomisation import randomisation
from hf_adner.metrics.sensitivity import max_sensitivity
from hf_adner.metrics.similarity import aligned, partial_spearman, role_window
from hf_adner.metrics.stability import pairwise_stability


def measure_stability(run: ExplainerRun) -> Measurement:
    """Compare each entity's map with those of its views, which are the same for all explainers.

    A pair counts if the model predicts the entity in the view too, with its label, on the aligned span; `coverage` is
    the share of such pairs, a property of the model and not of the explainer. Values per entity are means over its kept
    pairs. Details: coverage and its counts, the intraclass correlation `icc` (NaN below 4 views of an entity), for each
    family its cosine and coverage, and `discriminative_stability`, which is no measure of quality (see there).
    """
    similarities = _similarities(run, run.pairs)
    families = {
        family: _family_scores([pair.view.family == family for pair in run.pairs], run.pairs, similarities["cosine"])
        for family in dict.fromkeys(pair.view.family for pair in run.pairs)
    }
    values = {name: _means_by_entity(run, column) for name, column in similarities.items()}
    details = {**_discriminative(run), "icc": _icc(run, run.pairs), "families": families}
    return Measurement(values, details)


def _similarities(run: ExplainerRun, pairs: list[Pair]) -> dict[str, np.ndarray]:
    return pairwise_stability(
        [run.maps[pair.entity] for pair in pairs],
        [pair.map for pair in pairs],
        [pair.alignment for pair in pairs],
        [run.spans[pair.entity] for pair in pairs],
    )


def _discriminative(run: ExplainerRun) -> dict[str, Any]:
    by_entity = run.by_entity(run.pairs)
    scores = discriminative_stability(
        run.maps,
        [[pair.map for pair in pairs] for pairs in by_entity],
        run.spans,
        run.labels,
        [[pair.alignment for pair in pairs] for pairs in by_entity],
    )
    names = ("discriminative_stability", "within", "between", "compared", "pairs", "kept", "coverage")
    return {name: scores[name] for name in names}


def _family_scores(chosen: list[bool], pairs: list[Pair], cosines: np.ndarray) -> dict[str, float]:
    """Return the mean cosine, coverage and number of the chosen pairs."""
    kept = np.array([pair.map is not None for pair in pairs])[chosen]
    values = cosines[chosen]
    return {"cosine": mean_or_nan(values[np.isfinite(values)]), "coverage": mean_or_nan(kept), "pairs": int(kept.size)}


def _means_by_entity(run: ExplainerRun, column: np.ndarray) -> np.ndarray:
    rows = defaultdict(list)
    for pair, value in zip(run.pairs, column):
        if np.isfinite(value):
            rows[pair.entity].append(value)
    return np.array([mean_or_nan(rows[number]) for number in range(run.count)])


def _icc(run: ExplainerRun, pairs: list[Pair]) -> float:
    rows, present, entities = [], [], []
    for pair in pairs:
        if pair.map is not None and pair.map.any():
            shares, there = aligned(run.maps[pair.entity], pair.map / pair.map.sum(), pair.alignment)
            values, is_present = role_window(shares, run.spans[pair.entity], there)
            rows.append(values)
            present.append(is_present)
            entities.append(pair.entity)
    return intraclass_correlation(np.array(rows), entities, np.array(present))["icc"] if rows else float("nan")


def measure_seed_noise(run: ExplainerRun) -> Measurement:
    """Measure the similarity of explanations with two seeds, for explainers that sample; nothing for others.

    It is an upper limit of the stability under perturbation.
    """
    if not isinstance(run.explainer, SamplingExplainer):
        return Measurement()
    maps = [magnitudes(explanation) for explanation in run.explain(reseeded(run.explainer))]
    similarities = pairwise_stability(run.maps, maps)
    values = {f"seed_{name}": np.asarray(similarities[name]) for name in ("cosine", "spearman", "top_k_jaccard")}
    return Measurement(values, {"n_samples": run.explainer.n_samples})


def reseeded(explainer: Any) -> Any:
    """Return a copy of an explainer that samples, with the next seed; any other explainer is returned unchanged."""
    if not isinstance(explainer, SamplingExplainer):
        return explainer
    copied = copy.copy(explainer)
    copied.seed = explainer.seed + 1
    return copied


def measure_randomisation(run: ExplainerRun) -> Measurement:
    """Measure the rank agreement with maps of the model with random weights, for each share of random parameters.

    The values are those of the largest share: over all characters, where the entity's own are first in nearly every map
    of any model; over the context; and over all characters given the distance to the entity (`partial_spearman`), since
    any model that reads a text in order is more sensitive to what is near. Details: for every share
    `metrics.randomisation` without its values, and `context_rank_agreement`. An explainer fitted to the model (with a
    global table) must be fitted to the random model, or it is not tested: see `rebuild` of `ExplanationAudit.score`. An
    explainer that samples uses another seed, so that the two maps do not share its noise.
    """
    shares = sorted(run.settings.random_shares)
    details = {}
    for share in shares:
        with randomised_weights(run.responses.model, share, run.settings.seed):
            explainer = reseeded(run.explainer) if run.rebuild is None else run.rebuild()
            random_maps = [magnitudes(explanation) for explanation in run.explain(explainer)]
        scores = randomisation(run.maps, random_maps)
        context_scores = randomisation(_contexts(run, run.maps), _contexts(run, random_maps))
        agreement, context = (np.array(part.pop("per_entity")) for part in (scores, context_scores))
        details[f"{share:g}"] = {**scores, "context_rank_agreement": context_scores["rank_agreement"]}
    values = {"random_agreement": agreement, "random_context_agreement": context}
    return Measurement({**values, "random_agreement_given_position": _given_position(run, random_maps)}, details)


def _given_position(run: ExplainerRun, random_maps: list[np.ndarray]) -> np.ndarray:
    distances = [
        -np.array([max(start - place, place - end + 1, 0) for place in range(len(values))])
        for values, (start, end) in zip(run.maps, run.spans)
    ]
    return np.array([partial_spearman(*row) for row in zip(run.maps, random_maps, distances)])


def _contexts(run: ExplainerRun, maps: list[np.ndarray]) -> list[np.ndarray]:
    return [np.delete(values, slice(*span)) for values, span in zip(maps, run.spans)]


def measure_sensitivity(run: ExplainerRun) -> Measurement:
    """Measure `metrics.sensitivity.max_sensitivity` of the signed scores over several draws of noise.

    It grows with the number of draws and the radius: compare only values with the same settings. It is 0 for an
    explanation that is zero with and without noise; one that is zero only without noise has no value.
    """
    settings = run.settings
    originals = [np.array(explanation.scores) for explanation in run.originals]
    distances: list[list[float]] = [[] for _ in originals]
    for draw in range(settings.sensitivity_draws):
        with noisy_embeddings(run.responses.model, settings.sensitivity_radius, settings.seed + draw):
            noisy = run.explain(run.explainer)
        for row, before, after in zip(distances, originals, noisy):
            row.append(float(np.linalg.norm(np.array(after.scores) - before)))
    values = max_sensitivity(distances, [float(np.linalg.norm(scores)) for scores in originals])
    values[~np.isfinite(values)] = np.nan
    details = {"draws": settings.sensitivity_draws, "radius": settings.sensitivity_radius}
    return Measurement({"max_sensitivity": values}, details)


@contextmanager
def noisy_embeddings(model: nn.Module, radius: float, seed: int = 0) -> Iterator[None]:
    """Temporarily add noise to the input embeddings, the same at each position for every text and call.

    An explainer that reads a text many times, whole or with characters hidden, reads it with the same noise: it
    explains x + d in place of x.

    Args:
        model: with an input embedding table.
        radius: the noise is uniform in [-radius, radius] times the table's root mean square.
        seed: of the noise.
    """
    table = model.get_input_embeddings()
    scale = radius * float(table.weight.detach().float().square().mean().sqrt())
    rows: list[torch.Tensor] = []

    def add_noise(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        for position in range(len(rows), output.shape[-2]):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + position)
            rows.append(2 * torch.rand(output.shape[-1], generator=generator) - 1)
        noise = scale * torch.stack(rows[: output.shape[-2]])  # (positions, size)
        return output + noise.to(output)

    handle = table.register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def randomised_weights(model: nn.Module, share: float = 1.0, seed: int = 0) -> Iterator[None]:
    """Temporarily randomise the last parameters of a model (Adebayo et al. 2018).

    Parameters are ordered by registration, from the input to the output, so that growing shares are a cascading
    randomisation. Each becomes independent normal numbers with its own mean and standard deviation, which keeps the
    scale of the activations.

    Args:
        model: changed in place, restored on exit.
        share: of the parameter tensors, from the output down, above 0 and at most 1.
        seed: of the random numbers.

    Raises:
        ValueError: a share outside that range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], found {share}")
    parameters = list(model.parameters())
    chosen = parameters[len(parameters) - math.ceil(share * len(parameters)) :]
    before = [parameter.detach().clone() for parameter in chosen]
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for parameter in chosen:
                deviation, mean = torch.std_mean(parameter.float(), correction=0)
                drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device)
                parameter.copy_(mean + deviation * drawn)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(chosen, before):
                parameter.copy_(values)
