"""Everything that a model card says, gathered from the reports of a run.

Names fit to be published: no folder of a user's machine appears in a card.

What a user can say of a model that no run measures.

What a run ran with: versions of the libraries and the kind of machine, nothing that names the machine.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import torch

from hf_adner.cards.examples import Example

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/~]|\.{1,2}[\\/])[^,+=\s]*|[^,+=\s]+[\\/][^,+=\s]*")
_SPLIT_NAMES = {"train", "training", "data", "dataset", "corpus", "all"}


def last_name(path: str) -> str:
    """The last part of a path of any system, `name` of `/folder/name/`."""
    return PurePosixPath(PureWindowsPath(path).as_posix()).name or "files"


def dataset_title(source: str) -> str:
    """`ad-synthetic` as it is; of a file or folder its own name, or its folder's where the file is called train."""
    path = PurePosixPath(PureWindowsPath(source).as_posix())
    name = path.name.partition(".")[0] if path.suffix else path.name
    return path.parent.name if name.lower() in _SPLIT_NAMES and path.parent.name else name or "files"


def base_model_of(encoder: str | None) -> str | None:
    """The encoder if it is a name on the Hub, None for a folder or no encoder at all."""
    if not encoder or os.path.exists(encoder) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", encoder):
        return None
    return encoder


def without_paths(value: Any) -> Any:
    """A setting with every path in it cut down to its last part; anything but text as it is."""
    return _PATH.sub(lambda found: last_name(found[0]), value) if isinstance(value, str) else value


_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass
class CardOptions:
    """Names, licence and examples for the model card, as a dataclass for `HfArgumentParser`.

    Raises:
        ValueError: a base model or data set that is no name on the Hub, or a negative energy.
    """

    model_title: str | None = field(default=None, metadata={"help": "title of the model card"})
    dataset_title: str | None = field(default=None, metadata={"help": "how the card names the data"})
    dataset_ids: list[str] = field(
        default_factory=list, metadata={"help": "names of the training data on the Hub, if it is there"}
    )
    base_model: str | None = field(
        default=None, metadata={"help": "name of the encoder on the Hub (default: --encoder, unless it is a folder)"}
    )
    model_license: str | None = field(default=None, metadata={"help": "licence of the weights, such as apache-2.0"})
    example_texts: list[str] = field(
        default_factory=list,
        metadata={"help": "texts the card shows, none from the training data (default: invented notes)"},
    )
    energy_kwh: float | None = field(default=None, metadata={"help": "energy of the training, if it was measured"})
    co2_grams: float | None = field(default=None, metadata={"help": "emissions of the training, if measured"})

    def __post_init__(self) -> None:
        for name in [*self.dataset_ids, *filter(None, [self.base_model])]:
            if not _REPOSITORY.fullmatch(name):
                raise ValueError(f"{name!r} is no name on the Hub; expected one of the form owner/name")
        for name in ("energy_kwh", "co2_grams"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")


Report = Mapping[str, Any]
"""A report as its `to_dict()` gives it, or as it was read from JSON."""

_MODEL_SETTINGS = ("encoder_layers", "encoder_size", "encoder_dropout", "config_overrides", "word_vectors")
_DATASET_SETTINGS = ("max_length", "window_overlap")


UNNAMED_DATA = "data that was not named"


class ReportError(ValueError):
    """A report lacks what a card needs, or is none."""


@dataclass(frozen=True)
class CardRecord:
    """What is known of a model; whatever is None was not measured, and the card says so.

    Attributes:
        title: the card's heading.
        architecture: a name of `ARCHITECTURES`, or the class of a foreign model.
        labels: entity types.
        dataset: name of the training data.
        dataset_ids: its names on the Hub.
        base_model: the encoder's name on the Hub; `encoder` what to call it otherwise.
        encoder: see `base_model`; None for an encoder that was trained from nothing, or none.
        model_id: where the model is or will be, `owner/name` on the Hub or a folder.
        revision: the commit to load, a hash.
        license: of the weights.
        tags: tags beyond the usual ones.
        parameters: number of parameters.
        lexicon_words: size of the word list, 0 without one.
        lexicon_from_training: whether words of the training documents are in it.
        scores: split -> `EvaluationReport.to_dict()`, for `test`, `validation` or both.
        statistics: `CorpusStatistics.to_dict()` of the training data.
        settings: hyper-parameters.
        steps: optimizer steps.
        seconds: duration of the training.
        hardware: see `environment.hardware`.
        versions: see `environment.versions`.
        energy_kwh: measured energy.
        co2_grams: measured emissions.
        calibration: `CalibrationReport.to_dict()`.
        explanations: `ExplanationReport.to_dict()`.
        robustness: `RobustnessReport.to_dict()`.
        examples: texts that are not from the training data, with what the model finds in them.
    """

    title: str
    architecture: str
    labels: Sequence[str]
    dataset: str = UNNAMED_DATA
    dataset_ids: Sequence[str] = ()
    base_model: str | None = None
    encoder: str | None = None
    model_id: str | None = None
    revision: str | None = None
    license: str | None = None
    tags: Sequence[str] = ()
    parameters: int | None = None
    lexicon_words: int = 0
    lexicon_from_training: bool = False
    scores: Mapping[str, Report] = field(default_factory=dict)
    statistics: Report | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    hardware: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    energy_kwh: float | None = None
    co2_grams: float | None = None
    calibration: Report | None = None
    explanations: Report | None = None
    robustness: Report | None = None
    examples: Sequence[Example] = ()

    @property
    def scored_split(self) -> str | None:
        """The split whose scores the card quotes: `test` where there is one."""
        return next((split for split in ("test", "validation") if split in self.scores), None)


def record_of_run(
    metrics: Report,
    options: CardOptions | None = None,
    *,
    calibration: Report | None = None,
    explanations: Report | None = None,
    robustness: Report | None = None,
    **others: Any,
) -> CardRecord:
    """The record of one training run.

    Args:
        metrics: content of a run's `metrics.json`; of its parts only `labels` and `model.architecture` must be there.
        options: what the user says of the model; it goes before what the run knows.
        calibration, explanations, robustness: reports made apart from the run; they go before those in `metrics`.
        others: fields of `CardRecord` that no report tells (`model_id`, `revision`, `tags`).

    Raises:
        ReportError: something the card cannot do without is missing, or a part has the wrong type.
    """
    reports = {"calibration": calibration, "explanations": explanations, "robustness": robustness}
    known = {
        **_network(metrics),
        **_data(metrics),
        **_training(metrics),
        **{name: report or _part(metrics, name) or None for name, report in reports.items()},
        "examples": [Example(one["text"], one.get("entities")) for one in metrics.get("examples") or ()],
        **_said(options or CardOptions()),
        **others,
    }
    return CardRecord(**{"title": f"{known['architecture']} trained on {known['dataset']}", **known})


def _network(metrics: Report) -> dict[str, Any]:
    model, labels = _part(metrics, "model"), metrics.get("labels")
    if not model.get("architecture") or not labels:
        raise ReportError(f"the report names no {'architecture (model.architecture)' if labels else 'labels'}")
    encoder = model.get("encoder")
    return {
        "architecture": model["architecture"],
        "labels": tuple(labels),
        "base_model": metrics["base_model"] if "base_model" in metrics else base_model_of(encoder),
        "encoder": last_name(encoder) if encoder else None,
        "parameters": metrics.get("parameters"),
        "lexicon_words": metrics.get("lexicon_words") or 0,
        "lexicon_from_training": metrics.get("lexicon_origin") in ("documents", "mix"),
    }


def _data(metrics: Report) -> dict[str, Any]:
    source = _part(metrics, "dataset").get("dataset")
    return {
        "dataset": dataset_title(source) if source else UNNAMED_DATA,
        "statistics": _part(metrics, "statistics") or None,
        "scores": {split: _scores(metrics, split) for split in ("test", "validation") if metrics.get(split)},
    }


def _training(metrics: Report) -> dict[str, Any]:
    return {
        "settings": _settings(*(_part(metrics, name) for name in ("model", "dataset", "training"))),
        "steps": metrics.get("steps"),
        "seconds": metrics.get("train_seconds"),
        "hardware": _part(metrics, "hardware"),
        "versions": _part(metrics, "versions"),
        "energy_kwh": metrics.get("energy_kwh"),
        "co2_grams": metrics.get("co2_grams"),
    }


def _said(options: CardOptions) -> dict[str, Any]:
    """The record's fields that the user has filled in."""
    fields = {
        "title": options.model_title,
        "dataset": options.dataset_title,
        "dataset_ids": tuple(options.dataset_ids) or None,
        "base_model": options.base_model,
        "license": options.model_license,
        "energy_kwh": options.energy_kwh,
        "co2_grams": options.co2_grams,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _part(metrics: Report, name: str) -> Report:
    part = metrics.get(name) or {}
    if not isinstance(part, Mapping):
        raise ReportError(f"{name} of the report is {type(part).__name__}, expected a mapping")
    return part


def _scores(metrics: Report, split: str) -> Report:
    report = _part(metrics, split)
    missing = [name for name in ("documents", "gold", "strict", "boundaries") if name not in report]
    if missing:
        raise ReportError(f"{split} of the report is no evaluation report: {', '.join(missing)} missing")
    return report


def _settings(model: Report, dataset: Report, training: Report) -> dict[str, Any]:
    chosen = {
        **{name: model.get(name) for name in _MODEL_SETTINGS},
        **{name: dataset.get(name) for name in _DATASET_SETTINGS},
        **training,
    }
    if model.get("encoder"):
        del chosen["encoder_size"]  # of the encoder that is built when none is given
    if chosen.get("max_steps") == -1:
        del chosen["max_steps"]  # transformers' word for: as many as the epochs have
    return {name: without_paths(value) for name, value in chosen.items() if value is not None}


PACKAGES = (
    "hf_adner",
    "transformers",
    "torch",
    "datasets",
    "tokenizers",
    "accelerate",
    "huggingface-hub",
    "pytorch-crf",
)


def versions() -> dict[str, str]:
    """Name -> version: Python and `PACKAGES`, as far as they are installed."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """`accelerator` (the GPU's model, or "none"), `accelerators`, `cpu` (the architecture), `cores`, `threads`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "accelerator": torch.cuda.get_device_name(0) if count else "none",
        "accelerators": count,
        "cpu": platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
