"""Comparisons whose variants are trainers of their own: studies of what the package does not have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import NamedTuple
from unittest import mock

import comparison

from hf_adner.comparison import run as comparison_run
from hf_adner.comparison.comparison import RECORDS
from hf_adner.comparison.record import RunRecord
from hf_adner.guided.trainer import ExplanationGuidedTrainer


class Variant(NamedTuple):
    """An arm, and the trainer that runs it."""

    arm: str = "full"
    trainer: type[ExplanationGuidedTrainer] = ExplanationGuidedTrainer


def parse(work: str) -> argparse.Namespace:
    """Parse the options of `scripts/comparison.py`, with another default of `--work`, to score development text."""
    sys.argv += [] if "--work" in sys.argv else ["--work", work]
    args = comparison.parse()
    args.development = args.lean = True
    return args


def run_variants(variants: Mapping[str, Variant], args: argparse.Namespace) -> list[RunRecord]:
    """Do the missing runs of every variant, each in a subfolder of `--work`; return all records, named by variant."""
    records = []
    for name, variant in variants.items():
        options = copy(args)
        options.arms, options.all_arms, options.work = [variant.arm], [], args.work / name
        with mock.patch.object(comparison_run, "ExplanationGuidedTrainer", variant.trainer):
            comparison.do_runs(options)
        loaded = map(RunRecord.load, sorted((options.work / RECORDS).glob("*.json")))
        records += [replace(record, arm=name) for record in loaded]
    return records
