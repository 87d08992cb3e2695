"""Content of a model card: the options of the user, the reports of a run, and the environment it ran in."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch

from hf_adner.cards.examples import Example
from hf_adner.data.dataset import SYNTHETIC

Report = Mapping[str, Any]
"""A report as its `to_dict()` returns it, or as read from JSON."""

UNNAMED_DATA = "data that was not named"
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
"""Libraries whose versions a card lists."""

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/~]|\.{1,2}[\\/])[^,+=\s]*|[^,+=\s]+[\\/][^,+=\s]*")
_MODEL_SETTINGS = ("encoder_layers", "encoder_size", "encoder_dropout", "config_overrides", "word_vectors")
_DATASET_SETTINGS = ("max_length", "window_overlap")
_FILE_SETTINGS = ("word_vectors", "masked_lm")


@dataclass
class CardOptions:
    """Options of a model card, a dataclass for `HfArgumentParser`.

    Raises:
        ValueError: a base model or data set that is not a Hub name, or a negative energy.
    """

    model_title: str | None = field(default=None, metadata={"help": "title of the model card"})
    dataset_title: str | None = field(
        default=None,
        metadata={"help": "public name of the data (default: its Hub name, if it has one)"},
    )
    dataset_ids: list[str] = field(
        default_factory=list, metadata={"help": "Hub names of the training data, if it is there"}
    )
    base_model: str | None = field(
        default=None, metadata={"help": "Hub name of the encoder (default: --encoder, unless it is a folder)"}
    )
    model_license: str | None = field(default=None, metadata={"help": "licence of the weights, such as apache-2.0"})
    example_texts: list[str] = field(
        default_factory=list,
        metadata={"help": "texts shown in the card, not from the training data (default: invented notes)"},
    )
    energy_kwh: float | None = field(default=None, metadata={"help": "energy of the training, if it was measured"})
    co2_grams: float | None = field(default=None, metadata={"help": "emissions of the training, if measured"})

    def __post_init__(self) -> None:
        for name in [*self.dataset_ids, *filter(None, [self.base_model])]:
            if not _REPOSITORY.fullmatch(name):
                raise ValueError(f"{name!r} is not a Hub name; expected owner/name")
        for name in ("energy_kwh", "co2_grams"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")


class ReportError(ValueError):
    """A file is not a report, or lacks what a card needs."""


@dataclass(frozen=True)
class CardRecord:
    """Content of a model card; None marks what was not measured, and the card says so.

    Attributes:
        title: heading of the card.
        architecture: a name of `ARCHITECTURES`, or the class of a foreign model.
        labels: entity types.
        tagging: `flat` or `per-label` (`AdnerConfig.tagging`).
        dataset: public name of the training data.
        dataset_ids: its names on the Hub.
        base_model: Hub name of the encoder.
        from_encoder: whether it was made from a pretrained encoder.
        model_id: `owner/name` on the Hub, or a folder.
        revision: hash of the commit to load.
        license: of the weights.
        tags: additional tags.
        parameters: number of parameters.
        script_characters: characters that the tokenizer reads as others, 0 if it reads each as it is.
        lexicon_words: size of the word list, 0 without one.
        lexicon_from_training: whether it contains words of the training documents.
        scores: split -> `EvaluationReport.to_dict()`, for `test`, `validation` or both.
        statistics: `CorpusStatistics.to_dict()` of the training data.
        settings: hyper-parameters.
        steps: optimizer steps.
        seconds: duration of the training.
        hardware: see `hardware`.
        versions: see `versions`.
        energy_kwh: measured energy.
        co2_grams: measured emissions.
        calibration: `CalibrationReport.to_dict()`.
        calibration_split: split that it was measured on, None if unknown.
        calibrated: `CalibrationFit.to_dict()`, if the scores were calibrated.
        explanations: `ExplanationReport.to_dict()`.
        robustness: `RobustnessReport.to_dict()`.
        seeds: of each training run with the same settings `seed`, and `precision`, `recall`, `f1` on the scored split.
        elsewhere: name of another corpus -> its `EvaluationReport.to_dict()` with an `interval`, see `f1_interval`.
        examples: texts that are not from the training data, with their predicted entities.
    """

    title: str
    architecture: str
    labels: Sequence[str]
    tagging: str = "flat"
    dataset: str = UNNAMED_DATA
    dataset_ids: Sequence[str] = ()
    base_model: str | None = None
    from_encoder: bool = False
    model_id: str | None = None
    revision: str | None = None
    license: str | None = None
    tags: Sequence[str] = ()
    parameters: int | None = None
    script_characters: int = 0
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
    calibration_split: str | None = None
    calibrated: Report | None = None
    explanations: Report | None = None
    robustness: Report | None = None
    seeds: Sequence[Report] = ()
    elsewhere: Mapping[str, Report] = field(default_factory=dict)
    examples: Sequence[Example] = ()

    @property
    def scored_split(self) -> str | None:
        """Split whose scores the card shows: `test`, else `validation`."""
        return scored_split(self.scores)


def scored_split(scores: Mapping[str, Any]) -> str | None:
    """Return the split among those with scores that counts: `test`, else `validation`."""
    return next((split for split in ("test", "validation") if scores.get(split)), None)


def record_of_run(
    metrics: Report,
    options: CardOptions | None = None,
    *,
    calibration: Report | None = None,
    explanations: Report | None = None,
    robustness: Report | None = None,
    **others: Any,
) -> CardRecord:
    """Return the record of one training run.

    Args:
        metrics: content of a run's `metrics.json`; only `labels` and `model.architecture` are required.
        options: settings of the user, which override those of the run.
        calibration, explanations, robustness: separate reports, which override those in `metrics`.
        others: fields of `CardRecord` that no report has (`model_id`, `revision`, `tags`, `seeds`, `elsewhere`).

    Raises:
        ReportError: a required part is missing, or a part has the wrong type.
    """
    reports = {"calibration": calibration, "explanations": explanations, "robustness": robustness}
    fields = {
        **_network(metrics),
        **_data(metrics),
        **_training(metrics),
        **{name: report or _part(metrics, name) or None for name, report in reports.items()},
        "calibration_split": None if calibration else scored_split(metrics),
        "examples": [Example(item["text"], item.get("entities")) for item in metrics.get("examples") or ()],
        **_options(options or CardOptions()),
        **others,
    }
    named = "" if fields["dataset"] == UNNAMED_DATA else f" trained on {fields['dataset']}"
    return CardRecord(**{"title": f"{fields['architecture']}{named}", **fields})


def _network(metrics: Report) -> dict[str, Any]:
    model, labels = _part(metrics, "model"), metrics.get("labels")
    if not model.get("architecture") or not labels:
        raise ReportError(f"the report names no {'architecture (model.architecture)' if labels else 'labels'}")
    return {
        "architecture": model["architecture"],
        "labels": tuple(labels),
        "tagging": model.get("tagging") or "flat",
        "base_model": metrics.get("base_model"),
        "from_encoder": bool(model.get("encoder")),
        "parameters": metrics.get("parameters"),
        "script_characters": metrics.get("script_characters") or 0,
        "lexicon_words": metrics.get("lexicon_words") or 0,
        "calibrated": _part(metrics, "calibrated") or None,
        "lexicon_from_training": metrics.get("lexicon_origin") in ("documents", "mix"),
    }


def _data(metrics: Report) -> dict[str, Any]:
    is_synthetic = _part(metrics, "dataset").get("dataset") == SYNTHETIC
    return {
        "dataset": metrics.get("dataset_name") or (SYNTHETIC if is_synthetic else UNNAMED_DATA),
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


def _options(options: CardOptions) -> dict[str, Any]:
    """Return the fields of the record that the user has set."""
    fields = {
        "title": options.model_title,
        "dataset": options.dataset_title or ", ".join(options.dataset_ids) or None,
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
        raise ReportError(f"{split} of the report is not an evaluation report: {', '.join(missing)} missing")
    return report


def _settings(model: Report, dataset: Report, training: Report) -> dict[str, Any]:
    settings = {
        **{name: model.get(name) for name in _MODEL_SETTINGS},
        **{name: dataset.get(name) for name in _DATASET_SETTINGS},
        **training,
    }
    if model.get("encoder"):
        del settings["encoder_size"]  # size of an encoder from scratch, not used with a pretrained one
    if settings.get("max_steps") == -1:
        del settings["max_steps"]  # -1: determined by the epochs
    given = {name: value for name, value in settings.items() if value is not None}
    return {name: "given" if name in _FILE_SETTINGS else without_paths(value) for name, value in given.items()}


# ---- names that may be published --------------------------------------------------------------------------------


def public_name(source: str | None) -> str | None:
    """Return the name of a data set or a model if it is on the Hub or built in, None for a file, a folder or no name.

    Names of files and folders may tell of patients or of the machine. Whether a name is one of them can only be said
    where it was read: a run records the answer.
    """
    if not source or os.path.exists(source) or not _REPOSITORY.fullmatch(source):
        return None
    return source


def without_paths(value: Any) -> Any:
    """Hide every path in a setting; values other than strings are returned unchanged."""
    return _PATH.sub("(path)", value) if isinstance(value, str) else value


# ---- environment ------------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Return name -> version of Python and the installed `PACKAGES`."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, str | int]:
    """Return `accelerator` (model of the GPU, or "none"), `accelerators`, `cpu` (architecture), `cores`, `threads`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "accelerator": torch.cuda.get_device_name(0) if count else "none",
        "accelerators": count,
        "cpu": platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
