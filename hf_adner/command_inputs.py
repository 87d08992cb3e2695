"""What the commands of `adner` begin with and end with: checkpoint, documents, progress and warnings."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any


def load_pipeline(args: argparse.Namespace) -> Any:
    """Return the pipeline of the checkpoint `args.model`."""
    from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer

    model = AdnerForTokenClassification.from_pretrained(args.model, revision=args.revision or "main")
    tokenizer = AdnerTokenizer.from_pretrained(args.model, revision=args.revision or "main")
    return AdnerPipeline(model=model, tokenizer=tokenizer, device=args.device)


def open_documents(args: argparse.Namespace, **options: Any) -> Any:
    """Return the document of `--text`, the documents of `--split` or of ad-synthetic, or a stream of the whole input.

    Args:
        args: the parsed arguments.
        options: of `read_documents`; those that are given (`reading_options`) count before them.

    Raises:
        ValueError: both an input and a text or neither, gold entities of a text, or the input has no such split.
    """
    from hf_adner.data.dataset import SYNTHETIC, documents_from_dataset
    from hf_adner.data.formats import read_documents
    from hf_adner.data.input_files import files_by_split
    from hf_adner.data.records import Document

    text, split = getattr(args, "text", None), getattr(args, "split", None)
    if hasattr(args, "text") and (args.input is None) == (text is None):
        raise ValueError("give either an input or --text")
    if text is not None:
        if options.get("require_entities"):
            raise ValueError("a text (--text) has no gold entities; --entities predicted explains those of the model")
        return [Document(id="text", text=text)]
    if not split and args.input != SYNTHETIC:
        return read_documents(files_by_split({"input": args.input})["input"], **{**options, **reading_options(args)})
    dataset = load_dataset(args, **({} if args.input == SYNTHETIC else options))
    if split and split not in dataset:
        raise ValueError(f"{args.input} has no split {split!r}, only {', '.join(dataset)}")
    return [document for name in ([split] if split else dataset) for document in documents_from_dataset(dataset[name])]


def load_dataset(args: argparse.Namespace, **options: Any) -> Any:
    """Return the splits of the whole input; options as for `open_documents`."""
    from hf_adner.data.dataset import load_ner_dataset

    return load_ner_dataset(args.input, **{**options, **reading_options(args)})


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the readers that were given.

    Raises:
        ValueError: as `ReadingArguments`.
    """
    from dataclasses import fields

    from hf_adner.data.reading_arguments import ReadingArguments

    given = {option.name: getattr(args, option.name) for option in fields(ReadingArguments)}
    return ReadingArguments(**{**given, "columns": args.columns or []}).reading_options()


def print_warnings(documents: Any) -> None:
    """Print the warnings of a stream of documents to standard error; a list has none."""
    for line in documents.report.warnings() if hasattr(documents, "report") else ():
        print(f"adner: {line}", file=sys.stderr)


def with_progress(documents: Iterable[Any], activity: str) -> Iterator[Any]:
    """Return the documents with a progress bar."""
    from tqdm.auto import tqdm

    return iter(tqdm(documents, desc=activity, unit="document", disable=None))


def print_documents(documents: Iterable[Any]) -> None:
    """Print documents as JSON lines, which escape what does not print."""
    from hf_adner.data.formats.jsonl import jsonl_text
    from hf_adner.reporting import printable_json

    for line in jsonl_text(documents):
        print(printable_json(line.rstrip("\n")), flush=True)
