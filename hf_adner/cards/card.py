"""A record as a model card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCard

from hf_adner.cards import audit_tables, markdown, rows
from hf_adner.cards.architecture import describe, is_ours
from hf_adner.cards.labels import label_guide
from hf_adner.cards.metadata import card_metadata
from hf_adner.cards.record import CardRecord
from hf_adner.data.writers.atomic import write_file

CARD_FILE = "README.md"
PLACEHOLDER_ID = "your-name/your-model"
UNPINNED = "main"
UNPINNED_COMMENT = "  # put the hash of the commit you have read"
NEUTRAL_TEXT = "请在此输入文本。"
"""What the code of a card without examples is run on."""


def model_card(record: CardRecord, template: str | Path | None = None) -> ModelCard:
    """The card of a record.

    Args:
        record: what is known.
        template: a file with another jinja2 template; it is given what `template.md` is given.

    Raises:
        jinja2.UndefinedError: the template asks for something that is not there.
        OSError: no such template.
    """
    source = _own_template() if template is None else Path(template).read_text(encoding="utf-8")
    body = _environment().from_string(source).render(**_context(record))
    return ModelCard(_tidy(body))


def write_card(record: CardRecord, folder: str | Path, template: str | Path | None = None) -> Path:
    """Write the card of a record as `README.md` into a folder; returns its path.

    Raises:
        OSError, jinja2.UndefinedError: as `model_card`.
    """
    path = Path(folder) / CARD_FILE
    write_file(path, [str(model_card(record, template))], "utf-8")
    return path


def card_for(path: str | Path, model_id: str) -> bytes:
    """A card as it is to stand in a repository: code that named no model yet names this one.

    Args:
        path: of the card.
        model_id: `owner/name` on the Hub.

    Raises:
        OSError: no such card.
    """
    return Path(path).read_bytes().replace(PLACEHOLDER_ID.encode(), model_id.encode())


def _own_template() -> str:
    return resources.files("hf_adner.cards").joinpath("template.md").read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    named = (markdown.text, markdown.cell, markdown.literal, markdown.duration, markdown.table, rows.entity_rows)
    environment.filters |= {filter_.__name__: filter_ for filter_ in named}
    return environment


def _tidy(text: str) -> str:
    """One blank line where the template's conditions left several."""
    head, mark, body = text.partition("\n---\n\n")
    return head + mark + re.sub(r"\n{3,}", "\n\n", body)


def _context(record: CardRecord) -> dict[str, Any]:
    return {
        "record": record,
        "metadata": card_metadata(record).to_yaml(),
        "ours": is_ours(record.architecture),
        "description": describe(record.architecture),
        "encoder": _encoder(record),
        "hardware": rows.hardware_line(record.hardware),
        "explanation_tables": audit_tables.explanation_tables(record.explanations),
        "population": audit_tables.population_line(record.explanations),
        "robustness_tables": audit_tables.robustness_tables(record.robustness),
        "calibration_rows": audit_tables.calibration_rows(record.calibration),
        "risk_rows": list(audit_tables.risk_rows(record.calibration)),
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
        "score_rows": list(rows.score_rows(scores)) if scores else [],
        "boundary_rows": list(rows.boundary_rows(scores)) if scores else [],
    }


def _table_context(record: CardRecord) -> dict[str, Any]:
    guide = label_guide(record.labels, record.statistics)
    return {
        "labels_are_defined": any(label.definition for label in guide),
        "guide_rows": [rows.label_row(label) for label in guide],
        "split_rows": list(rows.split_rows(record.statistics)),
        "shared_rows": list(rows.shared_rows(record.statistics)),
        "setting_rows": rows.setting_rows(record.settings),
        "version_rows": rows.version_rows(record.versions),
    }


def _encoder(record: CardRecord) -> str:
    if record.base_model:
        return f"[{markdown.text(record.base_model)}](https://huggingface.co/{record.base_model})"
    return f"{markdown.text(record.encoder)}, a local folder" if record.encoder else "none pretrained"
