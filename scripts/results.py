#!/usr/bin/env python3
"""Train every architecture on every corpus with the same encoder and write `model_cards/results/architectures/`.

The corpora, the lexicon and the encoder are not part of this project; `--data` is the folder that holds them. Runs that
have a record are skipped, so the command can be interrupted and restarted. `--shard 0/2` and `--shard 1/2` divide the
runs between two processes; `--table` only writes the tables.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from results_table import load_records, results_markdown, update_section

from hf_adner.comparison.cross_validation import CrossValidationArguments, cross_validate
from hf_adner.data.dataset import documents_from_dataset, labelled_words, load_ner_dataset, project_words
from hf_adner.data.formats import write_documents
from hf_adner.files import write_file
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import METRICS_FILE, run_training

ARCHITECTURES = (
    "bert-softmax", "bert-crf", "bert-bilstm-crf", "bert-att-crf",
    "m-dscmg", "m-dscmg-no-dual-stream", "m-dscmg-no-attention", "m-dscmg-no-graph",
)  # fmt: skip
COMPARED = ("bert-crf", "m-dscmg")
RECORDS = Path("model_cards/results/architectures")
PAGE = RECORDS / "README.md"
HEADING = "## Architectures on corpora"
HEADER = """
Strict entity scores in percent on test text that no choice was made on: start, end and label must all be right, nested
gold entities count in full (*flattened F1*: only the outermost do). *Boundary F1*: both ends right, label ignored.
Mean ± sample standard deviation over seeds; every run's figures are in
[results/architectures/](.), written by

    python scripts/results.py --data FOLDER        # seeds, layers and learning rate: --help

Every architecture has the same encoder (`e5-small-zh-char`: multilingual-e5-small with a vocabulary of single Chinese
characters, 384 wide), of which only the first layer is used, the same 117,767-word lexicon where it has one (word
frequencies counted on the training text), the same learning rates (encoder 5e-4, head 1e-3, CRF 5e-3, 10 % warm-up,
linear decay), batches of 16, and no choice of the epoch. CMeEE's test part is its dev file, as its gold test is not
public; `ad-real` is 120 training and 60 test lines of real dermatology text. `chip-sts-silver`: CHIP-STS has no
entities; those here are **silver**, words of CMeEE's training entities found in the questions, so the figure says how
well a model copies a word list, not how well it reads. Trained on 2 CPU cores; training seconds are wall-clock on a
shared machine. So few steps suit what begins pretrained: `bert-bilstm-crf`, whose BiLSTM begins at random and stands in
the only path, and `bert-softmax`, which has no transitions, are far from done, and no row was tuned by itself.
"""


class Run(NamedTuple):
    """Planned run: a corpus, an architecture and a seed."""

    corpus: str
    architecture: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the record: `corpus-architecture-seed`."""
        return f"{self.corpus}-{self.architecture}-{self.seed}"


def plan(seeds: int) -> Iterator[Run]:
    """Yield the runs: small corpora first, then further seeds of cMedQANER, CMeEE, and further seeds of ad-real."""
    for corpus in ("cmedqaner", "ad-real"):
        yield from (Run(corpus, architecture, 0) for architecture in ARCHITECTURES)
    yield from (Run("chip-sts-silver", architecture, 0) for architecture in COMPARED)
    for seed in range(1, seeds):
        yield from (Run("cmedqaner", architecture, seed) for architecture in ARCHITECTURES)
    yield from (Run("cmeee", architecture, 0) for architecture in ARCHITECTURES)
    for seed in range(1, seeds):
        yield from (Run("ad-real", architecture, seed) for architecture in ARCHITECTURES)


def corpora(data: Path, work: Path) -> dict[str, tuple[DatasetArguments, int]]:
    """Return dataset arguments and epochs of each corpus; without validation split, the last checkpoint is scored."""
    shared = {"validation_share": 0.0, "sample_seed": 0}
    return {
        "cmedqaner": (
            DatasetArguments(str(data / "cmedqaner/train.jsonl"), test=str(data / "cmedqaner/test.jsonl"), **shared),
            3,
        ),
        "cmeee": (
            DatasetArguments(
                str(data / "cmeee/CMeEE_train.json"),
                test=str(data / "cmeee/CMeEE_dev.json"),
                max_train_documents=3000,
                **shared,
            ),
            2,
        ),
        "ad-real": (
            DatasetArguments(str(data / "ad_real/train.jsonl"), test=str(data / "ad_real/dev.jsonl"), **shared),
            10,
        ),
        "chip-sts-silver": (
            DatasetArguments(str(work / "chip-sts-train.jsonl"), test=str(work / "chip-sts-dev.jsonl"), **shared),
            3,
        ),
    }


def make_silver(data: Path, work: Path) -> None:
    """Write silver documents: entity words of the CMeEE training split, projected on questions of CHIP-STS."""
    if (work / "chip-sts-dev.jsonl").exists():
        return
    train = load_ner_dataset(str(data / "cmeee/CMeEE_train.json"))["train"]
    words = labelled_words(documents_from_dataset(train), min_count=2)
    for split, pairs in (("train", 1000), ("dev", 500)):
        pairs_file = str(data / f"chip_sts/CHIP-STS_{split}.json")
        rows = load_ner_dataset(pairs_file)["train"].select(range(2 * pairs))
        write_documents(project_words(documents_from_dataset(rows), words), work / f"chip-sts-{split}.jsonl")


def training_arguments(output: Path, epochs: int, seed: int, args: argparse.Namespace) -> AdnerTrainingArguments:
    """Return training arguments, which differ between architectures and corpora in the number of epochs only."""
    return AdnerTrainingArguments(
        output_dir=str(output),
        learning_rate=args.learning_rate,
        head_learning_rate=1e-3,
        crf_learning_rate=5e-3,
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        seed=seed,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        disable_tqdm=True,
    )


def train_one(run: Run, args: argparse.Namespace) -> None:
    """Train and score one run and write its record, unless it has one."""
    record = RECORDS / f"{run.name}.json"
    if record.exists():
        return
    dataset_args, epochs = corpora(args.data, args.work)[run.corpus]
    model_args = ModelArguments(
        encoder=str(args.data / "encoders/e5-small-zh-char"),
        encoder_layers=args.layers,
        architecture=run.architecture,
        lexicon=str(args.data / "lexicon/medical_words.tsv"),
        lexicon_min_documents=1,
    )
    output = args.work / run.name
    run_training(dataset_args, model_args, training_arguments(output, epochs, run.seed, args))
    write_record(json.loads((output / METRICS_FILE).read_text(encoding="utf-8")), record, args.data)


def write_record(metrics: dict, record: Path, data: Path) -> None:
    """Write the metrics of a run, with the data folder replaced by DATA."""
    text = json.dumps(metrics, ensure_ascii=False, indent=1).replace(str(data), "DATA")
    write_file(record, [text, "\n"], "utf-8")


def five_folds(args: argparse.Namespace) -> None:
    """Run the protocol of M-DSCMG, 5-fold cross-validation, on 2,000 sentences of IMCS."""
    record = RECORDS / "imcs-5-fold.json"
    if record.exists():
        return
    dataset_args = DatasetArguments(
        str(args.data / "imcs_ner/train.bio.tsv"), validation_share=0.0, max_train_documents=2000
    )
    model_args = ModelArguments(
        encoder=str(args.data / "encoders/e5-small-zh-char"),
        encoder_layers=args.layers,
        lexicon=str(args.data / "lexicon/medical_words.tsv"),
        lexicon_min_documents=1,
    )
    folds = cross_validate(
        CrossValidationArguments(list(COMPARED)),
        dataset_args,
        model_args,
        training_arguments(args.work / "imcs-5-fold", 3, 0, args),
    )
    write_record(folds, record, args.data)


def still_to_run(records: Collection[str], seeds: int) -> str:
    """Say how many runs of each corpus have no record yet."""
    runs = list(plan(seeds))
    planned = Counter(run.corpus for run in runs)
    missing = Counter(run.corpus for run in runs if run.name not in records)
    parts = (f"{corpus} {missing[corpus]} of {planned[corpus]}" for corpus in planned if missing[corpus])
    return (
        f"Not run yet: {', '.join(parts)} runs. Run the command again to continue." if missing else "All runs are done."
    )


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpora, lexicon/ and encoders/")
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="folder for checkpoints")
    parser.add_argument("--layers", type=int, default=1, help="number of encoder layers to use")
    parser.add_argument("--learning_rate", type=float, default=5e-4, help="learning rate of the encoder")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds for cMedQANER and ad-real")
    parser.add_argument("--shard", default="0/1", help="part of the runs to do, such as 0/2")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    return parser.parse_args()


def main() -> None:
    """Do the missing runs, then write the tables."""
    args = parse()
    if not args.table:
        shard, shards = map(int, args.shard.split("/"))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // shards))
        args.work.mkdir(parents=True, exist_ok=True)
        make_silver(args.data, args.work)
        if shard == shards - 1:
            five_folds(args)
        for number, run in enumerate(plan(args.seeds)):
            if number % shards == shard:
                train_one(run, args)
    records = load_records(RECORDS)
    update_section(PAGE, HEADING, f"{HEADER}\n{results_markdown(records)}")
    print(still_to_run(records, args.seeds))


if __name__ == "__main__":
    main()
