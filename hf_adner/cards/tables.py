"""Rows and tables of a model card: labels, scores, data, settings, and the reports of audits.

Cells are Markdown: every text that comes from a model, a corpus or a report is escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hf_adner.audit.measures import HIGHER, LOWER, MEASURES, NEAR_ZERO, Measure, current_names
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.reporting import NOTHING, cell, escape_markdown, markdown_table, setting, share

Report = Mapping[str, Any]

# ---- the network and its labels ---------------------------------------------------------------------------------

_M_DSCMG = (
    "M-DSCMG: characters and dictionary words in two streams, cross-stream attention, multi-head attention, a gated "
    "graph network and a CRF (Luo, Che and Ji 2025)"
)

DESCRIPTIONS: dict[str, str] = {
    "m-dscmg": _M_DSCMG,
    "m-dscmg-no-dual-stream": f"{_M_DSCMG}, here without the word stream",
    "m-dscmg-no-attention": f"{_M_DSCMG}, here without the multi-head attention",
    "m-dscmg-no-graph": f"{_M_DSCMG}, here without the graph network",
    "bert-crf": "an encoder with a CRF",
    "bert-bilstm-crf": "an encoder with a BiLSTM and a CRF",
    "bert-att-crf": "an encoder with multi-head attention and a CRF",
    "bert-softmax": "an encoder with a softmax over the labels of each character",
    "bilstm-crf": "a BiLSTM over character embeddings with a CRF, without a pretrained encoder",
}
"""Architecture -> its description in a card."""

DEFINITIONS: dict[str, str] = {
    "Disease": "a diagnosis or named disorder (特应性皮炎, 手部湿疹), suspected, negated and past ones too; age, "
    "course, site and type that belong to the name stay inside, severity outside",
    "Symptom": "a complaint or finding on the skin or elsewhere (瘙痒, 红斑, 发热); intensity and colour stay outside",
    "BodySite": "a part of the body (面部, 四肢屈侧), apart from the finding on it unless that cannot do "
    "without it (关节痛)",
    "Drug": "a medicine or class of medicines (他克莫司软膏, 抗组胺药) with its form; strength and dose stay outside",
    "Treatment": "procedures other than drugs (保湿润肤, 窄谱UVB, 手术)",
    "Test": "an examination or measured quantity (血常规, 总IgE); its result stays outside",
    "Scale": "a score of severity or quality of life by name (SCORAD, EASI, DLQI); its value stays outside",
    "Trigger": "what sets off or worsens the disease (尘螨, 海鲜, 搔抓); also a drug or food to which someone is "
    "allergic",
}
"""Label of `ad-synthetic` -> its definition in the annotation rules."""


def describe(architecture: str) -> str:
    """Return the description of an architecture, a general one for a model of another package."""
    return DESCRIPTIONS.get(architecture, "a token classifier from outside hf_adner")


def is_ours(architecture: str) -> bool:
    """Return whether the package's own pipeline runs the architecture."""
    return architecture in ARCHITECTURES


class Label(NamedTuple):
    """A row of the label guide.

    Attributes:
        name: the label.
        definition: its meaning, None where the annotation rules are unknown.
        entities: entities in the training documents, None if they were not counted.
        surfaces: different texts of these entities, None likewise.
    """

    name: str
    definition: str | None
    entities: int | None
    surfaces: int | None


def label_guide(labels: Sequence[str], statistics: Report | None = None) -> list[Label]:
    """Return a row per label, in the order given.

    Definitions appear only if every label is one of `DEFINITIONS`: under other annotation rules a name such as Drug may
    have another meaning.

    Args:
        labels: entity types of the model.
        statistics: `CorpusStatistics.to_dict()` with a split `train`.
    """
    train = ((statistics or {}).get("splits") or {}).get("train") or {}
    is_known = all(label in DEFINITIONS for label in labels)
    return [
        Label(
            label,
            DEFINITIONS[label] if is_known else None,
            _count(train.get("labels"), label),
            _count(train.get("surfaces"), label),
        )
        for label in labels
    ]


def _count(counts: Mapping[str, int] | None, label: str) -> int | None:
    return None if counts is None else counts.get(label, 0)


def label_row(label: Label) -> tuple[str, ...]:
    """Return name, definition (if there is one), training entities and different texts."""
    definition = () if label.definition is None else (escape_markdown(label.definition),)
    return cell(label.name), *definition, cell(label.entities), cell(label.surfaces)


# ---- scores, data and run ---------------------------------------------------------------------------------------


def entity_rows(entities: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield a row per predicted entity: characters, label, score with two decimals."""
    for entity in entities:
        yield cell(entity["word"]), cell(entity["entity_group"]), f"{entity['score']:.2f}"


def score_rows(scores: Report) -> Iterator[tuple[str, ...]]:
    """Yield a row per label and one for all: strict precision, recall, F1, gold, predicted."""
    for name, label_scores in scores["strict"]["per_label"].items():
        yield cell(name), *_precision_recall_f1(label_scores), *_counts(label_scores)
    yield "**all**", *_precision_recall_f1(scores["strict"]), *_counts(scores["strict"])


def boundary_rows(scores: Report) -> Iterator[tuple[str, ...]]:
    """Yield a row for starts, ends and both, labels ignored: precision, recall, F1."""
    for edge, edge_scores in scores["boundaries"]["untyped"].items():
        yield cell(edge), *_precision_recall_f1(edge_scores)


def seed_rows(seeds: Sequence[Report]) -> list[tuple[str, ...]]:
    """Return seed, precision, recall and F1 of each training run, in order of the seeds."""
    return [
        (str(scores["seed"]), *_precision_recall_f1(scores))
        for scores in sorted(seeds, key=lambda scores: scores["seed"])
    ]


def elsewhere_rows(elsewhere: Mapping[str, Report]) -> list[tuple[str, ...]]:
    """Return name, documents, gold entities, precision, recall, F1 and its interval on each other corpus."""
    return [
        (
            escape_markdown(name),
            cell(report["documents"]),
            cell(report["gold"]),
            *_precision_recall_f1(report["strict"]),
            f"{cell(report['interval']['low'])} to {cell(report['interval']['high'])}",
        )
        for name, report in elsewhere.items()
    ]


def _precision_recall_f1(scores: Report) -> Iterator[str]:
    return (cell(float(scores[name])) for name in ("precision", "recall", "f1"))


def _counts(scores: Report) -> Iterator[str]:
    return (cell(scores[name]) for name in ("support", "predicted"))


def split_rows(statistics: Report | None) -> Iterator[tuple[str, ...]]:
    """Yield a row per split: counts, density, lengths."""
    for name, split in (statistics or {}).get("splits", {}).items():
        counts = (split[key] for key in ("documents", "empty", "characters", "entities", "nested"))
        lengths = split["text_lengths"]
        spread = f"{lengths['50%']} ({lengths['90%']}, {lengths['100%']})" if lengths else NOTHING
        yield cell(name), *map(cell, counts), f"{split['density']:.1f}", spread


def shared_rows(statistics: Report | None) -> Iterator[tuple[str, ...]]:
    """Yield a row per pair of splits, except `train in ...`: shares of seen entities and near-duplicate documents."""
    duplicates = (statistics or {}).get("near_duplicates", {})
    for pair, seen in (statistics or {}).get("seen_entities", {}).items():
        if not pair.startswith("train in "):
            yield cell(pair), share(seen), share(duplicates.get(pair, 0.0))


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a row per hyper-parameter, sorted by name."""
    return [(f"`{name}`", setting(value)) for name, value in sorted(settings.items())]


def version_rows(versions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return a row per library."""
    return [(escape_markdown(name), escape_markdown(version)) for name, version in versions.items()]


def hardware_line(machine: Mapping[str, Any]) -> str:
    """Describe a machine, as `record.hardware` returns it, in one line."""
    if not machine:
        return "not recorded"
    cores = f"{machine.get('threads', '?')} of {machine.get('cores', '?')} cores"
    processor = f"{cores} ({machine.get('cpu', 'unknown CPU')})"
    if not machine.get("accelerators"):
        return escape_markdown(f"CPU only, {processor}")
    return escape_markdown(f"{machine['accelerators']} × {machine['accelerator']}, {processor}")


# ---- reports of audits ------------------------------------------------------------------------------------------

GROUPS = {
    "discrimination": "how much better explanations of edited texts fit what the model needs for their own entity than "
    "what it needs for others of the type",
    "contrast": "how much better an explanation fits its own entity's edges and needs than those of others do, laid on "
    "the same places",
    "boundary": "whether an explanation names the characters that move the edges of the entity, random characters in "
    "their place or the mask",
    "faithfulness": "what becomes of the entity without the characters that an explanation names, or with them alone",
    "stability": "how alike the explanations of a text and of its label-preserving edits are",
    "sensitivity": "the largest change under a small noise on the embeddings",
    "complexity": "over how many characters an explanation spreads",
    "plausibility": "agreement with the cues that a person marked",
    "randomisation": "likeness to the explanations of the same network with random weights",
    "seed-noise": "how alike the explanations of the same text with another seed are",
}
"""Group of measures of `evaluate_explanations` -> its description."""

CALIBRATION = {
    "ece": "expected calibration error, 15 bins of equal mass",
    "brier": "Brier score",
    "aurc": "area under the risk-coverage curve",
    "best_aurc": "the same in the best possible order",
    "accuracy": "share of predicted entities that are right",
    "mean_confidence": "mean score",
    "coverage": "share of gold entities that are predicted",
    "entities": "predicted entities",
}
"""Figure of `CalibrationReport` -> its title."""

SENSITIVITY = {
    "start": "first character of the entity (its start)",
    "end": "last character (its end)",
    "middle": "a character in the middle (both, mean)",
    "outer": "the neighbour outside (both, absolute)",
}
"""Figure of `ModelResponses.boundary_sensitivity`, a mean over entities -> its title."""

_ARROWS = {HIGHER: " ↑", LOWER: " ↓", NEAR_ZERO: " → 0"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,:()+=-]{0,59}")


def explanation_tables(report: Report | None) -> str:
    """Return a table per group of measures, with a column per explainer, and the model's boundary sensitivity.

    Args:
        report: `ExplanationReport.to_dict()`, full or not; "" for None.
    """
    report = report or {}
    explainers = _plainly_named(report.get("explainers"))
    scored = ((name, scores) for name, scores in explainers if isinstance(scores, Mapping))
    estimates = {name: current_names(scores.get("estimates", scores)) for name, scores in scored}
    groups = {group: _group_table(group, description, estimates) for group, description in GROUPS.items()}
    sensitivity = _sensitivity_table((report.get("model") or {}).get("boundary_sensitivity") or {})
    parts = (*groups.values(), sensitivity)
    return "".join(f"\n{part}\n" for part in parts if part)


def sample_line(report: Report | None) -> str | None:
    """Return how many entities of how many documents were explained, None if the report lacks it."""
    sample = (report or {}).get("population") or {}
    if not {"entities", "documents", "found", "gold"} <= sample.keys():
        return None
    explained, found, gold, documents = (cell(sample[key]) for key in ("entities", "found", "gold", "documents"))
    return f"{explained} of the {found} gold entities that the model finds ({gold} in {documents} documents)"


def robustness_tables(report: Report | None) -> str:
    """Return a row per family of perturbations, and the recall of entities seen and not seen in training.

    Args:
        report: `RobustnessReport.to_dict()`; "" for None.
    """
    report = report or {}
    names = ("f1", "clean_f1", "degradation", "coverage")
    rows = [
        (escape_markdown(name), *(_estimate(scores.get(key)) for key in names))
        for name, scores in _plainly_named(report.get("families"))
        if isinstance(scores, Mapping)
    ]
    heads = ("perturbation", "F1", "F1 unperturbed", "relative loss", "documents it can edit")
    families = markdown_table(heads, rows) if rows else ""
    recall = _recall_table(report.get("recall") or {})
    return "".join(f"\n{part}\n" for part in (families, recall) if part)


def calibration_rows(report: Report | None) -> list[tuple[str, str]]:
    """Return a row per figure of `CALIBRATION` that was measured, with its interval if there is one.

    Args:
        report: `CalibrationReport.to_dict()`, or what `metrics.calibration` returns.
    """
    report = report or {}
    intervals = report.get("intervals") or {}
    return [
        (title, _estimate({"mean": report[name], **intervals.get(name, {})}))
        for name, title in CALIBRATION.items()
        if report.get(name) is not None
    ]


def risk_rows(report: Report | None) -> Iterator[tuple[str, str]]:
    """Yield the share of wrong entities among the most confident 20, 40 .. 100 %."""
    curve = [row for row in (report or {}).get("risk_coverage") or () if isinstance(row, Mapping)]
    for row in curve[1::2]:
        yield f"{row['coverage']:.0%}", share(row["risk"])


def _group_table(group: str, description: str, estimates: Mapping[str, Report]) -> str:
    measures = [
        measure
        for measure in MEASURES
        if measure.group == group and any(measure.name in scores for scores in estimates.values())
    ]
    if not measures:
        return ""
    rows = [
        (_title(measure), *(_estimate(scores.get(measure.name)) for scores in estimates.values()))
        for measure in measures
    ]
    heads = ("measure", *map(escape_markdown, estimates))
    return f"**{group}**: {description}.\n\n{markdown_table(heads, rows)}"


def _title(measure: Measure) -> str:
    name = measure.name.replace("replaced_agreement", "agreement_(random_characters)")
    return escape_markdown(name.replace("_", " ")) + _ARROWS.get(measure.better, "")


def _sensitivity_table(report: Report) -> str:
    rows = [(title, _estimate(report[name])) for name, title in SENSITIVITY.items() if report.get(name) is not None]
    caption = "Explainers aside, what the boundaries of the model hang on:"
    return f"{caption}\n\n{markdown_table(('hidden', 'probability of the boundary lost'), rows)}" if rows else ""


def _recall_table(recall: Report) -> str:
    if not recall:
        return ""
    kinds = (("occurs in training with its label", "seen"), ("does not", "unseen"))
    rows = [(title, _estimate(recall.get(f"{name}_recall")), _estimate(recall.get(name))) for title, name in kinds]
    return markdown_table(("gold entity whose text", "recall", "entities"), rows)


def _estimate(value: Any) -> str:
    """Format a number, or an estimate with an interval as `0.812 (0.790–0.830)`; anything else is a dash."""
    if not isinstance(value, Mapping):
        return cell(value) if _is_number(value) else NOTHING
    mean, interval = value.get("mean"), (value.get("low"), value.get("high"))
    if not _is_number(mean) or not all(map(_is_number, interval)):
        return _estimate(mean)
    return f"{mean:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _plainly_named(part: Report | None) -> Iterator[tuple[str, Any]]:
    """Yield the members whose keys are plain names, so that no text that a report has as a key reaches the card."""
    return ((name, value) for name, value in (part or {}).items() if _NAME.fullmatch(name))
