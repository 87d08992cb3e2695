"""Records of comparison runs: figures of the model and of its explanations, never text."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import ExplanationSettings
from hf_adner.data.records import Document
from hf_adner.files import read_json, write_file
from hf_adner.metrics.robustness import robustness
from hf_adner.metrics.significance import micro_f1
from hf_adner.reporting import plain

CLEAN, BOUNDARY, SEEN, UNSEEN = "clean", "boundary", "seen", "unseen"
"""Names of sets of counts: entities of all test documents, their starts and ends, and recall of gold entities whose
surface form does or does not occur in the training documents. Each held-out perturbation adds a set under its own
name."""


_KINDS = {"str": str, "int": int, "float": (int, float), "Mapping": dict}


@dataclass(frozen=True)
class RunRecord:
    """Figures of one run.

    Attributes:
        corpus, model, arm: names.
        seed: seed of initial weights, document order and dropout.
        settings: all arguments that the figures depend on; equal for a resumed run.
        initial_weights: hash of the initial weights.
        documents: split -> number of documents.
        steps: optimizer steps.
        train_seconds: wall-clock seconds of training, including the trainer's setup.
        peak_memory: peak bytes while training (GPU: allocated by PyTorch; CPU: resident set of the process).
        counts: set -> per document [correct, predicted, gold]; a held-out perturbation counts the documents it changed.
        perturbed: held-out perturbation -> indices of those documents in the test split.
        scores: `metrics.entity_f1` on the test split.
        calibration: `metrics.calibration` of the entities predicted there.
        explanations: `explanation_figures`; empty if not requested or if no gold entity was found.
        device: device type.
    """

    corpus: str
    model: str
    arm: str
    seed: int
    settings: Mapping[str, Any]
    initial_weights: str
    documents: Mapping[str, int]
    steps: int
    train_seconds: float
    peak_memory: int
    counts: Mapping[str, list[list[int]]]
    perturbed: Mapping[str, list[int]]
    scores: Mapping[str, Any]
    calibration: Mapping[str, Any]
    explanations: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def cell(self) -> tuple[str, str]:
        """(corpus, model), which the arms that are compared share."""
        return self.corpus, self.model

    @property
    def families(self) -> list[str]:
        """Held-out perturbations that changed at least one test document."""
        return [family for family, documents in self.perturbed.items() if documents]

    def f1(self, name: str = CLEAN) -> float:
        """Return the micro F1 of a set of counts (for `SEEN` and `UNSEEN` the recall), in [0, 1]."""
        rows = self.counts[name]
        return float(micro_f1([sum(column) for column in zip(*rows)])) if rows else 0.0

    def clean_f1_of(self, family: str) -> float:
        """Return the micro F1 on the originals of the documents that a perturbation changed."""
        rows = [self.counts[CLEAN][number] for number in self.perturbed[family]]
        return float(micro_f1([sum(column) for column in zip(*rows)]))

    @property
    def unseen_recall(self) -> float:
        """Recall of gold entities whose surface form does not occur in training; NaN if there are none."""
        return self.f1(UNSEEN) if any(row[2] for row in self.counts[UNSEEN]) else math.nan

    @property
    def degradation(self) -> float:
        """Mean relative loss of F1 over the held-out perturbations; NaN without any."""
        perturbed = {family: self.f1(family) for family in self.families}
        return robustness(perturbed, {family: self.clean_f1_of(family) for family in perturbed})["mean_degradation"]

    def calibrated(self, name: str) -> float:
        """Return a value of `calibration`; NaN if nothing was predicted."""
        value = self.calibration[name]
        return math.nan if value is None else value

    def save(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        write_file(path, [json.dumps(plain(asdict(self)), ensure_ascii=False, allow_nan=False), "\n"], "utf-8")

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read a saved record.

        Raises:
            ValueError: the file is not a record.
        """
        content = read_json(path)
        kinds = {field.name: _KINDS[field.type.partition("[")[0]] for field in fields(cls)}
        wrong = [name for name, value in content.items() if not isinstance(value, kinds.get(name, ()))]
        missing = [field.name for field in fields(cls) if field.default is field.default_factory is MISSING]
        missing = [name for name in missing if name not in content]
        if wrong or missing:
            raise ValueError(f"{path} is not a record of a run: wrong {wrong}, missing {missing}")
        return cls(**content)


FAITHFULNESS, AGREEMENT, STABILITY = MEASURES = ("discriminative_faithfulness", "replaced_agreement", "cosine")
"""Discriminative faithfulness in [-2, 2], boundary-faithful agreement under random replacement in [-1, 1], and the mean
cosine of the maps of a text and its perturbed views in [0, 1]; higher is better."""

_GROUPS = ("discrimination", "stability", "boundary")

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Explainer -> measure -> ``document/entity`` (indices in the test split) -> value."""


def explanation_figures(
    model: Any, tokenizer: Any, documents: Iterable[Document], explainers: Sequence[str], entities: int
) -> Figures:
    """Measure explainers on gold entities that the model finds.

    Args:
        model, tokenizer: trained model and its tokenizer.
        documents: test documents.
        explainers: names of `make_explainer`; to judge guided training, choose explainers that it did not use.
        entities: number of entities to explain.

    Raises:
        ValueError: the model finds no gold entity, or an explainer is unknown.
    """
    settings = ExplanationSettings(groups=_GROUPS, views=2, max_entities=entities, resamples=1)
    audit = ExplanationAudit(model, tokenizer, documents, settings, progress=False)
    names = [f"{audited.document}/{audited.entity}" for audited in audit.sample.entities]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for explainer in explainers:
        values = audit.score(explainer, audit.make(explainer)).values
        figures[explainer] = {measure: _finite(names, values[measure]) for measure in MEASURES if measure in values}
    return figures


def _finite(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    pairs = zip(names, values, strict=False)  # sampling explainers explain the first entities only
    return {name: round(value, 6) for name, value in pairs if value is not None and math.isfinite(value)}


def mean_figure(figures: Figures, explainer: str, measure: str) -> float:
    """Return the mean over the entities of one model; NaN if no entity has a value."""
    values = figures.get(explainer, {}).get(measure, {}).values()
    return statistics.fmean(values) if values else math.nan


def common_difference(first: Figures, second: Figures, explainer: str, measure: str) -> float:
    """Return the mean difference, first - second, over the entities that both models find; NaN if there are none.

    Each on its own entities, a model that misses the hard entities would look more stable.
    """
    first_values, second_values = (figures.get(explainer, {}).get(measure, {}) for figures in (first, second))
    differences = [first_values[name] - second_values[name] for name in first_values.keys() & second_values.keys()]
    return statistics.fmean(sorted(differences)) if differences else math.nan
