"""Documents in, notes with explained entities out.

A checkpoint with what explaining its entities takes: an explainer and, where there is one, the global table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import pipeline

from hf_adner.data.records import Document
from hf_adner.explain.explainers import DEFAULT_EXPLAINER, make_explainer
from hf_adner.explain.explanation import ExplainedNote, Explanation
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.probes import DEFAULT_PROBES, add_cues, check_probes, probe_explanations
from hf_adner.explain.stability import DEFAULT_VIEWS, StabilityMeter
from hf_adner.explain.table_building import (
    SOURCES,
    build_checkpoint_table,
    build_global_table,
    find_global_table,
    resolve_global_table,
)

DOCUMENTS_AT_ONCE = 8
ANNOTATION = "annotation"
"""Key of `Explanation.details` under which stands what the annotators said of a found entity."""


def explain_documents(
    explainer: Any,
    documents: Iterable[Document],
    *,
    entities: str = "predicted",
    table: GlobalTable | None = None,
    probes: Sequence[str] = DEFAULT_PROBES,
    stability_views: int = DEFAULT_VIEWS,
    seed: int = 0,
) -> Iterator[ExplainedNote]:
    """Explain the entities of documents with all that a page can show; documents are read as notes are asked for.

    Explanations get their entity's posterior, what becomes of it in changed texts, and their stability; those of found
    entities in annotated documents also tell in `details` whether the annotators marked the same.

    Args:
        explainer: one that `make_explainer` gave.
        documents: any iterable; a note has the name of its document.
        entities: ``predicted`` explains what the model finds, ``gold`` what the documents hold.
        table: a global table to take cues from.
        probes: perturbations to try, see `probe_explanations`; none for posteriors alone.
        stability_views: see `StabilityMeter`; 0 leaves stability out.
        seed: of perturbations and views.

    Raises:
        ValueError: another `entities`, an unknown probe, or an entity that cannot be explained; names the document.
    """
    if entities not in SOURCES:
        raise ValueError(f"entities must be one of {SOURCES}, found {entities!r}")
    check_probes(probes)
    meter = StabilityMeter(explainer, stability_views, seed) if stability_views else None
    return _notes(explainer, iter(documents), entities == "gold", table, probes, meter, seed)


def _notes(
    explainer: Any,
    documents: Iterator[Document],
    of_gold: bool,
    table: GlobalTable | None,
    probes: Sequence[str],
    meter: StabilityMeter | None,
    seed: int,
) -> Iterator[ExplainedNote]:
    while chunk := list(islice(documents, DOCUMENTS_AT_ONCE)):
        explanations = _explained(explainer, chunk, of_gold)
        explanations = explanations if meter is None else meter.measure(explanations)
        explanations = probe_explanations(explainer.tagger, explanations, probes, seed=seed)
        explanations = explanations if table is None else add_cues(table, explanations)
        for document, ones in zip(chunk, explanations, strict=True):
            ones = ones if of_gold else [_with_annotation(one, document) for one in ones]
            yield ExplainedNote(document.id, document.text, tuple(ones))


def _explained(explainer: Any, documents: Sequence[Document], of_gold: bool) -> Sequence[Sequence[Explanation]]:
    entities = [list(document.spans) for document in documents] if of_gold else None
    try:
        return explainer([document.text for document in documents], entities)
    except ValueError as error:
        if len(documents) > 1:  # find out which document it is
            return [_explained(explainer, [document], of_gold)[0] for document in documents]
        raise ValueError(f"document {documents[0].id[:40]!r}: {error}") from None


def _with_annotation(explanation: Explanation, document: Document) -> Explanation:
    if not document.entities:
        return explanation
    return replace(explanation, details={**explanation.details, ANNOTATION: _verdict(explanation, document)})


def _verdict(explanation: Explanation, document: Document) -> str:
    found = explanation.entity
    touching = [one for one in document.entities if one.start < found.end and found.start < one.end]
    if any((one.start, one.end, one.label) == (found.start, found.end, found.label) for one in touching):
        return "the same entity"
    if any(one.label == found.label for one in touching):
        return "the same label with other boundaries"
    return f"other labels: {', '.join(sorted({one.label for one in touching}))}" if touching else "no entity here"


FROM_TABLE = ("global", "fused")
"""Explainers that need a global table."""


@dataclass(frozen=True)
class ExplainedCheckpoint:
    """A loaded model, its tokenizer, and the global table that goes with it, or None."""

    model: Any
    tokenizer: Any
    table: GlobalTable | None = None

    @classmethod
    def load(
        cls,
        name: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        table_folder: str | Path | None = None,
        build_from: Iterable[Document] | None = None,
    ) -> ExplainedCheckpoint:
        """Load a token classifier, ours or any other with BIO labels.

        Args:
            name: folder or Hub name.
            revision, device: as for `transformers.pipeline`.
            table_folder: where the global table is, or is put when it is built; default: beside the checkpoint.
            build_from: training documents; builds the table first.

        Raises:
            FileNotFoundError: `table_folder` holds no table, or a table is to be built beside a model from the Hub.
            ValueError: no entity to build a table from.
        """
        loaded = pipeline("token-classification", model=name, revision=revision, device=device)
        model, tokenizer = loaded.model, loaded.tokenizer
        if build_from is not None:
            return cls(model, tokenizer, _built_table(name, model, tokenizer, table_folder, build_from))
        table = find_global_table(model) if table_folder is None else resolve_global_table(table_folder, model)
        return cls(model, tokenizer, table)

    def explainer(self, name: str | None = None, **options: Any) -> Any:
        """An explainer by name; default: ``fused`` with a table, else gradient x input. Options as `make_explainer`.

        Raises:
            TypeError, ValueError: as `make_explainer`.
        """
        name = name or (DEFAULT_EXPLAINER if self.table is None else "fused")
        options |= {"global_table": self.table} if name in FROM_TABLE else {}
        return make_explainer(name, self.model, self.tokenizer, **options)

    @property
    def shown_table(self) -> GlobalTable | None:
        """The table as it may be shown beside notes: published, so without what few documents say."""
        return None if self.table is None else self.table.publish()


def _built_table(
    name: str, model: Any, tokenizer: Any, folder: str | Path | None, documents: Iterable[Document]
) -> GlobalTable:
    explainer = make_explainer(DEFAULT_EXPLAINER, model, tokenizer)
    if folder is None:
        return build_checkpoint_table(name, documents, explainer=explainer)
    table = build_global_table(explainer, documents)
    table.save(folder)
    return table
