"""Which explainer to believe: the same entities, the same perturbed texts, one table.

What measures each group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from tqdm.auto import tqdm

from hf_adner.audit.calibration import calibration_of_spans, mean_over_entities
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.measures import Explainer, ExplainerRun, ExplanationSettings, Measurement
from hf_adner.audit.measuring_faithfulness import measure_boundary, measure_faithfulness, measure_plausibility
from hf_adner.audit.measuring_stability import (
    measure_randomisation,
    measure_seed_noise,
    measure_sensitivity,
    measure_stability,
)
from hf_adner.audit.responses import ModelResponses
from hf_adner.audit.robustness import label_preserving, make_families
from hf_adner.audit.sample import draw_sample, make_views
from hf_adner.data.records import Document
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import make_explainer
from hf_adner.explain.removal import SamplingExplainer
from hf_adner.explain.tagger import Tagger

MEASURING: dict[str, Callable[[ExplainerRun], Measurement]] = {
    "stability": measure_stability,
    "sensitivity": measure_sensitivity,
    "faithfulness": measure_faithfulness,
    "boundary": measure_boundary,
    "plausibility": measure_plausibility,
    "randomisation": measure_randomisation,
    "seed-noise": measure_seed_noise,
}
"""Group -> its measurement; the names are `hf_adner.audit.measures.GROUPS`."""


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
    """Measure explainers of one model against each other.

    Entities are gold entities that the model finds; views are perturbed texts in which it finds them again. Scores
    count by their magnitude, but for infidelity and max-sensitivity. What each number means, and its range:
    `hf_adner.audit.measurements` and `MEASURES` there.

    Args:
        model: an `AdnerForTokenClassification`, or any token classifier with BIO labels; left as it was found.
        tokenizer: its fast tokenizer.
        documents: with gold entities that the model was not trained on.
        explainers: names that `make_explainer` knows, or of `CONTROL_EXPLAINERS`; or name -> explainer of this model.
        rebuild: name -> makes this explainer anew while the model's weights are random, for explainers that learned
            something of the model beforehand, such as a global table.
        progress: show progress bars on standard error.
        settings: fields of `ExplanationSettings`, such as ``views=2``, ``max_entities=50``, ``groups=["stability"]``:
            they set the cost, see there.

    Raises:
        TypeError: an unknown setting.
        ValueError: a setting out of range, an unknown explainer or family, or no gold entity that the model finds.
    """
    audit = ExplanationAudit(model, tokenizer, documents, ExplanationSettings(**settings), progress)
    if not isinstance(explainers, Mapping):
        explainers = {name: audit.make(name) for name in explainers}
    rebuild = rebuild or {}
    return audit.report([audit.score(name, one, rebuild.get(name)) for name, one in explainers.items()])


class ExplanationAudit:
    """One model and one set of documents, against which explainers are measured one after the other.

    Args:
        model, tokenizer, documents: as for `evaluate_explanations`.
        settings: sizes.
        progress: show progress bars.

    Attributes:
        population: the entities that are explained.
        views: the perturbed texts.
        behaviour: what the model does on changed texts.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        documents: Iterable[Document],
        settings: ExplanationSettings | None = None,
        progress: bool = True,
    ):
        self.settings = of = settings if settings is not None else ExplanationSettings()
        self.tagger, self.progress = Tagger(model, tokenizer), progress
        self.families = make_families(of.families, model, tokenizer)
        label_preserving(self.families)
        self.population = draw_sample(
            model, tokenizer, documents, of.max_entities, of.entities_per_document, of.seed, of.batch_size
        )
        families = self.families if "stability" in of.groups else {}
        self.views = make_views(model, tokenizer, self.population, families, of.views, of.seed, of.batch_size)
        with self.tagger.eval_mode():
            self.behaviour = ModelResponses(
                self.tagger, self.population, of.batch_size, of.replacements, of.infidelity_draws, of.seed
            )

    def make(self, name: str) -> Explainer:
        """An explainer of the model, or a control, by name.

        Raises:
            ValueError: an unknown name.
        """
        if name in CONTROL_EXPLAINERS:
            return CONTROL_EXPLAINERS[name]()
        return make_explainer(name, self.tagger.model, self.tagger.tokenizer)

    def score(self, name: str, explainer: Explainer, rebuild: Callable[[], Explainer] | None = None) -> ExplainerScores:
        """Measure one explainer.

        Args:
            name: what it is called.
            explainer: takes texts and entities as `make_explainer`'s do. For boundaries it is asked for other targets
                where it has them, see `hf_adner.audit.measures.with_target`.
            rebuild: see `evaluate_explanations`.
        """
        began = time.perf_counter()
        count = len(self.population.subjects)
        if isinstance(explainer, SamplingExplainer):
            count = min(count, self.settings.max_sampling_entities)
        with tqdm(desc=name, unit="text", disable=not self.progress, total=self._texts(count)) as bar:
            run = ExplainerRun(
                explainer, count, self.population, self.views, self.behaviour, self.settings, rebuild, bar
            )
            with self.tagger.eval_mode():
                found = {group: MEASURING[group](run) for group in self.settings.groups}
        return self._scores(name, count, found, time.perf_counter() - began)

    def report(self, scores: Iterable[ExplainerScores]) -> ExplanationReport:
        """The report on explainers that were measured with these settings, now or earlier."""
        of = self.population
        numbers = {document: number for number, document in enumerate(of.by_document())}
        population = {
            "documents": len(of.documents),
            "gold": of.gold,
            "found": of.found,
            "coverage": of.coverage,
            "entities": len(of.subjects),
            "document": [numbers[subject.document] for subject in of.subjects],
        }
        settings = {**asdict(replace(self.settings, families=None)), "families": list(self.families)}
        return ExplanationReport({one.name: one for one in scores}, population, self.model_scores(), settings)

    def model_scores(self) -> dict[str, Any]:
        """Entity calibration on all documents, and the sensitivity of boundaries on the population."""
        of = self.population
        predicted = [[tuple(one) for one in found] for found in of.predicted]
        gold = [document.spans for document in of.documents]
        calibration = calibration_of_spans(predicted, gold, level=self.settings.level, seed=self.settings.seed)
        with self.tagger.eval_mode():
            sensitivity = self.behaviour.boundary_sensitivity()
        return {"calibration": calibration.to_dict(), "boundary_sensitivity": sensitivity}

    def _scores(self, name: str, count: int, found: Mapping[str, Measurement], seconds: float) -> ExplainerScores:
        documents = [subject.document for subject in self.population.subjects[:count]]
        values = {key: column for one in found.values() for key, column in one.values.items()}
        of = self.settings
        estimates = {
            key: mean_over_entities(column, documents, of.level, of.resamples, of.seed)
            for key, column in values.items()
        }
        lists = {key: [None if one != one else float(one) for one in column] for key, column in values.items()}
        details = {group: one.details for group, one in found.items() if one.details}
        return ExplainerScores(name, count, estimates, lists, details, seconds)

    def _texts(self, count: int) -> int:
        """How many texts an explainer is asked for, seed noise apart."""
        documents = len(self.population.by_document(count))
        kept = sum(any(number < count for number in view.kept) for view in self.views)
        passes = {
            "sensitivity": self.settings.sensitivity_draws,
            "boundary": 2,
            "randomisation": len(self.settings.random_shares),
        }
        return kept + documents * (1 + sum(passes.get(group, 0) for group in self.settings.groups))
