"""Arguments of the commands with dataclasses: parsed from the command line and from files of settings, and checked."""

import argparse
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

import adner_cli
from hf_adner.files import check_folder, read_json


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
    return parse(parser, rest)


def parse_run(command: str, argv: Sequence[str]) -> tuple[Any, ...]:
    """Read the dataclasses of a command that trains, and check its encoder and its folder before any work.

    Raises:
        SystemExit, ValueError: as `parse_dataclasses`.
        OSError: the encoder cannot be had (`hf_adner.hub.reachable`), or the folder of the run cannot be written.
    """
    arguments = parse_dataclasses(command, argv)
    fields = {name: value for values in arguments for name, value in vars(values).items()}
    check_run(fields["encoder"], fields["output_dir"])
    return arguments


def check_run(encoder: str | None, folder: str | None) -> None:
    """Check encoder and folder of a run; None for a run without.

    Raises:
        OSError: as `parse_run`.
    """
    from hf_adner.hub.reachable import check_checkpoint_name

    check_checkpoint_name(encoder)
    if folder is not None:
        check_folder(folder)


def parse(parser: DataclassParser, argv: Sequence[str]) -> tuple[Any, ...]:
    """Parse the dataclasses of a parser and, if it has other options, their namespace.

    Raises:
        SystemExit: the options are wrong (status 2).
    """
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
