"""Random inputs of fusions and global tables."""

import random

import torch

from hf_adner.explain.fusion import FusionInputs
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import TableNoise


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


def random_table(case, seed=0, explainer="occlusion") -> GlobalTable:
    """Random maps of a case's entities, each in several documents."""
    rng = random.Random(seed)
    table = GlobalTable(lexicon=getattr(case.tokenizer, "lexicon", None), explainer=explainer)
    for number in range(6):
        for text, entities in zip(case.texts, case.entities):
            for entity in entities:
                table.add(text, entity, [rng.gauss(0, 1) for _ in text], document=f"d{number}")
    table.noise = TableNoise(0.4, (0.3, 0.2, 0.5, 0.1, 0.6), 10)
    return table
