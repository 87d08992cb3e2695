"""The headline table: records of runs, and the published figures on the same splits with their sources."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from results_table import score_columns

from hf_adner.comparison.cross_validation import cross_validation_table
from hf_adner.reporting import NOTHING, markdown_table

FOLDS = "imcs-5-fold"
"""Name of the record of the cross-validation."""

_HEADS = (
    "model", "encoder", "layers", "parameters", "strict F1", "precision", "recall", "flattened F1", "boundary F1",
    "seeds", "F1 per seed", "train min",
)  # fmt: skip
_CBLUE = "CBLUE (Zhang et al. 2022, ACL)"
_BLUE = "Zhang et al. 2020, arXiv 2008.10813, table 3; how F1 is counted is not said there"
_DSCMG = "Luo, Che, Ji 2025, PLoS One 20(6): e0325660"


class Published(NamedTuple):
    """A figure of others: corpus here, system, what it was scored on, F1 in percent, and its source."""

    corpus: str
    system: str
    scored_on: str
    f1: float
    source: str


PUBLISHED = (
    Published("cmedqaner", "BERT-base", "test", 86.3, _BLUE),
    Published("cmedqaner", "MC-BERT", "test", 88.1, _BLUE),
    Published("cmeee", "BERT-base", "test of CMeEE-V1, not public; here dev", 62.1, _CBLUE),
    Published("cmeee", "MacBERT-large", "test of CMeEE-V1, not public; here dev", 62.4, _CBLUE),
    Published("cmeee", "human", "test of CMeEE-V1, not public; here dev", 67.0, _CBLUE),
    Published("cmeee", "M-DSCMG", "CMeEE-V2, another edition", 65.26, _DSCMG),
    Published("imcs", "M-DSCMG", "IMCS-V2-NER", 80.31, _DSCMG),
)
"""Published figures on the corpora of the table."""


def headline_markdown(records: Mapping[str, Any]) -> str:
    """Return a table per corpus, each with the published figures below it, and the table of ingredients.

    Args:
        records: record name -> JSON content, of `headline.train_run` and `headline.train_folds`.
    """
    corpora: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, record in records.items():
        if name != FOLDS:
            corpora[record["run"]["corpus"]].append(record)
    parts = [_corpus_section(corpus, corpora[corpus]) for corpus in sorted(corpora)]
    if FOLDS in records:
        folds = records[FOLDS]
        head = (
            f"### {FOLDS}\n\nFive folds of the training part, first {folds['layers']} layers of the pretrained encoder."
        )
        parts.append(f"{head}\n\n{cross_validation_table(folds['folds'])}")
    return "\n".join(parts) or "No run has a record yet.\n"


def _corpus_section(corpus: str, records: Sequence[Mapping[str, Any]]) -> str:
    rows: dict[tuple, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        run = record["run"]
        if not run["without"]:
            rows[run["architecture"], run["tagging"], run["encoder"]].append(record)
    first = records[0]
    documents, test = first["documents"], first["test"]
    counts = ", ".join(
        f"{documents[split]:,} {split}" for split in ("train", "validation", "test") if split in documents
    )
    nested = test["gold"] - test["flattened_gold"]
    lines = [
        f"### {corpus}\n",
        f"Documents: {counts}; {test['gold']:,} gold entities in test ({nested:,} nested); at most "
        f"{first['training']['num_train_epochs']:g} epochs.\n",
        markdown_table(_HEADS, [_row(key, rows[key]) for key in sorted(rows)]) if rows else "",
    ]
    return "\n".join([*lines, *_published(corpus), *_ingredients(records)]) + "\n"


def _row(key: tuple[str, str, str], records: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    architecture, tagging, encoder = key
    ordered = sorted(records, key=lambda record: record["run"]["seed"])
    model = architecture if tagging == "flat" else f"{architecture}, {tagging}"
    layers = records[0]["model"]["encoder_layers"]
    minutes = statistics.mean(record["train_seconds"] for record in records) / 60
    size = f"{records[0]['parameters'] / 1e6:.1f} M"
    return model, encoder, layers, size, *score_columns([record["test"] for record in ordered]), f"{minutes:.0f}"


def _published(corpus: str) -> list[str]:
    rows = [(row.system, row.scored_on, f"{row.f1:.2f}", row.source) for row in PUBLISHED if row.corpus == corpus]
    if not rows:
        return []
    return ["\nPublished, not measured here:\n", markdown_table(("system", "scored on", "F1", "source"), rows, "llrl")]


def _ingredients(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of runs that leave one ingredient out, scored on validation, beside the same run with all."""
    reduced = [record for record in records if record["run"]["without"]]
    rows = []
    for record in sorted(reduced, key=lambda record: record["run"]["without"]):
        run = record["run"]
        whole = next((one for one in records if one["run"] == {**run, "without": ""}), None)
        score, of_whole = (None if one is None else one["validation"]["strict"]["f1"] for one in (record, whole))
        brings = NOTHING if of_whole is None else f"{100 * (of_whole - score):+.2f}"
        with_all = NOTHING if of_whole is None else f"{100 * of_whole:.2f}"
        rows.append((run["architecture"], run["without"], f"{100 * score:.2f}", with_all, brings, run["seed"]))
    if not rows:
        return []
    heads = ("model", "left out", "F1 without", "F1 with all", "brings", "seed")
    return ["\nWhat each ingredient brings, on validation:\n", markdown_table(heads, rows)]
