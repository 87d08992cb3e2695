"""What the commands share: settings, the flags of checkpoints and inputs, documents in and out."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def parse_dataclasses(types: Sequence[type], argv: Sequence[str], command: str) -> tuple[Any, ...]:
    """Arguments for dataclasses from flags, from a YAML or JSON file named first, or from both (flags win).

    Raises:
        ValueError: the file holds an unknown key.
    """
    from transformers import HfArgumentParser

    parser = HfArgumentParser(tuple(types), prog=f"adner {command}")
    rest = list(argv)
    if rest and rest[0].endswith((".yaml", ".yml", ".json")):
        defaults = _read_settings(Path(rest.pop(0)))
        actions = {action.dest: action for action in parser._actions}
        unknown = sorted(set(defaults) - set(actions))
        if unknown:
            raise ValueError(f"{argv[0]}: unknown settings {unknown}")
        for name in defaults:
            actions[name].required = False
        parser.set_defaults(**defaults)
    return parser.parse_args_into_dataclasses(rest)


def _read_settings(path: Path) -> dict[str, Any]:
    import yaml

    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML too
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected a mapping of settings, found {type(settings).__name__}")
    return settings


def inference_parser(command: str, summary: str, **input_options: Any) -> argparse.ArgumentParser:
    """As `model_parser`, with a threshold."""
    parser = model_parser(command, summary, **input_options)
    parser.add_argument("--threshold", type=float, default=0.0, help="least posterior of an entity, 0 to 1")
    return parser


def model_parser(command: str, summary: str, **input_options: Any) -> argparse.ArgumentParser:
    """A parser with the flags of a checkpoint and of the input it reads."""
    parser = argparse.ArgumentParser(prog=f"adner {command}", description=summary)
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    add_input(parser, **input_options)
    parser.add_argument("--batch-size", type=int, default=16, help="windows per step (default: %(default)s)")
    parser.add_argument("--device", default=None, help="cpu, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--revision", default=None, help="revision of a Hub checkpoint")
    return parser


def add_input(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add the input and the flags of how to read it."""
    parser.add_argument("input", help="file or folder", **options)
    parser.add_argument("--format", help="format of the input (default: recognised)")
    parser.add_argument("--encoding", help="text encoding (default: UTF-8, then GB18030)")
    parser.add_argument("--skip-invalid", action="store_true", help="skip and list broken records")


def load_pipeline(args: argparse.Namespace) -> Any:
    """The pipeline of the checkpoint that `model_parser` asked for."""
    from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer

    model = AdnerForTokenClassification.from_pretrained(args.model, revision=args.revision or "main")
    tokenizer = AdnerTokenizer.from_pretrained(args.model, revision=args.revision or "main")
    return AdnerPipeline(model=model, tokenizer=tokenizer, device=args.device)


def open_documents(args: argparse.Namespace, **options: Any) -> Any:
    """The stream of the input's documents; options go to `read_documents`."""
    from hf_adner.data.dataset import files_by_split
    from hf_adner.data.formats import read_documents

    return read_documents(
        files_by_split({"input": args.input})["input"],
        args.format,
        skip_invalid=args.skip_invalid,
        encoding=args.encoding,
        **options,
    )


def split_documents(args: argparse.Namespace) -> list[Any]:
    """The documents of `args.split`.

    Raises:
        ValueError: the input has no such split.
    """
    from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset

    dataset = load_ner_dataset(args.input, args.format, skip_invalid=args.skip_invalid, encoding=args.encoding)
    if args.split not in dataset:
        raise ValueError(f"{args.input} has no split {args.split!r}, only {', '.join(dataset)}")
    return list(documents_from_dataset(dataset[args.split]))


def warn_of(stream: Any) -> None:
    """Say on standard error what a stream of documents met."""
    for line in stream.report.warnings():
        print(f"adner: {line}", file=sys.stderr)


def with_progress(documents: Iterable[Any], doing: str) -> Iterator[Any]:
    """The documents behind a bar."""
    from tqdm.auto import tqdm

    return iter(tqdm(documents, desc=doing, unit="document", disable=None))


def deliver(documents: Iterator[Any], output: str | None, format: str | None) -> None:
    """Write documents to a file, or without one as JSON lines to standard output."""
    from hf_adner.data.formats import write_documents
    from hf_adner.data.formats.jsonl import jsonl_text

    if output:
        write_documents(documents, output, format=format)
        return
    for line in jsonl_text(documents):
        print(line, end="", flush=True)
