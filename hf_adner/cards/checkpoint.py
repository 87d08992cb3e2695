"""The card record of a saved checkpoint: its configuration and JSON reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hf_adner.cards.examples import example_texts
from hf_adner.cards.record import CardOptions, CardRecord, ReportError, record_of_run
from hf_adner.files import read_json
from hf_adner.model.labels_adner import entity_types

METRICS_FILE = "metrics.json"
_REQUIRED = {
    "calibration": ("ece", "entities"),
    "explanations": ("explainers", "population"),
    "robustness": ("f1", "families"),
}
REPORTS = ("metrics", "calibration", "explanations", "robustness")


def record_of_checkpoint(
    folder: str | Path,
    reports: Mapping[str, str | Path | None] | None = None,
    options: CardOptions | None = None,
    training_texts: Iterable[str] | None = None,
    **others: Any,
) -> CardRecord:
    """Return the record of a checkpoint.

    Args:
        folder: the checkpoint.
        reports: name of `REPORTS` -> JSON file; without `metrics`, the `metrics.json` in the checkpoint or in the
            folder above (where a training run writes it) is read, if there is one.
        options: the user's settings; their example texts are checked against `training_texts`.
        training_texts: texts of the training documents. Without them the card shows the examples that the run
            recorded, which were checked by the run, or none.
        others: fields of `CardRecord` that no report has.

    Raises:
        FileNotFoundError: no checkpoint in the folder, or a missing report.
        ReportError: a file is not JSON or not a report, or the metrics are of a model with other labels.
        ValueError: example texts without training texts, or as `example_texts`.
    """
    folder, options = Path(folder), options or CardOptions()
    given = {name: read_report(path, _REQUIRED.get(name, ())) for name, path in (reports or {}).items() if path}
    metrics = _completed(given.pop("metrics", None) or _metrics_beside(folder), folder)
    if training_texts is not None:
        metrics["examples"] = [{"text": text} for text in example_texts(options.example_texts, training_texts)]
    elif options.example_texts:
        raise ValueError("example texts are compared with the training data: pass the training data too")
    return record_of_run(metrics, options, **given, **others)


def read_report(path: str | Path, required: Iterable[str] = ()) -> dict[str, Any]:
    """Read a report from its JSON file.

    Args:
        path: the file.
        required: keys by which the kind of report is known.

    Raises:
        FileNotFoundError: no such file.
        ReportError: the file is not JSON, not a JSON object, or lacks a key.
    """
    try:
        report = read_json(Path(path))
    except ValueError as error:
        raise ReportError(str(error)) from None
    if missing := [key for key in required if key not in report]:
        raise ReportError(f"{path} is not a report of this kind: {', '.join(missing)} missing")
    return report


def _metrics_beside(folder: Path) -> dict[str, Any]:
    paths = (folder / METRICS_FILE, folder.parent / METRICS_FILE)
    path = next((path for path in paths if path.is_file()), None)
    return read_report(path) if path else {}


def _completed(metrics: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Add labels, architecture and the report of a calibration from the checkpoint's configuration."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is not a checkpoint (no config.json)")
    config = read_report(folder / "config.json")
    labels = entity_types(config["id2label"][key] for key in sorted(config["id2label"], key=int))
    if metrics.setdefault("labels", labels) != labels:
        raise ReportError(f"the metrics are of another model: their labels differ from those of {folder.name}")
    metrics["calibrated"] = (config.get("calibration") or {}).get("report")
    architecture = config.get("architecture") or next(iter(config.get("architectures") or ()), None)
    found = {"architecture": architecture, "tagging": config.get("tagging", "flat")}
    metrics["model"] = {**found, **(metrics.get("model") or {})}
    return metrics
