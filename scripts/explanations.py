#!/usr/bin/env python3
"""Measure all explainers and fusions on known cues and on real text; the tables become a section of RESULTS.md.

    python scripts/explanations.py                                   # ad-synthetic; trains the quickstart's model
    python scripts/explanations.py --data FOLDER                     # and cMedQANER
    python scripts/explanations.py --model runs/quickstart/model     # with a model that is there

Every explainer's record is kept as soon as it is measured and is not measured again with the same model and settings,
so the command can be stopped and started; `--table` only writes the section. FOLDER holds cmedqaner/, encoders/ and
lexicon/ and is no part of this project.
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
from results_table import replace_section

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, load_ner_dataset, make_explainer
from hf_adner.audit.explanation_report import ExplainerScores, ExplanationReport
from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.audit.measures import MEASURES, ExplanationSettings, TargetedExplainer
from hf_adner.data.dataset import documents_from_dataset
from hf_adner.data.records import Document
from hf_adner.explain.amortised import HEAD_FILE
from hf_adner.explain.controls import CONTROL_EXPLAINERS
from hf_adner.explain.explainers import fusion_for
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_building import build_global_table
from hf_adner.files import write_file
from hf_adner.reporting import report_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import MODEL_FOLDER, demo_arguments, run_training, write_json

TABLE = Path("model_cards/RESULTS.md")
RECORDS = Path("model_cards/results/explanations")
AUDIT_FILE = "audit.json"
SINGLES = ("grad-x-input", "integrated-gradients", "occlusion", "attention", "lime", "kernel-shap", "global")
FUSIONS = ("empirical-bayes", "equal", "product", "stability-softmax")
SAMPLING = ("lime", "kernel-shap")
LOCALS = ("grad-x-input", "integrated-gradients", "occlusion")
TARGETS = ("label", "start", "end")
RANDOM_DOCUMENTS = 50

PAGE, PICTURE = "tables.md", "stability-faithfulness.png"
SHOWN = (
    "discriminative_stability", "cosine", "normalised_comprehensiveness", "soft_comprehensiveness_gain", "agreement",
    "agreement_given_position", "auprc", "context_auprc", "random_agreement_given_position",
)  # fmt: skip
"""Measures of the short table."""
DECISIVE = ("discriminative_stability", "agreement", "normalised_comprehensiveness")
SIGNS = {"better": "+", "not worse": "=", "undecided": "?", "worse": "-"}
VERDICTS = """Each fusion against each single explainer in discriminative stability, boundary-faithful agreement and
comprehensiveness between its bounds (NAOPC), in this order: + better, = not worse (the interval lies above minus 1 % of
the single one's mean), ? undecided, - worse; paired on the entities that both explained."""
PAIRED = """Fused minus single, paired on the entities both explained, turned so that more is better; *not worse*: the
interval lies above minus 1 % of the single one's mean."""

HEADING = "## Explanations"
HEADER = """
Explainers of one model against each other on the same test entities that it finds, in the same perturbed views; written
by

    python scripts/explanations.py --data FOLDER

`fused-X` is gradient x input fused with the global table by rule X, `fused-of-Y` explainer Y with its own table by
empirical Bayes; tables are built on training documents, one each for the label, the start and the end. `constant`,
`template` (nearness to the entity alone) and `random` explain nothing: what they score is free of charge. What each
column is, and its range, stands in `hf_adner/audit/measurements`; "position out" is what is left of a rank correlation
once the distance to the entity is taken out of it. Under random weights tables are built again with them. LIME and
KernelSHAP explain fewer entities with few samples; their seed noise stands in the long tables.
"""


class Corpus(NamedTuple):
    """Where a model and its documents come from.

    Attributes:
        name: of the corpus.
        arguments: of the training run that makes the model where there is none.
        splits: role (`train`, `validation`, `test`) -> documents.
    """

    name: str
    arguments: tuple[DatasetArguments, ModelArguments, AdnerTrainingArguments]
    splits: Callable[[], Mapping[str, list[Document]]]


def corpora(args: argparse.Namespace) -> dict[str, Corpus]:
    """The corpora that can be measured: the synthetic one, and cMedQANER where its folder is named."""
    work = args.work / "ad-synthetic"
    found = {"ad-synthetic": Corpus("ad-synthetic", demo_arguments(str(work)), lambda: splits_of("ad-synthetic"))}
    if args.data:
        files = {name: str(args.data / f"cmedqaner/{name}.jsonl") for name in ("train", "dev", "test")}
        found["cmedqaner"] = Corpus(
            "cmedqaner",
            cmedqaner_arguments(args, files),
            lambda: {
                "train": splits_of(files["train"])["train"],
                "validation": splits_of(files["dev"])["train"],
                "test": splits_of(files["test"])["train"],
            },
        )
    return found


def cmedqaner_arguments(args: argparse.Namespace, files: Mapping[str, str]) -> tuple:
    """As `scripts/results.py` trains on it."""
    return (
        DatasetArguments(files["train"], test=files["test"], validation_share=0.0, sample_seed=0),
        ModelArguments(
            encoder=str(args.data / "encoders/e5-small-zh-char"),
            encoder_layers=args.layers,
            architecture=args.architecture,
            lexicon=str(args.data / "lexicon/medical_words.tsv"),
        ),
        AdnerTrainingArguments(
            output_dir=str(args.work / "cmedqaner"),
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
    """All documents of a data set, by split."""
    return {split: list(documents_from_dataset(rows)) for split, rows in load_ner_dataset(name).items()}


class Explained:
    """A model with what its explainers need: tables, a trained gate, and the same again under random weights.

    Args:
        model, tokenizer: the model.
        splits: documents by role.
        folder: where tables are kept.
        args: of the command.
    """

    def __init__(self, model: Any, tokenizer: Any, splits: Mapping[str, list[Document]], folder: Path, args: Any):
        self.model, self.tokenizer, self.splits = model, tokenizer, splits
        self.folder, self.args = folder, args
        self._random: dict[tuple[str, float], GlobalTable] = {}

    def local(self, name: str, target: str = "label") -> Any:
        """A local explainer for a target."""
        options = {"n_samples": self.args.samples} if name in SAMPLING else {}
        return make_explainer(name, self.model, self.tokenizer, target=target, **options)

    def table(self, local: str, target: str) -> GlobalTable:
        """The table of a local explainer and target, from the file if it was built before."""
        folder = self.folder / f"{local}-{target}-{self.args.table_documents}"
        if not folder.exists():
            documents = self.splits["train"][: self.args.table_documents]
            build_global_table(self.local(local, target), documents).save(folder)
        return GlobalTable.load(folder)

    def random_table(self, local: str) -> GlobalTable:
        """The table of the model as it is now, its weights being random."""
        key = (local, sum(float(parameter.detach().double().sum()) for parameter in self.model.parameters()))
        if key not in self._random:
            documents = self.splits["train"][:RANDOM_DOCUMENTS]
            self._random[key] = build_global_table(self.local(local), documents, progress=False)
        return self._random[key]

    def fused(self, local: str, fusion: str) -> TargetedExplainer:
        """A fused explainer for every target."""
        return TargetedExplainer({target: self._fused(local, fusion, target) for target in TARGETS})

    def _fused(self, local: str, fusion: str, target: str) -> Any:
        table = self.table(local, target)
        if fusion == "global":
            return make_explainer("global", self.model, self.tokenizer, global_table=table, target=target)
        rule = fusion_for(fusion, table)
        explainer = self.local(local, target)
        return make_explainer("fused", self.model, self.tokenizer, global_table=table, local=explainer, fusion=rule)

    def fused_at_random(self, local: str, fusion: str) -> Any:
        """A fused explainer whose table is that of the random model."""
        table = self.random_table(local)
        if fusion == "global":
            return make_explainer("global", self.model, self.tokenizer, global_table=table)
        rule = fusion_for(fusion, table)
        return make_explainer(
            "fused", self.model, self.tokenizer, global_table=table, local=self.local(local), fusion=rule
        )


def plan(of: Explained, has_head: bool) -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """Name -> (makes the explainer, makes it anew under random weights or None)."""
    found: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        name: (lambda name=name: of.local(name), None) for name in SINGLES if name != "global"
    }
    fused = {"global": ("grad-x-input", "global")}
    fused |= {f"fused-{rule}": ("grad-x-input", rule) for rule in FUSIONS}
    fused |= {f"fused-of-{local}": (local, FUSIONS[0]) for local in LOCALS[1:]}
    for name, parts in fused.items():
        found[name] = (lambda parts=parts: of.fused(*parts), lambda parts=parts: of.fused_at_random(*parts))
    if has_head:
        found["amortised"] = (lambda: make_explainer("amortised", of.model, of.tokenizer), None)
    return {**found, **{name: (control, None) for name, control in CONTROL_EXPLAINERS.items()}}


def names() -> list[str]:
    """All explainers, in the order of the tables."""
    fused = [*(f"fused-{rule}" for rule in FUSIONS), *(f"fused-of-{local}" for local in LOCALS[1:])]
    return [*SINGLES, "amortised", *fused, *CONTROL_EXPLAINERS]


def settings_of(args: argparse.Namespace) -> ExplanationSettings:
    """Sizes of the audit: a few hundred entities and minutes per explainer."""
    return ExplanationSettings(
        views=args.views,
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
    """Measure every explainer of a corpus that has no record with this model and these settings yet."""
    folder = model_folder(corpus, args)
    model = AdnerForTokenClassification.from_pretrained(folder).to(args.device).eval()
    tokenizer = AdnerTokenizer.from_pretrained(folder)
    splits, settings = corpus.splits(), settings_of(args)
    setup = {
        "model": sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12],
        "settings": asdict(settings),
    }
    if args.longest:
        setup["longest"] = args.longest
        splits = {role: [one for one in ones if len(one.text) <= args.longest] for role, ones in splits.items()}
    of = Explained(model, tokenizer, splits, args.work / f"{corpus.name}-tables-{setup['model']}", args)
    missing = {
        name: make
        for name, make in plan(of, (folder / HEAD_FILE).exists()).items()
        if not args.only or name in args.only
    }
    setups = {name: {**setup, **own_setup(name, args)} for name in missing}
    missing = {name: make for name, make in missing.items() if not is_recorded(corpus.name, name, setups[name])}
    if not missing:
        return
    audit = ExplanationAudit(model, tokenizer, splits["test"], settings)
    keep_audit(audit, corpus.name, {**setup, "architecture": model.config.architecture})
    for name, (make, rebuild) in missing.items():
        scores = audit.score(name, make(), rebuild)
        write_json(record_of(corpus.name, name), {"setup": setups[name], "scores": scores.to_dict()})


def own_setup(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the command that one explainer alone has."""
    if name in SAMPLING:
        return {"samples": args.samples}
    return {"table_documents": args.table_documents} if name == "global" or name.startswith("fused-") else {}


def model_folder(corpus: Corpus, args: argparse.Namespace) -> Path:
    """The model's checkpoint: a given one, or that of a training run which is made if it is not there."""
    if args.model and corpus.name == "ad-synthetic":
        return args.model
    folder = Path(corpus.arguments[2].output_dir) / MODEL_FOLDER
    if not folder.exists():
        run_training(*corpus.arguments)
    return folder


def record_of(corpus: str, name: str) -> Path:
    """File of an explainer's record."""
    return RECORDS / corpus / f"{name}.json"


def is_recorded(corpus: str, name: str, setup: Mapping[str, Any]) -> bool:
    """Whether an explainer was measured with this model and these settings."""
    path = record_of(corpus, name)
    return path.exists() and read_json(path)["setup"] == json.loads(json.dumps(setup))


def keep_audit(audit: ExplanationAudit, corpus: str, setup: Mapping[str, Any]) -> None:
    """What all explainers of a corpus share."""
    report = audit.report([]).to_dict()
    del report["explainers"]
    write_json(RECORDS / corpus / AUDIT_FILE, {"setup": setup, **report})


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_tables() -> None:
    """Make the section of RESULTS.md, and the pictures, from the records."""
    parts = [corpus_section(folder) for folder in sorted(RECORDS.iterdir()) if (folder / AUDIT_FILE).exists()]
    page = TABLE.read_text(encoding="utf-8")
    write_file(TABLE, [replace_section(page, HEADING, "\n\n".join([HEADER, *parts]))], "utf-8")


def corpus_section(folder: Path) -> str:
    """Means and verdicts of one corpus; all tables, with intervals, go to a page of their own."""
    shared = read_json(folder / AUDIT_FILE)
    records = {name: read_json(folder / f"{name}.json") for name in names() if (folder / f"{name}.json").exists()}
    records = {name: one for name, one in records.items() if one["setup"]["model"] == shared["setup"]["model"]}
    found = {name: ExplainerScores.from_dict(record["scores"]) for name, record in records.items()}
    report = ExplanationReport(found, shared["population"], shared["model"], shared["settings"])
    if any(scores.mean("discriminative_stability") is not None for scores in found.values()):
        report.plot(folder / PICTURE)
    singles = [name for name in (*SINGLES, "amortised") if name in found]
    fused = [name for name in found if name.startswith("fused-")]
    head = f"{described(shared, records)}."
    tables = [f"# Explanations of {folder.name}", head, f"![stability against faithfulness]({PICTURE})"]
    tables += [report.to_markdown().strip(), PAIRED, comparison_markdown(report, fused, singles)]
    write_file(folder / PAGE, ["\n\n".join(tables), "\n"], "utf-8")
    place = f"results/explanations/{folder.name}"
    head += f" All tables, with intervals: [{PAGE}]({place}/{PAGE})."
    return "\n\n".join(
        [f"### Explanations of {folder.name}", head, means(report), VERDICTS, verdicts(report, fused, singles)]
    )


def means(report: ExplanationReport) -> str:
    """A row per explainer, a column per measure of `SHOWN` that was taken."""
    shown = {one.name: one.title for one in MEASURES if one.name in SHOWN}
    scores = report.explainers.values()
    kept = [name for name in SHOWN if any(one.mean(name) is not None for one in scores)]
    rows = [(one.name, one.entities, *map(one.mean, kept)) for one in scores]
    return report_table(("mean", "entities", *(shown[name] for name in kept)), rows)


def verdicts(report: ExplanationReport, fused: list[str], singles: list[str]) -> str:
    """A row per fusion, a column per single explainer: a sign for each of `DECISIVE` that was measured."""
    measured = [of for of in DECISIVE if all(of in one.estimates for one in report.explainers.values())]

    def signs(first: str, second: str) -> str:
        return " ".join(SIGNS[compare_explainers(report, first, second, of).verdict] for of in measured)

    rows = [(name, *(signs(name, one) for one in singles)) for name in fused]
    return report_table(("fusion", *singles), rows)


def described(shared: Mapping[str, Any], records: Mapping[str, Any]) -> str:
    """What the figures of a corpus are of, in words."""
    setup = {key: value for one in [shared, *records.values()] for key, value in one["setup"].items()}
    parts = {
        "longest": "documents of at most {} characters",
        "table_documents": "tables of {} training documents",
        "samples": "{} samples for LIME and KernelSHAP",
    }
    told = [words.format(setup[key]) for key, words in parts.items() if key in setup]
    return "; ".join([f"{shared['setup']['architecture']}, checkpoint {shared['setup']['model']}", *told])


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", help="ad-synthetic, cmedqaner (default: all that can be)")
    parser.add_argument("--data", type=Path, help="folder with cmedqaner/, lexicon/ and encoders/")
    parser.add_argument("--model", type=Path, help="checkpoint for ad-synthetic instead of training one")
    parser.add_argument("--work", type=Path, default=Path("runs/explanations"), help="folder for what is not kept")
    parser.add_argument("--only", nargs="+", help="names of explainers to measure")
    parser.add_argument("--entities", type=int, default=150, help="entities that are explained")
    parser.add_argument("--views", type=int, default=2, help="perturbed texts per document and family")
    parser.add_argument("--sampling-entities", type=int, default=50, help="the same for LIME and KernelSHAP")
    parser.add_argument("--samples", type=int, default=200, help="of LIME and KernelSHAP per entity")
    parser.add_argument("--table-documents", type=int, default=200, help="training documents of the global tables")
    parser.add_argument("--longest", type=int, help="leave out documents of more characters (default: keep all)")
    parser.add_argument("--architecture", default="m-dscmg", help="of the model for cmedqaner")
    parser.add_argument("--layers", type=int, default=1, help="of its encoder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the section")
    return parser.parse_args()


def main() -> None:
    """Measure what is missing, then write the section."""
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
