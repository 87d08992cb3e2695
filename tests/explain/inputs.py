"""Random inputs of fusions, global tables and explainer heads."""

import random

import torch

from hf_adner.explain.amortised import ExplainerHead
from hf_adner.explain.fusion import FusionInputs
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import TableNoise
from hf_adner.explain.targets import states_size


def random_inputs(batch: int, length: int, seed: int = 0) -> FusionInputs:
    """Entities of texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(2, length + 1, (batch, 1), generator=generator)
    return FusionInputs(
        local=torch.randn(batch, length, generator=generator) * mask,
        prior=torch.randn(batch, length, generator=generator) * mask,
        prior_variance=torch.rand(batch, length, generator=generator) * mask,
        local_variance=torch.rand(batch, generator=generator) + 0.1,
        roles=torch.randint(0, 5, (batch, length), generator=generator),
        mask=mask,
    )


def random_table(case, seed=0) -> GlobalTable:
    """Random maps of a case's entities, each in several documents."""
    rng = random.Random(seed)
    table = GlobalTable(lexicon=getattr(case.tokenizer, "lexicon", None))
    for number in range(6):
        for text, entities in zip(case.texts, case.entities):
            for entity in entities:
                table.add(text, entity, [rng.gauss(0, 1) for _ in text], document=f"d{number}")
    table.noise = TableNoise(0.4, (0.3, 0.2, 0.5, 0.1, 0.6), 10)
    return table


def random_head(case) -> ExplainerHead:
    """A head for a case's model."""
    types = case.tagger.labels.types
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ExplainerHead(states_size(case.model), len(types), size=8, types=types)
