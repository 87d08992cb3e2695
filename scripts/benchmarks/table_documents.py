"""Measure how many documents a global table needs: agreement of small tables with one of many other documents.

    python scripts/benchmarks/table_documents.py runs/quickstart/model [--many 160] [--pool 80] [--draws 5]

Occlusion's maps of training documents of ad-synthetic; small tables are drawn from documents that the large one lacks.
Entities of test documents are looked up in both. Columns: mean rank correlation of the two expectations over the
characters of a note, mean absolute difference of the expected log attributions, rank correlation of the fused maps,
and processor seconds of building, all for label log-odds. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner import Document, load_ner_dataset, make_explainer
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.explain.fused import FusedExplainer, LocalMap, local_maps
from hf_adner.explain.fusion import EmpiricalBayes
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import MeasuredMap, estimate_noise, sample_documents
from hf_adner.metrics.similarity import spearman

SIZES = (5, 10, 20, 40, 80)
VARIANCE = 0.1
"""Perturbation variance of occlusion's maps that the fusion assumes; measured ones are near it."""

Maps = Sequence[tuple[str, LocalMap]]


def maps_of(explainer: Any, documents: Sequence[Document]) -> Maps:
    """Return the map of each entity with the id of its document."""
    found = explainer([one.text for one in documents], [one.spans for one in documents])
    return [(document.id, one) for document, ones in zip(documents, found) for one in local_maps(ones)]


def table_of(maps: Maps, tokenizer: Any) -> GlobalTable:
    """Return the table of maps, with the noise that halves of it tell of each other."""
    halves = [GlobalTable(lexicon=tokenizer.lexicon) for _ in range(2)]
    measured: list[list[MeasuredMap]] = [[], []]
    for number, document in enumerate(dict.fromkeys(document for document, _ in maps)):
        for one in (one for owner, one in maps if owner == document):
            halves[number % 2].add(one.text, one.entity, one.values, document=document)
            measured[number % 2].append(MeasuredMap(one, VARIANCE))
    noise = estimate_noise(zip(halves[::-1], measured))
    halves[0].merge(halves[1])
    halves[0].noise = noise
    return halves[0]


def compare(table: GlobalTable, many: GlobalTable, explainer: Any, explanations: Sequence[Any]) -> list[float]:
    """Return rank correlation and mean difference of the expectations, and rank correlation of the fused maps."""
    flat = [one for ones in explanations for one in ones]
    pairs = [[one.lookup(explanation.text, explanation.span).mean for one in (table, many)] for explanation in flat]
    fused = [
        FusedExplainer(explainer, one, EmpiricalBayes(one.noise.tau2))._fuse(
            explanations, [[VARIANCE] * len(ones) for ones in explanations]
        )
        for one in (table, many)
    ]
    both = zip(*[[one for ones in side for one in ones] for side in fused])
    return [
        statistics.fmean(spearman(*pair) for pair in pairs),
        statistics.fmean(float(np.abs(first - second).mean()) for first, second in pairs),
        statistics.fmean(spearman(np.abs(first.scores), np.abs(second.scores)) for first, second in both),
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="checkpoint folder")
    parser.add_argument("--many", type=int, default=160, help="documents of the large table")
    parser.add_argument("--pool", type=int, default=80, help="other documents that small tables are drawn from")
    parser.add_argument("--test", type=int, default=40, help="documents whose entities are looked up")
    parser.add_argument("--draws", type=int, default=5, help="small tables of each size")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = AutoModelForTokenClassification.from_pretrained(args.model)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    explainer = make_explainer("occlusion", model, tokenizer)
    corpus = load_ner_dataset("ad-synthetic")
    training = sample_documents(list(documents_from_dataset(corpus["train"])), args.many + args.pool)
    test = list(documents_from_dataset(corpus["test"]))[: args.test]
    random.Random(0).shuffle(training)
    began = time.process_time()
    maps = maps_of(explainer, training)
    cost = (time.process_time() - began) / len(training)
    names = [document.id for document in training]
    large, pool = set(names[: args.many]), names[args.many :]
    many = table_of([pair for pair in maps if pair[0] in large], tokenizer)
    explanations = explainer([one.text for one in test], [one.spans for one in test])
    print(f"agreement with a table of {args.many} other documents, {sum(map(len, explanations))} entities\n")
    print("| documents | rank correlation of tables | mean difference | rank correlation of fused maps | seconds |")
    print("|---:|---:|---:|---:|---:|")
    for size in (size for size in SIZES if size <= len(pool)):
        rows = []
        for draw in range(args.draws if size < len(pool) else 1):
            chosen = set(random.Random(draw).sample(pool, size))
            table = table_of([pair for pair in maps if pair[0] in chosen], tokenizer)
            rows.append(compare(table, many, explainer, explanations))
        figures = " | ".join(f"{statistics.fmean(column):.3f}" for column in zip(*rows))
        print(f"| {size} | {figures} | {cost * size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
