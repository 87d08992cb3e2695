"""The reports of audits as Markdown tables: explanations, robustness, calibration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hf_adner.audit.measurements.measurement import HIGHER, LOWER, MEASURES, NEAR_ZERO, Measure
from hf_adner.cards import markdown

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
"""Parts of `Behaviour.boundary_sensitivity`, each a mean over entities."""

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
