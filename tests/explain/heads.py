"""Explainer heads that nobody trained."""

import torch

from hf_adner.explain.amortised import ExplainerHead
from hf_adner.explain.targets import states_size


def random_head(case) -> ExplainerHead:
    """A head for a case's model."""
    types = case.tagger.labels.types
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ExplainerHead(states_size(case.model), len(types), size=8, types=types)
