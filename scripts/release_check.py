"""Checks of a finished release: what a push sends, what a stranger finds, and what ONNX Runtime finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hf_adner.hub.checkpoint_files import ONNX_FOLDER, checkpoint_to_publish
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import plain
from hf_adner.serve.onnx_tagger import OnnxTagger
from hf_adner.training.run import SAMPLE_NOTE

STRANGER = Path(__file__).with_name("stranger.py")
STRANGE_TEXTS = (SAMPLE_NOTE, "外用他克莫司軟膏後面部紅斑好轉。", "患者无不适 AD", "😀")
"""Texts that a stranger's process must tag as this one does."""
CLOSE = 1e-3
"""Largest difference of a score of the ONNX export."""


def check_release(folder: Path, pipe: AdnerPipeline) -> dict[str, Any]:
    """Check that a folder can be pushed and that strangers and ONNX Runtime find what its pipeline finds.

    Args:
        folder: of the release, with its export.
        pipe: pipeline of the checkpoint in the folder.

    Returns:
        `files` that a push sends, and `onnx_distance`, the largest difference of a score.

    Raises:
        ValueError: something differs, or the folder has files that a push would leave behind.
        RuntimeError: the folder cannot be loaded without the package.
    """
    pushed, there = checkpoint_to_publish(folder), {path for path in folder.rglob("*") if path.is_file()}
    if left := {path.relative_to(folder).as_posix() for path in there} - set(pushed):
        raise ValueError(f"{folder}: a push would leave {', '.join(sorted(left)[:5])} behind")
    texts = list(STRANGE_TEXTS)
    alike = compare_stranger(pipe, ask_stranger(folder, texts), texts)
    differences = [name for name, same in alike.items() if not same]
    if differences:
        raise ValueError(f"{folder}: without the package {', '.join(differences)} differ from those with it")
    distance = onnx_distance(OnnxTagger(folder / ONNX_FOLDER, threads=1)(texts), pipe(texts))
    if distance > CLOSE:
        raise ValueError(f"{folder / ONNX_FOLDER}: a score differs by {distance:.2g} from that of the pipeline")
    return {"files": pushed, "onnx_distance": distance}


def ask_stranger(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Return what the folder gives in a fresh process without the package and with an empty cache.

    Raises:
        RuntimeError: the process fails.
    """
    with tempfile.TemporaryDirectory() as place:
        asked, answer = Path(place) / "texts.json", Path(place) / "answer.pt"
        asked.write_text(json.dumps(texts), encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"HF_HOME": place, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, str(STRANGER), str(folder.resolve()), str(asked), str(answer)]
        run = subprocess.run(command, env=environment, cwd=place, capture_output=True, encoding="utf-8")
        if run.returncode:
            raise RuntimeError(f"{folder} cannot be loaded without the package: {run.stderr.strip()[-1500:]}")
        return torch.load(answer, weights_only=True)


def compare_stranger(pipe: AdnerPipeline, told: Mapping[str, Any], texts: Sequence[str]) -> dict[str, bool]:
    """Say of what a stranger was told whether it is what the pipeline of this process finds."""
    inputs = pipe.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the other process: sums of other parts differ in the last digit
    try:
        with torch.no_grad():
            logits = pipe.model.eval()(**inputs).logits
            hidden = pipe.model.adner(**inputs).last_hidden_state
        return {
            "logits": torch.equal(told["logits"], logits),
            "hidden states": torch.equal(told["hidden"], hidden),
            "entities": plain(told["entities"]) == plain(pipe(list(texts))),
            "entities of the stock pipeline": any(told["stock"]) or not any(told["entities"]),
            "modules": told["modules"] == ["transformers_modules"],
        }
    finally:
        torch.set_num_threads(threads)


def onnx_distance(found: Sequence[Sequence[Mapping]], expected: Sequence[Sequence[Mapping]]) -> float:
    """Return the largest difference of a score; infinite if the entities differ."""
    places = [
        [[(entity["start"], entity["end"], entity["entity_group"]) for entity in row] for row in rows]
        for rows in (found, expected)
    ]
    if places[0] != places[1]:
        return float("inf")
    pairs = (pair for rows in zip(found, expected, strict=True) for pair in zip(*rows, strict=True))
    return max((abs(ours["score"] - theirs["score"]) for ours, theirs in pairs), default=0.0)
