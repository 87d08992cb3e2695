"""Evaluation of explainers against each other: the same entities, the same perturbed texts, one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_adner.audit.calibration import calibration_of_spans, mean_over_entities
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.measures import Explainer, ExplainerRun, ExplanationSettings, Measurement
from hf_adner.audit.measuring_discrimination import measure_contrast, measure_discrimination
from hf_adner.audit.measuring_faithfulness import (
    measure_boundary,
    measure_complexity,
    measure_faithfulness,
    measure_plausibility,
)
from hf_adner.audit.measuring_stability import (
    measure_randomisation,
    measure_seed_noise,
    measure_sensitivity,
    measure_stability,
)
from hf_adner.audit.responses import ModelResponses
from hf_adner.audit.robustness import check_label_preserving, make_families
from hf_adner.audit.sample import draw_sample, make_views
from hf_adner.data.records import Document
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import make_explainer
from hf_adner.explain.removal import SamplingExplainer
from hf_adner.explain.tagger import Tagger

MEASUREMENTS: dict[str, Callable[[ExplainerRun], Measurement]] = {
    "discrimination": measure_discrimination,
    "contrast": measure_contrast,
    "boundary": measure_boundary,
    "faithfulness": measure_faithfulness,
    "stability": measure_stability,
    "sensitivity": measure_sensitivity,
    "complexity": measure_complexity,
    "plausibility": measure_plausibility,
    "randomisation": measure_randomisation,
    "seed-noise": measure_seed_noise,
}
"""Group -> function that measures it; the names are `hf_adner.audit.measures.GROUPS`."""

VIEWING = ("discrimination", "stability")
"""Groups that explain views."""


def evaluate_explanations(
    model: Any,
    tokenizer: Any,
    documents: Iterable[Document],
    explainers: Sequence[str] | Mapping[str, Explainer],
    *,
    rebuild: Mapping[str, Callable[[], Explainer]] | None = None,
    progress: bool = True,
    **settings: Any,
) -> ExplanationReport:
    """Evaluate explainers of one model against each other.

    The entities are gold entities that the model predicts; views are perturbed texts in which it predicts them too. All
    measures but infidelity and max-sensitivity use the magnitudes of the scores. The measures and their ranges are in
    `hf_adner.audit.measures.MEASURES`.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels. No other thread may use it
            meanwhile: its weights are replaced by random ones and restored. It is left in evaluation mode.
        tokenizer: its fast tokenizer.
        documents: with gold entities that the model was not trained on.
        explainers: names of `make_explainer` or `CONTROL_EXPLAINERS`; or name -> explainer of this model.
        rebuild: name -> function that builds this explainer again while the model's weights are random, for explainers
            fitted to the model, such as with a global table.
        progress: show progress bars on standard error.
        settings: fields of `ExplanationSettings`, such as ``views=2``, ``max_entities=50``, ``groups=["stability"]``;
            they determine the cost.

    Raises:
        TypeError: an unknown setting.
        ValueError: a setting out of range, an unknown explainer or family, or no gold entity that the model predicts.
    """
    audit = ExplanationAudit(model, tokenizer, documents, ExplanationSettings(**settings), progress)
    if not isinstance(explainers, Mapping):
        explainers = {name: audit.make(name) for name in explainers}
    rebuild = rebuild or {}
    return audit.report([audit.score(name, explainer, rebuild.get(name)) for name, explainer in explainers.items()])


class ExplanationAudit:
    """An audit of explainers of one model on one set of documents, one explainer after the other.

    Args:
        model, tokenizer, documents: as for `evaluate_explanations`.
        settings: settings of the measures.
        progress: show progress bars.

    Attributes:
        sample: the explained entities.
        views: the perturbed texts.
        responses: responses of the model to changed texts.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        documents: Iterable[Document],
        settings: ExplanationSettings | None = None,
        progress: bool = True,
    ):
        self.settings = settings = settings if settings is not None else ExplanationSettings()
        self.tagger, self.progress = Tagger(model, tokenizer), progress
        self.families = make_families(settings.families, model, tokenizer)
        check_label_preserving(self.families)
        seed, batch_size = settings.seed, settings.batch_size
        self.sample = draw_sample(
            model, tokenizer, documents, settings.max_entities, settings.entities_per_document, seed, batch_size
        )
        families = self.families if set(VIEWING) & set(settings.groups) else {}
        self.views = make_views(model, tokenizer, self.sample, families, settings.views, seed, batch_size)
        with self.tagger.eval_mode():
            self.responses = ModelResponses(
                self.tagger, self.sample, batch_size, settings.replacements, settings.infidelity_draws, seed
            )

    def make(self, name: str) -> Explainer:
        """Return an explainer of the model, or a control, by name.

        Raises:
            ValueError: an unknown name.
        """
        if name in CONTROL_EXPLAINERS:
            return CONTROL_EXPLAINERS[name]()
        return make_explainer(name, self.tagger.model, self.tagger.tokenizer)

    def score(self, name: str, explainer: Explainer, rebuild: Callable[[], Explainer] | None = None) -> ExplainerScores:
        """Measure one explainer.

        Args:
            name: key in the report.
            explainer: called with texts and entities, as those of `make_explainer`. For boundaries its target is
                changed if it has one, see `hf_adner.audit.measures.with_target`.
            rebuild: see `evaluate_explanations`.
        """
        began = time.perf_counter()
        count = len(self.sample.entities)
        if isinstance(explainer, SamplingExplainer):
            count = min(count, self.settings.max_sampling_entities)
        with tqdm(desc=name, unit="text", disable=not self.progress, total=self._texts(count)) as bar:
            run = ExplainerRun(explainer, count, self.sample, self.views, self.responses, self.settings, rebuild, bar)
            with self.tagger.eval_mode():
                measurements = {group: MEASUREMENTS[group](run) for group in self.settings.groups}
        return self._scores(name, count, measurements, time.perf_counter() - began)

    def report(self, scores: Iterable[ExplainerScores]) -> ExplanationReport:
        """Return the report on explainers that were measured with these settings."""
        sample = self.sample
        numbers = {document: number for number, document in enumerate(sample.by_document())}
        figures = {
            "documents": len(sample.documents),
            "gold": sample.gold,
            "found": sample.found,
            "coverage": sample.coverage,
            "entities": len(sample.entities),
            "document": [numbers[audited.document] for audited in sample.entities],
        }
        settings = {**asdict(replace(self.settings, families=None)), "families": list(self.families)}
        return ExplanationReport({part.name: part for part in scores}, figures, self.model_scores(), settings)

    def model_scores(self) -> dict[str, Any]:
        """Return entity calibration on all documents, and boundary sensitivity on the sample."""
        predicted = [[(*one.span, one.score) for one in found] for found in self.sample.predicted]
        gold = [document.spans for document in self.sample.documents]
        calibration = calibration_of_spans(predicted, gold, level=self.settings.level, seed=self.settings.seed)
        with self.tagger.eval_mode():
            sensitivity = self.responses.boundary_sensitivity()
        return {"calibration": calibration.to_dict(), "boundary_sensitivity": sensitivity}

    def _scores(
        self, name: str, count: int, measurements: Mapping[str, Measurement], seconds: float
    ) -> ExplainerScores:
        documents = [audited.document for audited in self.sample.entities[:count]]
        columns = {key: column for part in measurements.values() for key, column in part.values.items()}
        settings = self.settings
        estimates = {
            key: mean_over_entities(column, documents, settings.level, settings.resamples, settings.seed)
            for key, column in columns.items()
        }
        lists = {
            key: [None if np.isnan(value) else float(value) for value in column] for key, column in columns.items()
        }
        details = {group: part.details for group, part in measurements.items() if part.details}
        return ExplainerScores(name, count, estimates, lists, details, seconds)

    def _texts(self, count: int) -> int:
        """Return the number of texts that an explainer explains, without those for seed noise."""
        documents = len(self.sample.by_document(count))
        kept = sum(any(number < count for number in view.kept) for view in self.views)
        groups = set(self.settings.groups)
        edges = 2 if groups & {"contrast", "boundary"} else 0
        draws = self.settings.sensitivity_draws if "sensitivity" in groups else 0
        shares = len(self.settings.random_shares) if "randomisation" in groups else 0
        return kept + documents * (1 + edges + draws + shares)
