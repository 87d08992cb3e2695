"""What a run of a comparison leaves behind: numbers, never text.

How stable and how true at boundaries a trained model's explanations are, entity by entity.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import ExplanationSettings
from hf_adner.data.records import Document
from hf_adner.files import write_file
from hf_adner.metrics.robustness import robustness
from hf_adner.metrics.significance import micro_f1
from hf_adner.reporting import plain

CLEAN, SEEN, UNSEEN = "clean", "seen", "unseen"
"""Sets of counts beside the held-out families: the test documents as they are, and the recall of gold entities whose
surface form occurred in training, or did not."""


@dataclass(frozen=True)
class RunRecord:
    """Figures of one run.

    Attributes:
        corpus, model, arm: names.
        seed: of initial weights, order of documents and dropout.
        settings: all arguments that the figures depend on; the same for a run that is resumed.
        initial_weights: hash of the weights that training began with.
        documents: split -> number of documents.
        steps: optimizer steps.
        train_seconds: wall-clock seconds of training, the trainer's preparations included.
        peak_memory: most bytes while training (GPU: PyTorch's; CPU: resident in the process).
        counts: set -> per document [correct, predicted, gold]; a held-out family counts its perturbed documents only.
        perturbed: held-out family -> numbers of those documents in the test split.
        scores: `metrics.entity_f1` on the test split.
        calibration: `metrics.calibration` of the entities predicted there.
        explanations: `explanation_figures`, empty where they were not asked for or no entity was found.
        device: where it ran.
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
        """Corpus and model: what stays the same between arms."""
        return self.corpus, self.model

    @property
    def families(self) -> list[str]:
        """Held-out families that could change a test document."""
        return [family for family, documents in self.perturbed.items() if documents]

    def f1(self, name: str = CLEAN) -> float:
        """Micro F1 of a set of counts (for `SEEN` and `UNSEEN` the recall), in [0, 1]."""
        rows = self.counts[name]
        return float(micro_f1([sum(column) for column in zip(*rows)])) if rows else 0.0

    def clean_f1_of(self, family: str) -> float:
        """Micro F1 on the unperturbed originals of a family's documents."""
        rows = [self.counts[CLEAN][number] for number in self.perturbed[family]]
        return float(micro_f1([sum(column) for column in zip(*rows)]))

    @property
    def unseen_recall(self) -> float:
        """Recall of the gold entities whose surface form training did not have; NaN where there is none."""
        return self.f1(UNSEEN) if any(row[2] for row in self.counts[UNSEEN]) else math.nan

    @property
    def degradation(self) -> float:
        """Mean relative loss of F1 over the held-out families; NaN without one."""
        perturbed = {family: self.f1(family) for family in self.families}
        return robustness(perturbed, {family: self.clean_f1_of(family) for family in perturbed})["mean_degradation"]

    def calibrated(self, name: str) -> float:
        """A number of `calibration`; NaN where nothing was predicted."""
        value = self.calibration[name]
        return math.nan if value is None else value

    def save(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all."""
        write_file(path, [json.dumps(plain(asdict(self)), ensure_ascii=False, allow_nan=False), "\n"], "utf-8")

    @classmethod
    def load(cls, path: Path) -> RunRecord:
        """Read a saved record.

        Raises:
            ValueError: the file is no record.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            unknown = sorted(set(content) - {one.name for one in fields(cls)})
            if unknown:
                raise TypeError(f"unknown fields {unknown}")
            return cls(**content)
        except (TypeError, ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a record of a run: {str(error)[:100]}") from None


STABILITY, AGREEMENT = "discriminative_stability", "agreement"
MEASURES = (STABILITY, AGREEMENT)
"""Discriminative stability and boundary-faithful agreement, in [-1, 1], higher is better."""

_GROUPS = ("stability", "boundary")

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Explainer -> measure -> ``document/entity`` (numbers in the test split) -> value."""


def explanation_figures(
    model: Any, tokenizer: Any, documents: Iterable[Document], explainers: Sequence[str], entities: int
) -> Figures:
    """Measure explainers of a model on gold entities that it finds.

    Args:
        model, tokenizer: the trained model.
        documents: test documents.
        explainers: names that `make_explainer` knows; those that the training did not use, if the figures are to say
            anything about it.
        entities: how many entities are explained.

    Raises:
        ValueError: the model finds no gold entity, or there is no such explainer.
    """
    settings = ExplanationSettings(groups=_GROUPS, views=2, max_entities=entities, resamples=1)
    audit = ExplanationAudit(model, tokenizer, documents, settings, progress=False)
    names = [f"{subject.document}/{subject.entity}" for subject in audit.population.subjects]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for explainer in explainers:
        values = audit.score(explainer, audit.make(explainer)).values
        figures[explainer] = {measure: _known(names, values[measure]) for measure in MEASURES if measure in values}
    return figures


def _known(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    pairs = zip(names, values, strict=False)  # sampling explainers explain the first ones only
    return {name: round(value, 6) for name, value in pairs if value is not None and math.isfinite(value)}


def mean_figure(figures: Figures, explainer: str, measure: str) -> float:
    """Mean over the entities of one model; NaN where none has a value."""
    values = figures.get(explainer, {}).get(measure, {}).values()
    return statistics.fmean(values) if values else math.nan


def common_difference(first: Figures, second: Figures, explainer: str, measure: str) -> float:
    """Mean difference, first - second, over the entities that both models find; NaN where there is none.

    A model that drops its hard entities would look the more stable on its own ones.
    """
    mine, other = (figures.get(explainer, {}).get(measure, {}) for figures in (first, second))
    common = [mine[name] - other[name] for name in mine.keys() & other.keys()]
    return statistics.fmean(sorted(common)) if common else math.nan
