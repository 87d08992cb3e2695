"""What published global tables tell of single documents: the area under the ROC curve (AUC) of guessing their presence.

    python scripts/benchmarks/table_presence.py

An attacker knows a text with its entities, and guesses whether it is one of the documents of `ad-synthetic` that a
table was built from (one table), or one that was added between two versions of the table. Only counts are used, so no
model is needed. One table: the share of the text's statistics that are published. Two tables: the share of those whose
count grew, weighted by 1 / sqrt(count). 0.5 is a guess, 1 is certainty.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean

import numpy as np

from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset
from hf_adner.data.records import Document
from hf_adner.explain.unit_statistics import character_roles, rounded
from hf_adner.reporting import markdown_table

BASE = 1000
ADDED = (1, 10, 100)
LEAST = (5, 20)

Cell = tuple[str, str, int]
Table = Mapping[Cell, float]


def cells(document: Document) -> Counter[Cell]:
    """Return how often a document adds to each statistic: label, character (or "" for any) and role."""
    found: Counter[Cell] = Counter()
    for start, end, label in document.spans:
        for character, role in zip(document.text, character_roles(len(document.text), start, end).tolist()):
            found.update([(label, character, role), (label, "", role)])
    return found


def published(documents: Iterable[Counter[Cell]], least: int, is_rounded: bool) -> Table:
    """Return the counts of a published table, as they are or rounded."""
    counts, numbers = Counter(), Counter()
    for own in documents:
        counts.update(own)
        numbers.update(own.keys())
    step = least if is_rounded else 1
    return {
        cell: float(rounded(np.array([count, 0.0, 0.0]), step)[0])
        for cell, count in counts.items()
        if numbers[cell] >= least
    }


def share_published(own: Counter[Cell], table: Table) -> float:
    """Return the share of a document's statistics that a table has."""
    return mean(cell in table for cell in own)


def share_grown(own: Counter[Cell], before: Table, after: Table) -> float:
    """Return the weighted share of a document's published statistics whose count grew."""
    weights = {cell: after[cell] ** -0.5 for cell in own if cell in after}
    grown = sum(weight for cell, weight in weights.items() if after[cell] > before.get(cell, 0.0))
    return grown / sum(weights.values()) if weights else 0.0


def auc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """Return the probability that a document inside has the higher score; ties count half."""
    differences = np.subtract.outer(inside, outside)
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


def measure(documents: list[Counter[Cell]], added: int, least: int, is_rounded: bool, seed: int) -> tuple[float, float]:
    """Return the AUC with one table and with two."""
    drawn = random.Random(seed).sample(documents, BASE + added + 100)
    base, new, others = drawn[:BASE], drawn[BASE : BASE + added], drawn[BASE + added :]
    before, after = (published(part, least, is_rounded) for part in (base, base + new))

    def scored(score: Callable[[Counter[Cell]], float], inside: list) -> float:
        return auc(list(map(score, inside)), list(map(score, others)))

    one = scored(lambda own: share_published(own, before), base[:100])
    return one, scored(lambda own: share_grown(own, before, after), new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5, help="random draws of the documents")
    args = parser.parse_args()
    train = documents_from_dataset(load_ner_dataset("ad-synthetic")["train"])
    documents = [cells(document) for document in train if document.entities]
    rows = []
    for least in LEAST:
        for is_rounded in (False, True):
            found = [
                [measure(documents, added, least, is_rounded, seed) for seed in range(args.repetitions)]
                for added in ADDED
            ]
            one = mean(one for draws in found for one, _ in draws)
            rows.append([str(least), is_rounded, one, *(mean(two for _, two in draws) for draws in found)])
    heads = ("min_documents", "rounded", "one table", *(f"two, {added} added to {BASE:,}" for added in ADDED))
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
