"""Arms against each other: every arm, model and seed on one corpus, resumable and in several processes at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from hf_adner.comparison.arms import CORE, MODEL_FAMILIES, Arm, make_arms
from hf_adner.comparison.corpus import HELD_OUT, ComparedCorpus
from hf_adner.comparison.record import RunRecord, explanation_figures
from hf_adner.comparison.report import ComparisonReport
from hf_adner.comparison.report_view import plot_forest, plot_seeds, report_markdown
from hf_adner.comparison.run import Bench
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import LOCAL_EXPLAINERS
from hf_adner.files import write_file
from hf_adner.perturb.views import USED
from hf_adner.reporting import plain
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import write_json

RECORDS = "records"
"""Folder of the records in the output folder."""

MODELS = ("stock", "bert-crf", "bilstm-crf", "m-dscmg")


@dataclass
class ComparisonArguments:
    """Which arms, models and seeds are compared, and by what figures."""

    models: list[str] = field(
        default_factory=lambda: list(MODELS), metadata={"help": "model families: stock, or an architecture"}
    )
    arms: list[str] = field(
        default_factory=lambda: list(CORE),
        metadata={"help": "ways of training, a name or a variant of one such as full:view_share=0.3"},
    )
    seeds: list[int] = field(default_factory=lambda: list(range(5)), metadata={"help": "seeds of every arm and model"})
    corpus: str | None = field(default=None, metadata={"help": "what to call the dataset (default: its file's name)"})
    shard: str = field(default="0/1", metadata={"help": "part of the runs to do, such as 0/2 and 1/2"})
    baseline: str = field(default="plain", metadata={"help": "arm that every other one is compared with"})
    candidate: str = field(default="full", metadata={"help": "arm that is compared with every other one"})
    held_out: list[str] = field(
        default_factory=lambda: list(HELD_OUT),
        metadata={"help": "perturbations of the test documents, which no arm may be trained on"},
    )
    explainers: list[str] = field(
        default_factory=list,
        metadata={"help": "measure these explainers (integrated-gradients, occlusion, ...) on every model; costs time"},
    )
    explained_entities: int = field(default=50, metadata={"help": "entities that they explain"})
    resamples: int = field(default=10_000, metadata={"help": "resamples and shuffles of the statistics"})
    report_only: bool = field(default=False, metadata={"help": "make the report of the records that are there"})

    def __post_init__(self) -> None:
        for name in ("models", "arms", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be given, each once, found {values}")
        if self.explained_entities < 1 or self.resamples < 1:
            raise ValueError("explained_entities and resamples must be 1 or more")
        parse_shard(self.shard)
        self._check_names()

    def _check_names(self) -> None:
        known = {
            "models": (self.models, MODEL_FAMILIES),
            "explainers": (self.explainers, [*LOCAL_EXPLAINERS, *CONTROL_EXPLAINERS]),
            "baseline": ([self.baseline], self.arms),
            "candidate": ([self.candidate], self.arms),
        }
        for name, (values, expected) in known.items():
            if unknown := sorted(set(values) - set(expected)):
                raise ValueError(f"{name}: there is no {', '.join(unknown)}, expected some of {', '.join(expected)}")
        if trained := sorted(set(self.held_out) & USED):
            raise ValueError(f"held_out: views that models train on are like {', '.join(trained)}; hold out others")


class Run(NamedTuple):
    """A line of the plan."""

    model: str
    seed: int
    arm: Arm

    def file(self, corpus: str) -> str:
        """Name of its record."""
        return f"{corpus}-{self.model}-{self.arm.slug}-{self.seed}.json"


def parse_shard(shard: str) -> tuple[int, int]:
    """`"1/4"` as (1, 4).

    Raises:
        ValueError: not of that form, or no such part.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not found or int(found[1]) >= int(found[2]):
        raise ValueError(f"shard is {shard!r}, expected number/count such as 0/2, counted from 0")
    return int(found[1]), int(found[2])


def plan(args: ComparisonArguments) -> list[list[Run]]:
    """The runs of this shard in groups that share corpus, model and seed: all arms of a group run in one process.

    The first seed of every model comes before the second of any; a shard takes every n-th group.
    """
    number, count = parse_shard(args.shard)
    arms = make_arms(args.arms)
    pairs = [(seed, model) for turn, seed in enumerate(args.seeds) for model in rotated(args.models, turn)]
    return [[Run(model, seed, arm) for arm in arms] for seed, model in pairs][number::count]


def rotated(items: Sequence[str], turns: int) -> list[str]:
    """The items, begun with another one each turn, so that no shard gets all of the slow ones."""
    first = turns % len(items)
    return [*items[first:], *items[:first]]


class Comparison:
    """The runs of one corpus.

    A run leaves a record in `records/` of the output folder, whole or not at all; a run whose record is there is not
    done again, so a comparison that was stopped goes on where it stopped.

    Args:
        args: what is compared.
        dataset_args: the corpus; it must have a test split.
        model_args: sizes of the models; `architecture` is not read.
        training_args: of every run, but for what its arm and seed say; `output_dir` holds all that is written.

    Raises:
        ValueError: `early_stopping_patience` is set.
    """

    def __init__(
        self,
        args: ComparisonArguments,
        dataset_args: DatasetArguments,
        model_args: ModelArguments,
        training_args: AdnerTrainingArguments,
    ):
        if training_args.early_stopping_patience is not None:
            raise ValueError("a comparison does not stop early: arms would learn from unequal numbers of steps")
        self.args, self.dataset_args = args, dataset_args
        self.model_args, self.training_args = model_args, training_args
        self.folder = Path(training_args.output_dir)
        self.name = args.corpus or Path(dataset_args.dataset).stem
        self._corpus: ComparedCorpus | None = None
        self._benches: dict[str, Bench] = {}

    @property
    def corpus(self) -> ComparedCorpus:
        """The corpus, read when it is first needed."""
        if self._corpus is None:
            self._corpus = ComparedCorpus.load(self.name, self.dataset_args, self.args.held_out)
        return self._corpus

    def run(self) -> None:
        """Do the runs of this shard that have no record yet.

        Raises:
            ValueError: a record in the output folder was made with other arguments or of other documents; and what the
                data, the models or the arguments have wrong.
        """
        groups = plan(self.args)
        with tqdm(total=sum(map(len, groups)), unit="run", desc=self.name, disable=None) as bar:
            for run in (run for group in groups for run in group):
                bar.set_postfix_str(f"{run.model} {run.arm.name} {run.seed}")
                self.do(run)
                bar.update()

    def do(self, run: Run) -> None:
        """Do one run and leave its record, unless it is there.

        Raises:
            ValueError: as `run`.
        """
        path, bench = self._path(run), self._bench(run.model)
        if path.exists():
            self._check(path, {**bench.settings(run.arm, self.training_args), **self._measured()})
            return
        work = self.folder / "work" / path.stem
        record = bench.run(run.arm, run.seed, self.training_args, work)
        record.settings.update(self._measured())
        record.save(path)
        with suppress(OSError):  # other processes may be at work there
            work.parent.rmdir()

    def records(self) -> Iterator[RunRecord]:
        """The records of this comparison's runs, of all shards, as far as they are there; by model, arm and seed."""
        for model in self.args.models:
            for arm in make_arms(self.args.arms):
                paths = (self._path(Run(model, seed, arm)) for seed in self.args.seeds)
                yield from (RunRecord.load(path) for path in paths if path.exists())

    def _path(self, run: Run) -> Path:
        return self.folder / RECORDS / run.file(self.name)

    def _bench(self, model: str) -> Bench:
        if model not in self._benches:
            explain = self._explain if self.args.explainers else None
            self._benches[model] = Bench(self.corpus, model, self.model_args, self.dataset_args, explain)
        return self._benches[model]

    def _measured(self) -> dict[str, Any]:
        explained = {"explainers": self.args.explainers, "explained_entities": self.args.explained_entities}
        return {"held_out": self.args.held_out, **(explained if self.args.explainers else {})}

    def _check(self, path: Path, settings: Mapping[str, Any]) -> None:
        found, settings = RunRecord.load(path).settings, plain(settings)
        differing = sorted(name for name in {*found, *settings} if found.get(name) != settings.get(name))
        if differing:
            raise ValueError(
                f"{path} was made with other arguments (they differ in {', '.join(differing)}); name another "
                "--output_dir or remove the record"
            )

    def _explain(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        return explanation_figures(
            model, tokenizer, self.corpus.test, self.args.explainers, self.args.explained_entities
        )


def compare(
    args: ComparisonArguments,
    dataset_args: DatasetArguments,
    model_args: ModelArguments,
    training_args: AdnerTrainingArguments,
) -> ComparisonReport:
    """Do what is missing of this shard's runs, then report on the records of all shards.

    Writes `comparison.json`, `comparison.md`, `forest.png` and `seeds.png` to the output folder.

    Raises:
        ValueError: as `Comparison.run`, or there are no records yet.
    """
    comparison = Comparison(args, dataset_args, model_args, training_args)
    if not args.report_only:
        comparison.run()
    report = ComparisonReport.of(comparison.records(), args.baseline, args.candidate, args.resamples)
    write_report(report, comparison.folder)
    return report


def write_report(report: ComparisonReport, folder: Path) -> None:
    """Write a report as `comparison.json`, `comparison.md`, `seeds.png` and, with several arms, `forest.png`."""
    write_json(folder / "comparison.json", report.to_dict())
    write_file(folder / "comparison.md", [report_markdown(report)], "utf-8")
    plot_seeds(report, folder / "seeds.png")
    if any(one.first == report.candidate for one in report.pooled):
        plot_forest(report, folder / "forest.png")
