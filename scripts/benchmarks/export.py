"""What an ONNX export costs and saves: strict F1, scores and time of a checkpoint in PyTorch and in each engine.

    python scripts/benchmarks/export.py MODEL [INPUT] [--split test] [--documents 500] [--threads 1] [--rounds 5]

INPUT is any corpus the package reads (default: ad-synthetic). All tag the same documents with the same batches, in
turns: PyTorch, ONNX Runtime with floats and with 8 bits, and if it is installed OpenVINO. A time is CPU time, the
median over the rounds, and counts everything from text to entities. The shift is the largest change of a score of an
entity that PyTorch finds too. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, load_ner_dataset
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.serve.onnx_export import GRAPH_FILE, export_onnx
from hf_adner.serve.onnx_tagger import OnnxTagger

BATCH_SIZE = 16
Tag = Callable[[list[str]], list[list[dict[str, Any]]]]


def make_taggers(checkpoint: str, folder: Path, threads: int) -> tuple[dict[str, Tag], dict[str, float]]:
    """Name -> tagger, and name -> megabytes of its weights."""
    model = AdnerForTokenClassification.from_pretrained(checkpoint)
    tokenizer = AdnerTokenizer.from_pretrained(checkpoint)
    pipe = AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")
    taggers: dict[str, Tag] = {"PyTorch": lambda texts: pipe(texts, batch_size=BATCH_SIZE)}
    sizes = {"PyTorch": sum(one.numel() * one.element_size() for one in model.state_dict().values()) / 1e6}
    engines = [("ONNX Runtime", False, "onnxruntime"), ("ONNX Runtime, 8 bits", True, "onnxruntime")]
    engines += [("OpenVINO", False, "openvino")] if importlib.util.find_spec("openvino") else []
    for name, int8, engine in engines:
        place = folder / ("int8" if int8 else "float")
        if not place.exists():
            export_onnx(model, tokenizer, place, int8=int8)
        tagger = OnnxTagger(place, threads=threads, engine=engine)
        taggers[name] = lambda texts, tagger=tagger: tagger(texts, batch_size=BATCH_SIZE)
        sizes[name] = (place / GRAPH_FILE).stat().st_size / 1e6
    return taggers, sizes


def spans_of(found: list[list[dict[str, Any]]]) -> list[list[tuple[int, int, str]]]:
    """Tagged entities as (start, end, label), per document."""
    return [[(one["start"], one["end"], one["entity_group"]) for one in entities] for entities in found]


def largest_shift(found: list[list[dict[str, Any]]], reference: list[list[dict[str, Any]]]) -> float:
    """Largest change of a score among the entities that both sides have."""
    shift = 0.0
    for entities, others in zip(found, reference, strict=True):
        known = {(one["start"], one["end"], one["entity_group"]): one["score"] for one in others}
        for one in entities:
            place = one["start"], one["end"], one["entity_group"]
            shift = max(shift, abs(one["score"] - known.get(place, one["score"])))
    return shift


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("input", nargs="?", default="ad-synthetic")
    parser.add_argument("--split", default="test")
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    splits = load_ner_dataset(args.input)
    documents = list(documents_from_dataset(splits[args.split]))[: args.documents]
    texts = [document.text for document in documents]
    with tempfile.TemporaryDirectory() as folder:
        taggers, sizes = make_taggers(args.model, Path(folder), args.threads)
        tagged = {name: tag(texts) for name, tag in taggers.items()}
        found = {name: spans_of(entities) for name, entities in tagged.items()}
        times: dict[str, list[float]] = {name: [] for name in taggers}
        for _ in range(args.rounds):
            for name, tag in taggers.items():
                start = time.process_time()
                tag(texts)
                times[name].append(time.process_time() - start)
    ratios = {
        name: statistics.median(base / own for base, own in zip(times["PyTorch"], seconds))
        for name, seconds in times.items()
    }
    print(f"{len(texts)} documents, {sum(map(len, texts))} characters, {args.threads} threads\n")
    print("| | strict F1 | entities as PyTorch | largest shift | MB | CPU seconds | times as fast |")
    print("|---|---|---|---|---|---|---|")
    for name, spans in found.items():
        score = entity_f1(spans, [document.spans for document in documents])["f1"]
        same = entity_f1(spans, found["PyTorch"])["f1"]
        seconds = statistics.median(times[name])
        shift = largest_shift(tagged[name], tagged["PyTorch"])
        scores = f"{score:.4f} | {same:.4f} | {shift:.1g}"
        print(f"| {name} | {scores} | {sizes[name]:.1f} | {seconds:.1f} | {ratios[name]:.2f} |")


if __name__ == "__main__":
    main()
