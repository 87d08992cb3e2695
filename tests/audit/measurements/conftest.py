"""Runs of explainers on the tiny model."""

import pytest

from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import ExplainerRun, ExplanationSettings

SMALL = {
    "families": ["punctuation", "context-masking"],
    "views": 2,
    "max_entities": 6,
    "sensitivity_draws": 2,
    "infidelity_draws": 8,
    "soft_draws": 3,
    "orderings": 2,
    "replacements": 1,
    "random_shares": (0.4, 1.0),
    "resamples": 50,
}


@pytest.fixture(scope="session")
def audit(case) -> ExplanationAudit:
    return ExplanationAudit(case.model, case.tokenizer, case.documents, ExplanationSettings(**SMALL), progress=False)


@pytest.fixture(scope="session")
def run_of(audit):
    """The run of an explainer, given itself or by name."""

    def make(explainer, rebuild=None, settings=None) -> ExplainerRun:
        explainer = audit.make(explainer) if isinstance(explainer, str) else explainer
        count = len(audit.population.subjects)
        return ExplainerRun(
            explainer, count, audit.population, audit.views, audit.behaviour, settings or audit.settings, rebuild
        )

    return make
