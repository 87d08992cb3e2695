"""Compare the costs of m-dscmg with those of bert-crf, bert-softmax, and of m-dscmg in another checkout.

    python scripts/benchmarks/architectures.py [--before ../before] [--stream-size 256] [--batch 8] [--turns 9]

`--before` is the root of another checkout (`git worktree add --detach ../before COMMIT`). Each side runs in a process
of its own with one thread, on the same random weights, characters and words of 2 to 6 characters. That each process has
the package of its checkout, and that emissions are equal, is checked first. The sides take turns; figures are medians
over the turns, ratios medians of the ratios within a turn, of CPU time, so that a busy machine counts less. Memory is
what a forward pass adds to the peak of a process, at a batch of 16 windows. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ("bert-crf", "bert-softmax")
FULL = "m-dscmg"
ENCODER = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4}
ENCODER |= {"intermediate_size": 512, "max_position_embeddings": 512}
GOALS = {"forward": 2.0, "training step": 2.0}
ACTIONS = {"forward": "forward", "training step": "step"}


class Models:
    """The architectures on one batch; runs in the worker's process, whose checkout `hf_adner` is imported from."""

    def __init__(self, batch: int, length: int, stream_size: int):
        import torch
        from transformers import logging

        from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon

        torch.set_num_threads(1)
        logging.set_verbosity_error()
        draw = random.Random(0)
        characters = [chr(0x4E00 + 7 * index) for index in range(600)]
        texts = ["".join(draw.choices(characters, k=length)) for _ in range(batch)]
        spans = [(text, start, draw.choice([2, 2, 2, 3, 3, 4, 5, 6])) for text in texts for start in range(length)]
        words = sorted({text[start : start + size] for text, start, size in spans if draw.random() < 0.8})
        frequencies = [draw.randrange(1, 1000) for _ in words]
        words = [(word, number) for word, number in zip(words, frequencies) if len(word) > 1]
        tokenizer = AdnerTokenizer.from_texts(texts, lexicon=Lexicon(*zip(*words)))
        self.inputs = dict(tokenizer(texts, padding=True, return_tensors="pt"))
        self.labels = torch.full_like(self.inputs["input_ids"], -100)
        self.labels[:, 1:-1] = torch.arange(length) % 3
        self.models, self.optimizers = {}, {}
        for name in (FULL, *BASELINES):
            torch.manual_seed(0)
            sizes = {"encoder_config": ENCODER, "stream_size": stream_size}
            self.models[name] = AdnerForTokenClassification.from_scratch(tokenizer, ["A", "B", "C"], name, **sizes)
            self.optimizers[name] = torch.optim.AdamW(self.models[name].parameters(), 1e-5, fused=True)

    def source(self, _: str) -> str:
        """Return the folder that the package was imported from."""
        import hf_adner

        return str(Path(hf_adner.__file__).resolve().parents[1])

    def forward(self, name: str) -> float:
        """Return the CPU seconds of a forward pass."""
        import torch

        model, began = self.models[name].eval(), time.process_time()
        with torch.no_grad():
            model(**self.inputs)
        return time.process_time() - began

    def step(self, name: str) -> float:
        """Return the CPU seconds of forward, backward and AdamW."""
        model, began = self.models[name].train(), time.process_time()
        model(**self.inputs, labels=self.labels).loss.backward()
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()
        return time.process_time() - began

    def memory(self, name: str) -> float:
        """Return the MB that a forward pass adds to the process's peak."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.forward(name)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    def emissions(self, path: str) -> str:
        """Save the emissions of m-dscmg."""
        import torch

        with torch.no_grad():
            torch.save(self.models[FULL].eval()(**self.inputs).emissions, path)
        return path


def work(args: argparse.Namespace) -> None:
    """Answer the lines of standard input (action and argument) until it ends."""
    models = Models(args.batch, args.length, args.stream_size)
    for line in sys.stdin:
        action, argument = json.loads(line)
        print(json.dumps(getattr(models, action)(argument)), flush=True)


class Worker:
    """A process that imports the package from `root`."""

    def __init__(self, root: Path, batch: int, length: int, stream_size: int):
        sizes = ["--batch", str(batch), "--length", str(length), "--stream-size", str(stream_size)]
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--worker", *sizes]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, cwd=root, **pipes)
        if (found := self("source", "")) != str(root):
            raise RuntimeError(f"the worker of {root} imported the package from {found}")

    def __call__(self, action: str, argument: str):
        """Let the process do something and return its answer."""
        self.process.stdin.write(json.dumps([action, argument]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def check_equal(sides: dict[str, Worker]) -> str:
    """Return the largest difference between the emissions of both sides; an error above 1e-4."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        emissions = [torch.load(side("emissions", f"{folder}/{name}.pt")) for name, side in sides.items()]
    torch.testing.assert_close(emissions[0], emissions[-1], atol=1e-4, rtol=0)
    return f"{(emissions[0] - emissions[-1]).abs().max().item():.1e}"


def turns_of(sides: dict[str, Worker], action: str, turns: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each side and architecture in each turn, after one turn that does not count."""
    contestants = [("now", name) for name in (FULL, *BASELINES)] + [(side, FULL) for side in sides if side != "now"]
    taken: dict[str, list[float]] = {}
    for _ in range(turns + 1):
        for side, name in contestants:
            taken.setdefault(name if side == "now" else side, []).append(sides[side](action, name))
    return {name: times[1:] for name, times in taken.items()}


def rows_of(what: str, taken: dict[str, list[float]]) -> list[str]:
    """Return table rows: m-dscmg against each other contestant."""
    rows, ours = [], taken[FULL]
    for name, times in taken.items():
        if name == FULL:
            continue
        ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, times))
        goal = f"{GOALS[what]:.1f}: {'met' if ratio <= GOALS[what] else 'MISSED'}" if name == "bert-crf" else ""
        label = f"{FULL} {name}" if name == "before" else name
        medians = [1e3 * statistics.median(side) for side in (ours, times)]
        rows.append(f"| {what} | {label} | {medians[0]:.0f} | {medians[1]:.0f} | {ratio:.2f}x | {goal} |")
    return rows


def main() -> None:
    """Run the workers and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="root of another checkout")
    parser.add_argument("--stream-size", type=int, default=256, help="width of m-dscmg's streams (default 256)")
    parser.add_argument("--batch", type=int, default=8, help="windows in a batch (default 8)")
    parser.add_argument("--length", type=int, default=128, help="characters of a window (default 128)")
    parser.add_argument("--turns", type=int, default=9, help="default 9")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
        return
    roots = {"now": ROOT, **({"before": args.before.resolve()} if args.before else {})}
    sides = {name: Worker(root, args.batch, args.length, args.stream_size) for name, root in roots.items()}
    print(f"{args.batch} windows of {args.length} characters, streams of {args.stream_size}, one thread.")
    print(f"Largest difference of emissions to before: {check_equal(sides)}\n" if args.before else "")
    print("| | against | m-dscmg, ms | other, ms | ratio | goal |\n|---|---|---|---|---|---|")
    for what, action in ACTIONS.items():
        print("\n".join(rows_of(what, turns_of(sides, action, args.turns))), flush=True)
    for side in sides.values():
        side.close()
    names = " | ".join(f"{name}, MB" for name in roots)
    print(f"\n| forward, 16 windows | {names} |\n|---|" + "---|" * len(roots))
    for length in (128, 255, 510):
        figures = []
        for root in roots.values():
            worker = Worker(root, 16, length, args.stream_size)
            figures.append(worker("memory", FULL))
            worker.close()
        print(f"| {length} characters | " + " | ".join(f"{figure:.0f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
