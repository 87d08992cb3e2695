"""Compare training methods on real corpora and write `model_cards/results/guided/`.

    python scripts/comparison.py --data FOLDER [--seeds 5] [--shard 0/2] [--report]

The corpora are not part of this project; FOLDER holds `cmedqaner/`, `cmeee/`, `resume/`, `ad_real/`, `lexicon/` and
`encoders/e5-small-zh-char`. Six core arms run on every corpus and model, all arms on those of `--all_arms`; each seed
draws its own training documents. Each run writes a record to `--work`; runs that have a record are skipped, so the
command can be interrupted and restarted. `--shard 0/2` and `--shard 1/2` divide the runs between two processes;
`--report` only reports on the existing records. The first seed of all runs comes before the second of any.
`--development` scores other documents than the test documents, to choose settings on; `--lean` leaves out the edited
test documents.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from comparison_corpora import CORPORA, write_parts
from results_table import update_section
from tqdm.auto import tqdm

from hf_adner.comparison.arms import ARMS, CORE, make_arms
from hf_adner.comparison.comparison import (
    MODELS,
    RECORDS,
    Comparison,
    ComparisonArguments,
    Run,
    parse_shard,
    rotate,
    write_report,
)
from hf_adner.comparison.record import RunRecord
from hf_adner.comparison.rendering import report_markdown, summary_markdown
from hf_adner.comparison.report import ComparisonReport
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.perturb.registry import HELD_OUT
from hf_adner.training.arguments import DatasetArguments, ModelArguments

RESULTS = Path("model_cards/results/guided")
PAGE = RESULTS / "README.md"
HEADING = "## Explanation-guided training"
TEXT = """\
Test text, the last checkpoint of every run. Models: `stock` is the encoder's own `BertForTokenClassification`, the
others are ours; all but bilstm-crf begin with the first {layers} layer(s) of `e5-small-zh-char`. Each seed draws
{documents} training documents of 8 to 64 characters (ad-real: 60 % as many of any length); learning rates: encoder
{learning_rate:g}, head 1e-3 (bilstm-crf 1e-2), CRF 5e-3, 10 % warm-up, linear decay, batches of {batch},
{epochs:g} epochs (ad-real half more, m-dscmg half as many). CMeEE's test part is its dev file, with nested gold counted
in full; of each test part at most 500 documents are scored. Every cell is in [comparison.md](comparison.md), figures of
every run are in [comparison.json](comparison.json), plots in [forest.png](forest.png) and [seeds.png](seeds.png). Runs
shared the machine with others, so their times are not costs. Made by

    python scripts/comparison.py --data FOLDER{options}

"""

RATES = {"bilstm-crf": {"head_learning_rate": 1e-2}}
"""Learning rates of models that need other ones, for all arms: no part of bilstm-crf is pretrained."""

EPOCHS = {"ad-real": 1.5, "m-dscmg": 0.5}
"""Epochs of corpora and models as a multiple of `--epochs`: ad-real has fewer documents, m-dscmg learns faster."""

DOCUMENTS = {"ad-real": 0.6}
"""Training documents as a multiple of `--documents`: ad-real has 120 in all."""


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpora, lexicon/ and encoders/")
    parser.add_argument("--work", type=Path, default=Path("runs/comparison"), help="folder of the records")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--arms", nargs="+", default=list(CORE), help="arms to run on every corpus and model")
    parser.add_argument(
        "--all_arms",
        nargs="*",
        default=["cmedqaner/bert-crf", "resume/m-dscmg"],
        help="corpus/model to run all arms on",
    )
    parser.add_argument("--candidate", default="full", help="arm that is compared with the others")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--documents", type=int, default=100, help="training documents of a run (ad-real: 60 %%)")
    parser.add_argument("--layers", type=int, default=1, help="number of encoder layers to use")
    parser.add_argument(
        "--epochs", type=float, default=16, help="passes over the documents (ad-real: half more, m-dscmg: half as many)"
    )
    parser.add_argument("--batch", type=int, default=8, help="documents per step")
    parser.add_argument("--learning_rate", type=float, default=5e-4, help="learning rate of the encoder")
    parser.add_argument("--explainers", nargs="*", default=[], help="explainers to measure, such as occlusion")
    parser.add_argument("--explained_entities", type=int, default=40, help="number of entities to explain")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all / number of shards)")
    parser.add_argument("--shard", default="0/1", help="part of the runs to do, such as 0/2")
    parser.add_argument("--report", action="store_true", help="only write the report")
    parser.add_argument("--development", action="store_true", help="score development documents and print the report")
    parser.add_argument("--lean", action="store_true", help="do not score edited documents")
    return parser.parse_args()


def comparison(corpus: str, model: str, args: argparse.Namespace) -> Comparison:
    """Return the comparison of one corpus and model."""
    parts = write_parts(corpus, args.data, args.work / "corpora", args.development)
    epochs = args.epochs * EPOCHS.get(corpus, 1) * EPOCHS.get(model, 1)
    rates = {"learning_rate": args.learning_rate, "head_learning_rate": 1e-3, "crf_learning_rate": 5e-3}
    return Comparison(
        ComparisonArguments(
            models=[model], seeds=list(range(args.seeds)), corpus=corpus, sample_per_seed=True,
            explainers=args.explainers, explained_entities=args.explained_entities,
            held_out=[] if args.lean else list(HELD_OUT),
        ),
        DatasetArguments(
            str(parts.train), test=str(parts.scored), validation_share=0.0, overlaps="any",
            max_train_documents=round(args.documents * DOCUMENTS.get(corpus, 1)),
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
    """Yield (corpus, runs of one model and seed) of all shards."""
    for seed in range(args.seeds):
        for turn, corpus in enumerate(args.corpora, start=seed):
            for model in rotate(args.models, turn):
                arms = list(ARMS) if f"{corpus}/{model}" in args.all_arms else args.arms
                yield corpus, [Run(model, seed, arm) for arm in make_arms(arms)]


def do_runs(args: argparse.Namespace) -> None:
    """Do the runs of this shard that have no record yet."""
    number, count = parse_shard(args.shard)
    torch.set_num_threads(args.threads or max(1, (os.cpu_count() or 1) // count))
    logging.basicConfig(level=logging.ERROR)
    comparisons = {(corpus, model): comparison(corpus, model, args) for corpus in args.corpora for model in args.models}
    shard = list(groups(args))[number::count]
    with tqdm(total=sum(len(runs) for _, runs in shard), unit="run") as bar:
        for corpus, runs in shard:
            for run in runs:
                bar.set_postfix_str(f"{corpus} {run.model} {run.arm.name} {run.seed}")
                comparisons[corpus, run.model].do(run)
                bar.update()


def report(args: argparse.Namespace) -> None:
    """Write figures, plots and the section of the results page from all records."""
    planned = [(corpus, run) for corpus, runs in groups(args) for run in runs]
    paths = [args.work / RECORDS / run.file(corpus) for corpus, run in planned]
    records = [RunRecord.load(path) for path in paths if path.exists()]
    order = {(corpus, model): (args.corpora.index(corpus), args.models.index(model)) for corpus, model in
             ((record.corpus, record.model) for record in records)}  # fmt: skip
    names = [*args.arms, *(arm for arm in ARMS if arm not in args.arms)]  # of variants, too
    records.sort(key=lambda record: (names.index(record.arm), order[record.cell], record.seed))
    print(f"{len(records)} of {len(paths)} runs are done")
    results = ComparisonReport.of(records, "plain", args.candidate)
    if args.development:
        print(report_markdown(results, level=3))
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_report(results, RESULTS)
    text = TEXT.format(**vars(args), options=options(args))
    update_section(PAGE, HEADING, text + summary_markdown(results, level=3))


def options(args: argparse.Namespace) -> str:
    """Return the options of this command that change the figures."""
    names = ("seeds", "documents", "layers", "epochs", "batch", "learning_rate")
    explained = f" --explainers {' '.join(args.explainers)}" if args.explainers else ""
    figures = "".join(f" --{name} {getattr(args, name):g}" for name in names)
    return f"{figures} --all_arms {' '.join(args.all_arms)}{explained}"


def main() -> None:
    """Do the missing runs, then report."""
    args = parse()
    if not args.report:
        do_runs(args)
    report(args)


if __name__ == "__main__":
    main()
