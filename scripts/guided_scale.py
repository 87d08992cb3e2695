"""Where does guided training stop helping? By visits, by training documents and by encoder layers.

    python scripts/guided_scale.py STUDY --data FOLDER [--work runs/scale] [--shard 0/2] [--report]

STUDY is `visits` (documents x epochs, one layer) or `layers` (documents x layers, as many epochs as few visits need);
both compare plain training, guided training and random directions on cMedQANER and Resume. Each setting is a comparison
of its own (`scripts/comparison.py`, whose options hold here too) in a subfolder of `--work`; runs that have a record
are skipped, so the command can be interrupted and restarted. `--report` writes the table from the existing records.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator
from copy import copy
from typing import NamedTuple

import comparison
from results_table import update_section

from hf_adner.comparison.comparison import RECORDS
from hf_adner.comparison.record import RunRecord
from hf_adner.comparison.rendering import format_interval
from hf_adner.comparison.report import ComparisonReport
from hf_adner.files import write_json
from hf_adner.reporting import markdown_table

ARMS = ("plain", "full", "random-direction")


class Setting(NamedTuple):
    """A comparison: training documents, passes over them and layers of the encoder."""

    documents: int
    epochs: float
    layers: int

    @property
    def folder(self) -> str:
        """Name of its subfolder."""
        return f"{self.documents}-documents-{self.epochs:g}-epochs-{self.layers}-layers"


class Study(NamedTuple):
    """Settings that are compared.

    Attributes:
        heading: of its section.
        text: what it shows.
        models, corpora: of every setting.
        settings: in the order of the table; the cheap ones first.
    """

    heading: str
    text: str
    models: tuple[str, ...]
    corpora: tuple[str, ...]
    settings: tuple[Setting, ...]


STUDIES = {
    "visits": Study(
        "## Few visits",
        "How often does a document have to be seen? bert-crf on the first layer of the encoder. Documents have 8 to 64 "
        "characters; cMedQANER has fewer than 1,000 of them, all of which are taken.",
        ("bert-crf",),
        ("cmedqaner", "resume"),
        tuple(Setting(documents, epochs, 1) for documents in (100, 300, 1000) for epochs in (3, 4, 6, 8)),
    ),
    "layers": Study(
        "## More documents, more layers",
        "Does the gain last? bert-crf and m-dscmg (half the epochs). Documents have 8 to 64 characters; cMedQANER has "
        "fewer than 1,000 of them, all of which are taken.",
        ("bert-crf", "m-dscmg"),
        ("cmedqaner",),
        tuple(
            Setting(documents, epochs, layers) for layers in (1, 4, 12) for documents, epochs in ((300, 16), (1000, 12))
        ),
    ),
}


def settings_of(study: Study, args: argparse.Namespace) -> Iterator[tuple[Setting, argparse.Namespace]]:
    """Yield each setting with the options of its comparison."""
    for setting in study.settings:
        options = copy(args)
        options.documents, options.epochs, options.layers = setting
        options.work = args.work / args.study / setting.folder
        options.models, options.corpora = list(study.models), list(study.corpora)
        options.arms, options.all_arms = list(ARMS), []
        yield setting, options


def report(study: Study, args: argparse.Namespace) -> None:
    """Write the section of the study, and the figures of every run beside it."""
    rows, figures = [], {}
    for setting, options in settings_of(study, args):
        paths = sorted((options.work / RECORDS).glob("*.json"))
        for model in study.models:
            records = [record for record in map(RunRecord.load, paths) if record.model == model]
            if {record.arm for record in records} >= {"plain", "full"}:
                results = ComparisonReport.of(records, "plain", "full")
                rows.append(row_of(setting, model, results))
                figures[f"{setting.folder} {model}"] = results.to_dict()["runs"]
    heads = ("documents", "epochs", "layers", "model", "cells", "seeds", "plain F1", "full", "random direction")
    command = f"`python scripts/guided_scale.py {args.study} --data FOLDER --seeds {args.seeds}`"
    note = "Differences from plain training in points of F1, 95 % intervals of the paired bootstrap."
    table = markdown_table(heads, rows)
    comparison.RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(comparison.RESULTS / f"{args.study}.json", figures)
    text = textwrap.fill(f"{study.text} {note} Made by {command}.", 120, break_on_hyphens=False)
    update_section(comparison.PAGE, study.heading, f"{text}\n\n{table}")


def row_of(setting: Setting, model: str, results: ComparisonReport) -> tuple:
    """Return a row of the table."""
    plain = [record for record in results.runs if record.arm == "plain"]
    mean = 100 * sum(record.scores["f1"] for record in plain) / len(plain)
    seeds = len({record.seed for record in plain})
    differences = [difference(results, arm) for arm in ARMS[1:]]
    cells = len({record.cell for record in plain})
    return setting.documents, f"{setting.epochs:g}", setting.layers, model, cells, seeds, f"{mean:.2f}", *differences


def difference(results: ComparisonReport, arm: str) -> str:
    """Return the pooled difference of an arm from plain training, empty if the arm was not run."""
    pooled = results.between(arm, "plain")
    if pooled is None:
        return ""
    return format_interval(pooled.f1)


def parse() -> argparse.Namespace:
    """Parse the command line: the study, then the options of `scripts/comparison.py`."""
    if len(sys.argv) < 2 or sys.argv[1] not in STUDIES:
        print(__doc__)
        sys.exit(f"expected a study, {' or '.join(STUDIES)}, found {sys.argv[1] if sys.argv[1:] else 'nothing'}")
    study = sys.argv.pop(1)
    if "--work" not in sys.argv:
        sys.argv += ["--work", "runs/scale"]
    if "--seeds" not in sys.argv:
        sys.argv += ["--seeds", "3"]
    args = comparison.parse()
    args.study, args.lean = study, True
    return args


def main() -> None:
    """Do the missing runs of every setting, then report."""
    args = parse()
    study = STUDIES[args.study]
    if not args.report:
        for setting, options in settings_of(study, args):
            print(setting.folder, flush=True)
            comparison.do_runs(options)
    report(study, args)


if __name__ == "__main__":
    main()
