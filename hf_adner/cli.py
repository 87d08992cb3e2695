"""The commands of `adner`, each a function of its parsed arguments.

`adner_cli` beside the package declares commands and options and calls `run`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import adner_cli
from hf_adner.command_inputs import (
    load_dataset,
    load_pipeline,
    open_documents,
    print_documents,
    print_warnings,
    reading_options,
    with_progress,
)
from hf_adner.files import check_figure_path, check_folder, check_output_folder, check_outputs, read_json
from hf_adner.settings import check_run, dataclass_parser, parse, parse_pretraining, parse_run


def main(argv: Sequence[str] | None = None) -> int:
    """Run `adner COMMAND ...`, for `python -m hf_adner.cli` under a launcher of processes; see `adner_cli.main`."""
    return adner_cli.main(argv)


def run(command: str, arguments: Any) -> None:
    """Run a command.

    Args:
        command: a name of `adner_cli.COMMANDS`.
        arguments: its parsed arguments; for a command with dataclasses, the list of its command-line arguments.
    """
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    for library in ("httpx", "httpx2", "onnxscript", "onnx_ir"):  # log a line for each request, or step of an export
        logging.getLogger(library).setLevel(logging.WARNING)
    if model := getattr(arguments, "model", None):
        from hf_adner.hub.reachable import check_checkpoint_name

        check_checkpoint_name(model, getattr(arguments, "revision", None))
    globals()[command.replace("-", "_")](arguments)


def demo(args: argparse.Namespace) -> None:
    """Run the quickstart."""
    from hf_adner import AdnerConfig
    from hf_adner.highlighting import shows_colours
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, REPORT_FILE, entity_lines, run_demo, write_report

    check_folder(args.output)
    output = Path(args.output)
    if (output / METRICS_FILE).exists():
        print(f"{output} holds a finished run, whose checkpoint is used; remove the folder to train again\n")
        metrics = read_json(output / METRICS_FILE)
        if not isinstance(metrics.get("test"), dict) or "strict" not in metrics["test"]:
            raise ValueError(
                f"{output / METRICS_FILE} has no scores of a test split; name another folder with --output"
            )
    else:
        metrics = run_demo(args.output, args.seed)
    _print_scores(metrics, "test")
    print("\nThe sample note:\n")
    labels = AdnerConfig.from_pretrained(output / MODEL_FOLDER).entity_types
    print("\n".join(entity_lines(write_report(args.output), labels, shows_colours(sys.stdout))))
    print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")
    print(f"report     {output / REPORT_FILE}")


def _print_scores(metrics: dict[str, Any], split: str) -> None:
    from hf_adner.reporting import code_points

    strict, title = metrics[split]["strict"], f"{split} split, strict"
    print(f"\n{title:<24}{'precision':>10}{'recall':>10}{'F1':>10}{'entities':>10}")
    for name, scores in [*strict["per_label"].items(), ("all", strict)]:
        figures = "".join(f"{scores[figure]:>10.4f}" for figure in ("precision", "recall", "f1"))
        print(f"{code_points(name):<24}{figures}{scores['support']:>10}")


def train(argv: Sequence[str], command: str = "train") -> None:
    """Train a model."""
    arguments = parse_run(command, argv)
    from hf_adner.cards.record import scored_split
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, run_training

    metrics = run_training(*arguments)
    output = Path(arguments[2].output_dir)
    if scored := scored_split(metrics):
        _print_scores(metrics, scored)
    if "statistics" in metrics:  # those of the main process
        print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")


def train_guided(argv: Sequence[str]) -> None:
    """Train a model guided by its own explanations."""
    train(argv, "train-guided")


def pretrain(argv: Sequence[str]) -> None:
    """Pretrain an encoder, or check how much of the text its vocabulary covers."""
    from hf_adner.pretraining.run import run_command

    parsed = parse_pretraining(argv)
    check_run(parsed.encoder, None if parsed.check else parsed.training.output_dir)
    print(run_command(parsed))


def cross_validate(argv: Sequence[str]) -> None:
    """Cross-validate architectures and print their scores as a Markdown table."""
    from hf_adner.comparison.cross_validation import cross_validate as score_folds
    from hf_adner.comparison.cross_validation import cross_validation_table

    print(cross_validation_table(score_folds(*parse_run("cross-validate", argv))))


def compare(argv: Sequence[str]) -> None:
    """Compare ways of training and print the report as Markdown."""
    from hf_adner.comparison.comparison import compare as compare_runs
    from hf_adner.comparison.rendering import report_markdown

    print(report_markdown(compare_runs(*parse_run("compare", argv))))


def evaluate(args: argparse.Namespace) -> None:
    """Print strict, flattened and boundary scores as Markdown."""
    from hf_adner.audit.assertion import evaluate_assertions
    from hf_adner.audit.evaluation import evaluate_documents
    from hf_adner.files import write_json
    from hf_adner.model.assertion_adner import choose_rules

    check_outputs(args.json)
    stream, pipe = open_documents(args), load_pipeline(args)
    rules = choose_rules(args.assertion_rules or args.assertion, pipe.tokenizer)
    documents = stream if rules is None else list(stream)
    assertion = None if rules is None else evaluate_assertions(rules, documents, args.assertion_leave_out)
    report = evaluate_documents(pipe, documents, args.batch_size, threshold=args.threshold)
    print_warnings(stream)
    print(report.to_markdown())
    if assertion is not None:
        print(assertion.to_markdown())
    if args.json:
        found = {} if assertion is None else {"assertion": assertion.to_dict()}
        write_json(Path(args.json), {**report.to_dict(), **found})


def audit(args: argparse.Namespace) -> None:
    """Print the measures of several explainers as Markdown."""
    from hf_adner.audit.explanation_report import check_plotted
    from hf_adner.audit.explanations import MEASUREMENTS, evaluate_explanations
    from hf_adner.audit.robustness import robustness_report
    from hf_adner.files import write_json

    check_outputs(args.json, args.calibration, args.robustness, args.plot)
    if args.plot:
        check_figure_path(args.plot)
        check_plotted(args.groups or MEASUREMENTS)
    documents = list(open_documents(args))
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


def explain(args: argparse.Namespace) -> None:
    """Write a page or JSON of explanations, or print them; `--build-table` builds the global table first."""
    from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset
    from hf_adner.explain.documents import ExplainedCheckpoint
    from hf_adner.explain.table_building import sample_documents
    from hf_adner.explain.table_files import check_table_folder
    from hf_adner.view.output import check_explanation_path, run_explanations

    if args.output:
        check_explanation_path(args.output)
        check_outputs(args.output)
    if args.build_table:
        check_table_folder(Path(args.global_table)) if args.global_table else check_folder(args.model)
    only_table = args.build_table and not (args.input or args.text)
    documents = None if only_table else open_documents(args, require_entities=args.entities == "gold")
    place = {"revision": args.revision, "device": args.device, "table_folder": args.global_table}
    training = None
    if args.build_table:
        training = list(documents_from_dataset(load_ner_dataset(args.build_table, **reading_options(args))["train"]))
        training = sample_documents(training, args.table_documents, args.seed)
    built = {"build_from": training, "build_explainer": args.explainer, "build_target": args.target}
    checkpoint = ExplainedCheckpoint.load(args.model, **place, **built)
    if documents is not None:
        names = (
            "explainer",
            "target",
            "batch_size",
            "entities",
            "probes",
            "stability_views",
            "budget",
            "limit",
            "seed",
        )
        options = {name: getattr(args, name) for name in names}
        options |= _word_options(args)
        run_explanations(checkpoint, documents, args.output, **options)
        print_warnings(documents)


def predict(args: argparse.Namespace) -> None:
    """Tag a text or documents; several processes of a launcher share the documents."""
    from hf_adner.audit.predict_files import join_processes, predict_to_file
    from hf_adner.audit.prediction import predict_documents
    from hf_adner.audit.review import check_budget, reviewed
    from hf_adner.data.formats import check_written_path

    written = {"format": args.output_format, **_writer_options(args)}
    if args.output:
        check_written_path(args.output, **written)
    if args.review_budget is not None:
        check_budget(args.review_budget)
    documents = open_documents(args, require_entities=False)
    state = join_processes(args.device)
    if state is not None and not args.output:
        raise ValueError(f"{state.num_processes} processes cannot share standard output; give --output")
    args.device = args.device if state is None else state.device
    options = {"batch_size": args.batch_size, "threshold": args.threshold, **_review_options(args)}
    options |= _word_options(args)
    if args.output:
        options |= {
            "review_budget": args.review_budget,
            "format": args.output_format,
            "writer_options": _writer_options(args),
        }
        options |= {"block_size": args.block_size, "state": state}
        predict_to_file(load_pipeline(args), documents, args.output, **options)
    else:
        tagged = predict_documents(load_pipeline(args), documents, **options)
        with reviewed(with_progress(tagged, "tagging"), args.review_budget) as found:
            print_documents(found)
    if state is None or state.is_main_process:
        print_warnings(documents)


def calibrate(args: argparse.Namespace) -> None:
    """Fit the scores of a checkpoint to development documents and write them into its configuration."""
    from hf_adner.audit.calibrated_config import check_calibrated, saved_config, write_calibration, write_config
    from hf_adner.audit.recalibration import calibrate as fit_calibration
    from hf_adner.files import write_json

    check_outputs(args.output, args.json)
    check_calibrated(args.model, args.output)
    documents, pipe = open_documents(args), load_pipeline(args)
    options = {"coverage": args.coverage, "review_budget": args.review_budget, "batch_size": args.batch_size}
    fit = fit_calibration(pipe, documents, **options)
    print_warnings(documents)
    print(fit.to_markdown())
    if args.json:
        write_json(Path(args.json), fit.to_dict())
    if args.output:
        write_config(args.output, saved_config(args.model, pipe.model.config), fit)
        print(args.output)
    else:
        print("\n".join(write_calibration(args.model, fit)))


def lexicon(args: argparse.Namespace) -> None:
    """Show the lexicon of a checkpoint, or add the words of a file to it."""
    from hf_adner.hub.checkpoint_lexicon import report_lines

    print("\n".join(report_lines(args.model, args.add, args.output, args.text, args.revision, args.origin)))


def review(argv: Sequence[str]) -> None:
    """Rank the probable errors of an annotation and print the first ones as Markdown."""
    from hf_adner.hub.reachable import check_checkpoint_name

    if argv and not argv[0].startswith("-") and not argv[0].endswith((".yaml", ".yml")):
        argv = ["--dataset", *argv]  # a .json file holds documents here
    arguments = parse_run("review", argv)
    check_checkpoint_name(arguments[0].model)
    from hf_adner.comparison.annotation_review import PAGE_FILE, review_annotation

    report = review_annotation(*arguments)
    print(report.to_markdown(arguments[0].rows))
    print(Path(arguments[3].output_dir) / PAGE_FILE)


def agree(args: argparse.Namespace) -> None:
    """Print the agreement of two annotations as Markdown, and write a page of what differs."""
    from hf_adner.audit.agreement import compare_annotations
    from hf_adner.files import write_file, write_json

    check_outputs(args.json, args.page)
    sides = [args.first, args.second]
    streams = [open_documents(argparse.Namespace(**vars(args), input=side), overlaps="any") for side in sides]
    names = tuple(Path(side).name for side in sides) if Path(sides[0]).name != Path(sides[1]).name else tuple(sides)
    report = compare_annotations(*streams, names, resamples=args.resamples, seed=args.seed)
    for stream in streams:
        print_warnings(stream)
    print(report.to_markdown())
    if args.json:
        write_json(Path(args.json), report.to_dict())
    if args.page:
        write_file(Path(args.page), report.page(), "utf-8")


def rank(args: argparse.Namespace) -> None:
    """Write documents for an annotation tool, those that the model is least sure of first."""
    from hf_adner.audit.ranking import check_ranked_format, rank_documents, write_ranked

    check_ranked_format(args.output_format)
    check_outputs(args.output)
    documents = open_documents(args, require_entities=False)
    options = {"count": args.count, "threshold": args.threshold}
    ranked = rank_documents(load_pipeline(args), documents, batch_size=args.batch_size, **options)
    write_ranked(ranked, args.output, args.output_format, Path(args.model).name)
    print_warnings(documents)
    print(f"{len(ranked)} documents in {args.output}")


def export(args: argparse.Namespace) -> None:
    """Write a checkpoint for ONNX Runtime or OpenVINO."""
    from hf_adner.serve.onnx_export import export_onnx

    check_output_folder(args.output)
    args.device = "cpu"
    pipe = load_pipeline(args)
    export_onnx(pipe.model, pipe.tokenizer, args.output, int8=args.int8, engine=args.engine)
    print(args.output)


def serve(args: argparse.Namespace) -> None:
    """Serve a checkpoint over HTTP."""
    try:
        from hf_adner.serve.http_server import ServerSettings, check_tables
        from hf_adner.serve.http_workers import read_token
        from hf_adner.serve.http_workers import serve as serve_checkpoint
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("hf_adner"):
            raise
        raise ImportError(f"{error.name} is missing; pip install '.[serve]' in a clone installs the server") from None
    from hf_adner.model.pipeline_adner import check_count

    token = read_token(args.token_file)
    workers, port = check_count(args.workers, "workers"), check_count(args.port, "port")
    threads = args.threads or max(1, (os.cpu_count() or 1) // workers)
    names = {field.name for field in fields(ServerSettings)} - {"threads"}
    settings = ServerSettings(**{name: getattr(args, name) for name in names}, threads=threads)
    check_tables(settings)  # what is wrong fails here rather than in the workers
    serve_checkpoint(settings, args.host, port, workers, token)


def app(args: argparse.Namespace) -> None:
    """Show a checkpoint in the browser, until interrupted."""
    try:
        from hf_adner.serve.app import NoteReader, serve_app
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("hf_adner"):
            raise
        raise ImportError(f"{error.name} is missing; pip install '.[app]' in a clone installs the app") from None
    from hf_adner.explain.documents import ExplainedCheckpoint

    checkpoint = ExplainedCheckpoint.load(args.model, revision=args.revision, device=args.device)
    words = {"constraints": args.constraints, "codes": args.code_table or args.codes}
    reader = NoteReader(checkpoint, args.max_characters, args.max_documents, **words)
    serve_app(reader, args.host, args.port, args.max_megabytes)


def convert(args: argparse.Namespace) -> None:
    """Convert documents from one format to another."""
    from hf_adner.data.formats import write_documents

    documents = open_documents(args, overlaps="any")
    written = {"format": args.output_format, **_writer_options(args)}
    write_documents(with_progress(documents, "converting"), args.output, **written)
    print_warnings(documents)


def stats(args: argparse.Namespace) -> None:
    """Print statistics of a corpus and the overlap of its splits as Markdown."""
    from hf_adner.data.dataset import documents_from_dataset
    from hf_adner.data.statistics import corpus_statistics, plot_statistics
    from hf_adner.files import write_json

    check_outputs(args.json, args.plot)
    if args.plot:
        check_figure_path(args.plot)
    splits = {name: list(documents_from_dataset(split)) for name, split in load_dataset(args).items()}
    statistics = corpus_statistics(splits, args.threshold)
    print(statistics.to_markdown())
    if args.plot:
        plot_statistics(statistics, args.plot)
    if args.json:
        write_json(Path(args.json), statistics.to_dict())


def card(argv: Sequence[str]) -> None:
    """Write the model card of a checkpoint."""
    from hf_adner.cards.card import CARD_FILE, model_card
    from hf_adner.cards.checkpoint import REPORTS, record_of_checkpoint
    from hf_adner.data.dataset import load_ner_dataset
    from hf_adner.files import write_file

    options, reading, args = parse(dataclass_parser("card"), argv)
    output = Path(args.output or Path(args.checkpoint) / CARD_FILE)
    check_outputs(output)
    reports = {name: getattr(args, name) for name in REPORTS}
    splits = load_ner_dataset(args.training, **reading.reading_options()).values() if args.training else ()
    texts = [text for split in splits for text in split["text"]] if args.training else None
    names = {"model_id": args.model_id, "revision": args.revision}
    try:
        text = str(model_card(record_of_checkpoint(args.checkpoint, reports, options, texts, **names)))
    except (LookupError, TypeError, AttributeError) as error:
        files = ", ".join(filter(None, reports.values())) or f"metrics.json of {args.checkpoint}"
        raise ValueError(
            f"{files}: not all are reports as adner writes them ({type(error).__name__}: {error})"
        ) from error
    write_file(output, [text], "utf-8")
    print(output)


def push(args: argparse.Namespace) -> None:
    """Upload a checkpoint (weights, code, tokenizer, lexicon, global table, card) to the Hub in one commit."""
    from hf_adner.hub.push import push_checkpoint

    options = {"private": args.private, "revision": args.revision, "commit_message": args.message}
    options |= {"create_pr": args.create_pr, "allow_document_lexicon": args.allow_document_lexicon}
    commit = push_checkpoint(args.checkpoint, args.repository, **options)
    print(f"{commit.pr_url or commit.commit_url}\nload it with revision={commit.oid!r}")


def _review_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of review and candidates that were given, as parameters of the pipeline."""
    from hf_adner.data.formats import keeps_meta

    if args.review_threshold is not None and args.review_budget is not None:
        raise ValueError("--review-threshold and --review-budget each say what to flag; give one of them")
    if args.candidates and args.output and not keeps_meta(args.output, args.output_format):
        raise ValueError(f"--candidates: {args.output} has no place for them; write .jsonl")
    threshold = {} if args.review_threshold is None else {"review_threshold": args.review_threshold}
    return threshold | ({"candidates": True} if args.candidates else {})


def _word_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the tables of words that were given, as parameters of the pipeline."""
    given = {
        "assertion": args.assertion_rules or args.assertion,
        "constraints": args.constraints,
        "codes": args.code_table or args.codes,
    }
    return {name: value for name, value in given.items() if value is not None}


def _writer_options(args: argparse.Namespace) -> dict[str, Any]:
    if args.escape_formulas and not args.output:
        raise ValueError("--escape-formulas is an option of CSV and TSV files; name one with --output")
    return {"escape_formulas": True} if args.escape_formulas else {}


if __name__ == "__main__":
    sys.exit(main())
