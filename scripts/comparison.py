"""Compare ways of training on real corpora, and write what comes of it into model_cards/RESULTS.md.

    python scripts/comparison.py --data FOLDER [--seeds 5] [--shard 0/2] [--report]

The corpora are not part of the project; FOLDER holds `cmedqaner/`, `cmeee/`, `resume/`, `ad_real/`, `lexicon/` and
`encoders/e5-small-zh-char`. Six core arms run on every corpus and model, all arms on one of them (`--all_arms`). A run
leaves a record under `--work`; runs whose record is there are skipped, so the command can be stopped and started again.
`--shard 0/2` and `--shard 1/2` divide the runs between two processes, `--report` only writes what the records say.
One seed of everything comes before the second of anything. The section of the results page that this command owns is
made anew, all others stay; the figures and pictures go to `model_cards/comparison/`.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from results_table import replace_section
from tqdm.auto import tqdm

from hf_adner.comparison.arms import ARMS, CORE, make_arms
from hf_adner.comparison.comparison import (
    MODELS,
    RECORDS,
    Comparison,
    ComparisonArguments,
    Run,
    parse_shard,
    rotated,
    write_report,
)
from hf_adner.comparison.record import RunRecord
from hf_adner.comparison.report import ComparisonReport
from hf_adner.comparison.report_view import report_markdown
from hf_adner.files import write_file
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.training.arguments import DatasetArguments, ModelArguments

PAGE = Path("model_cards/RESULTS.md")
KEPT = Path("model_cards/comparison")
HEADING = "## Explanation-guided training"
TEXT = """\
Test text, the last checkpoint of every run; how the weights of guided training were chosen, and what was seen of
cMedQANER's test part on the way, stands in [their section](#weights-of-explanation-guided-training). Models: `stock` is
the encoder's own `BertForTokenClassification`, the others are ours; all but bilstm-crf begin with the first {layers}
layer(s) of `e5-small-zh-char`. Training documents are a fixed sample of at most {documents} per corpus, test
documents of at most {test_documents}; learning rates: encoder {learning_rate:g}, head 1e-3 (bilstm-crf 1e-2), CRF 5e-3,
10 % warm-up, linear decay, batches of {batch}, {epochs:g} epochs (ad-real twice as many). CMeEE's test part is its dev
file, with nested gold counted in full. Figures of every run are in
[comparison/comparison.json](comparison/comparison.json), pictures in [forest.png](comparison/forest.png) and
[seeds.png](comparison/seeds.png). Made by

    python scripts/comparison.py --data FOLDER{told}

"""
FILES = {
    "cmedqaner": ("cmedqaner/train.jsonl", "cmedqaner/test.jsonl"),
    "cmeee": ("cmeee/CMeEE_train.json", "cmeee/CMeEE_dev.json"),
    "resume": ("resume/train.char.bmes", "resume/test.char.bmes"),
    "ad-real": ("ad_real/train.jsonl", "ad_real/dev.jsonl"),
}
DEVELOPMENT = {"cmedqaner": "cmedqaner/dev.jsonl", "resume": "resume/dev.char.bmes"}
"""Documents that settings are chosen on; the other corpora have none besides those of their test."""

RATES = {"bilstm-crf": {"head_learning_rate": 1e-2}}
"""Learning rates of models that need others, the same for all arms: nothing of bilstm-crf is pretrained."""

EPOCHS = {"cmedqaner": 1.0, "cmeee": 1.0, "resume": 1.0, "ad-real": 2.0}
"""Epochs of each corpus as a multiple of `--epochs`: the smallest corpus needs more passes for as many steps."""


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpora, lexicon/ and encoders/")
    parser.add_argument("--work", type=Path, default=Path("runs/comparison"), help="folder of the records")
    parser.add_argument("--corpora", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--arms", nargs="+", default=list(CORE), help="arms of every corpus and model")
    parser.add_argument("--all_arms", default="cmedqaner/bert-crf", help="corpus/model where all arms run, or none")
    parser.add_argument("--candidate", default="full", help="arm that is compared with the others")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--documents", type=int, default=300, help="training documents, at most")
    parser.add_argument("--test_documents", type=int, default=300, help="test documents, at most")
    parser.add_argument("--layers", type=int, default=1, help="layers of the encoder that are used")
    parser.add_argument("--epochs", type=float, default=8, help="passes over the documents (ad-real: twice as many)")
    parser.add_argument("--batch", type=int, default=8, help="documents in a step")
    parser.add_argument("--learning_rate", type=float, default=5e-4, help="of the encoder")
    parser.add_argument("--explainers", nargs="*", default=[], help="also measure explanations, such as occlusion")
    parser.add_argument("--explained_entities", type=int, default=40, help="entities that they explain")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all, divided by shards)")
    parser.add_argument("--shard", default="0/1", help="part of the runs to do, such as 0/2")
    parser.add_argument("--report", action="store_true", help="only write the report")
    parser.add_argument("--development", action="store_true", help="score development documents, print the report")
    args = parser.parse_args()
    if args.development and set(args.corpora) - set(DEVELOPMENT):
        parser.error(f"only {' and '.join(DEVELOPMENT)} have development documents (--corpora)")
    return args


def comparison(corpus: str, model: str, args: argparse.Namespace) -> Comparison:
    """The comparison of one corpus and model."""
    train, test = FILES[corpus]
    if args.development:
        test = DEVELOPMENT[corpus]
    epochs = args.epochs * EPOCHS[corpus]
    rates = {"learning_rate": args.learning_rate, "head_learning_rate": 1e-3, "crf_learning_rate": 5e-3}
    return Comparison(
        ComparisonArguments(
            models=[model], seeds=list(range(args.seeds)), corpus=corpus, explainers=args.explainers,
            explained_entities=args.explained_entities,
        ),
        DatasetArguments(
            str(args.data / train), test=str(args.data / test), validation_share=0.0,
            max_train_documents=args.documents, max_test_documents=args.test_documents,
        ),
        ModelArguments(
            encoder=str(args.data / "encoders/e5-small-zh-char"), encoder_layers=args.layers,
            lexicon=str(args.data / "lexicon/medical_words.tsv"),
        ),
        ExplanationGuidedTrainingArguments(
            output_dir=str(args.work), num_train_epochs=epochs, per_device_train_batch_size=args.batch,
            eval_strategy="no", save_strategy="no", load_best_model_at_end=False, logging_strategy="no",
            **{**rates, **RATES.get(model, {})},
        ),
    )  # fmt: skip


def groups(args: argparse.Namespace) -> Iterator[tuple[str, list[Run]]]:
    """(corpus, runs of one model and seed), of all shards."""
    for seed in range(args.seeds):
        for turn, corpus in enumerate(args.corpora, start=seed):
            for model in rotated(args.models, turn):
                arms = list(ARMS) if f"{corpus}/{model}" == args.all_arms else args.arms
                yield corpus, [Run(model, seed, arm) for arm in make_arms(arms)]


def do_runs(args: argparse.Namespace) -> None:
    """Do this shard's runs that have no record yet."""
    number, count = parse_shard(args.shard)
    torch.set_num_threads(args.threads or max(1, (os.cpu_count() or 1) // count))
    logging.basicConfig(level=logging.ERROR)
    comparisons = {(corpus, model): comparison(corpus, model, args) for corpus in args.corpora for model in args.models}
    mine = list(groups(args))[number::count]
    with tqdm(total=sum(len(runs) for _, runs in mine), unit="run") as bar:
        for corpus, runs in mine:
            for run in runs:
                bar.set_postfix_str(f"{corpus} {run.model} {run.arm.name} {run.seed}")
                comparisons[corpus, run.model].do(run)
                bar.update()


def report(args: argparse.Namespace) -> None:
    """Write figures, pictures and the section of the results page from all records."""
    wanted = [(corpus, run) for corpus, runs in groups(args) for run in runs]
    paths = [args.work / RECORDS / run.file(corpus) for corpus, run in wanted]
    records = [RunRecord.load(path) for path in paths if path.exists()]
    order = {(corpus, model): (args.corpora.index(corpus), args.models.index(model)) for corpus, model in
             ((record.corpus, record.model) for record in records)}  # fmt: skip
    names = [*args.arms, *(arm for arm in ARMS if arm not in args.arms)]
    records.sort(key=lambda record: (names.index(record.arm), order[record.cell], record.seed))
    print(f"{len(records)} of {len(paths)} runs are done")
    found = ComparisonReport.of(records, "plain", args.candidate)
    if args.development:
        print(report_markdown(found, level=3))
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    write_report(found, KEPT)
    body = TEXT.format(**vars(args), told=told(args)) + report_markdown(found, level=3)
    write_file(PAGE, [replace_section(PAGE.read_text(encoding="utf-8"), HEADING, body)], "utf-8")


def told(args: argparse.Namespace) -> str:
    """The settings of this command that make a difference to the figures."""
    names = ("seeds", "documents", "test_documents", "layers", "epochs", "batch", "learning_rate")
    explained = f" --explainers {' '.join(args.explainers)}" if args.explainers else ""
    figures = "".join(f" --{name} {getattr(args, name):g}" for name in names)
    return f"{figures} --all_arms {args.all_arms}{explained}"


def main() -> None:
    """Do what is missing, then report."""
    args = parse()
    if not args.report:
        do_runs(args)
    report(args)


if __name__ == "__main__":
    main()
