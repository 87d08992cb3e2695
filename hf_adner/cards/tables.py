"""The reports of audits as Markdown tables: explanations, robustness, calibration.

What the labels of a model mean: definitions for the package's own annotation rules, counts for any other.

The lines of a card's tables, their cells as Markdown.

The networks in a sentence each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hf_adner import reporting as markdown
from hf_adner.audit.measures import HIGHER, LOWER, MEASURES, NEAR_ZERO, Measure
from hf_adner.model.configuration_adner import ARCHITECTURES

Report = Mapping[str, Any]

GROUPS = {
    "stability": "how alike the explanations of a text and of its label-preserving edits are",
    "sensitivity": "the largest change under a small noise on the embeddings",
    "faithfulness": "what becomes of the entity without the characters that an explanation names, or with them alone",
    "boundary": "whether an explanation names the characters that move the edges of the entity",
    "plausibility": "agreement with the cues that a person marked",
    "randomisation": "likeness to the explanations of the same network with random weights",
    "seed-noise": "how alike the explanations of the same text with another seed are",
}
"""What the groups of measures of `evaluate_explanations` tell."""

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

SENSITIVITY = {
    "start": "first character of the entity (its start)",
    "end": "last character (its end)",
    "middle": "a character in the middle (both, mean)",
    "outer": "the neighbour outside (both, absolute)",
}
"""Parts of `ModelResponses.boundary_sensitivity`, each a mean over entities."""

_ARROWS = {HIGHER: " ↑", LOWER: " ↓", NEAR_ZERO: " → 0"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,:()+=-]{0,59}")


def explanation_tables(report: Report | None) -> str:
    """A table for each group of measures with a column per explainer, and what moves the model's own boundaries.

    Args:
        report: `ExplanationReport.to_dict()`, full or not; "" for None.
    """
    report = report or {}
    explainers = _named(report.get("explainers"))
    estimates = {name: part.get("estimates", part) for name, part in explainers if isinstance(part, Mapping)}
    groups = (_group(group, meaning, estimates) for group, meaning in GROUPS.items())
    parts = (*groups, _sensitivity_table((report.get("model") or {}).get("boundary_sensitivity") or {}))
    return "".join(f"\n{part}\n" for part in parts if part)


def population_line(report: Report | None) -> str | None:
    """How many entities of how many documents were explained, None where the report does not say."""
    of = (report or {}).get("population") or {}
    if not {"entities", "documents", "found", "gold"} <= of.keys():
        return None
    explained, found, gold, documents = (markdown.cell(of[key]) for key in ("entities", "found", "gold", "documents"))
    return f"{explained} of the {found} gold entities that the model finds ({gold} in {documents} documents)"


def robustness_tables(report: Report | None) -> str:
    """A line per family of perturbations, and the recall of entities that training held or not.

    Args:
        report: `RobustnessReport.to_dict()`; "" for None.
    """
    report = report or {}
    names = ("f1", "clean_f1", "degradation", "coverage")
    rows = [
        (markdown.text(name), *(_figure(of.get(key)) for key in names))
        for name, of in _named(report.get("families"))
        if isinstance(of, Mapping)
    ]
    heads = ("perturbation", "F1", "F1 unperturbed", "relative loss", "documents it can edit")
    families = markdown.table(rows, heads, "lrrrr") if rows else ""
    recall = _recall_table(report.get("recall") or {})
    return "".join(f"\n{part}\n" for part in (families, recall) if part)


def calibration_rows(report: Report | None) -> list[tuple[str, str]]:
    """A line for each figure of `CALIBRATION` that was measured, with its interval where there is one.

    Args:
        report: `CalibrationReport.to_dict()`, or what `metrics.calibration` returns.
    """
    report = report or {}
    intervals = report.get("intervals") or {}
    return [
        (title, _figure({"mean": report[name], **intervals.get(name, {})}))
        for name, title in CALIBRATION.items()
        if report.get(name) is not None
    ]


def risk_rows(report: Report | None) -> Iterator[tuple[str, str]]:
    """A line for each share of the most confident entities: how many of them are wrong."""
    curve = [row for row in (report or {}).get("risk_coverage") or () if isinstance(row, Mapping)]
    for row in curve[1::2]:  # every second of ten says enough
        yield f"{row['coverage']:.0%}", markdown.share(row["risk"])


def _group(group: str, meaning: str, estimates: Mapping[str, Report]) -> str:
    measures = [one for one in MEASURES if one.group == group and any(one.name in part for part in estimates.values())]
    if not measures:
        return ""
    rows = [(_title(one), *(_figure(part.get(one.name)) for part in estimates.values())) for one in measures]
    heads = ("measure", *map(markdown.text, estimates))
    return f"**{group}**: {meaning}.\n\n{markdown.table(rows, heads, 'l' + 'r' * len(estimates))}"


def _title(measure: Measure) -> str:
    return markdown.text(measure.name.replace("_", " ")) + _ARROWS.get(measure.better, "")


def _figure(value: Any) -> str:
    """A number, or `0.812 (0.790–0.830)` of an estimate with an interval; a dash for anything else."""
    if not isinstance(value, Mapping):
        return markdown.cell(value) if _is_number(value) else markdown.NOTHING
    centre, ends = value.get("mean"), (value.get("low"), value.get("high"))
    if not _is_number(centre) or not all(map(_is_number, ends)):
        return _figure(centre)
    return f"{centre:.3f} ({ends[0]:.3f}–{ends[1]:.3f})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _named(part: Report | None) -> Iterator[tuple[str, Any]]:
    """The members whose keys are plain names: whatever text a report holds as a key stays out of the card."""
    return ((name, value) for name, value in (part or {}).items() if _NAME.fullmatch(name))


def _sensitivity_table(report: Report) -> str:
    rows = [(title, _figure(report[name])) for name, title in SENSITIVITY.items() if report.get(name) is not None]
    own = "Explainers aside, what the boundaries of the model hang on:"
    return f"{own}\n\n{markdown.table(rows, ('hidden', 'probability of the boundary lost'), 'lr')}" if rows else ""


def _recall_table(recall: Report) -> str:
    known = (("occurs in training with its label", "seen"), ("does not", "unseen"))
    rows = [
        (title, _figure(recall.get(f"{name}_recall")), _figure(recall.get(name))) for title, name in known if recall
    ]
    return markdown.table(rows, ("gold entity whose text", "recall", "entities"), "lrr") if rows else ""


DEFINITIONS: dict[str, str] = {
    "Disease": "a diagnosis or named disorder (特应性皮炎, 手部湿疹), suspected, negated and past ones too; age, "
    "course, site and type that belong to the name stay inside, severity outside",
    "Symptom": "a complaint or finding on the skin or elsewhere (瘙痒, 红斑, 发热); intensity and colour stay outside",
    "BodySite": "a part of the body (面部, 四肢屈侧), apart from the finding on it unless that cannot do "
    "without it (关节痛)",
    "Drug": "a medicine or class of medicines (他克莫司软膏, 抗组胺药) with its form; strength and dose stay outside",
    "Treatment": "what is done that is no drug (保湿润肤, 窄谱UVB, 手术)",
    "Test": "an examination or measured quantity (血常规, 总IgE); its result stays outside",
    "Scale": "a score of severity or quality of life by name (SCORAD, EASI, DLQI); its value stays outside",
    "Trigger": "what sets off or worsens the disease (尘螨, 海鲜, 搔抓); also a drug or food to which someone is "
    "allergic",
}
"""The labels of `ad-synthetic`, each in a line."""


class Label(NamedTuple):
    """One row of the label guide.

    Attributes:
        name: the label.
        definition: what it means, None where the rules of the annotation are not known.
        entities: entities in the training documents, None where that was not counted.
        surfaces: different texts of these entities, likewise.
    """

    name: str
    definition: str | None
    entities: int | None
    surfaces: int | None


def label_guide(labels: Sequence[str], statistics: Mapping[str, Any] | None = None) -> list[Label]:
    """A row per label, in the order given.

    The definitions are given only if every label is one of the package's: under other annotation rules a name such as
    Drug may mean something else.

    Args:
        labels: entity types of the model.
        statistics: `CorpusStatistics.to_dict()` with a split `train`.
    """
    train = ((statistics or {}).get("splits") or {}).get("train") or {}
    known = all(label in DEFINITIONS for label in labels)
    return [
        Label(
            label,
            DEFINITIONS[label] if known else None,
            _count(train.get("labels"), label),
            _count(train.get("surfaces"), label),
        )
        for label in labels
    ]


def _count(counts: Mapping[str, int] | None, label: str) -> int | None:
    return None if counts is None else counts.get(label, 0)


def label_row(label: Label) -> tuple[str, ...]:
    """Name, definition where there is one, training entities, different texts."""
    middle = () if label.definition is None else (markdown.text(label.definition),)
    return markdown.cell(label.name), *middle, markdown.cell(label.entities), markdown.cell(label.surfaces)


def entity_rows(entities: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A line for each entity that was found: characters, label, score with two decimals."""
    for one in entities:
        yield markdown.cell(one["word"]), markdown.cell(one["entity_group"]), f"{one['score']:.2f}"


def score_rows(scores: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for each label and one for all: strict precision, recall, F1, gold, predicted."""
    for name, figures in scores["strict"]["per_label"].items():
        yield markdown.cell(name), *_figures(figures), *_counts(figures)
    yield "**all**", *_figures(scores["strict"]), *_counts(scores["strict"])


def boundary_rows(scores: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for starts, ends and both: precision, recall, F1, the label ignored."""
    for edge, figures in scores["boundaries"]["untyped"].items():
        yield markdown.cell(edge), *_figures(figures)


def _figures(scores: Mapping[str, Any]) -> Iterator[str]:
    return (markdown.cell(float(scores[name])) for name in ("precision", "recall", "f1"))


def _counts(scores: Mapping[str, Any]) -> Iterator[str]:
    return (markdown.cell(scores[name]) for name in ("support", "predicted"))


def split_rows(statistics: Mapping[str, Any] | None) -> Iterator[tuple[str, ...]]:
    """A line for each split: counts, density, lengths."""
    for name, split in (statistics or {}).get("splits", {}).items():
        counts = (split[key] for key in ("documents", "empty", "characters", "entities", "nested"))
        lengths = split["text_lengths"]
        spread = f"{lengths['50%']} ({lengths['90%']}, {lengths['100%']})" if lengths else markdown.NOTHING
        yield markdown.cell(name), *map(markdown.cell, counts), f"{split['density']:.1f}", spread


def shared_rows(statistics: Mapping[str, Any] | None) -> Iterator[tuple[str, ...]]:
    """A line for each split and where its entities and documents were seen before, training itself left out."""
    copies = (statistics or {}).get("near_duplicates", {})
    for pair, seen in (statistics or {}).get("seen_entities", {}).items():
        if not pair.startswith("train in "):
            yield markdown.cell(pair), markdown.share(seen), markdown.share(copies.get(pair, 0.0))


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each hyper-parameter, sorted by name."""
    return [(f"`{name}`", markdown.setting(value)) for name, value in sorted(settings.items())]


def version_rows(versions: Mapping[str, str]) -> list[Sequence[str]]:
    """A line for each library."""
    return [(markdown.text(name), markdown.text(number)) for name, number in versions.items()]


def hardware_line(found: Mapping[str, Any]) -> str:
    """The machine in a line."""
    if not found:
        return "not recorded"
    processor = f"{found.get('threads', '?')} of {found.get('cores', '?')} cores ({found.get('cpu', 'unknown CPU')})"
    if not found.get("accelerators"):
        return markdown.text(f"CPU only, {processor}")
    return markdown.text(f"{found['accelerators']} × {found['accelerator']}, {processor}")


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


def describe(architecture: str) -> str:
    """What the network is made of; for a foreign architecture that it is one."""
    return DESCRIPTIONS.get(architecture, "a token classifier that is no network of hf_adner's")


def is_ours(architecture: str) -> bool:
    """Whether the package's pipeline takes it."""
    return architecture in ARCHITECTURES
