"""Time a training step of m-dscmg against bert-softmax on the same encoder and the same sentences.

    python scripts/benchmarks/training_step.py [--encoder FOLDER --lexicon FILE --text FILE] [--repeats 9] [--threads 2]

A step is forward, backward and AdamW.  Both models step in turns in one process; the figure is the median, over the
turns, of m-dscmg's time divided by bert-softmax's.  Both are checked first to read the same encoder and the same text.
Without files a random 12-layer encoder of width 384 and random words and sentences are used.  Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from transformers import BatchEncoding, logging

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon

TYPES = ["Disease", "Symptom", "BodySite", "Drug", "Test"]
GOAL = 1.35
ENCODER = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


def random_text(draw: random.Random, length: int) -> str:
    """Common Chinese characters."""
    return "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(length))


def read_inputs(args: argparse.Namespace) -> tuple[Lexicon, list[str]]:
    """The lexicon, and `batch` sentences of 80 to 128 characters."""
    draw = random.Random(0)
    if args.text:
        with open(args.text, encoding="utf-8") as file:
            lines = [line.strip() for line in file if 80 <= len(line.strip()) <= 128]
        texts = draw.sample(lines, args.batch)
    else:
        texts = [random_text(draw, draw.randrange(80, 129)) for _ in range(args.batch)]
    if args.lexicon:
        return Lexicon.from_file(args.lexicon), texts
    words = {text[start : start + 2] for text in texts for start in range(0, len(text) - 2, 2)}
    return Lexicon(sorted(words | {random_text(draw, draw.randrange(2, 6)) for _ in range(100_000)})), texts


def make_models(
    args: argparse.Namespace, lexicon: Lexicon, texts: list[str]
) -> tuple[AdnerTokenizer, dict[str, AdnerForTokenClassification]]:
    """Both architectures with equal encoders."""
    architectures = ("bert-softmax", "m-dscmg")
    if args.encoder:
        tokenizer = AdnerTokenizer.from_pretrained(args.encoder, lexicon=lexicon)
        build = AdnerForTokenClassification.from_encoder_pretrained
        return tokenizer, {name: build(args.encoder, tokenizer, TYPES, name) for name in architectures}
    tokenizer = AdnerTokenizer.from_texts(texts, lexicon=lexicon)
    models = {}
    for name in architectures:
        torch.manual_seed(0)
        models[name] = AdnerForTokenClassification.from_scratch(tokenizer, TYPES, name, encoder_config=ENCODER)
    plain, full = (models[name].adner.encoder for name in architectures)
    full.load_state_dict(plain.state_dict())
    return tokenizer, models


def stepper(model: AdnerForTokenClassification, batch: BatchEncoding, labels: torch.Tensor) -> Callable[[], float]:
    """A function that makes one training step and returns its milliseconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    model.train()

    def step() -> float:
        began = time.perf_counter()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return (time.perf_counter() - began) * 1e3

    return step


def check_equal_encoders(models: dict[str, AdnerForTokenClassification], batch: BatchEncoding) -> None:
    """Raise unless both encoders give the same states on the batch."""
    states = []
    for model in models.values():
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            states.append(model.eval().adner.encoder(**inputs).last_hidden_state)
    torch.testing.assert_close(*states)


def main() -> None:
    """Run the contest and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder of a pretrained encoder")
    parser.add_argument("--lexicon", help="word list")
    parser.add_argument("--text", help="file with a sentence a line")
    parser.add_argument("--batch", type=int, default=16, help="sentences in a step (default 16)")
    parser.add_argument("--repeats", type=int, default=9, help="turns (default 9)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    lexicon, texts = read_inputs(args)
    tokenizer, models = make_models(args, lexicon, texts)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], -100)
    for row, text in enumerate(texts):
        labels[row, 1 : len(text) + 1] = torch.randint(2 * len(TYPES) + 1, (len(text),))
    check_equal_encoders(models, batch)
    steps = {name: stepper(model, batch, labels) for name, model in models.items()}
    turns = [[step() for step in steps.values()] for _ in range(args.repeats + 1)][1:]
    ratio = statistics.median(full / plain for plain, full in turns)
    plain, full = (statistics.median(side) for side in zip(*turns, strict=True))
    size = f"{args.batch} x {batch['input_ids'].shape[1]} tokens, {len(lexicon):,} words"
    print("| what | size | bert-softmax, ms | m-dscmg, ms | ratio | goal | met |\n|---|---|---|---|---|---|---|")
    met = "yes" if ratio <= GOAL else "NO"
    print(f"| training step | {size} | {plain:.0f} | {full:.0f} | {ratio:.2f}x | at most {GOAL}x | {met} |")


if __name__ == "__main__":
    main()
