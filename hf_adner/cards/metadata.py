"""The YAML head of a card: what the Hub reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hf_adner.cards.record import CardRecord

TASK = "token-classification"
TAGS = ("hf_adner", "named-entity-recognition", "medical", "chinese")
_FIGURES = (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))


def card_metadata(record: CardRecord) -> ModelCardData:
    """Language, licence, tags, base model, data sets, widget examples, emissions and the `model-index`."""
    results = list(evaluation_results(record))
    optional = {
        "license": record.license,
        "base_model": record.base_model,
        "datasets": list(record.dataset_ids) or None,
        "widget": [{"text": _line(example.text)} for example in record.examples] or None,
        "co2_eq_emissions": _emissions(record),
    }
    if results:
        optional |= {
            "model_name": _line(record.title),
            "eval_results": results,
            "metrics": [name for name, _ in _FIGURES],
        }
    return ModelCardData(
        language="zh",
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[*TAGS, record.architecture, *record.tags],
        **{name: value for name, value in optional.items() if value is not None},
    )


def evaluation_results(record: CardRecord) -> Iterator[EvalResult]:
    """The rows of the `model-index`: strict precision, recall and F1, F1 of every label, F1 of boundaries.

    A label without gold entities has no row; nor has what is NaN.
    """
    split = record.scored_split
    if split is None:
        return
    report = record.scores[split]
    rows = [(name, f"{title} (strict)", report["strict"][name]) for name, title in _FIGURES]
    for label, scores in sorted(report["strict"].get("per_label", {}).items()):
        if scores["support"]:
            rows.append(("f1", f"F1 {_line(label)} (strict)", scores["f1"]))
    rows.append(("f1", "F1 of boundaries, label ignored", report["boundaries"]["untyped"]["both"]["f1"]))
    for metric_type, name, value in rows:
        if math.isfinite(value):
            yield _result(record, split, metric_type, name, value)


def _result(record: CardRecord, split: str, metric_type: str, name: str, value: float) -> EvalResult:
    return EvalResult(
        task_type=TASK,
        task_name="Named entity recognition",
        dataset_type=record.dataset_ids[0] if record.dataset_ids else _line(record.dataset),
        dataset_name=_line(record.dataset),
        dataset_split=split,
        metric_type=metric_type,
        metric_name=name,
        metric_value=round(float(value), 4),
    )


def _line(value: str) -> str:
    """Without line breaks and runs of white space, of which YAML does not bring every kind back."""
    return " ".join(value.split())


def _emissions(record: CardRecord) -> Mapping[str, Any] | None:
    """The Hub's `co2_eq_emissions`, in grams, only when they were measured."""
    if record.co2_grams is None:
        return None
    return {"emissions": record.co2_grams, "training_type": "fine-tuning" if record.encoder else "pre-training"}
