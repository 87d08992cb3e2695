"""Rendering of a card record as a model card: YAML metadata and Markdown body."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hf_adner.audit.recalibration import changes_scores, report_markdown
from hf_adner.cards import tables
from hf_adner.cards.record import CardRecord
from hf_adner.files import write_file
from hf_adner.reporting import cell, code_points, duration, escape_markdown, literal, markdown_table

CARD_FILE = "README.md"
PLACEHOLDER_ID = "your-name/your-model"
UNPINNED = "main"
UNPINNED_COMMENT = "  # put the hash of the commit you have read"
NEUTRAL_TEXT = "请在此输入文本。"
"""Text of the code examples of a card without example texts."""

TASK = "token-classification"
TAGS = ("hf_adner", "named-entity-recognition", "medical", "chinese")
_SCORES = (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))


def model_card(record: CardRecord, template: str | Path | None = None) -> ModelCard:
    """Render the card of a record.

    Args:
        record: content of the card.
        template: file with another jinja2 template, which gets the variables of `template.md`.

    Raises:
        jinja2.UndefinedError: the template uses an undefined variable.
        OSError: no such template.
    """
    source = _own_template() if template is None else Path(template).read_text(encoding="utf-8")
    body = _environment().from_string(source).render(**_context(record))
    return ModelCard(_tidy(body))


def write_card(record: CardRecord, folder: str | Path, template: str | Path | None = None) -> Path:
    """Write the card of a record as `README.md` into a folder and return its path.

    Raises:
        OSError, jinja2.UndefinedError: as `model_card`.
    """
    path = Path(folder) / CARD_FILE
    write_file(path, [str(model_card(record, template))], "utf-8")
    return path


def card_for(path: str | Path, model_id: str) -> bytes:
    """Return a card with the placeholder of the model's name in its code replaced.

    Args:
        path: the card.
        model_id: `owner/name` on the Hub.

    Raises:
        OSError: no such card.
    """
    return Path(path).read_bytes().replace(PLACEHOLDER_ID.encode(), model_id.encode())


# ---- metadata ---------------------------------------------------------------------------------------------------


def card_metadata(record: CardRecord) -> ModelCardData:
    """Return language, licence, tags, base model, data sets, widget examples, emissions and the `model-index`."""
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
            "metrics": [name for name, _ in _SCORES],
        }
    return ModelCardData(
        language="zh",
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[*TAGS, record.architecture, *record.tags],
        **{name: value for name, value in optional.items() if value is not None},
    )


def evaluation_results(record: CardRecord) -> Iterator[EvalResult]:
    """Yield the rows of the `model-index`: strict precision, recall and F1, F1 of every label, F1 of boundaries.

    Labels without gold entities and NaN values are left out.
    """
    split = record.scored_split
    if split is None:
        return
    report = record.scores[split]
    rows = [(name, f"{title} (strict)", report["strict"][name]) for name, title in _SCORES]
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
    """Collapse white space and line breaks, not all of which survive a round trip through YAML; see `code_points`."""
    return code_points(" ".join(value.split()))


def _emissions(record: CardRecord) -> Mapping[str, Any] | None:
    """Return the Hub's `co2_eq_emissions`, in grams, None if they were not measured."""
    if record.co2_grams is None:
        return None
    return {"emissions": record.co2_grams, "training_type": "fine-tuning" if record.from_encoder else "pre-training"}


# ---- body -------------------------------------------------------------------------------------------------------


def _own_template() -> str:
    return resources.files("hf_adner.cards").joinpath("template.md").read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters = (escape_markdown, cell, literal, duration, tables.entity_rows)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals["markdown_table"] = markdown_table
    return environment


def _tidy(text: str) -> str:
    """Collapse the blank lines that the template's conditions leave in the body."""
    metadata, mark, body = text.partition("\n---\n\n")
    return metadata + mark + re.sub(r"\n{3,}", "\n\n", body)


def _context(record: CardRecord) -> dict[str, Any]:
    """Return the variables of the template."""
    return {
        "record": record,
        "metadata": card_metadata(record).to_yaml(),
        "ours": tables.is_ours(record.architecture),
        "description": tables.describe(record.architecture),
        "encoder": _encoder(record),
        "hardware": tables.hardware_line(record.hardware),
        "explanation_tables": tables.explanation_tables(record.explanations),
        "sample_line": tables.sample_line(record.explanations),
        "robustness_tables": tables.robustness_tables(record.robustness),
        "calibration_rows": tables.calibration_rows(record.calibration),
        "scores_changed": bool(record.calibrated) and changes_scores(record.calibrated),
        "calibrated_report": report_markdown(record.calibrated) if record.calibrated else "",
        "risk_rows": list(tables.risk_rows(record.calibration)),
        **_usage_context(record),
        **_score_context(record.scores.get(record.scored_split or "")),
        **_table_context(record),
    }


def _usage_context(record: CardRecord) -> dict[str, Any]:
    return {
        "model_id": record.model_id or PLACEHOLDER_ID,
        "revision": record.revision or UNPINNED,
        "revision_comment": "" if record.revision else UNPINNED_COMMENT,
        "sample": min((example.text for example in record.examples), key=len, default=NEUTRAL_TEXT),
        "examples_tagged": any(example.entities is not None for example in record.examples),
    }


def _score_context(scores: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "scores": scores,
        "nested": scores["gold"] - scores.get("flattened_gold", scores["gold"]) if scores else 0,
        "score_rows": list(tables.score_rows(scores)) if scores else [],
        "boundary_rows": list(tables.boundary_rows(scores)) if scores else [],
    }


def _table_context(record: CardRecord) -> dict[str, Any]:
    guide = tables.label_guide(record.labels, record.statistics)
    return {
        "labels_are_defined": any(label.definition for label in guide),
        "guide_rows": [tables.label_row(label) for label in guide],
        "split_rows": list(tables.split_rows(record.statistics)),
        "seed_rows": tables.seed_rows(record.seeds),
        "elsewhere_rows": tables.elsewhere_rows(record.elsewhere),
        "shared_rows": list(tables.shared_rows(record.statistics)),
        "setting_rows": tables.setting_rows(record.settings),
        "version_rows": tables.version_rows(record.versions),
    }


def _encoder(record: CardRecord) -> str:
    if record.base_model:
        return f"[{escape_markdown(record.base_model)}](https://huggingface.co/{record.base_model})"
    return "pretrained, a local folder" if record.from_encoder else "none pretrained"
