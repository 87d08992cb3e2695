"""Time a per-label tagger against a flat one on the same encoder: training step and forward pass.

    python scripts/benchmarks/tagging.py [--labels 9] [--layers 12 1] [--repeats 7] [--threads 1]

A step is forward, backward and AdamW; a forward pass is that of prediction: marginals, paths and, per label, their flat
reading. Both models run in turns in one process; the figure is the median, over the turns, of the per-label tagger's
time divided by the flat one's. It is checked first that the batched chains give the likelihoods and boundaries of one
flat tagger per label with the same weights. Random weights and sentences; prints a Markdown table.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import logging

from hf_adner import AdnerDataCollator, AdnerForTokenClassification, AdnerTokenizer, Document, Entity, encode_dataset
from hf_adner.data.dataset import dataset_from_documents

GOAL = 1.5
COMMON = 3000
TAGGINGS = ("flat", "per-label")


def encoder_config(layers: int) -> dict[str, int | str]:
    """An encoder of the width of multilingual-e5-small."""
    sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    return {"model_type": "bert", "num_hidden_layers": layers, **sizes}


def make_documents(types: list[str], rows: int) -> list[Document]:
    """Sentences of 80 to 128 common characters with disjoint random entities, so that both taggings train on all."""
    draw, documents = random.Random(0), []
    for row in range(rows):
        text = "".join(chr(0x4E00 + draw.randrange(COMMON)) for _ in range(draw.randrange(80, 129)))
        starts = range(draw.randrange(4), len(text) - 8, 12)
        entities = [Entity(start, start + draw.randrange(1, 7), draw.choice(types)) for start in starts]
        documents.append(Document(str(row), text, tuple(entities)))
    return documents


def make_model(tokenizer: AdnerTokenizer, types: list[str], layers: int, tagging: str) -> AdnerForTokenClassification:
    """A bert-crf; models of equal layers have equal encoders."""
    torch.manual_seed(0)
    return AdnerForTokenClassification.from_scratch(
        tokenizer, types, "bert-crf", encoder_config=encoder_config(layers), tagging=tagging
    )


def make_batch(model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, documents: list[Document]):
    """The documents as one batch with the labels of the model's tagging."""
    config = model.config
    rows = encode_dataset(dataset_from_documents(documents), tokenizer, config.label2id, tagging=config.tagging)
    return AdnerDataCollator(tokenizer)([{name: row[name] for name in (*tokenizer(""), "labels")} for row in rows])


def check_equal_chains(model: AdnerForTokenClassification, batch: Mapping[str, Tensor]) -> None:
    """Raise unless the per-label head gives what one flat head per label with the same weights gives."""
    types = model.config.entity_types
    with torch.no_grad():
        output = model.eval()(**batch)
        mask, emissions = output.text_mask.bool(), output.emissions.unflatten(-1, (len(types), -1))
        gold = model.head.chain_labels.to_chains(batch["labels"][:, 1:-1]).masked_fill(~mask[..., None], -100)
        alone = [model.head.read_chains(emissions[:, :, one], mask, gold[..., one]) for one in range(len(types))]
        expected = -sum(one.likelihood.sum() for one in alone) / mask.sum()
        torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=1e-5)
        for number, one in enumerate(alone):
            torch.testing.assert_close(output.start_probs[:, 1:-1, number], one.start_probs)
            torch.testing.assert_close(output.end_probs[:, 1:-1, number], one.end_probs)


def stepper(model: AdnerForTokenClassification, batch: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that makes one training step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        model.train()
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def reader(model: AdnerForTokenClassification, batch: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that makes one forward pass without labels."""
    inputs = {name: values for name, values in batch.items() if name != "labels"}

    def read() -> None:
        with torch.no_grad():
            model.eval()(**inputs)

    return read


def elapsed(run: Callable[[], None]) -> float:
    """Return the milliseconds that one call takes."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def compete(what: str, runs: list[Callable[[], None]], repeats: int, size: str) -> str:
    """Warm up, run in turns and return a table row."""
    turns = [[elapsed(run) for run in runs] for _ in range(repeats + 1)][1:]
    ratio = statistics.median(nested / flat for flat, nested in turns)
    flat, nested = (statistics.median(side) for side in zip(*turns, strict=True))
    met = "yes" if ratio <= GOAL else "NO"
    return f"| {what} | {size} | {flat:.0f} | {nested:.0f} | {ratio:.2f}x | at most {GOAL}x | {met} |"


def main() -> None:
    """Run the contests and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=9, help="entity types (default 9)")
    parser.add_argument("--layers", type=int, nargs="+", default=[12, 1], help="layers of the encoder (default 12 1)")
    parser.add_argument("--batch", type=int, default=16, help="sentences in a batch (default 16)")
    parser.add_argument("--repeats", type=int, default=7, help="turns (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    types = [f"type-{number}" for number in range(args.labels)]
    documents = make_documents(types, args.batch)
    tokenizer = AdnerTokenizer.from_texts([document.text for document in documents])
    print("| what | size | flat, ms | per-label, ms | ratio | goal | met |\n|---|---|---|---|---|---|---|")
    for layers in args.layers:
        models = [make_model(tokenizer, types, layers, tagging) for tagging in TAGGINGS]
        batches = [make_batch(model, tokenizer, documents) for model in models]
        check_equal_chains(models[1], batches[1])
        size = f"{args.batch} x {batches[0]['input_ids'].shape[1]} tokens, {layers} layers, {args.labels} labels"
        for what, make in (("training step", stepper), ("forward pass", reader)):
            runs = [make(model, batch) for model, batch in zip(models, batches)]
            print(compete(what, runs, args.repeats, size), flush=True)


if __name__ == "__main__":
    main()
