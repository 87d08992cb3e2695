"""Time whole explanation-guided runs against plain ones: same encoder, same documents, same order.

    python scripts/benchmarks/guided_training.py [--encoder FOLDER --dataset FILE] [--model bert-crf] [--turns 3]

Every turn trains each arm once from the same weights, in another order each turn: plain, full (the default settings),
stability alone, FGM and R-Drop. The time includes the trainer's setup; ratios are medians over the turns. Processor
time is that of the process on all CPU cores. Peak memory is that of the process (or the GPU), and growth the part above
what was in use before. Without files a random encoder and the built-in synthetic corpus are used. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from hf_adner.comparison.arms import ARMS, MODEL_FAMILIES
from hf_adner.comparison.corpus import ComparedCorpus
from hf_adner.comparison.run import ArmRunner, Trained
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import DatasetArguments, ModelArguments

GOALS = {"plain": None, "full": 1.2, "stability-only": 1.1, "fgm": None, "r-drop": None}
MEGABYTE = 1 << 20


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder of a pretrained encoder (default: a random one)")
    parser.add_argument("--layers", type=int, default=4, help="number of encoder layers")
    parser.add_argument("--size", type=int, default=256, help="hidden size of the random encoder")
    parser.add_argument("--model", default="bert-crf", choices=MODEL_FAMILIES, help="model family")
    parser.add_argument("--dataset", default="ad-synthetic", help="documents with entities")
    parser.add_argument("--test", help="test documents, if the dataset has none (not used)")
    parser.add_argument("--lexicon", help="word list, for models that read one")
    parser.add_argument("--documents", type=int, default=300, help="training documents")
    parser.add_argument("--epochs", type=float, default=5, help="passes over them")
    parser.add_argument("--batch", type=int, default=16, help="documents per step")
    parser.add_argument("--turns", type=int, default=3, help="number of turns")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--arms", nargs="+", default=list(GOALS), choices=list(ARMS), help="arms, plain among them")
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> ArmRunner:
    """Prepare corpus, tokenizer and encoded documents, which all runs share."""
    dataset = DatasetArguments(
        args.dataset, test=args.test, validation_share=0.0, max_train_documents=args.documents, max_test_documents=8,
        max_validation_documents=8,
    )  # fmt: skip
    model = ModelArguments(
        encoder=args.encoder, encoder_layers=args.layers, encoder_size=args.size, lexicon=args.lexicon
    )
    runner = ArmRunner(ComparedCorpus.load("benchmark", dataset, []), args.model, model, dataset)
    runner.encoded("train", runner.initial_model(0))
    return runner


def run_turns(runner: ArmRunner, args: argparse.Namespace, work: Path) -> list[dict[str, Trained]]:
    """Train every arm once per turn, after one warm-up step."""
    training = ExplanationGuidedTrainingArguments(
        output_dir=str(work), num_train_epochs=args.epochs, per_device_train_batch_size=args.batch, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no",
    )  # fmt: skip
    runner.train(ARMS["plain"], 0, replace(training, max_steps=1), work)
    turns = []
    for number in range(args.turns):
        order = args.arms[number % len(args.arms) :] + args.arms[: number % len(args.arms)]
        turns.append({arm: runner.train(ARMS[arm], number, training, work) for arm in order})
    return turns


def table(turns: list[dict[str, Trained]], arms: list[str]) -> str:
    """Return a table of seconds, ratios to plain and goals."""
    heads = ("arm", "seconds", "time", "goal", "met", "processor time", "peak, MB", "memory", "growth, MB", "growth")
    rows = []
    for arm in arms:
        times = _ratios(turns, arm, "seconds")
        seconds = statistics.median(turn[arm].seconds for turn in turns)
        cells = [arm, f"{seconds:.1f}", _median_and_range(times)]
        goal = GOALS.get(arm)
        cells += [f"at most {goal}x", "yes" if statistics.median(times) <= goal else "NO"] if goal else [None, None]
        cells.append(_median_and_range(_ratios(turns, arm, "processor_seconds")))
        for name in ("peak", "growth"):
            sizes = [(getattr(turn[arm].memory, name), getattr(turn["plain"].memory, name)) for turn in turns]
            cells.append(f"{statistics.median(own for own, _ in sizes) / MEGABYTE:.0f}")
            cells.append(f"{statistics.median(own / plain for own, plain in sizes):.2f}x")
        rows.append(cells)
    return markdown_table(heads, rows)


def _ratios(turns: list[dict[str, Trained]], arm: str, figure: str) -> list[float]:
    return [getattr(turn[arm], figure) / getattr(turn["plain"], figure) for turn in turns]


def _median_and_range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def main() -> None:
    """Run the benchmark and print the table."""
    args = parse()
    if "plain" not in args.arms:
        raise SystemExit("--arms needs plain, which the others are compared with")
    torch.set_num_threads(args.threads)
    transformers_logging.set_verbosity_error()
    runner = prepare(args)
    with tempfile.TemporaryDirectory() as work:
        turns = run_turns(runner, args, Path(work))
    steps = {turn[arm].steps for turn in turns for arm in args.arms}
    device = "GPU" if torch.cuda.is_available() else f"CPU, {args.threads} threads"
    print(f"{args.model}, {args.layers} layers, {len(runner.corpus.train)} documents, {args.epochs:g} epochs, ")
    print(f"{'/'.join(map(str, sorted(steps)))} steps of {args.batch}, {args.turns} turns, {device}\n")
    print(table(turns, args.arms))


if __name__ == "__main__":
    main()
