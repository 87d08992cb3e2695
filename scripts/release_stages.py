"""The stages of a release: each makes one file or folder, whole or not at all, of what the stages before it made.

`Release` says what is released, `Workplace` where its parts lie, `stages` lists the stages in order. What a stage made
is its own mark: a release that was interrupted goes on with the first stage whose file or folder is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from release_check import check_release

from hf_adner.audit.calibrated_config import write_calibration
from hf_adner.audit.calibration import calibration_report
from hf_adner.audit.evaluation import compare_documents, f1_interval
from hf_adner.audit.explanations import evaluate_explanations
from hf_adner.audit.prediction import predict_documents
from hf_adner.audit.recalibration import CalibrationFit, calibrate
from hf_adner.audit.robustness import robustness_report
from hf_adner.cards.card import CARD_FILE, model_card
from hf_adner.cards.checkpoint import record_of_checkpoint
from hf_adner.cards.record import CardOptions, scored_split, versions
from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset
from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document
from hf_adner.data.synthetic import generate_corpus
from hf_adner.files import read_json, write_file, write_folder, write_json
from hf_adner.hub.checkpoint_files import ONNX_FOLDER, is_published, published_files
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.reporting import plain
from hf_adner.serve.onnx_export import export_onnx
from hf_adner.training.arguments import DatasetArguments, ModelArguments, TrainCommandArguments
from hf_adner.training.preparation import load_splits, sample
from hf_adner.training.resume import METRICS_FILE, MODEL_FOLDER
from hf_adner.training.run import run_training, tagged_texts

DATA, CORPUS = "DATA/", "CORPUS/"
"""Beginnings of paths of a `Release`: the folder of the real data, and that of the documents that the release makes."""


LEARNED = ("dataset", "model", "training", "seeds", "corpus")
"""Fields of a `Release` that its weights depend on."""


@dataclass(frozen=True)
class Release:
    """What a release is made of.

    Attributes:
        dataset, model: as for `run_training`; paths may begin with `DATA/` or `CORPUS/`. There must be a test split.
        training: fields of `TrainCommandArguments`; without `output_dir`, `seed` and `resume_from_checkpoint`.
        card: statements of the card.
        seeds: seeds of the training runs; the first one's checkpoint is released, whatever its scores.
        corpus: arguments of `generate_corpus` for documents to make, one file a split; None: none.
        elsewhere: name of other documents -> their file, for scores of the card.
        explainers: explainers and controls of the audit.
        audit: fields of `ExplanationSettings`.
        longest: characters of the longest test document in the audit, whose cost grows with the square of the length.
        audited, shaken: test documents in the audit, and in the test of robustness.
        coverages: shares of gold entities that the candidate sets should hold, the best first; the first that can be
            met is taken, none if none can.
        review_budget: as for `calibrate`.
    """

    dataset: DatasetArguments
    model: ModelArguments
    training: Mapping[str, Any]
    card: CardOptions
    seeds: tuple[int, ...] = (0, 1, 2)
    corpus: Mapping[str, Any] | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    explainers: tuple[str, ...] = ("occlusion", "grad-x-input", "constant", "random")
    audit: Mapping[str, Any] = field(default_factory=lambda: {"max_entities": 100, "views": 2})
    longest: int = 120
    audited: int = 300
    shaken: int = 300
    coverages: tuple[float, ...] = (0.95, 0.9)
    review_budget: float | None = 0.1


@dataclass(frozen=True)
class Workplace:
    """Where a release is made.

    Attributes:
        name: of the release, and of its folder.
        release: what it is made of.
        work: folder that receives the folder `name` at the end, and `name.parts` meanwhile.
        cards: folder that receives the card.
        data: folder of the real data; None if the release needs none.
        encoder: pretrained encoder, a folder or a Hub name; None: that of the release.
    """

    name: str
    release: Release
    work: Path
    cards: Path
    data: Path | None = None
    encoder: str | None = None

    @property
    def parts(self) -> Path:
        """Folder of what the stages make."""
        return self.work / f"{self.name}.parts"

    @property
    def finished(self) -> Path:
        """Folder of the finished release."""
        return self.work / self.name

    def run(self, seed: int) -> Path:
        """Folder of the training run of a seed."""
        return self.parts / f"seed-{seed}"

    def path(self, name: str | None) -> str | None:
        """Return a path of the release as it lies here.

        Raises:
            ValueError: the path lies in the folder of real data, and there is none.
        """
        if name and name.startswith(DATA):
            if self.data is None:
                raise ValueError(f"the release reads {name}: name the folder of real data with --data")
            return str(self.data / name.removeprefix(DATA))
        return str(self.parts / "corpus" / name.removeprefix(CORPUS)) if name and name.startswith(CORPUS) else name

    def dataset(self) -> DatasetArguments:
        """Return the arguments of the documents with the paths as they lie here."""
        given = self.release.dataset
        return replace(given, **{name: self.path(getattr(given, name)) for name in ("dataset", "validation", "test")})

    def model(self) -> ModelArguments:
        """Return the arguments of the model with encoder and word list as they lie here."""
        given = self.release.model
        words = "+".join(self.path(part) for part in given.lexicon.split("+")) if given.lexicon else None
        return replace(given, lexicon=words, encoder=self.encoder or given.encoder)

    def documents(self, split: str) -> list[Document]:
        """Return the documents of a split."""
        return list(documents_from_dataset(load_splits(self.dataset())[split]))


class Stage(NamedTuple):
    """A stage: its name, what it makes in the folder of the parts, and the function that makes it."""

    name: str
    makes: str
    work: Callable[[Workplace], None]


def stages(place: Workplace) -> list[Stage]:
    """Return the stages of a release in order; without those that it does not need."""
    runs = [
        Stage(f"train seed {seed}", f"seed-{seed}/{METRICS_FILE}", lambda place, seed=seed: train_seed(place, seed))
        for seed in place.release.seeds
    ]
    first = [] if place.release.corpus is None else [Stage("make documents", "corpus", make_corpus)]
    return [
        *first,
        *runs,
        Stage("calibrate", "checkpoint", calibrate_checkpoint),
        Stage("evaluate", METRICS_FILE, evaluate_checkpoint),
        Stage("evaluate elsewhere", "elsewhere.json", evaluate_elsewhere),
        Stage("audit", "explanations.json", audit_explanations),
        Stage("robustness", "robustness.json", audit_robustness),
        Stage("export", ONNX_FOLDER, export),
        Stage("assemble", place.name, assemble),
        Stage("check", "check.json", check),
    ]


# ---- what a release is made of ----------------------------------------------------------------------------------


def inputs_of(place: Workplace) -> dict[str, Any]:
    """Return what a release is made of, files as digests: what its weights depend on, and what only its figures do."""
    release = place.release
    given, words = release.dataset, (release.model.lexicon or "").split("+")
    fields, encoder = asdict(release), place.model().encoder
    weights = {
        **{name: fields.pop(name) for name in LEARNED},
        "encoder": digest(Path(encoder)) if encoder and os.path.exists(encoder) else encoder,
        "files": digests(place, (given.dataset, given.validation, given.test, *words)),
        "versions": versions(),
    }
    figures = {**fields, "other files": digests(place, release.elsewhere.values())}
    return json.loads(json.dumps({"weights": weights, "figures": figures}))


def digests(place: Workplace, names: Iterable[str | None]) -> dict[str, str]:
    """Return a digest of each file of a release that it does not make itself."""
    files = {name: Path(place.path(name)) for name in names if name and not name.startswith(CORPUS)}
    return {name: digest(path) for name, path in files.items() if path.exists()}


def digest(path: Path) -> str:
    """Return a digest of a file, or of the names and contents of all files of a folder."""
    hashed = blake2b(digest_size=16)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            hashed.update(file.relative_to(path).as_posix().encode() + b"\0")
            with open(file, "rb") as opened:
                while block := opened.read(1 << 20):
                    hashed.update(block)
    return hashed.hexdigest()


# ---- from documents to a calibrated checkpoint ------------------------------------------------------------------


def make_corpus(place: Workplace) -> None:
    """Write the generated documents, a file for each split that has any."""

    def fill(folder: Path) -> None:
        for split, documents in generate_corpus(**place.release.corpus).items():
            if documents:
                write_documents(documents, folder / f"{split}.jsonl")

    write_folder(place.parts / "corpus", fill)


def train_seed(place: Workplace, seed: int) -> None:
    """Train with a seed, or go on from the last checkpoint of its run."""
    given = {**place.release.training, "seed": seed, "resume_from_checkpoint": "auto"}
    arguments = TrainCommandArguments(output_dir=str(place.run(seed)), **given)
    run_training(place.dataset(), place.model(), arguments, place.release.card)


def calibrate_checkpoint(place: Workplace) -> None:
    """Copy the checkpoint of the first seed and calibrate the copy on the validation documents."""
    source = place.run(place.release.seeds[0]) / MODEL_FOLDER

    def fill(folder: Path) -> None:
        for name in published_files(source):
            copy_file(source / name, folder / name)
        write_calibration(folder, fit_scores(tagger(folder), place.documents("validation"), place.release))

    write_folder(place.parts / "checkpoint", fill)


def fit_scores(pipe: AdnerPipeline, documents: list[Document], release: Release) -> CalibrationFit:
    """Fit scores, review threshold and, with the best coverage that can be met, candidates."""
    for coverage in release.coverages:
        try:
            return calibrate(pipe, documents, coverage=coverage, review_budget=release.review_budget)
        except ValueError as error:
            print(f"no candidates with coverage {coverage}: {error}")
    return calibrate(pipe, documents, review_budget=release.review_budget)


def tagger(folder: Path) -> AdnerPipeline:
    """Return the pipeline of the checkpoint in a folder."""
    model = AdnerForTokenClassification.from_pretrained(folder)
    return AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(folder))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; the folder of the target is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


# ---- figures ----------------------------------------------------------------------------------------------------


def evaluate_checkpoint(place: Workplace) -> None:
    """Score the calibrated checkpoint on the test documents, in place of the figures of its training run."""
    metrics = read_json(place.run(place.release.seeds[0]) / METRICS_FILE)
    pipe, gold = tagger(place.parts / "checkpoint"), place.documents("test")
    predicted = list(predict_documents(pipe, gold))
    metrics["test"] = compare_documents(predicted, gold).to_dict()
    metrics["calibration"] = plain(calibration_report(predicted, gold).to_dict())
    texts = [example["text"] for example in metrics["examples"]]
    metrics["examples"] = tagged_texts(pipe.model, pipe.tokenizer, texts)
    write_json(place.parts / METRICS_FILE, metrics)


def evaluate_elsewhere(place: Workplace) -> None:
    """Score the checkpoint on other documents."""
    pipe, reports = tagger(place.parts / "checkpoint"), {}
    for name, path in place.release.elsewhere.items():
        gold = list(documents_from_dataset(load_ner_dataset(place.path(path))["train"]))
        predicted = list(predict_documents(pipe, gold))
        report, interval = compare_documents(predicted, gold).to_dict(), f1_interval(predicted, gold)
        reports[name] = {**report, "interval": interval}
    write_json(place.parts / "elsewhere.json", plain(reports))


def audit_explanations(place: Workplace) -> None:
    """Measure explainers and controls on some of the shorter test documents."""
    release, pipe = place.release, tagger(place.parts / "checkpoint")
    short = load_splits(place.dataset())["test"].filter(lambda row: len(row["text"]) <= release.longest)
    documents = list(documents_from_dataset(sample(short, release.audited, 0)))
    report = evaluate_explanations(pipe.model, pipe.tokenizer, documents, release.explainers, **release.audit)
    write_json(place.parts / "explanations.json", report.to_dict())


def audit_robustness(place: Workplace) -> None:
    """Measure what changes of the text do, on some of the test documents."""
    pipe = tagger(place.parts / "checkpoint")
    rows = sample(load_splits(place.dataset())["test"], place.release.shaken, 0)
    report = robustness_report(pipe.model, pipe.tokenizer, documents_from_dataset(rows))
    write_json(place.parts / "robustness.json", report.to_dict())


# ---- the folder -------------------------------------------------------------------------------------------------


def export(place: Workplace) -> None:
    """Export the checkpoint for ONNX Runtime."""
    pipe = tagger(place.parts / "checkpoint")
    export_onnx(pipe.model, pipe.tokenizer, place.parts / ONNX_FOLDER)


def card(place: Workplace) -> str:
    """Return the card with all measured figures."""
    parts, release = place.parts, place.release
    reports = {name: parts / f"{name}.json" for name in ("metrics", "explanations", "robustness")}
    others = {"seeds": seed_scores(place), "elsewhere": read_json(parts / "elsewhere.json")}
    return str(model_card(record_of_checkpoint(parts / "checkpoint", reports, release.card, **others)))


def seed_scores(place: Workplace) -> list[dict[str, float]]:
    """Return the strict scores of the runs of all seeds on the split that the card shows."""
    found = {seed: read_json(place.run(seed) / METRICS_FILE) for seed in place.release.seeds}
    strict = {seed: metrics[scored_split(metrics)]["strict"] for seed, metrics in found.items()}
    figures = ("precision", "recall", "f1")
    return [{"seed": seed, **{name: scores[name] for name in figures}} for seed, scores in strict.items()]


def assemble(place: Workplace) -> None:
    """Put checkpoint, card and export together, with nothing else."""

    def fill(folder: Path) -> None:
        for name in published_files(place.parts / "checkpoint"):
            copy_file(place.parts / "checkpoint" / name, folder / name)
        exported = (f"{ONNX_FOLDER}/{path.name}" for path in sorted((place.parts / ONNX_FOLDER).iterdir()))
        for name in filter(is_published, exported):  # not the code that was saved with its tokenizer
            copy_file(place.parts / name, folder / name)
        write_file(folder / CARD_FILE, [card(place)], "utf-8")

    write_folder(place.parts / place.name, fill)


def check(place: Workplace) -> None:
    """Check that the folder can be pushed and that strangers and ONNX Runtime find what the pipeline finds.

    Raises:
        ValueError, RuntimeError: as `check_release`.
    """
    folder = place.parts / place.name
    write_json(place.parts / "check.json", check_release(folder, tagger(folder)))
