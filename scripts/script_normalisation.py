#!/usr/bin/env python3
r"""Score a checkpoint on documents as they are and in Traditional characters, with and without its script map.

    pip install zhconv hanziconv
    adner train --dataset ad_real/train.jsonl --validation ad_real/dev.jsonl --encoder ENCODER --encoder-layers 1 \
        --architecture bert-crf --num-train-epochs 30 --learning-rate 3e-4 --seed 0 --output-dir runs/script
    python scripts/script_normalisation.py runs/script/model ad_real/dev.jsonl

The text is converted by libraries that have no part in the map (zhconv, from Wikipedia's tables, by phrases; hanziconv
character by character), with offsets unchanged; zh-tw converts words of Taiwan, too. Prints a Markdown table of strict
F1 in percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from hf_adner import (
    AdnerForTokenClassification,
    AdnerPipeline,
    AdnerTokenizer,
    Document,
    evaluate_documents,
    read_documents,
)
from hf_adner.reporting import markdown_table


def converters() -> dict[str, Callable[[str], str]]:
    """Return the conversions by name; each keeps the length of a text."""
    import zhconv
    from hanziconv import HanziConv

    def by_phrases(locale: str) -> Callable[[str], str]:
        def convert(text: str) -> str:
            whole = zhconv.convert(text, locale)
            return whole if len(whole) == len(text) else "".join(zhconv.convert(one, locale) for one in text)

        return convert

    return {
        "as written": str,
        "zhconv zh-hant": by_phrases("zh-hant"),
        "zhconv zh-tw": by_phrases("zh-tw"),
        "zhconv zh-hk": by_phrases("zh-hk"),
        "hanziconv": HanziConv.toTraditional,
    }


def in_script(document: Document, convert: Callable[[str], str]) -> Document:
    """Return a document with its text converted, and the same spans."""
    entities = tuple(replace(entity, text=None) for entity in document.entities)
    return replace(document, text=convert(document.text), entities=entities)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub name of a checkpoint")
    parser.add_argument("documents", help="documents with gold entities, of any format that the package reads")
    arguments = parser.parse_args()
    model = AdnerForTokenClassification.from_pretrained(arguments.model)
    tokenizer = AdnerTokenizer.from_pretrained(arguments.model)
    pipe = AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")
    documents, script_map = list(read_documents(arguments.documents)), tokenizer.script_map
    rows = []
    for name, convert in converters().items():
        converted = [in_script(document, convert) for document in documents]
        changed = sum(a != b for one, other in zip(documents, converted) for a, b in zip(one.text, other.text))
        scores = []
        for tokenizer.script_map in (script_map, None):
            scores.append(evaluate_documents(pipe, converted, progress=False).f1)
        rows.append([name, changed, *(f"{100 * score:.2f}" for score in scores)])
    print(markdown_table(["text", "characters changed", "F1 with the map", "F1 without it"], rows))


if __name__ == "__main__":
    main()
