"""Time explainers of all entities of a sentence against captum's loop over entities and against plain forward passes.

    python scripts/benchmarks/explanations.py [--encoder FOLDER] [--layers 12] [--size 384] [--repeats 3] [--threads 2]

One sentence of 92 characters with 12 entities, a bert-crf model. Integrated gradients are first checked to be captum's
values. The sides of a ratio take turns in one process; the figure is the median over the turns of the one's time
divided by the other's. LIME and KernelSHAP are timed once, for information. Without an encoder a random one is used.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from captum.attr import LayerIntegratedGradients
from transformers import logging

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Document, Entity, make_explainer
from hf_adner.explain.table_building import build_global_table
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.windows_adner import Window

TYPES = ["Disease", "Symptom", "BodySite", "Drug"]
LENGTH, ENTITIES = 92, 12
SPACING, SURFACE = 7, 3
TOLERANCE = 1e-3

Span = tuple[int, int, str]


class Row(NamedTuple):
    """A line of the table: what is timed, against what, and the goal for the ratio (None: for information)."""

    name: str
    numerator: Callable[[], Any]
    denominator: Callable[[], Any]
    at_least: float | None = None
    at_most: float | None = None


def make_sentence(draw: random.Random) -> tuple[str, list[Span]]:
    """Random common characters with an entity of three every seven."""
    text = "".join(chr(0x4E00 + draw.randrange(2000)) for _ in range(LENGTH))
    starts = [4 + SPACING * number for number in range(ENTITIES)]
    return text, [(start, start + SURFACE, TYPES[number % len(TYPES)]) for number, start in enumerate(starts)]


def make_model(args: argparse.Namespace, texts: Sequence[str]) -> tuple[AdnerForTokenClassification, AdnerTokenizer]:
    """A bert-crf model with the given encoder, or a random one."""
    torch.manual_seed(0)
    if args.encoder:
        tokenizer = AdnerTokenizer.from_pretrained(args.encoder)
        build = AdnerForTokenClassification.from_encoder_pretrained
        return build(args.encoder, tokenizer, TYPES, "bert-crf").eval(), tokenizer
    encoder = {
        "model_type": "bert",
        "hidden_size": args.size,
        "num_hidden_layers": args.layers,
        "num_attention_heads": max(1, args.size // 32),
        "intermediate_size": 4 * args.size,
    }
    tokenizer = AdnerTokenizer.from_texts(texts)
    model = AdnerForTokenClassification.from_scratch(tokenizer, TYPES, "bert-crf", encoder_config=encoder)
    return model.eval(), tokenizer


class CaptumLoop:
    """Integrated gradients entity by entity, as a user of captum writes it."""

    def __init__(self, tagger: Tagger, text: str, spans: Sequence[Span], steps: int):
        self.tagger, self.steps = tagger, steps
        self.batch = tagger.encode([text], [TextWindow(0, Window(0, len(text)))])
        self.places = [self.batch.tokens_of(0, span) for span in spans]
        self.target = Target("label", tagger.labels)
        self.ids = self.batch.inputs["input_ids"]
        self.masked = torch.where(self.batch.is_text, tagger.mask_id, self.ids)

    def __call__(self) -> torch.Tensor:
        """(entities, tokens) scores."""
        with self.tagger.eval_mode():
            return torch.stack([self._explain(place) for place in self.places])

    def _explain(self, place: Any) -> torch.Tensor:
        def forward(ids: torch.Tensor) -> torch.Tensor:
            tagging = self.tagger.tag(self.batch.copies(len(ids), input_ids=ids))
            return self.target(tagging, [place._replace(row=row) for row in range(len(ids))])

        method = LayerIntegratedGradients(forward, self.tagger.model.get_input_embeddings())
        values = method.attribute(self.ids, self.masked, n_steps=self.steps, method="riemann_middle")
        return values.sum(-1)[0]


def check_equal_values(ours: Any, captum: CaptumLoop, text: str, spans: Sequence[Span]) -> None:
    """Raise unless both give the same integrated gradients."""
    mine = torch.tensor([explanation.scores for explanation in ours([text], [spans])[0]])
    torch.testing.assert_close(mine, captum()[:, 1:-1].detach().float(), rtol=TOLERANCE, atol=TOLERANCE)


def build_rows(args: argparse.Namespace) -> tuple[list[Row], list[tuple[str, Callable[[], Any]]]]:
    """Ratios to measure, and what is timed alone."""
    draw = random.Random(0)
    text, spans = make_sentence(draw)
    model, tokenizer = make_model(args, [text])
    tagger = Tagger(model, tokenizer)
    inputs = tokenizer([text], return_tensors="pt")

    @torch.no_grad()
    def forward() -> Any:
        return model(**inputs)

    def explaining(name: str, entities: Sequence[Span] = spans, **options: Any) -> Callable[[], Any]:
        explainer = make_explainer(name, model, tokenizer, **options)
        return lambda: explainer([text], [entities])

    captum = CaptumLoop(tagger, text, spans, args.steps)
    path = {"steps": args.steps, "batch_size": args.steps}
    check_equal_values(make_explainer("integrated-gradients", model, tokenizer, **path), captum, text, spans)
    document = Document("sentence", text, tuple(Entity(*span) for span in spans))
    table = build_global_table(make_explainer("grad-x-input", model, tokenizer), [document], progress=False)
    most = 1.5 + ENTITIES
    rows = [
        Row("integrated gradients, captum / ours", captum, explaining("integrated-gradients", **path), at_least=1.6),
        Row(
            f"occlusion, {ENTITIES} entities / 1",
            explaining("occlusion"),
            explaining("occlusion", spans[:1]),
            at_most=1.2,
        ),
        Row("gradient x input / forward", explaining("grad-x-input"), forward, at_most=most),
        Row("fused-fast / forward", explaining("fused-fast", global_table=table), forward, at_most=most),
    ]
    sampling = {"n_samples": args.samples}
    return rows, [(name, explaining(name, **sampling)) for name in ("lime", "kernel-shap")] + [("forward", forward)]


def seconds(run: Callable[[], Any], times: int = 1) -> float:
    """Wall-clock time of one call, on average."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def measure(row: Row, repeats: int) -> tuple[float, float, float]:
    """Medians of both sides and of the ratio, over turns; a side that takes a moment only is called several times."""
    times = [max(1, round(0.5 / max(seconds(side), 1e-4))) for side in (row.numerator, row.denominator)]
    turns = []
    for turn in range(repeats):
        sides = [(0, row.numerator), (1, row.denominator)]
        found = {side: seconds(run, times[side]) for side, run in (sides if turn % 2 else sides[::-1])}
        turns.append((found[0], found[1]))
    first, second = zip(*turns)
    return statistics.median(first), statistics.median(second), statistics.median(one / two for one, two in turns)


def line(row: Row, repeats: int) -> str:
    """A line of the table."""
    first, second, ratio = measure(row, repeats)
    if row.at_least is not None:
        goal, met = f"at least {row.at_least:g}", ratio >= row.at_least
    else:
        goal, met = f"at most {row.at_most:g}", ratio <= row.at_most
    return f"| {row.name} | {1e3 * first:.0f} | {1e3 * second:.0f} | {ratio:.2f} | {goal} | {'yes' if met else 'NO'} |"


def main() -> None:
    """Run the contest and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder of a pretrained encoder")
    parser.add_argument("--layers", type=int, default=12, help="of the random encoder (default 12)")
    parser.add_argument("--size", type=int, default=384, help="width of the random encoder (default 384)")
    parser.add_argument("--steps", type=int, default=20, help="of the path (default 20)")
    parser.add_argument("--samples", type=int, default=100, help="of LIME and KernelSHAP (default 100)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    rows, alone = build_rows(args)
    print(f"{LENGTH} characters, {ENTITIES} entities\n")
    print("| what | first, ms | second, ms | ratio | goal | met |\n|---|---:|---:|---:|---|---|")
    for row in rows:
        print(line(row, args.repeats), flush=True)
    for name, run in alone:
        note = f", {args.samples} samples" if name != "forward" else ""
        print(f"| {name}{note} | {1e3 * seconds(run):.0f} | - | - | - | - |", flush=True)


if __name__ == "__main__":
    main()
