#!/usr/bin/env python3
"""Make a release: from data and encoder to a folder that can be pushed.

    python scripts/release.py NAME --encoder ENCODER --data FOLDER

Trains with every seed, calibrates the checkpoint of the first one, evaluates and audits it, writes its
card with the measured figures, exports it for ONNX Runtime, and checks it in a fresh process without the package. The
result is `WORK/NAME`, and its card also `model_cards/NAME.md`; meanwhile all parts lie in `WORK/NAME.parts`. A release
that was interrupted goes on where it stopped when the command is given again: each stage ends with a file or folder
that is written as a whole. The same encoder, data, library versions and number of threads give the same weights.
"""

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from release_stages import CORPUS, DATA, Release, Workplace, card, inputs_of, stages

from hf_adner.cards.record import CardOptions
from hf_adner.files import read_json, write_file, write_json
from hf_adner.hub.reachable import check_checkpoint_name
from hf_adner.training.arguments import DatasetArguments, ModelArguments

INPUTS = "inputs.json"
LEARNING = {
    "learning_rate": 2e-4,
    "head_learning_rate": 1e-3,
    "crf_learning_rate": 5e-3,
    "per_device_train_batch_size": 16,
    "encoder_layer_decay": 0.9,
    "ema_decay": 0.99,
}
MEDICAL_WORDS = f"{DATA}lexicon/medical_words.tsv"

RELEASES = {
    "adner-ad-notes": Release(
        dataset=DatasetArguments(
            f"{CORPUS}train.jsonl", validation=f"{CORPUS}validation.jsonl", test=f"{CORPUS}test.jsonl"
        ),
        model=ModelArguments(architecture="m-dscmg", lexicon="ad-notes"),
        training={**LEARNING, "num_train_epochs": 4},
        card=CardOptions(
            model_title="Entities of atopic dermatitis in Chinese notes",
            dataset_title="ad-synthetic, profile notes",
            model_license="apache-2.0",
        ),
        corpus={"seed": 0, "sizes": {"train": 12000, "validation": 600, "test": 600}, "profile": "notes"},
        elsewhere={
            "ad-synthetic, unseen terms": f"{CORPUS}test_unseen.jsonl",
            "ad-synthetic, minimal pairs": f"{CORPUS}contrast.jsonl",
            "real lines on dermatology": f"{DATA}ad_real/dev.jsonl",
        },
    ),
    "adner-cmedqaner": Release(
        dataset=DatasetArguments(
            f"{DATA}cmedqaner/train.jsonl",
            validation=f"{DATA}cmedqaner/dev.jsonl",
            test=f"{DATA}cmedqaner/test.jsonl",
        ),
        model=ModelArguments(architecture="m-dscmg", lexicon=MEDICAL_WORDS),
        training={**LEARNING, "num_train_epochs": 12, "early_stopping_patience": 4},
        card=CardOptions(model_title="Entities in Chinese medical questions", dataset_title="cMedQANER"),
    ),
    "adner-cmeee-nested": Release(
        dataset=DatasetArguments(
            f"{DATA}cmeee/CMeEE_train.json", test=f"{DATA}cmeee/CMeEE_dev.json", validation_share=0.05
        ),
        model=ModelArguments(architecture="m-dscmg", tagging="per-label", lexicon=MEDICAL_WORDS),
        training={**LEARNING, "num_train_epochs": 5},
        card=CardOptions(
            model_title="Nested entities in Chinese medical text", dataset_title="CMeEE (V1; its dev part is the test)"
        ),
    ),
}
"""Name of a release, and of the folder that is pushed -> what it is made of."""


def make_release(place: Workplace) -> Path:
    """Do the stages that are missing, and return the folder of the finished release.

    Raises:
        ValueError: the parts were made of something else, or a stage refuses its inputs.
        OSError: an input cannot be read, or an output cannot be written.
    """
    check_inputs(place)
    if place.finished.exists():
        print(f"{place.finished} is finished")
        return place.finished
    todo = stages(place)
    for number, stage in enumerate(todo, 1):
        is_made = (place.parts / stage.makes).exists()
        print(f"{number}/{len(todo)} {stage.name}{': made before' if is_made else ''}", flush=True)
        if not is_made:
            stage.work(place)
    write_file(place.cards / f"{place.name}.md", [card(place)], "utf-8")
    os.rename(place.parts / place.name, place.finished)
    return place.finished


def check_inputs(place: Workplace) -> None:
    """Write down what the release is made of, or compare it with what was written down.

    Where the same weights are to get other figures, what was made after the training is removed.

    Raises:
        ValueError: the weights were made of something else, or the release is finished; says what differs.
    """
    path, now = place.parts / INPUTS, inputs_of(place)
    then = read_json(path) if path.exists() else now
    weights, figures = (changes(then[part], now[part]) for part in ("weights", "figures"))
    if weights or (figures and place.finished.exists()):
        raise ValueError(
            f"{place.parts} was made of something else ({', '.join(weights + figures)} changed): remove it and "
            f"{place.finished} to begin anew, or name another folder with --work"
        )
    if figures:
        print(f"{', '.join(figures)} changed: all that follows the training is made anew")
        for stage in stages(place):
            if stage.makes != "corpus" and not stage.makes.startswith("seed-"):
                remove(place.parts / stage.makes)
    write_json(path, now)


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names whose values differ."""
    return [name for name in now if then.get(name) != now[name]]


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(RELEASES), help="the release")
    parser.add_argument("--encoder", required=True, help="pretrained encoder: a folder or a Hub name")
    parser.add_argument("--data", type=Path, help="folder of real corpora and lexicon/, not part of this project")
    parser.add_argument("--work", type=Path, default=Path("runs/releases"), help="folder for the release")
    parser.add_argument("--cards", type=Path, default=Path("model_cards"), help="folder for the card")
    parser.add_argument(
        "--seeds", type=int, default=3, help="training runs, of which the first is released (default: 3)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    return parser.parse_args(argv)


def main() -> None:
    """Make the release that the command line names."""
    args = parse()
    check_checkpoint_name(args.encoder)
    if args.threads:
        torch.set_num_threads(args.threads)
    release = replace(RELEASES[args.name], seeds=tuple(range(args.seeds)))
    place = Workplace(args.name, release, args.work, args.cards, args.data, args.encoder)
    folder = make_release(place)
    print(f"{folder}\ncard {args.cards / args.name}.md\npush it with: adner push {folder} OWNER/{args.name}")


if __name__ == "__main__":
    main()
