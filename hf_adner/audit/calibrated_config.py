"""Writing a calibration into a checkpoint: its configuration, and the code that applies it without the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from hf_adner.audit.recalibration import CalibrationFit
from hf_adner.files import check_output, read_json, write_file
from hf_adner.model.configuration_adner import FORMAT_VERSION
from hf_adner.model.loading_adner import CONFIG_FILE
from hf_adner.model.remote_code_adner import code_files

THRESHOLDS = {"review_threshold": "review_budget", "candidate_threshold": "coverage"}
"""Threshold of a calibration -> what it was fitted for."""


def check_calibrated(name: str, output: str | None) -> None:
    """Check that a calibration can be written, before any work.

    Args:
        name: the checkpoint, a folder or a Hub name.
        output: file to write instead, None for the checkpoint.

    Raises:
        ValueError: the checkpoint is on the Hub and there is no `output`.
        OSError: the file cannot be written.
    """
    if output is None and not Path(name).is_dir():
        raise ValueError(f"{name} is no folder that could be written into; name a file with --output")
    check_output(Path(name) / CONFIG_FILE if output is None else output)


def write_calibration(folder: str | Path, fit: CalibrationFit) -> list[str]:
    """Write a calibration into the checkpoint in a folder; returns a line on each change.

    The code of the checkpoint is brought to that of the package, which knows calibrations; then its configuration is
    replaced as a whole. An interruption in between leaves a checkpoint that works as before.

    Raises:
        OSError: a file cannot be written.
        ValueError: the configuration is not JSON.
    """
    path = Path(folder) / CONFIG_FILE
    before = read_json(path)
    updated = list(_update_code(Path(folder)))
    write_config(path, before, fit)
    lines = [f"{path}: {_change(before.get('calibration'), fit.config())}"]
    return [*lines, f"{folder}: code brought up to date ({', '.join(updated)})"] if updated else lines


def saved_config(name: str, config: PreTrainedConfig) -> dict[str, Any]:
    """Return the configuration of a checkpoint as plain JSON values: its file in a folder, `config` of a Hub name."""
    if Path(name).is_dir():
        return read_json(Path(name) / CONFIG_FILE)
    return json.loads(config.to_json_string())


def write_config(path: str | Path, config: Mapping[str, Any], fit: CalibrationFit) -> None:
    """Write a configuration with a calibration atomically, in the form in which transformers writes it.

    Args:
        path: the file.
        config: the configuration as plain JSON values.
        fit: of the same checkpoint.
    """
    content = {**config, "calibration": fit.config(), "format_version": FORMAT_VERSION}
    write_file(Path(path), [json.dumps(content, indent=2, sort_keys=True), "\n"], "utf-8")


def _update_code(folder: Path) -> Iterator[str]:
    for source in code_files():
        text, target = source.read_text(encoding="utf-8"), folder / source.name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            write_file(target, [text], "utf-8")
            yield source.name


def _change(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    thresholds = [f"{name} {now[name]:.4g} ({aim} {now[aim]:g})" for name, aim in THRESHOLDS.items() if name in now]
    text = f"calibration {'added' if before is None else 'replaced'}: {', '.join([now['method'], *thresholds])}"
    lost = [name for name in THRESHOLDS if name in (before or {}) and name not in now]
    return f"{text}; {' and '.join(lost)} of the calibration before removed" if lost else text
