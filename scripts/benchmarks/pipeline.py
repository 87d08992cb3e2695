"""Time AdnerPipeline against the stock token-classification pipeline, on one bert-crf tagger and equal batch sizes.

    python scripts/benchmarks/pipeline.py [FILE] [--encoder PATH] [--sentences 1000] [--batch-sizes 1 8 32]

FILE is any corpus the package reads; without it sentences are made up. The tagger is a checkpoint (`--model`), or is
trained for a few steps on the sentences, so that there are about as many entities to score as there would be. Equal
entities are checked first, on all sentences where the arg max of the marginals is the best path (only there can the
stock pipeline give it). Both sides run in turns in one process; the figure is the median, over the turns, of the stock
pipeline's time divided by ours. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import pipeline
from transformers.utils import logging

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.data.formats import read_documents
from hf_adner.data.records import Document, Entity
from hf_adner.model.labels_adner import spans_to_bio

GOAL = 1.0
WORDS = {"症状": "甲乙丙丁", "药物": "戊己庚辛壬", "检查": "天地玄黄"}
FILLERS = "我他你的了是在有和吗呢请问医生这个怎么三月二周一点又很没，。？"
RANDOM_ENCODER = {"model_type": "bert", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
RANDOM_ENCODER |= {"intermediate_size": 1024, "max_position_embeddings": 512}


def made_up_sentences(count: int, seed: int = 0) -> list[Document]:
    """Sentences of 1 to 60 characters, words of random characters among fillers."""
    rng, documents = random.Random(seed), []
    for index in range(count):
        text, entities = "", []
        for _ in range(rng.randint(1, 12)):
            label = rng.choice([None, None, *WORDS])
            piece = "".join(rng.choices(WORDS.get(label, FILLERS), k=rng.randint(1, 5)))
            if label is not None:
                entities.append(Entity(len(text), len(text) + len(piece), label))
            text += piece
        documents.append(Document(str(index), text, tuple(entities)))
    return documents


def make_tagger(documents: list[Document], encoder: str | None) -> tuple[AdnerForTokenClassification, AdnerTokenizer]:
    """A bert-crf tagger for the documents' labels, on a pretrained or a random encoder."""
    labels = sorted({entity.label for document in documents for entity in document.entities})
    if encoder is None:
        tokenizer = AdnerTokenizer.from_texts(document.text for document in documents)
        model = AdnerForTokenClassification.from_scratch(tokenizer, labels, "bert-crf", encoder_config=RANDOM_ENCODER)
    else:
        tokenizer = AdnerTokenizer.from_pretrained(encoder)
        model = AdnerForTokenClassification.from_encoder_pretrained(
            encoder, tokenizer, labels, "bert-crf", encoder_kwargs={"dtype": torch.float32}
        )
    return model, tokenizer


def train(model: AdnerForTokenClassification, tokenizer: AdnerTokenizer, documents: list[Document], steps: int) -> None:
    """Train for so many steps of 16 sentences, on those that have entities and fit the encoder."""
    useful = [document.flattened() for document in documents if document.entities and len(document.text) <= 510]

    def collate(batch: list[Document]) -> dict[str, torch.Tensor]:
        inputs = tokenizer([document.text for document in batch], padding=True, return_tensors="pt")
        labels = torch.full_like(inputs["input_ids"], -100)
        for row, document in enumerate(batch):
            tags = spans_to_bio(document.spans, len(document.text))
            labels[row, 1 : len(tags) + 1] = torch.tensor([model.config.label2id[tag] for tag in tags])
        return {**inputs, "labels": labels}

    groups = ({"params": model.adner.parameters(), "lr": 2e-4}, {"params": model.head.parameters(), "lr": 5e-3})
    optimizer = torch.optim.AdamW(groups)
    loader = DataLoader(useful, batch_size=16, shuffle=True, collate_fn=collate)
    model.train()
    for batch in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()


def argmax_is_best_path(pipe: AdnerPipeline, text: str) -> bool:
    """Whether the arg max of every position's marginals is the best path."""
    with torch.no_grad():
        outputs = pipe.model(**pipe.tokenizer(text, return_tensors="pt").to(pipe.device))
    return torch.equal(outputs.logits[0, 1:-1].argmax(-1), outputs.predictions[0, 1:-1])


def check_equal(texts: list[str], ours: AdnerPipeline, stock: Callable[..., Any]) -> str:
    """What was compared; an error where the entities differ."""

    def places(found: list[list[dict[str, Any]]]) -> list[list[tuple]]:
        return [[(e["start"], e["end"], e["entity_group"]) for e in entities] for entities in found]

    agreeing = [text for text in texts if argmax_is_best_path(ours, text)]
    found, expected = places(ours(agreeing)), places(stock(agreeing))
    differing = sum(one != other for one, other in zip(found, expected))
    if differing or len(found) != len(expected):
        raise AssertionError(f"the entities of {differing} of {len(agreeing)} sentences differ")
    if not any(found):
        raise AssertionError("the tagger finds no entity, so nothing was compared; train it longer (--steps)")
    return f"{sum(map(len, found)):,} entities equal on the {len(agreeing):,} sentences where arg max = best path"


def elapsed(run: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compete(texts: list[str], ours: AdnerPipeline, stock: Callable[..., Any], batch_size: int, repeats: int) -> str:
    """Run both in turns and return a table row."""
    turns = [
        (elapsed(lambda: stock(texts, batch_size=batch_size)), elapsed(lambda: ours(texts, batch_size=batch_size)))
        for _ in range(repeats)
    ]
    theirs, mine = (len(texts) / statistics.median(side) for side in zip(*turns))
    ratio = statistics.median(first / second for first, second in turns)
    return f"| {batch_size} | {theirs:.0f} | {mine:.0f} | {ratio:.2f}x | {'yes' if ratio >= GOAL else 'NO'} |"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="corpus with entities (default: made-up sentences)")
    parser.add_argument("--encoder", help="pretrained encoder, a folder or Hub name (default: a small random BERT)")
    parser.add_argument("--model", help="trained bert-crf checkpoint, instead of --encoder and training")
    parser.add_argument("--sentences", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32], help="default 1 8 32")
    parser.add_argument("--steps", type=int, default=60, help="training steps (default 60)")
    parser.add_argument("--repeats", type=int, default=5, help="turns per batch size (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--device", default="cpu", help="default cpu")
    return parser.parse_args()


def main() -> None:
    """Make or load the tagger, check, and print the table."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    documents = read_documents(arguments.file) if arguments.file else made_up_sentences(arguments.sentences)
    documents = [one for one in itertools.islice(documents, arguments.sentences) if one.text]
    if arguments.model:
        model = AdnerForTokenClassification.from_pretrained(arguments.model)
        tokenizer = AdnerTokenizer.from_pretrained(arguments.model)
    else:
        model, tokenizer = make_tagger(documents, arguments.encoder)
        train(model, tokenizer, documents, arguments.steps)
    shared = {"model": model, "tokenizer": tokenizer, "device": arguments.device}
    ours, texts = AdnerPipeline(**shared), [document.text for document in documents]
    stride = {"stride": 64} if max(map(len, texts)) > 510 else {}  # it costs time, so only where it is needed
    stock = pipeline("token-classification", aggregation_strategy="simple", **stride, **shared)
    print(f"{len(texts):,} sentences, {sum(map(len, texts)):,} characters; {check_equal(texts, ours, stock)}\n")
    print("| batch size | stock, sentences/s | AdnerPipeline, sentences/s | ratio | goal of 1.0x met |")
    print("|---:|---:|---:|---:|---|")
    for batch_size in arguments.batch_sizes:
        print(compete(texts, ours, stock, batch_size, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
