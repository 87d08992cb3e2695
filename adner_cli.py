"""The `adner` command: its options, help, usage errors and version.

Only the standard library is imported here, so help and usage errors do not wait for torch and transformers.
`hf_adner.cli`, which does what the commands are for, is imported once a command runs.

Options that are fields of dataclasses (training, cross-validation, pretraining, the model card) are declared in the
package and parsed by transformers' `HfArgumentParser` there; their short help is read from the package's source.
"""

from __future__ import annotations

import argparse
import ast
import errno
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "hf_adner"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `adner COMMAND ...` and return its exit status.

    A failure is one line on standard error and status 1; with `--debug` the exception is raised. Bad usage has status 2
    (argparse raises `SystemExit`), an interruption 130, output that nobody reads any more 141 without a word.
    """
    argv, debug = _without_debug(hyphenated(sys.argv[1:] if argv is None else argv))
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        return _fail(" ".join(["adner", *argv[:1]]), error)


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"adner {_value(PACKAGE, ast.Name('__version__'))}")
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        print(f"adner: unknown command {name!r}; {_suggestion(name)}", file=sys.stderr)
        return 2
    if COMMANDS[name].dataclasses:
        if {"-h", "--help"} & set(rest):
            print(dataclass_help(name), end="")
            sys.exit()
        arguments: Any = rest  # parsed by HfArgumentParser
    else:
        parser = command_parser(name)
        # options may come between positional arguments, but intermixed parsing loses "--"
        arguments = parser.parse_args(rest) if "--" in rest else parser.parse_intermixed_args(rest)
    from hf_adner.cli import run

    run(name, arguments)
    return 0


def _fail(command: str, error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit status."""
    if isinstance(error, OSError) and not error.filename and error.errno in (errno.EPIPE, errno.ENOSPC):
        if sys.stdout is sys.__stdout__:  # Python flushes it at exit, which would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 141
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    elif isinstance(error, (ValueError, OSError, ImportError)):
        text = f"{type(error).__name__}: {text}"
    else:
        text = f"{type(error).__name__}: {text[:200]} (adner --debug {command.split()[-1]} ... shows where)"
    print(f"{command}: {text}", file=sys.stderr)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _without_debug(argv: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out, anywhere before `--`; followed by a value it is an option of transformers' arguments."""
    end = argv.index("--") if "--" in argv else len(argv)
    ours = [
        place
        for place, token in enumerate(argv[:end])
        if token == "--debug" and argv[place + 1 : place + 2] not in (["underflow_overflow"], ["tpu_metrics_debug"])
    ]
    return [token for place, token in enumerate(argv) if place not in ours], bool(ours)


def hyphenated(argv: Sequence[str]) -> list[str]:
    """Return the arguments with hyphens for underscores in the names of options, up to `--`."""
    argv = list(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    return [_OPTION.sub(lambda match: match[0].replace("_", "-"), token) for token in argv[:end]] + argv[end:]


_OPTION = re.compile(r"\A--[A-Za-z][\w-]*(?==|\Z)", re.ASCII)


def overview() -> str:
    """Return the usage and a line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    ending = "adner COMMAND --help shows the options of a command; --debug, where an error came from."
    return "\n".join(["usage: adner COMMAND [options]", "", *lines, "", ending])


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    if close := get_close_matches(name, COMMANDS, n=1):
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(COMMANDS)}"


def command_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command, without options that are fields of dataclasses."""
    command = COMMANDS[name]
    usage = None if command.usage is None else f"adner {name} {command.usage}"
    parser = argparse.ArgumentParser(prog=f"adner {name}", usage=usage, description=command.summary)
    command.add_options(parser)
    return parser


def _add_input(parser: argparse.ArgumentParser, **options: Any) -> None:
    parser.add_argument("input", **{"help": "file, folder or dataset (owner/name, ad-synthetic)", **options})
    _add_dataclass(parser, _READING)
    parser.epilog = f"Formats that are read: {_listed('data.formats.reading:READERS')}."


def _add_model(parser: argparse.ArgumentParser, **input_options: Any) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    _add_input(parser, **input_options)
    _add(parser, "--batch-size", 16, "windows per step")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU if there is one)")
    _add_shared(parser, "--revision")


_SHARED: dict[str, dict[str, Any]] = {
    "--revision": {"help": "revision of a Hub checkpoint"},
    "--split": {"help": "split of the input (default: all of it)"},
    "--threshold": {"type": float, "default": 0.0, "help": "least score of an entity, 0 to 1 (default: 0.0)"},
    "--json": {"metavar": "FILE", "help": "also write the report to this file"},
}


def _add_shared(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        parser.add_argument(name, **_SHARED[name])


def _add(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    """Add an option of the type of its default, which the help shows."""
    parser.add_argument(name, type=type(default), default=default, help=f"{text} (default: %(default)s)")


_ASSERTION = "also tell which entities are negated, uncertain, historical, hypothetical or of the family"


def _add_assertion(parser: argparse.ArgumentParser, text: str = _ASSERTION) -> None:
    parser.add_argument("--assertion", action="store_true", default=None, help=text)
    rules = "the same, with the rules of this table (TSV) added to those of the checkpoint"
    parser.add_argument("--assertion-rules", metavar="FILE", help=rules)


def _add_words(parser: argparse.ArgumentParser) -> None:
    text = "words that are entities, or are none, wherever they occur: a table of word, label and force or forbid (TSV)"
    parser.add_argument("--constraints", metavar="FILE", help=text)
    text = "also give the codes of entities by the table of the checkpoint"
    parser.add_argument("--codes", action="store_true", default=None, help=text)
    text = "the same, with this table of word, code and perhaps label (TSV) added to that of the checkpoint"
    parser.add_argument("--code-table", metavar="FILE", help=text)


def _add_output_format(parser: argparse.ArgumentParser) -> None:
    formats = _listed("data.formats.writing:WRITERS")
    parser.add_argument("--output-format", help=f"format of the output: {formats} (default: by the suffix of its name)")
    text = "CSV and TSV for spreadsheets: write an apostrophe before cells that would be run as formulas"
    parser.add_argument("--escape-formulas", action="store_true", help=text)


def _listed(reference: str) -> str:
    *names, last = names_in(reference)
    return f"{', '.join(names)} or {last}"


def _demo(parser: argparse.ArgumentParser) -> None:
    _add(parser, "--output", "runs/quickstart", "folder of the run")
    _add(parser, "--seed", 42, "seed of weights and batches")


def _pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", help="the encoder (not with --from-scratch), then files of text")
    parser.add_argument("--output", metavar="DIR", help="folder of the run and of its encoder")
    parser.add_argument("--from-scratch", action="store_true", help="begin with a small random encoder")
    parser.add_argument("--check", action="store_true", help="only show how much of the text the vocabulary covers")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_shared(parser, "--threshold", "--split", "--json")
    _add_assertion(parser, "also score the attributes of gold entities whose meta states them (assertion)")
    text = "labels whose entities that leaves out, such as body sites"
    parser.add_argument("--assertion-leave-out", nargs="+", metavar="LABEL", default=[], help=text)


def _audit(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_shared(parser, "--split", "--json")
    explainers = ["grad-x-input", "integrated-gradients", "occlusion"]
    controls = f"or controls without a model: {_listed('explain.controls:CONTROL_EXPLAINERS')}"
    text = f"{_listed('explain.explainers:EXPLAINERS')}; {controls} (default: {' '.join(explainers)})"
    parser.add_argument("--explainers", nargs="+", metavar="NAME", default=explainers, help=text)
    groups = _listed("audit.measures:GROUPS")
    parser.add_argument("--groups", nargs="+", metavar="NAME", help=f"groups of measures: {groups} (default: all)")
    _add(parser, "--views", 2, "perturbed texts per document and family")
    _add(parser, "--max-entities", 150, "entities to explain")
    parser.add_argument(
        "--plot", metavar="FILE", help="plot of discriminative faithfulness against boundaries (PNG, SVG or PDF)"
    )
    parser.add_argument("--calibration", metavar="FILE", help="write the calibration of all predicted entities")
    parser.add_argument("--robustness", metavar="FILE", help="also score perturbed documents and write that report")


def _explain(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, nargs="?")
    parser.add_argument("--text", help="a text to explain instead of an input")
    _add_shared(parser, "--split")
    parser.add_argument("--output", help="page (.html) or JSON (.json, .jsonl) to write (default: print text)")
    parser.add_argument("--global-table", help="folder of a global table (default: the checkpoint's)")
    parser.add_argument("--build-table", metavar="DOCUMENTS", help="first build the table from training documents")
    text = "draw so many of them, for a longer list costs more and changes little"
    _add(parser, "--table-documents", _constant("explain.table_building:DEFAULT_DOCUMENTS"), text)
    default = "(default: a fast one, and occlusion or fused for the least certain entities)"
    parser.add_argument("--explainer", help=f"of all entities: {_listed('explain.explainers:EXPLAINERS')} {default}")
    _add(parser, "--target", "label", f"score to explain: {_listed('explain.targets:TARGETS')}")
    _add(parser, "--entities", "predicted", "predicted, or gold: those of the documents")
    probes = f"changes of the text to try, NAME,NAME or none: {_listed('explain.probes:DEFAULT_PROBES')} (default: all)"
    parser.add_argument("--probes", type=_names, help=probes)
    _add(parser, "--stability-views", 0, "perturbed texts to measure the stability of explanations with")
    budget = _constant("explain.closer_look:DEFAULT_BUDGET")
    text = "occlusion, probes and stability are for the least certain entities of a document, as many as can be had by"
    text += f" reading this many characters per character of it, or all (default: {budget})"
    parser.add_argument("--budget", type=_budget, default=budget, metavar="N", help=text)
    _add_assertion(parser)
    _add_words(parser)
    parser.add_argument("--limit", type=int, help="explain only this many documents")
    _add(parser, "--seed", 0, "seed of probes and perturbed texts")


def _budget(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, or all, found {text!r}")
    return int(text)


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def _predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, nargs="?")
    _add_shared(parser, "--threshold", "--split")
    _add_assertion(parser)
    _add_words(parser)
    parser.add_argument("--text", help="a text to tag instead of an input")
    parser.add_argument("--output", help="file or folder to write (default: JSON lines on standard output)")
    _add_output_format(parser)
    text = "flag entities with a score below this for review (default: that of the checkpoint's budget, else 0.8)"
    parser.add_argument("--review-threshold", type=float, metavar="X", help=text)
    text = "flag exactly this share of all entities, those with the lowest scores, once the whole input is read"
    parser.add_argument("--review-budget", type=float, metavar="SHARE", help=text)
    text = "add the candidates of each document to its meta (needs calibrate --coverage; JSON lines only)"
    parser.add_argument("--candidates", action="store_true", help=text)
    _add(parser, "--block-size", 1000, "documents between two saves of --output")


def _calibrate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_shared(parser, "--split", "--json")
    text = "also fit a threshold for candidates that miss at most 1 - SHARE of a document's entities, in expectation"
    parser.add_argument("--coverage", type=float, metavar="SHARE", help=text)
    text = "also fit the threshold of needs_review that flags this share of entities"
    parser.add_argument("--review-budget", type=float, metavar="SHARE", help=text)
    text = "write the configuration to this file (default: config.json of the checkpoint, which is replaced)"
    parser.add_argument("--output", metavar="FILE", help=text)


def _lexicon(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    text = "add the words of this file, a word per line or word TAB frequency, to model and tokenizer"
    parser.add_argument("--add", metavar="FILE", help=text)
    text = "new folder for the checkpoint with the words (default: the checkpoint itself, replaced as a whole)"
    parser.add_argument("--output", metavar="DIR", help=text)
    text = "origin of the words: list, or documents for words taken from (private) documents, which no push sends"
    _add(parser, "--origin", "list", text)
    parser.add_argument("--text", help="show the words of the lexicon in this text")
    _add_shared(parser, "--revision")


def _agree(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", help="file, folder or dataset of one annotator")
    parser.add_argument("second", help="the same documents of the other; they are paired by id")
    _add_dataclass(parser, _READING)
    _add_shared(parser, "--split", "--json")
    parser.add_argument("--page", metavar="FILE", help="page of the documents that differ (.html)")
    _add(parser, "--resamples", _constant("metrics.agreement:RESAMPLES"), "draws of documents for the intervals")
    _add(parser, "--seed", 0, "seed of the draws")


def _rank(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_shared(parser, "--threshold", "--split")
    parser.add_argument("--output", required=True, help="file to write")
    _add(parser, "--output-format", "doccano", _listed("audit.ranking:RANKED_FORMATS"))
    parser.add_argument("--count", type=int, help="number of documents to keep (default: all)")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    parser.add_argument("output", help="new folder")
    parser.add_argument("--int8", action="store_true", help="8-bit weights and products; measure the loss of accuracy")
    engines = names_in("serve.onnx_engines:ENGINES")
    parser.add_argument("--engine", choices=engines, default=engines[0], help="what runs it unless told otherwise")
    _add_shared(parser, "--revision")


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    _add(parser, "--host", "127.0.0.1", "address to listen on")
    _add(parser, "--port", 8000, "port to listen on")
    _add(parser, "--workers", 1, "processes, each with the model")
    _add(parser, "--batch-size", 16, "windows per step")
    parser.add_argument("--threads", type=int, help="CPU threads of a worker (default: all cores / workers)")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU if there is one)")
    parser.add_argument("--assertion", action="store_true", help="add what notes say of each entity (negated, ...)")
    _add_words(parser)
    _add(parser, "--explainer", "grad-x-input", f"explainer of /explain: {_listed('explain.explainers:EXPLAINERS')}")
    _add(parser, "--max-characters", 100_000, "characters of a request to /tag")
    _add(parser, "--max-explained", 5_000, "characters of a request to /explain")
    _add(parser, "--max-texts", 1_000, "texts of a request to /tag")
    _add(parser, "--max-constraints", 1_000, "words with a label of their own in a request to /tag")
    _add(parser, "--max-waiting", 64, "requests that may wait before others are refused")
    text = "file with the token that requests must carry (default: the variable HF_ADNER_SERVER_TOKEN, else none)"
    parser.add_argument("--token-file", metavar="FILE", help=text)
    _add_shared(parser, "--revision")


def _app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    _add(parser, "--host", "127.0.0.1", "address to listen on")
    _add(parser, "--port", 7860, "port to listen on")
    _add(parser, "--max-characters", 5_000, "characters of a note")
    _add(parser, "--max-documents", 500, "documents of a file")
    _add(parser, "--max-megabytes", 5, "size of a file")
    _add_words(parser)
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU if there is one)")
    _add_shared(parser, "--revision")


def _convert(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    parser.add_argument("output", help="file or folder to write")
    _add_shared(parser, "--split")
    _add_output_format(parser)


def _stats(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    _add(parser, "--threshold", 0.8, "similarity of near-duplicates, 0 to 1")
    parser.add_argument("--plot", metavar="FILE", help="plot to write (PNG, SVG or PDF)")
    _add_shared(parser, "--json")


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    for report in names_in("cards.checkpoint:REPORTS"):
        parser.add_argument(f"--{report}", metavar="FILE", help=f"JSON report of the {report}")
    parser.add_argument("--training", help="training documents (file, folder or dataset); no example may be among them")
    parser.add_argument("--model-id", help="name of the model on the Hub, owner/name")
    parser.add_argument("--revision", help="commit of the model in the card's examples")
    parser.add_argument("--output", metavar="FILE", help="file to write (default: README.md in the checkpoint)")


def _push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    parser.add_argument("repository", help="owner/name, or a name in your own namespace")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--revision", help="branch to push to, created if missing (default: main)")
    _add(parser, "--message", "Upload checkpoint", "commit message")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    parser.add_argument(
        "--allow-document-lexicon", action="store_true", help="send a lexicon made from documents, which may be private"
    )


class Command(NamedTuple):
    """A command of `adner`.

    Attributes:
        summary: one line of help.
        add_options: adds the command's own options to a parser.
        dataclasses: argument dataclasses ("module:class") whose fields are options as well, in the order in which the
            command takes them.
        usage: arguments in the usage line; None lets argparse write it.
    """

    summary: str
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    dataclasses: tuple[str, ...] = ()
    usage: str | None = None

    @property
    def reads_settings(self) -> bool:
        """Whether a file of settings may come first."""
        return self.usage == _RUN


_READING = f"{PACKAGE}.data.reading_arguments:ReadingArguments"
_CARD = f"{PACKAGE}.cards.record:CardOptions"
_DATASET = f"{PACKAGE}.training.arguments:DatasetArguments"
_MODEL = f"{PACKAGE}.training.arguments:ModelArguments"
_TRAINING = f"{PACKAGE}.training.arguments:TrainCommandArguments"
_GUIDED = f"{PACKAGE}.guided.arguments:GuidedCommandArguments"
_REVIEW = f"{PACKAGE}.comparison.annotation_review:ReviewArguments"
_FOLDS = f"{PACKAGE}.comparison.cross_validation:CrossValidationArguments"
_COMPARISON = f"{PACKAGE}.comparison.comparison:ComparisonArguments"
_PRETRAINING = tuple(
    f"{PACKAGE}.pretraining.arguments:{name}" for name in ("PretrainCommandArguments", "PretrainingArguments")
)
_RUN = "[SETTINGS.yaml] --dataset DATASET --output-dir DIR [options]"
_REVIEWED = "DOCUMENTS --output-dir DIR [--model CHECKPOINT] [options]"
_PRETRAIN = "ENCODER TEXT... --output DIR [options], or TEXT... --from-scratch --output DIR"

COMMANDS = {
    "demo": Command("train a small model on the synthetic corpus and show it on a note", _demo),
    "train": Command(
        "train a model on documents with entities", dataclasses=(_DATASET, _MODEL, _TRAINING, _CARD), usage=_RUN
    ),
    "train-guided": Command(
        "train a model guided by its own explanations", dataclasses=(_DATASET, _MODEL, _GUIDED, _CARD), usage=_RUN
    ),
    "pretrain": Command(
        "pretrain an encoder on plain text with the MacBERT objective", _pretrain, _PRETRAINING, _PRETRAIN
    ),
    "cross-validate": Command(
        "score architectures by k-fold cross-validation",
        dataclasses=(_FOLDS, _DATASET, _MODEL, _TRAINING),
        usage=_RUN,
    ),
    "compare": Command(
        "compare ways of training over models and seeds, with intervals and tests",
        dataclasses=(_COMPARISON, _DATASET, _MODEL, _GUIDED),
        usage=_RUN,
    ),
    "evaluate": Command("score a checkpoint on documents with entities", _evaluate),
    "audit": Command("measure explainers of a checkpoint against each other", _audit),
    "explain": Command("show why a checkpoint finds the entities of a text or of documents", _explain),
    "predict": Command("tag texts and write the entities in any format", _predict),
    "calibrate": Command("fit the scores of a checkpoint to development documents with entities", _calibrate),
    "lexicon": Command("show the lexicon of a checkpoint, or add words to it", _lexicon),
    "review": Command(
        "rank the probable errors of an annotation, by models that did not see it",
        dataclasses=(_REVIEW, _DATASET, _MODEL, _TRAINING),
        usage=_REVIEWED,
    ),
    "agree": Command("measure how far two annotators agree, and show where they differ", _agree),
    "rank": Command("order unlabelled documents by how much a human label would help", _rank),
    "export": Command("write a checkpoint for ONNX Runtime or OpenVINO", _export),
    "serve": Command("answer requests over HTTP (tag, explain, health, metrics)", _serve),
    "app": Command("show a checkpoint in the browser: notes, explanations, files", _app),
    "convert": Command("read documents in one format and write them in another", _convert),
    "stats": Command("describe a corpus and the overlap of its splits", _stats),
    "card": Command(
        "write the model card of a checkpoint from JSON reports", _card, (_CARD, _READING), "CHECKPOINT [options]"
    ),
    "push": Command("upload a checkpoint with everything that belongs to it to the Hub", _push),
}
"""The commands by name, in the order of the overview."""


def dataclass_help(name: str) -> str:
    """Return the short help of a command with dataclasses: its own options and the fields that the package declares."""
    parser = command_parser(name)
    if COMMANDS[name].reads_settings:
        parser.add_argument("settings", nargs="?", help="YAML or JSON file of options; options given here win")
    if _TRAINING in COMMANDS[name].dataclasses or COMMANDS[name].reads_settings:
        parser.add_argument("--output-dir", metavar="DIR", help="folder of the run")
    for reference in COMMANDS[name].dataclasses:
        _add_dataclass(parser, reference)
    if _CARD != COMMANDS[name].dataclasses[0]:
        parser.epilog = (
            "Every field of transformers.TrainingArguments is an option as well, such as --seed, --max-steps, --bf16 "
            "and --resume-from-checkpoint; --help-all lists them all."
        )
    return parser.format_help()


class ArgumentField(NamedTuple):
    """A field of an argument dataclass; `default` is None where there is none or the source does not spell it."""

    name: str
    type: str
    help: str
    default: Any
    choices: list[str] | None


def _add_dataclass(parser: argparse.ArgumentParser, reference: str) -> None:
    """Add the fields of a dataclass ("module:class") as options, a group for the class and for each of its bases."""
    for title, fields in argument_groups(reference):
        group = parser.add_argument_group(title)
        for field in fields:
            _add_field(group, field)


def argument_groups(reference: str) -> Iterator[tuple[str, list[ArgumentField]]]:
    """Yield summary and fields of a dataclass ("module:class") and of its bases in the package, read from source.

    A field that a class declares anew is left out of its base.
    """
    module, node = _definition(*reference.split(":"))
    items = (item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.value, ast.Call))
    own = [_field(module, item) for item in items]
    yield ast.get_docstring(node).splitlines()[0].rstrip(".").replace("`", ""), own
    names = {field.name for field in own}
    for base in node.bases:
        if isinstance(base, ast.Name) and (found := _definition(module, base.id)):
            for title, fields in argument_groups(f"{found[0]}:{base.id}"):
                yield title, [field for field in fields if field.name not in names]


def _field(module: str, item: ast.AnnAssign) -> ArgumentField:
    values = {keyword.arg: keyword.value for keyword in item.value.keywords}
    default = _value(module, values.get("default", values.get("default_factory")))
    entries = zip(values["metadata"].keys, values["metadata"].values)
    metadata = {key.value: _value(module, value) for key, value in entries}
    choices = metadata.get("choices")
    return ArgumentField(item.target.id, ast.unparse(item.annotation), metadata["help"], default, choices)


def _add_field(group: argparse._ArgumentGroup, field: ArgumentField) -> None:
    option, text, default = field.name.replace("_", "-"), field.help, field.default
    if field.type == "bool":
        names = [f"--{option}", f"--no-{option}"] if default else [f"--{option}"]
        group.add_argument(*names, action="store_true", help=text + " (default: yes)" * bool(default))
        return
    if default not in (None, []) and "default:" not in text:
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        text += f" (default: {shown})".replace("%", "%%")
    kind = re.search("int|float", field.type)
    metavar = None if field.choices else {"int": "N", "float": "X"}[kind[0]] if kind else "TEXT"
    nargs = "+" if field.type.startswith("list") else None
    group.add_argument(f"--{option}", help=text, metavar=metavar, choices=field.choices, nargs=nargs)


def _constant(reference: str) -> Any:
    """Return a constant of the package ("module:constant"), read from source."""
    module, name = reference.split(":")
    return _value(f"{PACKAGE}.{module}", ast.Name(name))


def names_in(reference: str) -> list[str]:
    """Return the names that a constant of the package ("module:constant") lists, read from source."""
    module, name = reference.split(":")
    return _value(f"{PACKAGE}.{module}", ast.Name(name))


def _definition(module: str, name: str) -> tuple[str, Any] | None:
    """Return where the package defines a name and its syntax tree; None for a name from elsewhere."""
    found = _definitions(module).get(name) if module.partition(".")[0] == PACKAGE else None
    return _definition(*found) if isinstance(found, tuple) else found and (module, found)


@cache
def _definitions(module: str) -> dict[str, Any]:
    """Return the syntax trees of a module's classes and values by name; of imported names (module, name)."""
    path = Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0], *module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name):
                names[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = node.value
            case ast.ImportFrom(module=source, level=0):
                names |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    return names


def _value(module: str, node: ast.AST | None) -> Any:
    """Evaluate a literal, a constant of the package, or `list`, `range` or a lambda of these; None for anything else.

    A dictionary evaluates to its keys.
    """
    match node:
        case ast.Name(id=name) if found := _definition(module, name):
            return _value(*found)
        case ast.Lambda(body=body):
            return _value(module, body)
        case ast.Call(func=ast.Name(id="list"), args=[argument]) if (items := _value(module, argument)) is not None:
            return list(items)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=stop)]):
            return range(stop)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(module, left) + _value(module, right)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return [_value(module, item) for item in items]
        case ast.Dict(keys=keys, values=values):
            parts = (
                _value(module, value) if key is None else [_value(module, key)] for key, value in zip(keys, values)
            )
            return [name for part in parts for name in part]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(main())
