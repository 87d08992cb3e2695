"""Scores of the rules of assertion on documents whose entities state their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hf_adner.data.assertion import gold_assertions
from hf_adner.data.records import Document
from hf_adner.metrics.assertion_f1 import assertion_f1
from hf_adner.reporting import markdown_table

_COLUMNS = ("precision", "recall", "f1", "correct", "predicted", "support")
_TITLES = ("precision", "recall", "F1", "correct", "predicted", "gold")


@dataclass(frozen=True)
class AssertionReport:
    """Scores of rules on the gold entities of documents.

    Attributes:
        documents: number of documents.
        scores: of `metrics.assertion_f1`, with the entities' labels.
    """

    documents: int
    scores: Mapping[str, Any]

    @property
    def f1(self) -> float:
        """Micro F1 over the five attributes, in [0, 1]."""
        return self.scores["f1"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain dictionaries and numbers, ready for JSON."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return the report as Markdown: counts, and scores per attribute and per label."""
        scores = self.scores
        counts = (
            f"{scores['entities']:,} gold entities of {self.documents:,} documents; all attributes of "
            f"{100 * scores['exact']:.1f} % of them are right."
        )
        tables = [
            _table("assertion, gold entities", {**scores["per_attribute"], "**all**": scores}),
            _table("assertion, by label", scores["per_label"]),
        ]
        return "\n\n".join((counts, *tables)) + "\n"


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    return markdown_table(
        (title, *_TITLES), [(name, *(row[column] for column in _COLUMNS)) for name, row in rows.items()]
    )


def evaluate_assertions(rules: Any, documents: Iterable[Document], leave_out: Iterable[str] = ()) -> AssertionReport:
    """Apply rules to the gold entities of documents and compare the attributes with those of the entities' `meta`.

    Args:
        rules: an `AssertionRules`, such as `tokenizer.assertion_rules`.
        documents: whose entities have the list `assertion` in their `meta`, empty where none holds; read once.
        leave_out: labels that are not scored, such as body sites.

    Raises:
        DataFormatError: an entity without such a list; names the document.
    """
    skipped = set(leave_out)
    predicted, gold, labels, number = [], [], [], 0
    for document in documents:
        number += 1
        cues = rules(document.text, document.spans)
        for entity, found, holds in zip(document.entities, cues, gold_assertions(document, skipped), strict=True):
            if entity.label not in skipped:
                predicted.append([cue.attribute for cue in found])
                gold.append(holds)
                labels.append(entity.label)
    return AssertionReport(number, assertion_f1(predicted, gold, labels))
