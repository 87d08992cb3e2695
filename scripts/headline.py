#!/usr/bin/env python3
"""Train the full-size models of the headline table, one after the other, and write `model_cards/results/headline/`.

    python scripts/headline.py --data FOLDER --pretrained ENCODER

`--data` has corpora, lexicon and an encoder as it came, none of them part of this project; `--pretrained` is that
encoder after `adner pretrain`. Runs that have a record are skipped, and an interrupted run goes on from its last epoch,
so the command can be stopped and given again. Without `--pretrained` only the runs with the encoder as it came are
done. `--plan` lists the runs, `--only` does some of them, `--table` writes the tables alone.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import torch
from headline_table import FOLDS, headline_markdown
from release_stages import digest
from results import write_record
from results_table import load_records, update_section

from hf_adner.comparison.cross_validation import CrossValidationArguments, cross_validate
from hf_adner.files import read_json
from hf_adner.hub.reachable import check_checkpoint_name
from hf_adner.model.configuration_adner import AdnerConfig
from hf_adner.training.arguments import DatasetArguments, ModelArguments, TrainCommandArguments
from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, run_training

RECORDS = Path("model_cards/results/headline")
PAGE = RECORDS / "README.md"
HEADING = "## Full-size models"
HEADER = """
Strict entity scores in percent: start, end and label must all be right, nested gold entities count in full (*flattened
F1*: only the outermost do). *Boundary F1*: both ends right, label ignored. Mean ± sample standard deviation over seeds.
The epoch was chosen on the validation part (of CMeEE and IMCS a share of the training text), never on what is scored.
All rows of a corpus share the recipe and the lexicon, those with one encoder the encoder; every run's record is in this
folder, written by

    python scripts/headline.py --data FOLDER --pretrained ENCODER

**Published** rows are figures of others, of the named source, and not measured here: their encoders are larger, and how
exactly they count is not always said.
"""

PRETRAINED, AS_IT_CAME = "pretrained", "as it came"
ABLATIONS = ("m-dscmg-no-dual-stream", "m-dscmg-no-attention", "m-dscmg-no-graph")
COMPARED = ("bert-crf", "m-dscmg")
PER_LABEL = "per-label"


@dataclass
class Recipe:
    """Settings of training that all runs share; options of the command.

    Attributes:
        learning_rate: of the last encoder layer, as `encoder_layer_decay`, `ema_decay`, `swa_epochs` and
            `early_stopping_patience` a field of `AdnerTrainingArguments`.
    """

    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    crf_learning_rate: float = 5e-3
    per_device_train_batch_size: int = 16
    encoder_layer_decay: float = 0.9
    ema_decay: float | None = 0.99
    early_stopping_patience: int | None = 4


INGREDIENTS: dict[str, dict[str, Any]] = {
    "encoder_layer_decay": {"encoder_layer_decay": 1.0},
    "ema_decay": {"ema_decay": None},
    "early_stopping_patience": {"early_stopping_patience": None},
    "lexicon": {},
}
"""Ingredient that a run leaves out -> what that changes in the recipe; the lexicon is left out of the model."""


class Run(NamedTuple):
    """Planned run.

    Attributes:
        corpus: a name of `corpora`.
        architecture: of the model.
        seed: of the run.
        encoder: `PRETRAINED` or `AS_IT_CAME`.
        tagging: `flat` or `per-label`.
        without: ingredient that is left out, none if empty.
    """

    corpus: str
    architecture: str
    seed: int = 0
    encoder: str = PRETRAINED
    tagging: str = "flat"
    without: str = ""

    @property
    def name(self) -> str:
        """Name of the record."""
        marks = [self.tagging] * (self.tagging != "flat") + [f"without-{self.without}"] * bool(self.without)
        marks += ["as-it-came"] * (self.encoder == AS_IT_CAME)
        return "-".join([self.corpus, self.architecture, *marks, str(self.seed)])


def plan(seeds: int) -> Iterator[Run]:
    """Yield the runs in the order in which they are done: each corpus' main rows first, further seeds last."""
    yield from (Run("cmedqaner", architecture) for architecture in COMPARED)
    yield from (Run("cmeee", "m-dscmg", tagging=tagging) for tagging in ("flat", PER_LABEL))
    yield from (Run("cmedqaner", architecture, encoder=AS_IT_CAME) for architecture in COMPARED)
    yield from (Run("cmedqaner", "m-dscmg", without=name) for name in INGREDIENTS)
    yield from (Run("cmedqaner", name) for name in ("bert-softmax", "bert-bilstm-crf", "bert-att-crf", *ABLATIONS))
    yield from (Run("cmeee", architecture) for architecture in ("bert-crf", "bert-softmax", "m-dscmg-no-graph"))
    for corpus in ("imcs", "ad-real"):
        yield from (Run(corpus, architecture) for architecture in COMPARED)
    for seed in range(1, seeds):
        yield from (Run(corpus, name, seed) for corpus in ("cmedqaner", "ad-real") for name in COMPARED)


class Corpus(NamedTuple):
    """Documents of a corpus and the number of epochs; without validation documents the last epoch is scored."""

    documents: DatasetArguments
    epochs: int

    @property
    def is_selected(self) -> bool:
        """Whether the epoch is chosen on validation documents."""
        return bool(self.documents.validation or self.documents.validation_share)


def corpora(data: Path) -> dict[str, Corpus]:
    """Return the corpora by name. CMeEE's and IMCS' gold tests are not public: their dev parts are the tests."""

    def documents(train: str, test: str, share: float, validation: str | None = None) -> DatasetArguments:
        placed = None if validation is None else str(data / validation)
        return DatasetArguments(
            str(data / train), validation=placed, test=str(data / test), validation_share=share, sample_seed=0
        )

    return {
        "cmedqaner": Corpus(documents("cmedqaner/train.jsonl", "cmedqaner/test.jsonl", 0.0, "cmedqaner/dev.jsonl"), 12),
        "cmeee": Corpus(documents("cmeee/CMeEE_train.json", "cmeee/CMeEE_dev.json", 0.05), 5),
        "imcs": Corpus(documents("imcs_ner/train.bio.tsv", "imcs_ner/dev.bio.tsv", 0.05), 3),
        "ad-real": Corpus(documents("ad_real/train.jsonl", "ad_real/dev.jsonl", 0.0), 20),
    }


def model_arguments(run: Run, args: argparse.Namespace) -> ModelArguments:
    """Return the model of a run; its lexicon is the same in all, or none."""
    return ModelArguments(
        encoder=args.pretrained if run.encoder == PRETRAINED else str(args.data / args.encoder),
        encoder_layers=args.layers,
        architecture=run.architecture,
        tagging=run.tagging,
        lexicon=None if run.without == "lexicon" else str(args.data / "lexicon/medical_words.tsv"),
    )


def training_arguments(run: Run, corpus: Corpus, recipe: Recipe, output: Path) -> TrainCommandArguments:
    """Return the training arguments of a run, which goes on from its last checkpoint."""
    settings = asdict(replace(recipe, **INGREDIENTS.get(run.without, {})))
    if not corpus.is_selected:
        off = {"eval_strategy": "no", "load_best_model_at_end": False, "metric_for_best_model": None}
        settings |= {**off, "early_stopping_patience": None}
    return TrainCommandArguments(
        output_dir=str(output),
        num_train_epochs=corpus.epochs,
        seed=run.seed,
        resume_from_checkpoint="auto",
        **settings,
    )


def train_run(run: Run, args: argparse.Namespace) -> None:
    """Train and score a run, and write its record."""
    corpus, model, output = corpora(args.data)[run.corpus], model_arguments(run, args), args.work / run.name
    if not (output / METRICS_FILE).exists():
        run_training(corpus.documents, model, training_arguments(run, corpus, recipe_of(args), output))
    told = {"run": run._asdict(), "encoder_digest": encoder_digest(model.encoder)}
    metrics = {**read_json(output / METRICS_FILE), **told}
    network = AdnerConfig.from_pretrained(output / MODEL_FOLDER).encoder_config
    metrics["model"] |= {"encoder": run.encoder, "encoder_layers": network.num_hidden_layers}
    write_record(metrics, RECORDS / f"{run.name}.json", args.data)


def encoder_digest(encoder: str) -> str:
    """Return a digest of the files of an encoder; of one on the Hub its name."""
    return digest(Path(encoder)) if Path(encoder).exists() else encoder


def train_folds(args: argparse.Namespace) -> None:
    """Cross-validate on IMCS with the protocol of M-DSCMG, five folds, and write the record."""
    run = Run("imcs", "m-dscmg")
    corpus = corpora(args.data)["imcs"]
    documents = replace(corpus.documents, test=None)
    model = replace(model_arguments(run, args), encoder_layers=args.fold_layers)
    training = training_arguments(run, corpus, recipe_of(args), args.work / FOLDS)
    training = replace(training, resume_from_checkpoint=None)
    scores = cross_validate(CrossValidationArguments(list(COMPARED)), documents, model, training)
    told = {"layers": args.fold_layers, "encoder_digest": encoder_digest(model.encoder), "folds": scores}
    write_record(told, RECORDS / f"{FOLDS}.json", args.data)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the recipe that the options give."""
    return Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})


def check_records(records: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Check that the records are of the recipe and encoder of this command, so that no table mixes two.

    Raises:
        ValueError: one is not; names it and what differs.
    """
    runs = {run.name: run for run in plan(args.seeds)}
    for name, record in records.items():
        if name not in runs:
            continue
        run = runs[name]
        expected = training_arguments(run, corpora(args.data)[run.corpus], recipe_of(args), args.work / name)
        names = [*asdict(recipe_of(args)), "num_train_epochs"]
        changed = [one for one in names if record["training"].get(one) != getattr(expected, one)]
        encoder = model_arguments(run, args).encoder
        if encoder is not None and record["encoder_digest"] != encoder_digest(encoder):
            changed.append("encoder")
        if changed:
            raise ValueError(
                f"{RECORDS / run.name}.json was made with other settings ({', '.join(changed)}): give the command the "
                "same, or remove the records to make all of them anew"
            )


def missing(records: Mapping[str, Any], args: argparse.Namespace) -> list[str]:
    """Return the names of the planned runs without a record, in order, the folds last."""
    return [name for name in (*(run.name for run in plan(args.seeds)), FOLDS) if name not in records]


def to_do(records: Mapping[str, Any], args: argparse.Namespace) -> list[str]:
    """Return the names of the missing runs whose encoder is there, without those that `--only` leaves out."""
    waits = set() if args.pretrained else {FOLDS, *(run.name for run in plan(args.seeds) if run.encoder == PRETRAINED)}
    return [name for name in missing(records, args) if name not in waits and fnmatch(name, args.only)]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpora, lexicon/ and the encoder")
    parser.add_argument("--pretrained", help="encoder after pretraining: a folder or a Hub name")
    parser.add_argument("--encoder", default="encoders/e5-small-zh-char", help="encoder as it came, inside --data")
    parser.add_argument("--layers", type=int, help="number of first encoder layers to use (default: all)")
    parser.add_argument("--fold-layers", type=int, default=4, help="the same for the five folds")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of bert-crf and m-dscmg")
    parser.add_argument("--work", type=Path, default=Path("runs/headline"), help="folder for checkpoints")
    parser.add_argument("--only", default="*", help="do the runs whose names match, such as 'cmeee-*'")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--plan", action="store_true", help="only list the runs to do")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    for field in fields(Recipe):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=_number, default=field.default, help="recipe; none: off")
    return parser.parse_args(argv)


def _number(text: str) -> float | int | None:
    if text == "none":
        return None
    return int(text) if text.isdigit() else float(text)


def main(argv: list[str] | None = None) -> None:
    """Do the missing runs, each followed by the tables."""
    args = parse(argv)
    records = load_records(RECORDS)
    check_records(records, args)
    todo, runs = to_do(records, args), {run.name: run for run in plan(args.seeds)}
    if args.plan:
        print("\n".join(todo) or "nothing is left to do")
        return
    check_checkpoint_name(args.pretrained)
    if args.threads:
        torch.set_num_threads(args.threads)
    for number, name in enumerate([] if args.table else todo, 1):
        print(f"{number}/{len(todo)} {name}", flush=True)
        train_folds(args) if name == FOLDS else train_run(runs[name], args)
        write_tables(args)
    write_tables(args)


def write_tables(args: argparse.Namespace) -> None:
    """Write the section of the page from the records."""
    records = load_records(RECORDS)
    left = missing(records, args)
    told = f"Not run yet: {', '.join(left)}." if left else "All planned runs are done."
    update_section(PAGE, HEADING, f"{HEADER}\n{headline_markdown(records)}\n{told}")


if __name__ == "__main__":
    main()
