#!/usr/bin/env python3
"""Measure all explainers and fusions on synthetic and real text and write `model_cards/results/explanations/`.

    python scripts/explanations.py                                   # ad-synthetic; trains the model of the quickstart
    python scripts/explanations.py --data FOLDER                     # also cMedQANER
    python scripts/explanations.py --model runs/quickstart/model     # with an existing model

Each explainer's record is written as soon as it is measured; explainers that have a record with the same model and
settings are skipped, so the command can be interrupted and restarted. `--table` only writes the section. FOLDER holds
cmedqaner/, encoders/ and lexicon/, which are not part of this project.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from explainer_comparison import compare_explainers, comparison_markdown
from results_table import update_section

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, load_ner_dataset, make_explainer
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import GROUPS, HEADLINE, MEASURES, ExplanationSettings, TargetedExplainer
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import Document
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import fusion_for
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import build_global_table
from hf_adner.files import write_file, write_json
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import MODEL_FOLDER, demo_arguments, run_training

RECORDS = Path("model_cards/results/explanations")
PAGE = RECORDS / "README.md"
AUDIT_FILE = "audit.json"
SINGLES = (
    "grad-x-input",
    "integrated-gradients",
    "occlusion",
    "occlusion-posterior",
    "attention",
    "lime",
    "kernel-shap",
    "global",
)
FUSIONS = ("empirical-bayes", "equal", "product", "stability-softmax")
SAMPLING = ("lime", "kernel-shap")
LOCALS = ("grad-x-input", "integrated-gradients", "occlusion")
TARGETS = ("label", "start", "end")
RANDOM_DOCUMENTS = 50

TABLES_FILE, PLOT_FILE = "tables.md", "faithfulness-boundaries.png"
SHOWN = (
    *HEADLINE, "replaced_agreement", "replaced_agreement_given_position", "normalised_comprehensiveness",
    "monotonicity_correlation", "cosine", "sparseness", "average_precision", "context_average_precision",
    "random_agreement_given_position",
)  # fmt: skip
"""Measures of the short table."""

DECISIVE = HEADLINE
SIGNS = {"better": "+", "not worse": "=", "undecided": "?", "worse": "-"}
VERDICTS = """Each fusion against each single explainer in {}, in this order: + better, = not worse (the interval lies
above minus 1 % of the single one's mean), ? undecided, - worse; paired on the entities that both explained."""
PAIRED = """Fused minus single, paired on the entities both explained, turned so that more is better; *not worse*: the
interval lies above minus 1 % of the single one's mean."""

HEADING = "## Explanations"
HEADER = """
Explainers of one model against each other on the same test entities that it finds, in the same perturbed views; written
by

    python scripts/explanations.py --data FOLDER

`fused-X` is gradient x input fused with the global table by rule X, `fused-of-Y` explainer Y with its own table by
empirical Bayes; tables are built on training documents, one each for the label, the start and the end. `constant`,
`template` (nearness to the entity alone), `hash` (a hash of each character) and `random` explain nothing: what they
score is free of charge. DF: how much better the maps of perturbed texts fit what the model needs for their own entity
than what it needs for others of the type; BFArep: agreement with what moves an entity's edges when random characters
replace each character; over others: what is left once the agreement with the edges of other entities of the type, or
the comprehensiveness of their maps laid on the same places, is taken off. What each column is, and its range, is in
`hf_adner/audit/measures.py`; "position out" is what is left of a rank correlation once the distance to the entity is
taken out of it. Under random weights tables are built again with them. LIME and KernelSHAP explain fewer entities with
few samples; their seed noise is in the long tables.
"""
CONTROLS = "Measures of which a control has the best mean, or shares it, and which decide nothing by themselves: "
SCALE = """Discriminative stability (DS), the cosine of the maps of a text and its perturbed views above that of maps
of different entities, stands in this table alone. It rewards any map that depends on the characters, whether the model
does or not (`hash`), and changes when all scores are raised to a power, which changes no ranking."""


class Corpus(NamedTuple):
    """Corpus to measure on, and how to train its model.

    Attributes:
        name: name of the corpus.
        arguments: arguments of the training run, for when no model is given.
        splits: loads split (`train`, `validation`, `test`) -> documents.
    """

    name: str
    arguments: tuple[DatasetArguments, ModelArguments, AdnerTrainingArguments]
    splits: Callable[[], Mapping[str, list[Document]]]


def corpora(args: argparse.Namespace) -> dict[str, Corpus]:
    """Return the available corpora: the synthetic one, and cMedQANER if `--data` is given."""
    work = args.work / "ad-synthetic"
    available = {"ad-synthetic": Corpus("ad-synthetic", demo_arguments(str(work)), lambda: splits_of("ad-synthetic"))}
    if args.data:
        files = {name: str(args.data / f"cmedqaner/{name}.jsonl") for name in ("train", "dev", "test")}
        if args.longest:
            files["train"] = short_documents(files["train"], args.longest, args.work)
        available["cmedqaner"] = Corpus(
            f"cmedqaner-{args.longest}" if args.longest else "cmedqaner",
            cmedqaner_arguments(args, files),
            lambda: {
                "train": splits_of(files["train"])["train"],
                "validation": splits_of(files["dev"])["train"],
                "test": splits_of(files["test"])["train"],
            },
        )
    return available


def short_documents(file: str, longest: int, folder: Path) -> str:
    """Write the documents of a JSON Lines file that have at most `longest` characters; return the new file."""
    lines = Path(file).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = folder / f"train-{longest}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_file(kept, [line for line in lines if len(json.loads(line)["text"]) <= longest], "utf-8")
    return str(kept)


def cmedqaner_arguments(args: argparse.Namespace, files: Mapping[str, str]) -> tuple:
    """Return training arguments for cMedQANER like those of `scripts/results.py`."""
    return (
        DatasetArguments(files["train"], test=files["test"], validation_share=0.0, sample_seed=0),
        ModelArguments(
            encoder=str(args.data / "encoders/e5-small-zh-char"),
            encoder_layers=args.layers,
            architecture=args.architecture,
            lexicon=str(args.data / "lexicon/medical_words.tsv"),
        ),
        AdnerTrainingArguments(
            output_dir=str(args.work / (f"cmedqaner-{args.longest}" if args.longest else "cmedqaner")),
            learning_rate=5e-4,
            head_learning_rate=1e-3,
            crf_learning_rate=5e-3,
            num_train_epochs=3,
            per_device_train_batch_size=16,
            seed=0,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            resume_from_checkpoint=None,
        ),
    )


def splits_of(name: str) -> dict[str, list[Document]]:
    """Load all documents of a dataset, by split."""
    return {split: list(documents_from_dataset(rows)) for split, rows in load_ner_dataset(name).items()}


class ExplainerMaker:
    """Makes the explainers of a model, and their global tables for trained and for random weights.

    Args:
        model, tokenizer: model and its tokenizer.
        splits: documents by split.
        folder: folder for global tables.
        args: options of this command.
    """

    def __init__(self, model: Any, tokenizer: Any, splits: Mapping[str, list[Document]], folder: Path, args: Any):
        self.model, self.tokenizer, self.splits = model, tokenizer, splits
        self.folder, self.args = folder, args
        self._random_tables: dict[tuple[str, float], GlobalTable] = {}

    def local(self, name: str, target: str = "label") -> Any:
        """Make a local explainer for a target."""
        options = {"n_samples": self.args.samples} if name in SAMPLING else {}
        return make_explainer(name, self.model, self.tokenizer, target=target, **options)

    def occlusion_of_posterior(self) -> TargetedExplainer:
        """Make occlusion that reads the exact posterior of the entity; for edges it reads their log-odds."""
        return TargetedExplainer(
            {
                "label": self.local("occlusion", "posterior"),
                **{edge: self.local("occlusion", edge) for edge in TARGETS[1:]},
            }
        )

    def table(self, local: str, target: str) -> GlobalTable:
        """Load the table of a local explainer and target; build and save it first if there is none."""
        folder = self.folder / f"{local}-{target}-{self.args.table_documents}"
        if not folder.exists():
            documents = self.splits["train"][: self.args.table_documents]
            build_global_table(self.local(local, target), documents).save(folder)
        return GlobalTable.load(folder)

    def random_table(self, local: str) -> GlobalTable:
        """Build a table with the current weights of the model, which are random."""
        key = (local, sum(float(parameter.detach().double().sum()) for parameter in self.model.parameters()))
        if key not in self._random_tables:
            documents = self.splits["train"][:RANDOM_DOCUMENTS]
            self._random_tables[key] = build_global_table(self.local(local), documents, progress=False)
        return self._random_tables[key]

    def fused(self, local: str, fusion: str) -> TargetedExplainer:
        """Make a fused explainer with a table for every target."""
        return TargetedExplainer({target: self._fused(local, fusion, target) for target in TARGETS})

    def _fused(self, local: str, fusion: str, target: str) -> Any:
        table = self.table(local, target)
        if fusion == "global":
            return make_explainer("global", self.model, self.tokenizer, global_table=table, target=target)
        rule = fusion_for(fusion, table)
        explainer = self.local(local, target)
        return make_explainer("fused", self.model, self.tokenizer, global_table=table, local=explainer, fusion=rule)

    def fused_with_random_weights(self, local: str, fusion: str) -> Any:
        """Make a fused explainer with the table of the randomised model."""
        table = self.random_table(local)
        if fusion == "global":
            return make_explainer("global", self.model, self.tokenizer, global_table=table)
        rule = fusion_for(fusion, table)
        return make_explainer(
            "fused", self.model, self.tokenizer, global_table=table, local=self.local(local), fusion=rule
        )


def plan(maker: ExplainerMaker) -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """Return name -> (makes the explainer, makes it again with random weights or None)."""
    planned: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        name: (lambda name=name: maker.local(name), None)
        for name in SINGLES
        if name not in ("global", "occlusion-posterior")
    }
    fused = {"global": ("grad-x-input", "global")}
    fused |= {f"fused-{rule}": ("grad-x-input", rule) for rule in FUSIONS}
    fused |= {f"fused-of-{local}": (local, FUSIONS[0]) for local in LOCALS[1:]}
    planned["occlusion-posterior"] = (lambda: maker.occlusion_of_posterior(), None)
    for name, parts in fused.items():
        planned[name] = (
            lambda parts=parts: maker.fused(*parts),
            lambda parts=parts: maker.fused_with_random_weights(*parts),
        )
    return {**planned, **{name: (control, None) for name, control in CONTROL_EXPLAINERS.items()}}


def names() -> list[str]:
    """Return the names of all explainers, in the order of the tables."""
    fused = [*(f"fused-{rule}" for rule in FUSIONS), *(f"fused-of-{local}" for local in LOCALS[1:])]
    return [*SINGLES, *fused, *CONTROL_EXPLAINERS]


def audit_settings(args: argparse.Namespace) -> ExplanationSettings:
    """Return the settings of the audit, small enough for minutes per explainer."""
    return ExplanationSettings(
        views=args.views,
        groups=tuple(args.groups),
        max_entities=args.entities,
        entities_per_document=4,
        max_sampling_entities=min(100, args.sampling_entities),
        sensitivity_draws=3,
        infidelity_draws=30,
        orderings=4,
        random_shares=(0.5, 1.0),
        batch_size=32,
    )


def measure(corpus: Corpus, args: argparse.Namespace) -> None:
    """Measure all explainers on a corpus that have no record with this model and these settings."""
    folder = model_folder(corpus, args)
    model = AdnerForTokenClassification.from_pretrained(folder).to(args.device).eval()
    tokenizer = AdnerTokenizer.from_pretrained(folder)
    splits, settings = corpus.splits(), audit_settings(args)
    setup = {
        "model": sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12],
        "settings": asdict(settings),
    }
    if args.longest:
        setup["longest"] = args.longest
        splits = {
            split: [document for document in documents if len(document.text) <= args.longest]
            for split, documents in splits.items()
        }
    maker = ExplainerMaker(model, tokenizer, splits, args.work / f"{corpus.name}-tables-{setup['model']}", args)
    planned = plan(maker)
    missing = {name: planned[name] for name in args.only or planned if name in planned}
    setups = {name: {**setup, **explainer_options(name, args)} for name in missing}
    missing = {name: make for name, make in missing.items() if not is_recorded(corpus.name, name, setups[name])}
    if not missing:
        return
    audit = ExplanationAudit(model, tokenizer, splits["test"], settings)
    write_audit(audit, corpus.name, {**setup, "architecture": model.config.architecture})
    for name, (make, rebuild) in missing.items():
        scores = audit.score(name, make(), rebuild)
        write_json(record_path(corpus.name, name), {"setup": setups[name], "scores": scores.to_dict()})


def explainer_options(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of this command that only some explainers depend on."""
    if name in SAMPLING:
        return {"samples": args.samples}
    return {"table_documents": args.table_documents} if name == "global" or name.startswith("fused-") else {}


def model_folder(corpus: Corpus, args: argparse.Namespace) -> Path:
    """Return the checkpoint: the given one, or that of the training run, which is done first if needed."""
    if args.model and corpus.name == "ad-synthetic":
        return args.model
    folder = Path(corpus.arguments[2].output_dir) / MODEL_FOLDER
    if not folder.exists():
        run_training(*corpus.arguments)
    return folder


def record_path(corpus: str, name: str) -> Path:
    """Return the file of an explainer's record."""
    return RECORDS / corpus / f"{name}.json"


def is_recorded(corpus: str, name: str, setup: Mapping[str, Any]) -> bool:
    """Return whether an explainer has a record with this model and these settings."""
    path = record_path(corpus, name)
    return path.exists() and read_json(path)["setup"] == json.loads(json.dumps(setup))


def write_audit(audit: ExplanationAudit, corpus: str, setup: Mapping[str, Any]) -> None:
    """Write the part of the report that all explainers of a corpus share."""
    report = audit.report([]).to_dict()
    del report["explainers"]
    write_json(RECORDS / corpus / AUDIT_FILE, {"setup": setup, **report})


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_tables() -> None:
    """Write the section of the results page and the plots from the records."""
    parts = [corpus_section(folder) for folder in sorted(RECORDS.iterdir()) if (folder / AUDIT_FILE).exists()]
    update_section(PAGE, HEADING, "\n\n".join([HEADER, *parts]))


def corpus_section(folder: Path) -> str:
    """Return means and verdicts of one corpus, and write all tables with intervals to a page of their own."""
    shared = read_json(folder / AUDIT_FILE)
    records = {name: read_json(folder / f"{name}.json") for name in names() if (folder / f"{name}.json").exists()}
    records = {name: record for name, record in records.items() if record["setup"]["model"] == shared["setup"]["model"]}
    scores = {name: ExplainerScores.from_dict(record["scores"]) for name, record in records.items()}
    report = ExplanationReport(scores, shared["population"], shared["model"], shared["settings"])
    plotted = [f"![discriminative faithfulness against boundary agreement]({PLOT_FILE})"] if _is_plotted(report) else []
    if plotted:
        report.plot(folder / PLOT_FILE)
    singles = [name for name in SINGLES if name in scores]
    fused = [name for name in scores if name.startswith("fused-")]
    head = f"{describe(shared, records)}."
    tables = [f"# Explanations of {folder.name}", head, *plotted]
    tables += [report.to_markdown().strip(), PAIRED, comparison_markdown(report, fused, singles)]
    write_file(folder / TABLES_FILE, ["\n\n".join(tables), "\n"], "utf-8")
    head += f" All tables, with intervals: [{TABLES_FILE}]({folder.name}/{TABLES_FILE})."
    parts = [f"### Explanations of {folder.name}", head, means_table(report), controls_sentence(report)]
    if fused:
        parts += [verdicts_table(report, fused, singles)]
    return "\n\n".join([*parts, *discriminative_stability_part(report)])


def _is_plotted(report: ExplanationReport) -> bool:
    return any(
        all(scores.mean(measure) is not None for measure in HEADLINE[:2]) for scores in report.explainers.values()
    )


def controls_sentence(report: ExplanationReport) -> str:
    """Name the measures that a control leads."""
    titles = {measure.name: measure.title for measure in MEASURES}
    led = [f"{titles[name]} ({control})" for name, control in report.won_by_controls().items()]
    return f"{CONTROLS}{', '.join(led) or 'none'}."


def discriminative_stability_part(report: ExplanationReport) -> list[str]:
    """Return what is wrong with discriminative stability and its table, highest first; nothing if none is recorded."""
    name = "discriminative_stability"
    parts = ((explainer, scores.details.get("stability", {})) for explainer, scores in report.explainers.items())
    rows = [(explainer, details[name]) for explainer, details in parts if details.get(name) is not None]
    rows.sort(key=lambda row: -row[1])
    return [SCALE, markdown_table(("explainer", "DS"), rows)] if rows else []


def means_table(report: ExplanationReport) -> str:
    """Return a table with a row per explainer and a column per measure of `SHOWN` that has values."""
    titles = {measure.name: measure.title for measure in MEASURES}
    explainers = report.explainers.values()
    measured = [name for name in SHOWN if any(scores.mean(name) is not None for scores in explainers)]
    rows = [(scores.name, scores.entities, *map(scores.mean, measured)) for scores in explainers]
    return markdown_table(("mean", "entities", *(titles[name] for name in measured)), rows)


def verdicts_table(report: ExplanationReport, fused: list[str], singles: list[str]) -> str:
    """Return a sentence and a table, a row per fusion and a column per single explainer: signs for `DECISIVE`."""
    measured = [name for name in DECISIVE if all(name in scores.estimates for scores in report.explainers.values())]

    def signs(first: str, second: str) -> str:
        return " ".join(SIGNS[compare_explainers(report, first, second, name).verdict] for name in measured)

    rows = [(name, *(signs(name, single) for single in singles)) for name in fused]
    titles = {measure.name: measure.title for measure in MEASURES}
    words = VERDICTS.format(", ".join(titles[name] for name in measured))
    return f"{words}\n\n{markdown_table(('fusion', *singles), rows)}"


def describe(shared: Mapping[str, Any], records: Mapping[str, Any]) -> str:
    """Describe the model and the settings of the figures of a corpus."""
    setup = {key: value for record in [shared, *records.values()] for key, value in record["setup"].items()}
    parts = {
        "longest": "documents of at most {} characters",
        "table_documents": "tables of {} training documents",
        "samples": "{} samples for LIME and KernelSHAP",
    }
    settings = [words.format(setup[key]) for key, words in parts.items() if key in setup]
    return "; ".join([f"{shared['setup']['architecture']}, checkpoint {shared['setup']['model']}", *settings])


def parse(description: str = __doc__) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", help="ad-synthetic, cmedqaner (default: all available)")
    parser.add_argument("--data", type=Path, help="folder with cmedqaner/, lexicon/ and encoders/")
    parser.add_argument("--model", type=Path, help="checkpoint for ad-synthetic (default: train one)")
    parser.add_argument("--work", type=Path, default=Path("runs/explanations"), help="folder for models and tables")
    parser.add_argument("--only", nargs="+", help="names of explainers to measure, in this order")
    parser.add_argument("--groups", nargs="+", default=GROUPS, help=f"groups of measures, of {', '.join(GROUPS)}")
    parser.add_argument("--entities", type=int, default=150, help="number of entities to explain")
    parser.add_argument("--views", type=int, default=2, help="perturbed texts per document and perturbation")
    parser.add_argument("--sampling-entities", type=int, default=50, help="number of entities for LIME and KernelSHAP")
    parser.add_argument("--samples", type=int, default=200, help="samples per entity of LIME and KernelSHAP")
    parser.add_argument("--table-documents", type=int, default=200, help="training documents of the global tables")
    parser.add_argument("--longest", type=int, help="longest documents, of cmedqaner in training too")
    parser.add_argument("--architecture", default="m-dscmg", help="architecture of the model for cmedqaner")
    parser.add_argument("--layers", type=int, default=1, help="number of encoder layers of that model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the section")
    return parser.parse_args()


def main() -> None:
    """Measure the missing explainers, then write the section."""
    args = parse()
    torch.set_num_threads(args.threads)
    known = corpora(args)
    for name in [] if args.table else args.corpora or known:
        measure(known[name], args)
        write_tables()
    if args.table:
        write_tables()


if __name__ == "__main__":
    main()
