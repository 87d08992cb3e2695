"""Time what assertion adds to tagging, on the texts of a corpus.

    python scripts/benchmarks/assertion.py CHECKPOINT DOCUMENTS [--turns 7] [--threads 1]

Tagging with and without `assertion=True` runs in turns in one process; the share is the time of the rules alone, on the
entities found, divided by that of tagging without them. Prints one line.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, read_documents
from hf_adner.model.assertion_adner import add_assertions


def seconds(call: Callable[[], Any]) -> float:
    """Return the CPU time of a call, which other processes hardly change."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub name of a checkpoint")
    parser.add_argument("documents", help="documents of any format that the package reads")
    parser.add_argument("--turns", type=int, default=7, help="times that each side runs (default: 7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AdnerForTokenClassification.from_pretrained(arguments.model)
    pipe = AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(arguments.model), device="cpu")
    texts = [document.text for document in read_documents(arguments.documents, require_entities=False)]
    found, rules = pipe(texts, assertion=True), pipe.tokenizer.assertion_rules
    turns = range(arguments.turns)
    both = [(seconds(lambda: pipe(texts)), seconds(lambda: add_assertions(texts, found, rules))) for _ in turns]
    tagging, asserting = (statistics.median(times) for times in zip(*both))
    share = statistics.median(after / before for before, after in both)
    print(
        f"{len(texts)} texts, {sum(map(len, texts)):,} characters, {sum(map(len, found)):,} entities: tagging "
        f"{1000 * tagging:.0f} ms, assertion {1000 * asserting:.1f} ms, {100 * share:.2f} % of it"
    )


if __name__ == "__main__":
    main()
