#!/usr/bin/env python3
"""Measure what `adner calibrate` brings on documents that neither model nor calibration has seen, and write its table.

Each checkpoint tags its held-out documents once. They are then split at random into two halves, many times: maps,
candidate threshold and review threshold are fitted on one half and measured on the other. A half has few entities, so
that its ECE is mostly chance: the table also has the ECE of the held-out scores of all splits together.

    python scripts/calibration_study.py NAME=CHECKPOINT=FILE[,FILE] ...
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from results_table import update_section
from tqdm.auto import tqdm

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, read_documents
from hf_adner.audit.conformal import LEAST_CANDIDATE, candidate_threshold, mean_covered
from hf_adner.audit.recalibration import Found, ece_by_chance, predict_found
from hf_adner.audit.review import budget_threshold
from hf_adner.audit.score_maps import FittedMaps, Outcomes, choose_maps, log_losses
from hf_adner.files import write_json
from hf_adner.metrics.calibration import calibration
from hf_adner.reporting import markdown_table, plain, share

RECORDS = Path("model_cards/results/calibration")
PAGE = RECORDS / "README.md"
HEADING = "## Halves of real lines"
COVERAGES = (0.8, 0.9)
BUDGETS = (0.1, 0.2)


class Half(NamedTuple):
    """Documents of one half.

    Attributes:
        outcomes: predicted entities.
        gold: per document with gold entities their posteriors.
        candidates: per document the posteriors of all spans and labels above `LEAST_CANDIDATE`.
    """

    outcomes: Outcomes
    gold: list[list[float]]
    candidates: list[list[float]]


def halves(found: Found, splits: int, seed: int = 0) -> Iterator[tuple[Half, Half]]:
    """Yield random splits of the documents into halves, the first one to fit on."""
    rng, count = np.random.default_rng(seed), len(found.gold)
    outcomes = Outcomes.of(found.score)
    for _ in range(splits):
        order = rng.permutation(count)
        yield tuple(_half(found, outcomes, set(part.tolist())) for part in (order[: count // 2], order[count // 2 :]))


def _half(found: Found, outcomes: Outcomes, numbers: set[int]) -> Half:
    gold, candidates = ([rows[number] for number in sorted(numbers)] for rows in (found.gold, found.candidates))
    return Half(outcomes.where(np.isin(outcomes.documents, list(numbers))), list(filter(None, gold)), candidates)


class Scored(NamedTuple):
    """Posteriors and calibrated scores of held-out entities, and whether they are right, (entities,) each."""

    before: np.ndarray
    after: np.ndarray
    correct: np.ndarray


def measure(fitted: Half, held_out: Half) -> tuple[dict[str, Any], Scored]:
    """Fit on one half and measure on the other."""
    maps = choose_maps(fitted.outcomes)
    before, after = held_out.outcomes.posteriors, maps.scores(held_out.outcomes)
    figures = [calibration(scores, held_out.outcomes.correct) for scores in (before, after)]
    row: dict[str, Any] = {"method": maps.method, "ece_by_chance": ece_by_chance(after, draws=20)}
    for name, one, scores in zip(("before", "after"), figures, (before, after)):
        row |= {f"ece_{name}": one["ece"], f"brier_{name}": one["brier"]}
        row[f"log_loss_{name}"] = float(log_losses(scores, held_out.outcomes).mean())
    row |= _coverages(fitted, held_out) | _budgets(maps, fitted, held_out)
    return row, Scored(before, after, held_out.outcomes.correct)


def _coverages(fitted: Half, held_out: Half) -> dict[str, float]:
    row = {}
    for coverage in COVERAGES:
        threshold = candidate_threshold(fitted.gold, coverage)
        kept = sum(value > threshold for document in held_out.candidates for value in document)
        row[f"covered_{coverage}"] = mean_covered(held_out.gold, threshold)
        row[f"candidates_{coverage}"] = kept / len(held_out.candidates)
    row["path"] = len(held_out.outcomes.correct) / len(held_out.candidates)
    row["recall"] = held_out.outcomes.correct.sum() / sum(map(len, held_out.gold))
    return row


def _budgets(maps: FittedMaps, fitted: Half, held_out: Half) -> dict[str, float]:
    row, wrong = {}, ~held_out.outcomes.correct
    scores = maps.scores(held_out.outcomes)
    for budget in BUDGETS:
        flagged = scores < budget_threshold(maps.scores(fitted.outcomes).tolist(), budget)
        row[f"flagged_{budget}"] = flagged.mean()
        row[f"wrong_found_{budget}"] = flagged[wrong].mean()
    return row


def summary(rows: list[dict[str, Any]], scored: list[Scored], found: Found) -> dict[str, Any]:
    """Return means and standard deviations over splits, the pooled ECE, and how often each method was chosen."""
    before, after, correct = (np.concatenate(side) for side in zip(*scored))
    methods = [row["method"] for row in rows]
    names = [name for name in rows[0] if name != "method"]
    return {
        "documents": len(found.gold),
        "entities": len(found.score),
        "gold": sum(map(len, found.gold)),
        "splits": len(rows),
        "pooled_ece": [calibration(scores, correct)["ece"] for scores in (before, after)],
        "methods": {name: methods.count(name) for name in sorted(set(methods))},
        "mean": {name: float(np.mean([row[name] for row in rows])) for name in names},
        "sd": {name: float(np.std([row[name] for row in rows], ddof=1)) for name in names},
        "out_of_reach": sum(value <= LEAST_CANDIDATE for document in found.gold for value in document),
    }


def study(folder: str, files: list[str], splits: int) -> dict[str, Any]:
    """Tag the documents of files with a checkpoint, and summarise random splits of them."""
    model, tokenizer = (one.from_pretrained(folder) for one in (AdnerForTokenClassification, AdnerTokenizer))
    pipe = AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")
    documents = [document for file in files for document in read_documents(file)]
    found = predict_found(pipe, documents, least=LEAST_CANDIDATE)
    bar = tqdm(halves(found, splits), total=splits, desc=Path(folder).parent.name, unit="split", disable=None)
    rows, scored = zip(*(measure(*pair) for pair in bar))
    return summary(list(rows), list(scored), found)


def tables(records: dict[str, dict[str, Any]]) -> str:
    """Return the tables of calibration, coverage and budgets."""
    return "\n\n".join((_calibration(records), _coverage(records), _budget(records))) + "\n"


def _calibration(records: dict[str, dict[str, Any]]) -> str:
    heads = (
        "checkpoint", "documents", "entities", "ECE of a half before", "after", "by chance", "pooled ECE before",
        "after", "after / before", "Brier before", "after", "log loss before", "after", "chosen",
    )  # fmt: skip
    return markdown_table(heads, [_calibration_row(name, one) for name, one in records.items()])


def _calibration_row(name: str, one: dict[str, Any]) -> tuple[Any, ...]:
    mean, chosen = one["mean"], ", ".join(f"{method} {count}" for method, count in one["methods"].items())
    pairs = [mean[f"{figure}_{when}"] for figure in ("ece", "brier", "log_loss") for when in ("before", "after")]
    pooled, ratio = one["pooled_ece"], share(one["pooled_ece"][1] / one["pooled_ece"][0])
    half = (*pairs[:2], mean["ece_by_chance"])
    return name, one["documents"], one["entities"], *half, *pooled, ratio, *pairs[2:], chosen


def _coverage(records: dict[str, dict[str, Any]]) -> str:
    rows = [
        (
            name,
            share(coverage),
            f"{share(one['mean'][f'covered_{coverage}'])} ± {100 * one['sd'][f'covered_{coverage}']:.1f}",
            f"{one['mean'][f'candidates_{coverage}']:.1f}",
            f"{one['mean']['path']:.1f}",
            share(one["mean"]["recall"]),
            f"{one['out_of_reach']} of {one['gold']}",
        )
        for name, one in records.items()
        for coverage in COVERAGES
    ]
    heads = ("checkpoint", "coverage asked for", "found (± sd of a split)", "candidates per document",
             "entities of the best path", "its recall", "gold out of reach")  # fmt: skip
    return markdown_table(heads, rows)


def _budget(records: dict[str, dict[str, Any]]) -> str:
    rows = [
        (
            name,
            share(budget),
            f"{share(one['mean'][f'flagged_{budget}'])} ± {100 * one['sd'][f'flagged_{budget}']:.1f}",
            share(one["mean"][f"wrong_found_{budget}"]),
        )
        for name, one in records.items()
        for budget in BUDGETS
    ]
    return markdown_table(("checkpoint", "review budget", "flagged (± sd of a split)", "wrong entities found"), rows)


def main() -> None:
    """Write the record of each checkpoint, and the page's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=FOLDER=FILE[,FILE]", help="checkpoint and documents")
    parser.add_argument("--splits", type=int, default=200, help="random splits into halves (default: 200)")
    args = parser.parse_args()
    records = {}
    for checkpoint in args.checkpoints:
        name, folder, files = checkpoint.split("=")
        records[name] = study(folder, files.split(","), args.splits)
        write_json(RECORDS / f"{name}.json", plain(records[name]))
    update_section(PAGE, HEADING, f"\n{tables(records)}")


if __name__ == "__main__":
    main()
