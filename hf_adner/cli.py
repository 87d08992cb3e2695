"""The `adner` command."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hf_adner.cli_options import (
    add_input,
    deliver,
    inference_parser,
    load_pipeline,
    model_parser,
    open_documents,
    parse_dataclasses,
    split_documents,
    warn_of,
    with_progress,
)

COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], None]]] = {}
"""Name -> (one line of help, what runs it)."""


def _command(name: str, summary: str) -> Callable[[Callable[[Sequence[str]], None]], Callable[[Sequence[str]], None]]:
    def register(run: Callable[[Sequence[str]], None]) -> Callable[[Sequence[str]], None]:
        COMMANDS[name] = (summary, run)
        return run

    return register


def main(argv: Sequence[str] | None = None) -> int:
    """Run `adner COMMAND ...`; bad input ends with one line on standard error and status 1, bad usage with status 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in {"-h", "--help"}:
        print(_overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        from hf_adner import __version__

        print(f"adner {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"adner: unknown command {argv[0]!r}; one of: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    for client in ("httpx", "httpx2"):  # of huggingface_hub, a line for each request
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        COMMANDS[argv[0]][1](argv[1:])
    except (ValueError, OSError, ImportError) as error:
        print(f"adner {argv[0]}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (summary, _) in COMMANDS.items()]
    return "usage: adner COMMAND [options]; adner COMMAND --help tells the options\n\n" + "\n".join(lines)


@_command("demo", "train a small model on the synthetic corpus and show it on a note")
def demo(argv: Sequence[str]) -> None:
    """`adner demo`: the quickstart."""
    parser = argparse.ArgumentParser(prog="adner demo", description=demo.__doc__)
    parser.add_argument("--output", default="runs/quickstart", help="folder of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of weights and batches (default: %(default)s)")
    args = parser.parse_args(argv)
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, REPORT_FILE, entity_lines, run_demo, write_report

    output = Path(args.output)
    if (output / METRICS_FILE).exists():
        print(f"{output} holds a finished run; its checkpoint is used as it is (remove the folder to train anew)\n")
        metrics = json.loads((output / METRICS_FILE).read_text(encoding="utf-8"))
    else:
        metrics = run_demo(args.output, args.seed)
    _print_scores(metrics["test"]["strict"])
    print("\nThe sample note:\n")
    print("\n".join(entity_lines(write_report(args.output))))
    print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")
    print(f"report     {output / REPORT_FILE}")


def _print_scores(strict: dict[str, Any]) -> None:
    print(f"\n{'test split, strict':<20}{'precision':>10}{'recall':>10}{'F1':>10}{'entities':>10}")
    for name, scores in [*strict["per_label"].items(), ("all", strict)]:
        figures = "".join(f"{scores[figure]:>10.4f}" for figure in ("precision", "recall", "f1"))
        print(f"{name:<20}{figures}{scores['support']:>10}")


@_command("train", "train a model on documents with entities")
def train(argv: Sequence[str]) -> None:
    """`adner train [settings.yaml] --dataset ... --output_dir ...`."""
    from hf_adner.training.arguments import AdnerTrainingArguments

    _train(argv, "train", AdnerTrainingArguments)


@_command("train-guided", "train a model that is also taught by its own explanations")
def train_guided(argv: Sequence[str]) -> None:
    """`adner train-guided [settings.yaml] --dataset ... --output_dir ... [--stability_weight 0.1 ...]`."""
    from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments

    _train(argv, "train-guided", ExplanationGuidedTrainingArguments)


def _train(argv: Sequence[str], command: str, training_arguments: type) -> None:
    from hf_adner.cards.record import CardOptions
    from hf_adner.training.arguments import DatasetArguments, ModelArguments

    types = (DatasetArguments, ModelArguments, training_arguments, CardOptions)
    arguments = parse_dataclasses(types, argv, command)
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, run_training

    metrics = run_training(*arguments)
    output = Path(arguments[2].output_dir)
    if "validation" in metrics:
        _print_scores(metrics["test" if "test" in metrics else "validation"]["strict"])
        print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")


@_command("pretrain", "pretrain an encoder on plain text with the MacBERT objective")
def pretrain(argv: Sequence[str]) -> None:
    """`adner pretrain ENCODER TEXT... --output DIR`, with `--check`, or without ENCODER and `--from-scratch`."""
    from hf_adner.pretraining.arguments import parse_pretraining

    command = parse_pretraining(argv)
    from hf_adner.pretraining.run import run_command

    print(run_command(command))


@_command("cross-validate", "k-fold scores of several architectures")
def cross_validate(argv: Sequence[str]) -> None:
    """`adner cross-validate [settings.yaml] --architectures bert-crf m-dscmg --dataset ... --output_dir ...`."""
    from hf_adner.comparison.cross_validation import CrossValidationArguments, markdown_table
    from hf_adner.comparison.cross_validation import cross_validate as run
    from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments

    types = (CrossValidationArguments, DatasetArguments, ModelArguments, AdnerTrainingArguments)
    print(markdown_table(run(*parse_dataclasses(types, argv, "cross-validate"))))


@_command("compare", "compare ways of training over models and seeds, with intervals and tests")
def compare(argv: Sequence[str]) -> None:
    """`adner compare [settings.yaml] --models bert-crf --arms plain full --dataset ... --output_dir ...`."""
    from hf_adner.comparison.comparison import ComparisonArguments
    from hf_adner.comparison.comparison import compare as run
    from hf_adner.comparison.report_view import report_markdown
    from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
    from hf_adner.training.arguments import DatasetArguments, ModelArguments

    types = (ComparisonArguments, DatasetArguments, ModelArguments, ExplanationGuidedTrainingArguments)
    print(report_markdown(run(*parse_dataclasses(types, argv, "compare"))))


@_command("evaluate", "score a checkpoint on documents with entities")
def evaluate(argv: Sequence[str]) -> None:
    """`adner evaluate MODEL INPUT`: strict, flattened and boundary scores as Markdown, or JSON with --json."""
    parser = inference_parser("evaluate", "score a checkpoint on documents with entities")
    parser.add_argument("--split", help="split of the input (a folder, or ad-synthetic) to score; default: all of it")
    parser.add_argument("--json", help="also write the report to this file")
    args = parser.parse_args(argv)
    from hf_adner.audit.evaluation import evaluate_documents
    from hf_adner.training.run import write_json

    documents = split_documents(args) if args.split else open_documents(args)
    report = evaluate_documents(load_pipeline(args), documents, args.batch_size, threshold=args.threshold)
    if not args.split:
        warn_of(documents)
    print(report.to_markdown())
    if args.json:
        write_json(Path(args.json), report.to_dict())


@_command("audit", "measure explainers of a checkpoint against each other")
def audit(argv: Sequence[str]) -> None:
    """`adner audit MODEL INPUT [--explainers NAME ...] [--json FILE] [--plot FILE]`: tables as Markdown."""
    parser = model_parser("audit", "measure explainers of a checkpoint against each other")
    parser.add_argument("--split", help="split of the input (a folder, or ad-synthetic); default: all of it")
    parser.add_argument("--explainers", nargs="+", default=["grad-x-input", "integrated-gradients", "occlusion"])
    parser.add_argument("--groups", nargs="+", help="groups of measures (default: all)")
    parser.add_argument("--views", type=int, default=2, help="perturbed texts per document and family")
    parser.add_argument("--max-entities", type=int, default=150, help="entities that are explained")
    parser.add_argument("--json", help="also write the report to this file")
    parser.add_argument("--plot", help="picture of stability against faithfulness (PNG, SVG or PDF)")
    parser.add_argument("--calibration", help="write the calibration of all predicted entities to this file")
    parser.add_argument("--robustness", help="also score perturbed documents and write that report to this file")
    args = parser.parse_args(argv)
    from hf_adner.audit.explanations import evaluate_explanations
    from hf_adner.audit.robustness import robustness_report
    from hf_adner.training.run import write_json

    documents = split_documents(args) if args.split else list(open_documents(args))
    pipe = load_pipeline(args)
    settings = {"views": args.views, "max_entities": args.max_entities, "batch_size": args.batch_size}
    settings |= {"groups": args.groups} if args.groups else {}
    report = evaluate_explanations(pipe.model, pipe.tokenizer, documents, args.explainers, **settings)
    print(report.to_markdown())
    if args.json:
        write_json(Path(args.json), report.to_dict())
    if args.plot:
        report.plot(args.plot)
    if args.calibration:
        write_json(Path(args.calibration), report.to_dict()["model"]["calibration"])
    if args.robustness:
        robustness = robustness_report(pipe.model, pipe.tokenizer, documents, batch_size=args.batch_size)
        print(robustness.to_markdown())
        write_json(Path(args.robustness), robustness.to_dict())


@_command("explain", "show why a checkpoint finds the entities of a text or of documents")
def explain(argv: Sequence[str]) -> None:
    """`adner explain MODEL (INPUT | --text TEXT) [--output FILE.html|.json|.jsonl]`: a page, JSON, or lines of text."""
    parser = model_parser("explain", "show why a checkpoint finds its entities", nargs="?")
    parser.add_argument("--text", help="a text to explain instead of an input")
    parser.add_argument("--split", help="split of the input (a folder, or ad-synthetic); default: all of it")
    parser.add_argument("--output", help="page (.html) or JSON (.json, .jsonl) to write; default: print lines")
    parser.add_argument("--global-table", help="folder of a global table (default: the one beside the checkpoint)")
    parser.add_argument("--build-table", metavar="DOCUMENTS", help="first build the table from training documents")
    parser.add_argument("--explainer", help="default: fused where there is a global table, else grad-x-input")
    parser.add_argument("--target", default="label", help="label, start, end or span (default: %(default)s)")
    parser.add_argument("--entities", default="predicted", help="predicted, or gold: those of the documents")
    parser.add_argument("--probes", type=_names, help="changes of the text to try: a,b,... or none (default: all)")
    parser.add_argument("--stability-views", type=int, default=4, help="texts to measure stability with, 0: none")
    parser.add_argument("--limit", type=int, help="explain only so many documents")
    parser.add_argument("--seed", type=int, default=0, help="of changes and views (default: %(default)s)")
    args = parser.parse_intermixed_args(argv)
    from hf_adner.explain.documents import ExplainedCheckpoint
    from hf_adner.view.output import check_explanation_path, run_explanations

    if args.output:
        check_explanation_path(args.output)
    documents = None if args.build_table and not (args.input or args.text) else _input_or_text(args)
    place = {"revision": args.revision, "device": args.device, "table_folder": args.global_table}
    training = _training_documents(args.build_table) if args.build_table else None
    checkpoint = ExplainedCheckpoint.load(args.model, **place, build_from=training)
    if documents is not None:
        names = ("explainer", "target", "batch_size", "entities", "probes", "stability_views", "limit", "seed")
        run_explanations(checkpoint, documents, args.output, **{name: getattr(args, name) for name in names})
        if hasattr(documents, "report"):
            warn_of(documents)


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def _input_or_text(args: argparse.Namespace) -> Any:
    from hf_adner.data.records import Document

    if (args.input is None) == (args.text is None):
        raise ValueError("give either an input or --text")
    if args.text is not None:
        return [Document(id="text", text=args.text)]
    return split_documents(args) if args.split else open_documents(args, require_entities=args.entities == "gold")


def _training_documents(source: str) -> list[Any]:
    from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset

    return list(documents_from_dataset(load_ner_dataset(source)["train"]))


@_command("predict", "tag texts and write the entities in any format")
def predict(argv: Sequence[str]) -> None:
    """`adner predict MODEL INPUT --output FILE`, also under a launcher; or `adner predict MODEL --text TEXT`."""
    parser = inference_parser("predict", "tag texts and write the entities", nargs="?")
    parser.add_argument("--text", help="a text to tag instead of an input")
    parser.add_argument("--output", help="file or folder to write (default: JSON lines on standard output)")
    parser.add_argument("--output-format", help="format of the output (default: by its name)")
    parser.add_argument("--review-threshold", type=float, default=0.8, help="posterior below which to flag for review")
    parser.add_argument("--block-size", type=int, default=1000, help="documents between two savings of --output")
    args = parser.parse_args(argv)
    from hf_adner.audit.predict_files import join_processes, predict_to_file
    from hf_adner.audit.prediction import predict_documents
    from hf_adner.data.records import Document

    if (args.input is None) == (args.text is None):
        raise ValueError("give either an input or --text")
    state = join_processes(args.device)
    if state is not None and not args.output:
        raise ValueError(f"{state.num_processes} processes cannot share standard output; give --output")
    args.device = args.device if state is None else state.device
    stream = (
        [Document(id="text", text=args.text)] if args.input is None else open_documents(args, require_entities=False)
    )
    options = {"batch_size": args.batch_size, "threshold": args.threshold, "review_threshold": args.review_threshold}
    if args.output:
        options |= {"format": args.output_format, "block_size": args.block_size, "state": state}
        predict_to_file(load_pipeline(args), stream, args.output, **options)
    else:
        deliver(with_progress(predict_documents(load_pipeline(args), stream, **options), "tagging"), None, None)
    if args.input is not None and (state is None or state.is_main_process):
        warn_of(stream)


@_command("rank", "order unlabelled documents by how much a human label would help")
def rank(argv: Sequence[str]) -> None:
    """`adner rank MODEL INPUT --output FILE [--count N]`: the most doubtful first, for an annotation tool."""
    parser = inference_parser("rank", "order documents by doubt, for labelling")
    parser.add_argument("--output", required=True, help="file to write")
    parser.add_argument("--output-format", default="doccano", help="doccano or label-studio (default: %(default)s)")
    parser.add_argument("--count", type=int, help="documents to keep (default: all)")
    parser.add_argument("--explain", metavar="EXPLAINER", help="count unstable explanations of this explainer too")
    args = parser.parse_args(argv)
    from hf_adner.audit.ranking import check_ranked_format, rank_documents, write_ranked

    check_ranked_format(args.output_format)
    stream = open_documents(args, require_entities=False)
    options = {"count": args.count, "threshold": args.threshold, "explain": args.explain}
    ranked = rank_documents(load_pipeline(args), stream, batch_size=args.batch_size, **options)
    write_ranked(ranked, args.output, args.output_format, Path(args.model).name)
    warn_of(stream)
    print(f"{len(ranked)} documents in {args.output}")


@_command("export", "write a checkpoint for ONNX Runtime")
def export(argv: Sequence[str]) -> None:
    """`adner export MODEL FOLDER [--int8]`."""
    parser = argparse.ArgumentParser(prog="adner export", description="write a checkpoint for ONNX Runtime")
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    parser.add_argument("output", help="new folder")
    parser.add_argument("--int8", action="store_true", help="8-bit weights and products; measure what it costs you")
    parser.add_argument("--revision", default=None, help="revision of a Hub checkpoint")
    args = parser.parse_args(argv)
    from hf_adner.serve.onnx_export import export_onnx

    args.device = "cpu"
    pipe = load_pipeline(args)
    export_onnx(pipe.model, pipe.tokenizer, args.output, int8=args.int8)
    print(args.output)


@_command("convert", "read documents in one format and write them in another")
def convert(argv: Sequence[str]) -> None:
    """`adner convert INPUT OUTPUT`."""
    parser = argparse.ArgumentParser(prog="adner convert", description="convert between annotation formats")
    add_input(parser)
    parser.add_argument("output", help="file or folder to write")
    parser.add_argument("--output-format", help="format of the output (default: by its name)")
    args = parser.parse_args(argv)
    stream = open_documents(args, overlaps="any")
    deliver(with_progress(stream, "converting"), args.output, args.output_format)
    warn_of(stream)


@_command("stats", "tell what a corpus is made of, and what its splits share")
def stats(argv: Sequence[str]) -> None:
    """`adner stats INPUT [--plot FILE.png] [--json FILE]`; INPUT is a file, a folder or ad-synthetic."""
    parser = argparse.ArgumentParser(prog="adner stats", description=COMMANDS["stats"][0])
    add_input(parser)
    parser.add_argument("--threshold", type=float, default=0.8, help="similarity of near-duplicates, 0 to 1")
    parser.add_argument("--plot", help="picture to write (PNG, SVG or PDF)")
    parser.add_argument("--json", help="also write the figures to this file")
    args = parser.parse_args(argv)
    from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset
    from hf_adner.data.statistics import corpus_statistics, plot_statistics
    from hf_adner.training.run import write_json

    dataset = load_ner_dataset(args.input, args.format, skip_invalid=args.skip_invalid, encoding=args.encoding)
    splits = {name: list(documents_from_dataset(split)) for name, split in dataset.items()}
    statistics = corpus_statistics(splits, args.threshold)
    print(statistics.to_markdown())
    if args.plot:
        plot_statistics(statistics, args.plot)
    if args.json:
        write_json(Path(args.json), statistics.to_dict())


@_command("card", "write the model card of a checkpoint from JSON reports")
def card(argv: Sequence[str]) -> None:
    """`adner card CHECKPOINT [--metrics FILE] [--explanations FILE] [--robustness FILE] [--output README.md]`."""
    from transformers import HfArgumentParser

    from hf_adner.cards.card import CARD_FILE, model_card
    from hf_adner.cards.checkpoint import REPORTS, record_of_checkpoint
    from hf_adner.cards.record import CardOptions
    from hf_adner.data.dataset import load_ner_dataset
    from hf_adner.files import write_file

    parser = HfArgumentParser(CardOptions, prog="adner card", description=COMMANDS["card"][0])
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    for report in REPORTS:
        parser.add_argument(f"--{report}", help=f"JSON report of the {report}")
    parser.add_argument("--training", help="training documents, a file, folder or name: no example may be in them")
    parser.add_argument("--model-id", help="name of the model on the Hub, owner/name")
    parser.add_argument("--revision", help="commit of the model that the card tells to load")
    parser.add_argument("--output", help=f"file to write (default: {CARD_FILE} in the checkpoint)")
    options, args = parser.parse_args_into_dataclasses(list(argv))
    reports = {name: getattr(args, name) for name in REPORTS}
    splits = load_ner_dataset(args.training).values() if args.training else ()
    texts = [text for split in splits for text in split["text"]] if args.training else None
    names = {"model_id": args.model_id, "revision": args.revision}
    record = record_of_checkpoint(args.checkpoint, reports, options, texts, **names)
    output = Path(args.output or Path(args.checkpoint) / CARD_FILE)
    write_file(output, [str(model_card(record))], "utf-8")
    print(output)


@_command("push", "send a checkpoint with everything that belongs to it to the Hub")
def push(argv: Sequence[str]) -> None:
    """`adner push CHECKPOINT REPOSITORY`: weights, code, tokenizer, lexicon, global table, card, in one commit."""
    parser = argparse.ArgumentParser(prog="adner push", description=COMMANDS["push"][0])
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    parser.add_argument("repository", help="owner/name, or a name in your own namespace")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--revision", help="branch to push to (default: main); made where there is none")
    parser.add_argument("--message", default="Upload checkpoint", help="of the commit (default: %(default)s)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    parser.add_argument(
        "--allow-document-lexicon", action="store_true", help="send a lexicon made from documents, which may be private"
    )
    args = parser.parse_args(argv)
    from hf_adner.hub.push import push_checkpoint

    options = {"private": args.private, "revision": args.revision, "commit_message": args.message}
    options |= {"create_pr": args.create_pr, "allow_document_lexicon": args.allow_document_lexicon}
    commit = push_checkpoint(args.checkpoint, args.repository, **options)
    print(f"{commit.pr_url or commit.commit_url}\nload it with revision={commit.oid!r}")


if __name__ == "__main__":
    sys.exit(main())
