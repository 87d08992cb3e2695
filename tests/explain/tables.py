"""Global tables that no model was asked for."""

import random

from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import TableNoise


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
