"""The `adner` command: its options, help, usage errors and version.

Only the standard library is imported here, so help and usage errors do not wait for torch and transformers.
`hf_adner.cli`, which does what the commands are for, is imported once a command runs.

Options that are fields of dataclasses (training, cross-validation, pretraining, the model card) are declared in the
package and parsed by transformers' `HfArgumentParser` there; their short help is read from the package's source.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from adner_arguments import PACKAGE, add_dataclass, definitions, literal

# Names and defaults of the package, which is not imported here; tests/test_cli.py compares them.
READ_FORMATS = (
    "brat", "chip-sts", "cmeee", "conll", "csv", "doccano", "excel", "imcs", "jsonl", "label-studio", "lines", "text",
    "tsv",
)  # fmt: skip
WRITTEN_FORMATS = ("brat", "conll", "csv", "doccano", "html", "jsonl", "label-studio", "tsv")
RANKED_FORMATS = ("doccano", "label-studio")
EXPLAINERS = (
    "grad-x-input", "integrated-gradients", "occlusion", "lime", "kernel-shap", "attention", "global", "fused",
    "amortised",
)  # fmt: skip
TARGETS = ("label", "start", "end", "span")
PROBES = (
    "context-masking", "punctuation", "clause-shuffle", "confusions", "outer-neighbour", "start-edit", "end-edit",
    "interior-edit",
)  # fmt: skip
MEASURE_GROUPS = (
    "stability", "sensitivity", "faithfulness", "boundary", "plausibility", "randomisation", "seed-noise",
)  # fmt: skip
REPORTS = ("metrics", "calibration", "explanations", "robustness")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `adner COMMAND ...` and return its exit status.

    Bad input ends with one line on standard error and status 1, bad usage with status 2 (argparse raises
    `SystemExit`).
    """
    argv = hyphenated(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"adner {version()}")
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
    try:
        from hf_adner.cli import run

        run(name, arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"adner {name}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


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
    return "\n".join(
        ["usage: adner COMMAND [options]", "", *lines, "", "adner COMMAND --help shows the options of a command."]
    )


def version() -> str:
    """Return the version of the installed package, or of its source where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return literal(PACKAGE, definitions(PACKAGE)["__version__"])


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
    parser.add_argument("input", **{"help": "file or folder", **options})
    add_dataclass(parser, _READING)
    parser.epilog = f"Formats that are read: {_or(READ_FORMATS)}."


def _add_model(parser: argparse.ArgumentParser, **input_options: Any) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    _add_input(parser, **input_options)
    parser.add_argument("--batch-size", type=int, default=16, help="windows per step (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU if there is one)")
    _add_revision(parser)


def _add_revision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", help="revision of a Hub checkpoint")


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", help="split of the input, a folder or ad-synthetic (default: all of it)")


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold", type=float, default=0.0, help="least posterior of an entity, 0 to 1 (default: %(default)s)"
    )


def _add_seed(parser: argparse.ArgumentParser, default: int, subject: str) -> None:
    parser.add_argument("--seed", type=int, default=default, help=f"seed of {subject} (default: %(default)s)")


def _add_output_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output-format", help=f"format of the output: {_or(WRITTEN_FORMATS)} (default: by the suffix of its name)"
    )


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="runs/quickstart", help="folder of the run (default: %(default)s)")
    _add_seed(parser, 42, "weights and batches")


def _pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", help="the encoder (not with --from-scratch), then files of text")
    parser.add_argument("--output", metavar="DIR", help="folder of the run and of its encoder")
    parser.add_argument("--from-scratch", action="store_true", help="begin with a small random encoder")
    parser.add_argument("--check", action="store_true", help="only show how much of the text the vocabulary covers")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_threshold(parser)
    _add_split(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the report to this file")


def _audit(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_split(parser)
    parser.add_argument(
        "--explainers",
        nargs="+",
        metavar="NAME",
        default=["grad-x-input", "integrated-gradients", "occlusion"],
        help=f"{', '.join(EXPLAINERS)} (default: grad-x-input integrated-gradients occlusion)",
    )
    parser.add_argument(
        "--groups", nargs="+", metavar="NAME", help=f"groups of measures: {', '.join(MEASURE_GROUPS)} (default: all)"
    )
    parser.add_argument("--views", type=int, default=2, help="perturbed texts per document and family (default: 2)")
    parser.add_argument("--max-entities", type=int, default=150, help="entities to explain (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write the report to this file")
    parser.add_argument("--plot", metavar="FILE", help="plot of stability against faithfulness (PNG, SVG or PDF)")
    parser.add_argument("--calibration", metavar="FILE", help="write the calibration of all predicted entities")
    parser.add_argument("--robustness", metavar="FILE", help="also score perturbed documents and write that report")


def _explain(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, nargs="?")
    parser.add_argument("--text", help="a text to explain instead of an input")
    _add_split(parser)
    parser.add_argument("--output", help="page (.html) or JSON (.json, .jsonl) to write (default: print text)")
    parser.add_argument("--global-table", help="folder of a global table (default: the checkpoint's)")
    parser.add_argument("--build-table", metavar="DOCUMENTS", help="first build the table from training documents")
    parser.add_argument(
        "--explainer", help=f"{_or(EXPLAINERS)} (default: fused if there is a global table, else grad-x-input)"
    )
    parser.add_argument("--target", default="label", help=f"score to explain: {_or(TARGETS)} (default: %(default)s)")
    parser.add_argument(
        "--entities", default="predicted", help="predicted, or gold: those of the documents (default: %(default)s)"
    )
    parser.add_argument(
        "--probes", type=_names, help=f"changes of the text to try, NAME,NAME or none: {_or(PROBES)} (default: all)"
    )
    parser.add_argument(
        "--stability-views",
        type=int,
        default=4,
        help="perturbed texts to measure stability with, 0 for none (default: %(default)s)",
    )
    parser.add_argument("--limit", type=int, help="explain only this many documents")
    _add_seed(parser, 0, "probes and perturbed texts")


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def _predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, nargs="?")
    _add_threshold(parser)
    parser.add_argument("--text", help="a text to tag instead of an input")
    parser.add_argument("--output", help="file or folder to write (default: JSON lines on standard output)")
    _add_output_format(parser)
    parser.add_argument(
        "--review-threshold",
        type=float,
        default=0.8,
        help="flag entities with a posterior below this for review (default: %(default)s)",
    )
    parser.add_argument(
        "--block-size", type=int, default=1000, help="documents between two saves of --output (default: %(default)s)"
    )


def _rank(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_threshold(parser)
    parser.add_argument("--output", required=True, help="file to write")
    parser.add_argument("--output-format", default="doccano", help=f"{_or(RANKED_FORMATS)} (default: %(default)s)")
    parser.add_argument("--count", type=int, help="number of documents to keep (default: all)")
    parser.add_argument("--explain", metavar="EXPLAINER", help="count unstable explanations of this explainer too")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="checkpoint: a folder or a Hub name")
    parser.add_argument("output", help="new folder")
    parser.add_argument("--int8", action="store_true", help="8-bit weights and products; measure the loss of accuracy")
    _add_revision(parser)


def _convert(parser: argparse.ArgumentParser) -> None:
    _add_input(parser)
    parser.add_argument("output", help="file or folder to write")
    _add_output_format(parser)


def _stats(parser: argparse.ArgumentParser) -> None:
    _add_input(parser, help="file, folder or ad-synthetic")
    parser.add_argument(
        "--threshold", type=float, default=0.8, help="similarity of near-duplicates, 0 to 1 (default: %(default)s)"
    )
    parser.add_argument("--plot", metavar="FILE", help="plot to write (PNG, SVG or PDF)")
    parser.add_argument("--json", metavar="FILE", help="also write the statistics to this file")


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    for report in REPORTS:
        parser.add_argument(f"--{report}", metavar="FILE", help=f"JSON report of the {report}")
    parser.add_argument("--training", help="training documents, a file, folder or name; no example may be among them")
    parser.add_argument("--model-id", help="name of the model on the Hub, owner/name")
    parser.add_argument("--revision", help="commit of the model in the card's examples")
    parser.add_argument("--output", metavar="FILE", help="file to write (default: README.md in the checkpoint)")


def _push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="folder of the checkpoint")
    parser.add_argument("repository", help="owner/name, or a name in your own namespace")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument("--revision", help="branch to push to, created if missing (default: main)")
    parser.add_argument("--message", default="Upload checkpoint", help="commit message (default: %(default)s)")
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
_TRAINING = f"{PACKAGE}.training.arguments:AdnerTrainingArguments"
_GUIDED = f"{PACKAGE}.guided.arguments:ExplanationGuidedTrainingArguments"
_FOLDS = f"{PACKAGE}.comparison.cross_validation:CrossValidationArguments"
_COMPARISON = f"{PACKAGE}.comparison.comparison:ComparisonArguments"
_PRETRAINING = tuple(
    f"{PACKAGE}.pretraining.arguments:{name}" for name in ("PretrainingTrainingArguments", "PretrainingArguments")
)
_RUN = "[SETTINGS.yaml] --dataset DATASET --output-dir DIR [options]"
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
    "rank": Command("order unlabelled documents by how much a human label would help", _rank),
    "export": Command("write a checkpoint for ONNX Runtime", _export),
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
        parser.add_argument("--output-dir", metavar="DIR", help="folder of the run")
    for reference in COMMANDS[name].dataclasses:
        add_dataclass(parser, reference)
    if _CARD != COMMANDS[name].dataclasses[0]:
        parser.epilog = (
            "Every field of transformers.TrainingArguments is an option as well, such as --seed, --max-steps, --bf16 "
            "and --resume-from-checkpoint; --help-all lists them all."
        )
    return parser.format_help()


if __name__ == "__main__":
    sys.exit(main())
