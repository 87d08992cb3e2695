"""Run every arm, model and seed on one corpus; resumable, and divisible among processes by shards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from hf_adner.comparison.arms import CORE, MODEL_FAMILIES, Arm, make_arms
from hf_adner.comparison.corpus import ComparedCorpus
from hf_adner.comparison.record import RunRecord, explanation_figures
from hf_adner.comparison.rendering import plot_forest, plot_seeds, report_markdown
from hf_adner.comparison.report import ComparisonReport
from hf_adner.comparison.run import ArmRunner
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import LOCAL_EXPLAINERS
from hf_adner.files import write_file, write_json
from hf_adner.perturb.registry import HELD_OUT, PERTURBATIONS
from hf_adner.reporting import count_finished, plain
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments

RECORDS = "records"
"""Subfolder of the output folder that holds the records."""

MODELS = ("stock", "bert-crf", "bilstm-crf", "m-dscmg")


@dataclass
class ComparisonArguments:
    """Arms, models, seeds and measurements of a comparison."""

    models: list[str] = field(
        default_factory=lambda: list(MODELS), metadata={"help": "model families: stock or an architecture"}
    )
    arms: list[str] = field(
        default_factory=lambda: list(CORE),
        metadata={"help": "arms: a name, or a variant such as full:perturbation_size=0.1"},
    )
    seeds: list[int] = field(
        default_factory=lambda: list(range(5)), metadata={"help": "seeds to run every arm and model with"}
    )
    sample_per_seed: bool = field(
        default=False, metadata={"help": "draw other training documents (--max-train-documents) for each seed"}
    )
    corpus: str | None = field(
        default=None, metadata={"help": "name of the dataset in the report (default: its file name)"}
    )
    shard: str = field(
        default="0/1", metadata={"help": "part of the runs to do, as number/count: 0/2 and 1/2 are the two halves"}
    )
    baseline: str = field(default="plain", metadata={"help": "arm that every other arm is compared with"})
    candidate: str = field(default="full", metadata={"help": "arm that is compared with every other arm"})
    held_out: list[str] = field(
        default_factory=lambda: list(HELD_OUT),
        metadata={"help": "perturbations of the test documents; no arm may be trained on them"},
    )
    explainers: list[str] = field(
        default_factory=list,
        metadata={"help": "explainers (integrated-gradients, occlusion, ...) to measure on every model; slow"},
    )
    explained_entities: int = field(default=50, metadata={"help": "number of entities to explain"})
    resamples: int = field(default=10_000, metadata={"help": "bootstrap resamples"})
    report_only: bool = field(default=False, metadata={"help": "only write the report from the existing records"})

    def __post_init__(self) -> None:
        for name in ("models", "arms", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be a non-empty list without duplicates, found {values}")
        if self.explained_entities < 1 or self.resamples < 1:
            raise ValueError("explained_entities and resamples must be 1 or more")
        parse_shard(self.shard)
        self._check_names()

    def _check_names(self) -> None:
        known = {
            "models": (self.models, MODEL_FAMILIES),
            "held_out": (self.held_out, PERTURBATIONS),
            "explainers": (self.explainers, [*LOCAL_EXPLAINERS, *CONTROL_EXPLAINERS]),
        }
        for name, (values, expected) in known.items():
            if unknown := sorted(set(values) - set(expected)):
                raise ValueError(f"{name}: unknown {', '.join(unknown)}, expected some of {', '.join(expected)}")
        for name, arm in (("baseline", self.baseline), ("candidate", self.candidate)):
            if arm not in self.arms:
                raise ValueError(
                    f"{name} {arm!r} is not among the arms {', '.join(self.arms)}: name one of them with --{name} "
                    f"({name}=), or add {arm} to --arms (arms=)"
                )


class Run(NamedTuple):
    """Planned run."""

    model: str
    seed: int
    arm: Arm

    def file(self, corpus: str) -> str:
        """Return the file name of the record."""
        return f"{corpus}-{self.model}-{self.arm.slug}-{self.seed}.json"


def parse_shard(shard: str) -> tuple[int, int]:
    """Parse `"1/4"` into (1, 4).

    Raises:
        ValueError: not of that form, or the number is not below the count.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f"shard is {shard!r}, expected number/count such as 0/2, counted from 0")
    return int(match[1]), int(match[2])


def plan(args: ComparisonArguments) -> list[list[Run]]:
    """Return the runs of this shard in groups that share model and seed; a group runs in one process.

    The first seed of all models comes before the second of any; a shard takes every n-th group.
    """
    number, count = parse_shard(args.shard)
    arms = make_arms(args.arms)
    pairs = [(seed, model) for turn, seed in enumerate(args.seeds) for model in rotate(args.models, turn)]
    return [[Run(model, seed, arm) for arm in arms] for seed, model in pairs][number::count]


def rotate(items: Sequence[str], turns: int) -> list[str]:
    """Rotate a list to the left, so that the slow models are spread over the shards."""
    first = turns % len(items)
    return [*items[first:], *items[:first]]


class Comparison:
    """Runs of one corpus.

    Each run atomically writes a record to `records/` in the output folder. A run that has a record is skipped, so an
    interrupted comparison continues where it stopped.

    Args:
        args: arms, models and seeds.
        dataset_args: corpus; it must have a test split.
        model_args: sizes of the models; `architecture` is ignored.
        training_args: arguments of all runs, except those that arm and seed set; everything is written to `output_dir`.

    Raises:
        ValueError: `early_stopping_patience` is set, or `sample_per_seed` without `max_train_documents`.
    """

    def __init__(
        self,
        args: ComparisonArguments,
        dataset_args: DatasetArguments,
        model_args: ModelArguments,
        training_args: AdnerTrainingArguments,
    ):
        if training_args.early_stopping_patience is not None:
            raise ValueError("a comparison cannot use early stopping: arms would train for different numbers of steps")
        if args.sample_per_seed and dataset_args.max_train_documents is None:
            raise ValueError("sample_per_seed (--sample-per-seed) needs the size of a sample (--max-train-documents)")
        self.args, self.dataset_args = args, dataset_args
        self.model_args, self.training_args = model_args, training_args
        self.folder = Path(training_args.output_dir)
        self.name = args.corpus or Path(dataset_args.dataset).stem
        self._corpus: ComparedCorpus | None = None
        self._runner: tuple[tuple[str, int], ArmRunner] | None = None  # of the last model and seed

    @property
    def corpus(self) -> ComparedCorpus:
        """Corpus, loaded on first access."""
        if self._corpus is None:
            args = self.dataset_args
            if self.args.sample_per_seed:
                args = replace(args, max_train_documents=None)
            self._corpus = ComparedCorpus.load(self.name, args, self.args.held_out)
        return self._corpus

    def run(self) -> None:
        """Do the runs of this shard that have no record yet.

        Raises:
            ValueError: a record in the output folder was made with other arguments or documents; or the data, models
                or arguments are invalid.
        """
        groups = plan(self.args)
        with tqdm(total=sum(map(len, groups)), unit="run", desc=self.name, disable=None) as bar:
            for run in (run for group in groups for run in group):
                bar.set_postfix_str(f"{run.model} {run.arm.name} {run.seed}")
                is_finished = self._path(run).exists()
                self.do(run)
                count_finished(bar) if is_finished else bar.update()

    def do(self, run: Run) -> None:
        """Do one run and write its record, unless there is one.

        Raises:
            ValueError: as `run`.
        """
        path, runner = self._path(run), self._runner_of(run)
        if path.exists():
            self._check(path, {**runner.settings(run.arm, self.training_args), **self._measurements()})
            return
        work = self.folder / "work" / path.stem
        record = runner.run(run.arm, run.seed, self.training_args, work)
        record.settings.update(self._measurements())
        record.save(path)
        with suppress(OSError):  # other processes may still use the folder
            work.parent.rmdir()

    def records(self) -> Iterator[RunRecord]:
        """Yield the existing records of all shards, by model, arm and seed."""
        for model in self.args.models:
            for arm in make_arms(self.args.arms):
                paths = (self._path(Run(model, seed, arm)) for seed in self.args.seeds)
                yield from (RunRecord.load(path) for path in paths if path.exists())

    def _path(self, run: Run) -> Path:
        return self.folder / RECORDS / run.file(self.name)

    def _runner_of(self, run: Run) -> ArmRunner:
        key = run.model, run.seed if self.args.sample_per_seed else 0
        if self._runner is None or self._runner[0] != key:
            corpus = self.corpus
            if self.args.sample_per_seed:
                corpus = corpus.sampled(self.dataset_args.max_train_documents, run.seed)
            explain = self._explain if self.args.explainers else None
            self._runner = key, ArmRunner(corpus, run.model, self.model_args, self.dataset_args, explain)
        return self._runner[1]

    def _measurements(self) -> dict[str, Any]:
        explained = {"explainers": self.args.explainers, "explained_entities": self.args.explained_entities}
        own = {"held_out": self.args.held_out, "sample_per_seed": self.args.sample_per_seed}
        return {**own, **(explained if self.args.explainers else {})}

    def _check(self, path: Path, settings: Mapping[str, Any]) -> None:
        recorded, settings = RunRecord.load(path).settings, plain(settings)
        differing = sorted(name for name in {*recorded, *settings} if recorded.get(name) != settings.get(name))
        if differing:
            raise ValueError(
                f"{path} was made with other arguments (different: {', '.join(differing)}); choose another "
                "--output-dir or remove the record"
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
    """Do the missing runs of this shard, then report on the records of all shards.

    Writes the files of `write_report` to the output folder.

    Raises:
        ValueError: as `Comparison.run`, or there are no records.
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
    if any(pooled.first == report.candidate for pooled in report.pooled):
        plot_forest(report, folder / "forest.png")
