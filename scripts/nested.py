#!/usr/bin/env python3
"""Compare one CRF per label with a flat tagger on nested entities and write `model_cards/results/nested/`.

    python scripts/nested.py --data FOLDER [--documents 3000] [--layers 1] [--epochs 4] [--seeds 3]

FOLDER holds `cmeee/`, `lexicon/` and an encoder, none of them part of this project. Both taggings of a seed share the
documents, the recipe and the initial weights of the encoder. Runs that have a record are skipped, so the command can be
interrupted and restarted; `--table` only writes the table.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from results import write_record
from results_table import load_records, score_columns, update_section

from hf_adner.files import read_json
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import METRICS_FILE, run_training

RECORDS = Path("model_cards/results/nested")
PAGE = RECORDS / "README.md"
HEADING = "## Nested entities"
TAGGINGS = ("flat", "per-label")
HEADS = (
    "architecture", "tagging", "strict F1", "precision", "recall", "flattened F1", "boundary F1", "seeds",
    "F1 per seed", "inner entities found",
)  # fmt: skip
HEADER = """
CMeEE-V1, {documents:,} training sentences (the same in all runs), the first {layers} layer(s) of `e5-small-zh-char`,
{epochs:g} epochs of batches of 16, the last checkpoint, scored on the {scored:,} sentences of its dev part, whose gold
entities count in full: {gold:,}, of which {inner:,} lie inside another one. A flat tagger can find those only in the
place of the outer ones. *Flattened F1*: against the outermost alone. Mean ± sample standard deviation over seeds, in
percent. Made by

    python scripts/nested.py --data FOLDER --documents {documents} --layers {layers} --epochs {epochs:g} --seeds {seeds}
"""


class Run(NamedTuple):
    """Planned run."""

    architecture: str
    tagging: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the record."""
        return f"cmeee-{self.architecture}-{self.tagging}-{self.seed}"


def plan(args: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs, the first seed of all before the second of any."""
    for seed in range(args.seeds):
        yield from (Run(architecture, tagging, seed) for architecture in args.architectures for tagging in TAGGINGS)


def train_one(run: Run, args: argparse.Namespace) -> None:
    """Train and score a run, and write its record."""
    output = args.work / run.name
    dataset = DatasetArguments(
        str(args.data / "cmeee/CMeEE_train.json"),
        test=str(args.data / "cmeee/CMeEE_dev.json"),
        max_train_documents=args.documents,
        validation_share=0.0,
        sample_seed=0,
    )
    model = ModelArguments(
        encoder=str(args.data / "encoders/e5-small-zh-char"),
        encoder_layers=args.layers,
        architecture=run.architecture,
        tagging=run.tagging,
        lexicon=str(args.data / "lexicon/medical_words.tsv"),
    )
    training = AdnerTrainingArguments(
        output_dir=str(output),
        learning_rate=5e-4,
        head_learning_rate=1e-3,
        crf_learning_rate=5e-3,
        num_train_epochs=args.epochs,
        per_device_train_batch_size=16,
        seed=run.seed,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        disable_tqdm=True,
    )
    run_training(dataset, model, training)
    write_record({**read_json(output / METRICS_FILE), "run": run._asdict()}, RECORDS / f"{run.name}.json", args.data)


def inner_entities(test: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many inner gold entities were found, and how many there are."""
    found = test["strict"]["correct"] - test["strict_flattened"]["correct"]
    return found, test["gold"] - test["flattened_gold"]


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """Return a row for each architecture and tagging, and the differences of the taggings seed by seed."""
    rows: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for record in records:
        run = record["run"]
        rows[run["architecture"], run["tagging"]][run["seed"]] = record
    text = markdown_table(HEADS, [_row(key, [rows[key][seed] for seed in sorted(rows[key])]) for key in sorted(rows)])
    return "\n".join([text, *_differences(rows)])


def _row(key: tuple[str, str], records: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    shares = [found / total for found, total in (inner_entities(record["test"]) for record in records)]
    columns = score_columns([record["test"] for record in records])
    return *key, *columns, f"{100 * statistics.mean(shares):.2f} %"


def _differences(rows: Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]]) -> Iterator[str]:
    for architecture in sorted({architecture for architecture, _ in rows}):
        flat, nested = (rows.get((architecture, tagging), {}) for tagging in TAGGINGS)
        pairs = [(flat[seed], nested[seed]) for seed in sorted(flat.keys() & nested.keys())]
        gains = [100 * (two["test"]["strict"]["f1"] - one["test"]["strict"]["f1"]) for one, two in pairs]
        if pairs:
            told = " ".join(f"{gain:+.2f}" for gain in gains)
            yield f"\n{architecture}, per label minus flat, seed by seed: {told} points of strict F1."


def write_table(args: argparse.Namespace) -> None:
    """Write the section of the page from the records."""
    records = list(load_records(RECORDS).values())
    if not records:
        raise SystemExit(f"{RECORDS} has no record yet")
    test = records[0]["test"]
    counts = {"scored": test["documents"], "gold": test["gold"], "inner": inner_entities(test)[1]}
    update_section(PAGE, HEADING, f"{HEADER.format(**vars(args), **counts)}\n{table(records)}")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cmeee/, lexicon/ and encoders/")
    parser.add_argument("--work", type=Path, default=Path("runs/nested"), help="folder for checkpoints")
    parser.add_argument("--architectures", nargs="+", default=["bert-crf", "m-dscmg"])
    parser.add_argument("--documents", type=int, default=3000, help="training sentences")
    parser.add_argument("--layers", type=int, default=1, help="number of encoder layers to use")
    parser.add_argument("--epochs", type=float, default=4, help="passes over them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--table", action="store_true", help="only write the table")
    return parser.parse_args()


def main() -> None:
    """Do the missing runs, each followed by the table."""
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    for run in () if args.table else plan(args):
        if not (RECORDS / f"{run.name}.json").exists():
            print(run.name, flush=True)
            train_one(run, args)
            write_table(args)
    write_table(args)


if __name__ == "__main__":
    main()
