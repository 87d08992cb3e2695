"""Where the time of a training step goes: data, words, encoder, streams, graph, CRF and optimizer.

    python scripts/benchmarks/step_shares.py [--layers 12] [--batch 16] [--length 128] [--steps 3] [--threads 1]

A random encoder of width 384, random words and sentences. A step is what `adner train` does: rows made from encoded
sentences, forward, backward, clipping, AdamW (fused, transformers' default). CPU time of the process, means over the
steps after the first. In the backward pass the gradients of the layers' outputs arrive from the CRF down to the
encoder, which divides its time between them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import logging

from hf_adner import AdnerDataCollator, AdnerForTokenClassification, AdnerTokenizer, Lexicon

TYPES = ["Disease", "Symptom", "BodySite", "Drug", "Test"]
LAYERS = ("encoder", "dual streams", "attention", "graph", "CRF")
"""Parts of the network, from the input up."""


class Clock:
    """CPU seconds by name; `lap` gives the time since the last lap to a name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.process_time()

    def lap(self, name: str | None = None) -> None:
        """Add the time since the last lap to a name; None: to nothing."""
        now = time.process_time()
        if name is not None:
            self.seconds[name] += now - self._last
        self._last = now

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add the time of a block to a name."""
        self.lap()
        yield
        self.lap(name)


def make_data(args: argparse.Namespace) -> tuple[AdnerTokenizer, list[str]]:
    """A tokenizer with 50,000 words, and sentences."""
    draw = random.Random(0)
    common = [chr(0x4E00 + number) for number in range(3000)]
    texts = ["".join(draw.choices(common, k=args.length)) for _ in range(args.batch)]
    words = {text[start : start + 2] for text in texts for start in range(0, len(text) - 2, 2)}
    words |= {"".join(draw.choices(common, k=draw.randint(2, 5))) for _ in range(50_000)}
    return AdnerTokenizer.from_texts(["".join(common), *texts], lexicon=Lexicon(sorted(words))), texts


def watch(model: AdnerForTokenClassification, clock: Clock) -> None:
    """Give the time between the outputs of the layers, forward and backward, to the layers."""
    adner = model.adner
    modules = dict(zip(LAYERS, (adner.encoder, adner.dual_stream, adner.self_attention, adner.graph, model.head)))
    backward = dict(zip(LAYERS, LAYERS[1:]))  # when its gradient arrives, the layer above has done its part

    def done(name: str, output: object) -> None:
        clock.lap(f"{name}, forward")
        values = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", output)
        if name in backward and torch.is_tensor(values) and values.requires_grad:
            values.register_hook(lambda _: clock.lap(f"{backward[name]}, backward"))

    for name, module in modules.items():
        module.register_forward_hook(lambda module, inputs, output, name=name: done(name, output))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    tokenizer, texts = make_data(args)
    encoder = {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": args.layers, "num_attention_heads": 12}
    encoder |= {"intermediate_size": 1536, "max_position_embeddings": 514}
    model = AdnerForTokenClassification.from_scratch(tokenizer, TYPES, "m-dscmg", encoder_config=encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    collate, clock = AdnerDataCollator(tokenizer), Clock()
    watch(model.train(), clock)
    for number in range(args.steps + 1):
        if number == 1:
            clock.seconds.clear()
        with clock.of("tokens and words of the texts (once, before training)"):
            rows = [{**tokenizer(text), "labels": [0] * (len(text) + 2)} for text in texts]
        for row in rows:
            row["labels"] = [-100, *(random.randrange(2 * len(TYPES) + 1) for _ in row["labels"][2:]), -100]
        with clock.of("data: rows to a batch"):
            batch = collate(rows)
        clock.lap()
        loss = model(**batch).loss
        clock.lap("CRF, forward")
        loss.backward()
        clock.lap("encoder, backward")
        with clock.of("clipping"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        with clock.of("optimizer"):
            optimizer.step()
            optimizer.zero_grad()
    step = {name: seconds / args.steps for name, seconds in clock.seconds.items() if "once" not in name}
    total = sum(step.values())
    print(
        f"{args.batch} x {args.length} characters, {args.layers} layers, {args.threads} threads, {total:.2f} s a step\n"
    )
    print("| part | ms | share |\n|---|---:|---:|")
    for name, seconds in step.items():
        print(f"| {name} | {seconds * 1e3:.0f} | {seconds / total:.1%} |")
    for name, seconds in clock.seconds.items():
        if "once" in name:
            print(f"| {name} | {seconds / args.steps * 1e3:.0f} | |")


if __name__ == "__main__":
    main()
