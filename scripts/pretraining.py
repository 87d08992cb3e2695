#!/usr/bin/env python3
"""Measure what pretraining on plain text brings to taggers, and write `model_cards/results/pretraining/`.

    python scripts/pretraining.py --data FOLDER [--layers 4] [--steps 2000] [--seeds 3] [--bf16]

FOLDER holds `cmedqaner/`, `cmeee/`, `lexicon/`, `unlabelled/medical_lines.txt` and `encoders/e5-small-zh-char`, which
are not part of this project. All pretraining methods start from the same weights and make the same number of steps with
the same number of blocks; then a bert-crf is trained on each encoder, with every corpus and seed. The command can be
interrupted and restarted: pretraining resumes from its last checkpoint, and runs that have a record are skipped.
`--table` only writes the table. Encoders are written to `--work`, outside the repository's records.
"""

import argparse
import json
import shutil
import statistics
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results_table import load_records, update_section
from transformers import set_seed

from hf_adner.files import write_json
from hf_adner.pretraining.arguments import PretrainCommandArguments, PretrainingArguments
from hf_adner.pretraining.run import block_length, build_masked_lm, load_tokenizer, run_pretraining, save_vocabulary
from hf_adner.pretraining.text import read_texts
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import METRICS_FILE, run_training

RECORDS = Path("model_cards/results/pretraining")
PAGE = RECORDS / "README.md"
HEADING = "## Pretraining on plain text"
TEXT = """\
Strict F1 in percent on text that no choice was made on; bert-crf with {layers} layers, {seeds} seeds, last checkpoint,
{training}, {epochs:g} epochs of batches of {tagger_batch}. Every pretraining: {steps:,} steps of {batch} blocks of at
most {max_length} tokens from `medical_lines.txt`, which holds texts of the training sets, without their labels, and no
line of a test set but one (of CMeEE). {rows} Perplexities are over held-out masked tokens of the row's own kind and do
not compare across rows. CMeEE: its dev file as test, nested gold counted in full. Differences are to the first row of
the same kind of encoder, seed by seed. Made by"""
ROWS = {
    "as it is": "the first layers of `e5-small-zh-char`, with which the next rows begin",
    "plain [MASK]": "characters masked with [MASK]",
    "whole-word [MASK]": "n-grams of whole words masked with [MASK]",
    "MacBERT": "n-grams of whole words give way to similar words",
    "random": "{scratch_layers} random layers of width {scratch_size}, with a vocabulary made from the text",
    "from scratch": "the same after pretraining with similar words",
}
"""Description of each row of the table."""

PLAIN = {"replacement": "mask", "lexicon": None, "ngram_shares": [1.0]}
ARMS: dict[str, dict[str, Any] | None] = {
    "as it is": None,
    "plain [MASK]": PLAIN,
    "whole-word [MASK]": {"replacement": "mask"},
    "MacBERT": {"replacement": "similar"},
    "random": None,
    "from scratch": {"replacement": "similar"},
}
"""Masking of each pretraining method; None for no pretraining."""
SCRATCH = ("random", "from scratch")
CORPORA = ("cmedqaner", "cmeee")
REPORTED_OPTIONS = (
    "layers", "steps", "batch", "max_length", "pretraining_rate", "scratch_layers", "scratch_size",
    "documents", "test_documents", "epochs", "tagger_batch", "learning_rate", "seeds",
)  # fmt: skip
"""Options that change the figures."""


def slug(arm: str) -> str:
    """Return the name of an arm for file names."""
    return "-".join("".join(char if char.isalnum() else " " for char in arm.lower()).split())


def pretraining_arguments(arm: str, args: argparse.Namespace) -> PretrainingArguments:
    """Return the lexicon, encoder size and masking of an arm."""
    is_scratch = arm in SCRATCH
    return PretrainingArguments(
        **{
            "lexicon": str(args.data / "lexicon/medical_words.tsv"),
            "encoder_layers": args.scratch_layers if is_scratch else args.layers,
            "encoder_size": args.scratch_size,
            "max_length": args.max_length,
            **(ARMS[arm] or {}),
        }
    )


def make_encoder(arm: str, args: argparse.Namespace) -> Path:
    """Return the folder of an arm's encoder; pretrain it if it does not exist."""
    start, folder = args.data / "encoders/e5-small-zh-char", args.work / slug(arm)
    if arm == "as it is":
        return start
    if arm == "random":
        return make_random_encoder(folder, args)
    if not (folder / METRICS_FILE).exists():
        run_pretraining(
            None if arm in SCRATCH else str(start),
            [str(args.data / "unlabelled/medical_lines.txt")],
            pretraining_arguments(arm, args),
            PretrainCommandArguments(
                output_dir=str(folder),
                resume_from_checkpoint="auto",
                max_steps=args.steps,
                learning_rate=args.pretraining_rate,
                per_device_train_batch_size=args.batch,
                bf16=args.bf16,
                dataloader_num_workers=args.workers,
                eval_steps=max(1, args.steps // 4),
                save_steps=max(1, args.steps // 10),
                seed=0,
            ),
        )
    return folder


def make_random_encoder(folder: Path, args: argparse.Namespace) -> Path:
    """Write the encoder that `from scratch` starts from, unless it exists, and return its folder."""
    if not (folder / "vocab.txt").exists():
        arguments = pretraining_arguments("random", args)
        set_seed(0)
        tokenizer = load_tokenizer(None, read_texts([str(args.data / "unlabelled/medical_lines.txt")]), arguments)
        model = build_masked_lm(None, tokenizer, arguments)
        model.save_pretrained(folder)
        save_vocabulary(tokenizer, folder, max_length=block_length(None, model))
    return folder


def dataset_arguments(name: str, args: argparse.Namespace) -> DatasetArguments:
    """Return the training and test documents of a corpus."""
    files = {
        "cmedqaner": ("cmedqaner/train.jsonl", "cmedqaner/test.jsonl", None),
        "cmeee": ("cmeee/CMeEE_train.json", "cmeee/CMeEE_dev.json", 3000),
    }
    train, test, size = files[name]
    limits = {"max_train_documents": args.documents or size, "max_test_documents": args.test_documents}
    return DatasetArguments(str(args.data / train), test=str(args.data / test), validation_share=0.0, **limits)


def train_one(arm: str, corpus: str, seed: int, args: argparse.Namespace) -> None:
    """Train and score a tagger and write its record, unless it has one; the checkpoint is removed."""
    record, work = RECORDS / f"{corpus}-{slug(arm)}-{seed}.json", args.work / f"{corpus}-{slug(arm)}-{seed}"
    if record.exists():
        return
    encoder = make_encoder(arm, args)
    layers = args.scratch_layers if arm in SCRATCH else args.layers
    metrics = run_training(
        dataset_arguments(corpus, args),
        ModelArguments(encoder=str(encoder), encoder_layers=layers, architecture="bert-crf"),
        AdnerTrainingArguments(
            output_dir=str(work), learning_rate=args.learning_rate, num_train_epochs=args.epochs, seed=seed,
            per_device_train_batch_size=args.tagger_batch, bf16=args.bf16,
            eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
        ),
    )  # fmt: skip
    shutil.rmtree(work, ignore_errors=True)
    content = {
        "arm": arm, "corpus": corpus, "seed": seed, "strict": metrics["test"]["strict"],
        "documents": metrics["documents"], "train_seconds": metrics["train_seconds"],
        "settings": {name: str(value) for name, value in vars(args).items() if name not in ("data", "work", "table")},
        "pretraining": pretraining_figures(encoder / METRICS_FILE),
    }  # fmt: skip
    write_json(record, content)


def pretraining_figures(path: Path) -> dict[str, Any]:
    """Return steps, time and perplexities of a pretraining; empty if there was none."""
    if not path.exists():
        return {}
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: metrics[name] for name in ("steps", "train_seconds", "held_out", "texts", "blocks") if name in metrics
    }


def markdown(records: Iterable[Mapping[str, Any]]) -> str:
    """Return a table with a row per arm: F1 per corpus, its difference from the initial encoder, and perplexities."""
    scores: dict[tuple[str, str], dict[int, float]] = {}
    figures: dict[str, Mapping[str, Any]] = {}
    for record in records:
        scores.setdefault((record["arm"], record["corpus"]), {})[record["seed"]] = 100 * record["strict"]["f1"]
        figures[record["arm"]] = record["pretraining"]
    heads = [head for corpus in CORPORA for head in (f"{corpus} F1", "difference")]
    rows = []
    for arm in (arm for arm in ARMS if arm in figures):
        start = "random" if arm in SCRATCH else "as it is"
        cells = [cell for corpus in CORPORA for cell in _cells(scores, arm, start, corpus)]
        rows.append((arm, *cells, _perplexities(figures[arm])))
    return markdown_table(["encoder", *heads, "perplexity before, after"], rows)


def _cells(
    scores: Mapping[tuple[str, str], dict[int, float]], arm: str, start: str, corpus: str
) -> tuple[str | None, str | None]:
    own, first = scores.get((arm, corpus), {}), scores.get((start, corpus), {})
    common = sorted(set(own) & set(first)) if arm != start else []
    return _mean(list(own.values())), _mean([own[seed] - first[seed] for seed in common], "+")


def _mean(values: list[float], sign: str = "") -> str | None:
    if not values:
        return None
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.2f}{deviation}"


def _perplexities(figures: Mapping[str, Any]) -> str | None:
    if "held_out" not in figures:
        return None
    return ", ".join(f"{figures['held_out'][when]['perplexity']:.1f}" for when in ("before", "after"))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpora, lexicon, text and encoder")
    parser.add_argument("--work", type=Path, default=Path("runs/pretraining"), help="folder for checkpoints")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--layers", type=int, default=4, help="number of encoder layers to use")
    parser.add_argument("--steps", type=int, default=2000, help="steps of every pretraining")
    parser.add_argument("--batch", type=int, default=32, help="blocks per step of pretraining")
    parser.add_argument("--max_length", type=int, default=256, help="tokens per block")
    parser.add_argument("--pretraining_rate", type=float, default=3e-4, help="learning rate of pretraining")
    parser.add_argument("--scratch_layers", type=int, default=4, help="layers of the encoder from scratch")
    parser.add_argument("--scratch_size", type=int, default=256, help="hidden size of the encoder from scratch")
    parser.add_argument("--learning_rate", type=float, default=2e-4, help="learning rate of the encoder in the taggers")
    parser.add_argument("--epochs", type=float, default=3, help="epochs of the taggers")
    parser.add_argument("--tagger_batch", type=int, default=16, help="documents per step of the taggers")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of the taggers")
    parser.add_argument("--documents", type=int, help="training documents, at most (default: all, 3,000 of CMeEE)")
    parser.add_argument("--test_documents", type=int, help="test documents, at most (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="data-loader processes that mask")
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16")
    parser.add_argument("--table", action="store_true", help="only write the table")
    return parser.parse_args(argv)


def write_section(args: argparse.Namespace) -> None:
    """Write the section of the results page from all records."""
    records = list(load_records(RECORDS).values())
    if not records:
        return
    arms = [arm for arm in ARMS if any(record["arm"] == arm for record in records)]
    options = vars(args)
    rows = "; ".join(f"`{arm}`: {ROWS[arm].format(**options)}" for arm in arms) + "."
    text = textwrap.fill(TEXT.format(**options, training=describe_documents(args), rows=rows), 120)
    body = f"{text}\n\n{command_line(args, arms)}\n\n{markdown(records)}"
    update_section(PAGE, HEADING, body)


def describe_documents(args: argparse.Namespace) -> str:
    """Describe the training and test documents of the taggers."""
    training = f"{args.documents:,} training documents" if args.documents else "all training documents (CMeEE: 3,000)"
    test = f"{args.test_documents:,}" if args.test_documents else "all"
    return f"{training}, fixed samples, {test} test documents of each corpus"


def command_line(args: argparse.Namespace, arms: list[str]) -> str:
    """Return the command with all options that change the figures."""
    settings = {name: getattr(args, name) for name in REPORTED_OPTIONS if getattr(args, name) is not None}
    words = [f"--{name} {value:g}" for name, value in settings.items()] + ["--bf16"] * args.bf16
    words += [] if arms == list(ARMS) else ["--arms", *(f'"{arm}"' for arm in arms)]
    lines = textwrap.wrap(f"python scripts/pretraining.py --data FOLDER {' '.join(words)}", 105)
    return "    " + " \\\n        ".join(lines)


def main() -> None:
    """Do the missing runs, then write the table."""
    args = parse()
    if not args.table:
        for seed in range(args.seeds):
            for arm in args.arms:
                for corpus in args.corpora:
                    train_one(arm, corpus, seed, args)
    write_section(args)


if __name__ == "__main__":
    main()
