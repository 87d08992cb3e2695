"""The commands of `adner`, each a function of its parsed arguments.

`adner_cli` beside the package declares commands and options and calls `run`.
"""

import argparse
import logging
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

import adner_cli
from hf_adner.files import read_json


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
    for client in ("httpx", "httpx2"):  # clients of huggingface_hub, which log a line for each request
        logging.getLogger(client).setLevel(logging.WARNING)
    globals()[command.replace("-", "_")](arguments)


def demo(args: argparse.Namespace) -> None:
    """Run the quickstart."""
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, REPORT_FILE, entity_lines, run_demo, write_report

    output = Path(args.output)
    if (output / METRICS_FILE).exists():
        print(f"{output} holds a finished run, whose checkpoint is used; remove the folder to train again\n")
        metrics = read_json(output / METRICS_FILE)
    else:
        metrics = run_demo(args.output, args.seed)
    _print_scores(metrics["test"]["strict"])
    print("\nThe sample note:\n")
    print("\n".join(entity_lines(write_report(args.output))))
    print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")
    print(f"report     {output / REPORT_FILE}")


def _print_scores(strict: dict[str, Any]) -> None:
    from hf_adner.reporting import code_points

    print(f"\n{'test split, strict':<20}{'precision':>10}{'recall':>10}{'F1':>10}{'entities':>10}")
    for name, scores in [*strict["per_label"].items(), ("all", strict)]:
        figures = "".join(f"{scores[figure]:>10.4f}" for figure in ("precision", "recall", "f1"))
        print(f"{code_points(name):<20}{figures}{scores['support']:>10}")


def train(argv: Sequence[str], command: str = "train") -> None:
    """Train a model."""
    arguments = parse_dataclasses(command, argv)
    from hf_adner.training.run import METRICS_FILE, MODEL_FOLDER, run_training

    metrics = run_training(*arguments)
    output = Path(arguments[2].output_dir)
    if "validation" in metrics:
        _print_scores(metrics["test" if "test" in metrics else "validation"]["strict"])
        print(f"\ncheckpoint {output / MODEL_FOLDER}\nscores     {output / METRICS_FILE}")


def train_guided(argv: Sequence[str]) -> None:
    """Train a model guided by its own explanations."""
    train(argv, "train-guided")


def pretrain(argv: Sequence[str]) -> None:
    """Pretrain an encoder, or check how much of the text its vocabulary covers."""
    from hf_adner.pretraining.run import run_command

    print(run_command(parse_pretraining(argv)))


def cross_validate(argv: Sequence[str]) -> None:
    """Cross-validate architectures and print their scores as a Markdown table."""
    from hf_adner.comparison.cross_validation import cross_validate as score_folds
    from hf_adner.comparison.cross_validation import cross_validation_table

    print(cross_validation_table(score_folds(*parse_dataclasses("cross-validate", argv))))


def compare(argv: Sequence[str]) -> None:
    """Compare ways of training and print the report as Markdown."""
    from hf_adner.comparison.comparison import compare as compare_runs
    from hf_adner.comparison.rendering import report_markdown

    print(report_markdown(compare_runs(*parse_dataclasses("compare", argv))))


def evaluate(args: argparse.Namespace) -> None:
    """Print strict, flattened and boundary scores as Markdown."""
    from hf_adner.audit.evaluation import evaluate_documents
    from hf_adner.files import write_json

    documents = open_documents(args)
    report = evaluate_documents(load_pipeline(args), documents, args.batch_size, threshold=args.threshold)
    print_warnings(documents)
    print(report.to_markdown())
    if args.json:
        write_json(Path(args.json), report.to_dict())


def audit(args: argparse.Namespace) -> None:
    """Print the measures of several explainers as Markdown."""
    from hf_adner.audit.explanations import evaluate_explanations
    from hf_adner.audit.robustness import robustness_report
    from hf_adner.files import write_json

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
    from hf_adner.view.output import check_explanation_path, run_explanations

    if args.output:
        check_explanation_path(args.output)
    only_table = args.build_table and not (args.input or args.text)
    documents = None if only_table else open_documents(args, require_entities=args.entities == "gold")
    place = {"revision": args.revision, "device": args.device, "table_folder": args.global_table}
    training = None
    if args.build_table:
        training = list(documents_from_dataset(load_ner_dataset(args.build_table, **reading_options(args))["train"]))
    checkpoint = ExplainedCheckpoint.load(args.model, **place, build_from=training)
    if documents is not None:
        names = ("explainer", "target", "batch_size", "entities", "probes", "stability_views", "limit", "seed")
        run_explanations(checkpoint, documents, args.output, **{name: getattr(args, name) for name in names})
        print_warnings(documents)


def predict(args: argparse.Namespace) -> None:
    """Tag a text or documents; several processes of a launcher share the documents."""
    from hf_adner.audit.predict_files import join_processes, predict_to_file
    from hf_adner.audit.prediction import predict_documents

    documents = open_documents(args, require_entities=False)
    state = join_processes(args.device)
    if state is not None and not args.output:
        raise ValueError(f"{state.num_processes} processes cannot share standard output; give --output")
    args.device = args.device if state is None else state.device
    options = {"batch_size": args.batch_size, "threshold": args.threshold, "review_threshold": args.review_threshold}
    if args.output:
        options |= {"format": args.output_format, "block_size": args.block_size, "state": state}
        predict_to_file(load_pipeline(args), documents, args.output, **options)
    else:
        write_or_print(with_progress(predict_documents(load_pipeline(args), documents, **options), "tagging"))
    if state is None or state.is_main_process:
        print_warnings(documents)


def rank(args: argparse.Namespace) -> None:
    """Write documents for an annotation tool, those that the model is least sure of first."""
    from hf_adner.audit.ranking import check_ranked_format, rank_documents, write_ranked

    check_ranked_format(args.output_format)
    documents = open_documents(args, require_entities=False)
    options = {"count": args.count, "threshold": args.threshold, "explain": args.explain}
    ranked = rank_documents(load_pipeline(args), documents, batch_size=args.batch_size, **options)
    write_ranked(ranked, args.output, args.output_format, Path(args.model).name)
    print_warnings(documents)
    print(f"{len(ranked)} documents in {args.output}")


def export(args: argparse.Namespace) -> None:
    """Write a checkpoint for ONNX Runtime."""
    from hf_adner.serve.onnx_export import export_onnx

    args.device = "cpu"
    pipe = load_pipeline(args)
    export_onnx(pipe.model, pipe.tokenizer, args.output, int8=args.int8)
    print(args.output)


def convert(args: argparse.Namespace) -> None:
    """Convert documents from one format to another."""
    documents = open_documents(args, overlaps="any")
    write_or_print(with_progress(documents, "converting"), args.output, args.output_format)
    print_warnings(documents)


def stats(args: argparse.Namespace) -> None:
    """Print statistics of a corpus and the overlap of its splits as Markdown."""
    from hf_adner.data.dataset import documents_from_dataset
    from hf_adner.data.statistics import corpus_statistics, plot_statistics
    from hf_adner.files import write_json

    splits = {name: list(documents_from_dataset(split)) for name, split in _load_dataset(args).items()}
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

    options, reading, args = _parse(dataclass_parser("card"), argv)
    reports = {name: getattr(args, name) for name in REPORTS}
    splits = load_ner_dataset(args.training, **reading.reading_options()).values() if args.training else ()
    texts = [text for split in splits for text in split["text"]] if args.training else None
    names = {"model_id": args.model_id, "revision": args.revision}
    record = record_of_checkpoint(args.checkpoint, reports, options, texts, **names)
    output = Path(args.output or Path(args.checkpoint) / CARD_FILE)
    write_file(output, [str(model_card(record))], "utf-8")
    print(output)


def push(args: argparse.Namespace) -> None:
    """Upload a checkpoint (weights, code, tokenizer, lexicon, global table, card) to the Hub in one commit."""
    from hf_adner.hub.push import push_checkpoint

    options = {"private": args.private, "revision": args.revision, "commit_message": args.message}
    options |= {"create_pr": args.create_pr, "allow_document_lexicon": args.allow_document_lexicon}
    commit = push_checkpoint(args.checkpoint, args.repository, **options)
    print(f"{commit.pr_url or commit.commit_url}\nload it with revision={commit.oid!r}")


class DataclassParser(HfArgumentParser):
    """`HfArgumentParser` that names options with hyphens only; `adner_cli.hyphenated` converts underscores."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument as `argparse` does."""
        return super().add_argument(*dict.fromkeys(adner_cli.hyphenated(names)), **options)


def dataclass_parser(command: str) -> DataclassParser:
    """Return the parser of a command with dataclasses, which `--help-all` prints in full."""
    declared = adner_cli.COMMANDS[command]
    parser = DataclassParser(
        tuple(map(pkgutil.resolve_name, declared.dataclasses)),
        prog=f"adner {command}",
        usage=f"adner {command} {declared.usage}",
        description=declared.summary,
    )
    declared.add_options(parser)
    parser.add_argument("--help-all", action="help", help="show every option and exit")
    return parser


def parse_dataclasses(command: str, argv: Sequence[str]) -> tuple[Any, ...]:
    """Read a command's dataclasses from options, from a YAML or JSON file named first, or from both (options win).

    Raises:
        SystemExit: the options are wrong (status 2).
        ValueError: the file is not a mapping of settings, or has an unknown key or a value that its option does not
            take.
    """
    parser = dataclass_parser(command)
    rest = list(argv)
    if rest and rest[0].endswith((".yaml", ".yml", ".json")):
        _take_settings(parser, Path(rest.pop(0)))
    return _parse(parser, rest)


def _parse(parser: DataclassParser, argv: Sequence[str]) -> tuple[Any, ...]:
    options = {"return_remaining_strings": True, "look_for_args_file": False}
    with _usage_errors(parser):
        *values, unknown = parser.parse_args_into_dataclasses(list(argv), **options)
    if unknown:
        parser.error(f"unknown arguments: {' '.join(unknown)}; --help-all lists the options")
    return tuple(values)


@contextmanager
def _usage_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End with status 2 where a dataclass refuses the options."""
    try:
        yield
    except ValueError as error:
        parser.error(str(error))


def _take_settings(parser: DataclassParser, path: Path) -> None:
    """Make the settings of a file the defaults of the parser."""
    settings = read_settings(path)
    actions = {action.dest: action for action in reversed(parser._actions)}  # not --no-x, which comes after --x
    unknown = sorted(map(str, set(settings) - set(actions)))
    if unknown:
        raise ValueError(f"{path}: unknown settings {unknown}")
    for name, value in settings.items():
        try:
            settings[name] = _setting(parser, actions[name], value)
        except (argparse.ArgumentError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        actions[name].required = False
    parser.set_defaults(**settings)


def _setting(parser: DataclassParser, action: argparse.Action, value: Any) -> Any:
    """Return the value that an option takes; several values for an option that takes text stay what they are."""
    several = isinstance(value, (list, dict))
    is_number = action.type in (int, float) or action.const is True
    if value is None or (several and action.nargs is None and not is_number):
        return value
    if isinstance(value, dict) or (several and action.nargs != "+"):
        kind = "a list" if action.nargs == "+" else "a single value"
        raise ValueError(f"setting {action.dest} must be {kind}, found {type(value).__name__}")
    return parser._get_values(action, list(map(str, value if several else [value])))


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file of settings.

    Raises:
        ValueError: the file is not a mapping, or has a key twice.
    """
    import yaml

    if path.suffix == ".json":
        return read_json(path)
    try:
        text = path.read_text(encoding="utf-8")
        settings, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected a mapping of settings, found {type(settings).__name__}")
    keys = [str(key.value) for key, _ in node.value]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{path}: settings {repeated} are given twice")
    return settings


def parse_pretraining(argv: Sequence[str]) -> Any:
    """Read the `PretrainingCommand` of `adner pretrain`; with `--from-scratch` all names are texts.

    Raises:
        SystemExit: no text, no folder for the output of a run, or wrong options (status 2).
    """
    from hf_adner.pretraining.arguments import PretrainingCommand

    parser = dataclass_parser("pretrain")
    args = parser.parse_intermixed_args(list(argv))  # options may come between the names
    if not args.check and not (args.output or args.output_dir):
        parser.error("no folder for the result: give --output DIR")
    texts = list(args.names)
    encoder = None if args.from_scratch else texts.pop(0)
    if not texts:
        parser.error("no text was given; expected ENCODER TEXT..., or TEXT... --from-scratch")
    with _usage_errors(parser):
        training, arguments = parser.parse_dict(vars(args), allow_extra_keys=True)
    training.output_dir = args.output or args.output_dir or training.output_dir
    return PretrainingCommand(encoder, texts, arguments, training, args.check)


def load_pipeline(args: argparse.Namespace) -> Any:
    """Return the pipeline of the checkpoint `args.model`."""
    from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer

    model = AdnerForTokenClassification.from_pretrained(args.model, revision=args.revision or "main")
    tokenizer = AdnerTokenizer.from_pretrained(args.model, revision=args.revision or "main")
    return AdnerPipeline(model=model, tokenizer=tokenizer, device=args.device)


def open_documents(args: argparse.Namespace, **options: Any) -> Any:
    """Return the document of `--text`, the documents of `--split`, or a stream of those of the whole input.

    Args:
        args: the parsed arguments.
        options: of `read_documents`, for the stream.

    Raises:
        ValueError: both an input and a text or neither, or the input has no such split.
    """
    from hf_adner.data.dataset import documents_from_dataset
    from hf_adner.data.formats import read_documents
    from hf_adner.data.input_files import files_by_split
    from hf_adner.data.records import Document

    text, split = getattr(args, "text", None), getattr(args, "split", None)
    if hasattr(args, "text") and (args.input is None) == (text is None):
        raise ValueError("give either an input or --text")
    if text is not None:
        return [Document(id="text", text=text)]
    if not split:
        return read_documents(files_by_split({"input": args.input})["input"], **{**options, **reading_options(args)})
    dataset = _load_dataset(args)
    if split not in dataset:
        raise ValueError(f"{args.input} has no split {split!r}, only {', '.join(dataset)}")
    return list(documents_from_dataset(dataset[split]))


def _load_dataset(args: argparse.Namespace) -> Any:
    from hf_adner.data.dataset import load_ner_dataset

    return load_ner_dataset(args.input, **reading_options(args))


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


def write_or_print(documents: Iterator[Any], output: str | None = None, format: str | None = None) -> None:
    """Write documents to a file or, without one, to standard output as JSON lines, which escape what does not print."""
    from hf_adner.data.formats import write_documents
    from hf_adner.data.formats.jsonl import jsonl_text
    from hf_adner.reporting import printable_json

    if output:
        write_documents(documents, output, format=format)
        return
    for line in jsonl_text(documents):
        print(printable_json(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
