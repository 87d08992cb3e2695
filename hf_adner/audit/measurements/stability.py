"""Stability under label-preserving perturbations, discriminative and plain."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun, magnitudes
from hf_adner.audit.explanation_views import View
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.metrics.discriminative_stability import discriminative_stability
from hf_adner.metrics.intraclass import intraclass_correlation
from hf_adner.metrics.role_windows import role_window
from hf_adner.metrics.similarity import aligned
from hf_adner.metrics.stability import pairwise_stability
from hf_adner.metrics.vectors import mean_or_nan


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
