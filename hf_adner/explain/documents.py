"""Explaining the entities of whole documents, and checkpoints loaded for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import AutoModelForTokenClassification, pipeline

from hf_adner.data.errors import excerpt
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
from hf_adner.model.calibration_adner import Calibration
from hf_adner.model.loading_adner import check_tokenizer_files, load_complete
from hf_adner.model.pipeline_adner import REVIEW_THRESHOLD

DOCUMENTS_AT_ONCE = 8
ANNOTATION = "annotation"
"""Key of `Explanation.details` for the comparison of a predicted entity with the annotation."""

FROM_TABLE = ("global", "fused")
"""Explainers that need a global table."""


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
    """Explain the entities of documents with everything that a page can show; reads documents lazily.

    Explanations get the posterior (and the score of a calibrated checkpoint), probes and stability; those of predicted
    entities in annotated documents also get the comparison with the annotation in `details`.

    Args:
        explainer: as returned by `make_explainer`.
        documents: any iterable; a note is named by the id of its document.
        entities: ``predicted`` explains the predicted entities, ``gold`` those of the documents.
        table: a global table for cues.
        probes: perturbations, see `probe_explanations`; empty for posteriors alone.
        stability_views: see `StabilityMeter`; 0 for no stability.
        seed: of perturbations and views.

    Raises:
        ValueError: an unknown value of `entities`, an unknown probe, or an entity that cannot be explained; names the
            document.
    """
    if entities not in SOURCES:
        raise ValueError(f"entities must be one of {SOURCES}, found {entities!r}")
    check_probes(probes)
    meter = StabilityMeter(explainer, stability_views, seed) if stability_views else None
    return _notes(explainer, iter(documents), entities == "gold", table, probes, meter, seed)


def _notes(
    explainer: Any,
    documents: Iterator[Document],
    use_gold: bool,
    table: GlobalTable | None,
    probes: Sequence[str],
    meter: StabilityMeter | None,
    seed: int,
) -> Iterator[ExplainedNote]:
    calibration = calibration_of(explainer.tagger.model)
    while chunk := list(islice(documents, DOCUMENTS_AT_ONCE)):
        explanations = _explain(explainer, chunk, use_gold)
        explanations = explanations if meter is None else meter.measure(explanations)
        explanations = probe_explanations(explainer.tagger, explanations, probes, seed=seed)
        explanations = _with_scores(explanations, calibration)
        explanations = explanations if table is None else add_cues(table, explanations)
        for document, group in zip(chunk, explanations, strict=True):
            group = group if use_gold else [_with_annotation(explanation, document) for explanation in group]
            yield ExplainedNote(document.id, document.text, tuple(group))


def _explain(explainer: Any, documents: Sequence[Document], use_gold: bool) -> Sequence[Sequence[Explanation]]:
    entities = [list(document.spans) for document in documents] if use_gold else None
    try:
        return explainer([document.text for document in documents], entities)
    except ValueError as error:
        if len(documents) > 1:  # find the document that fails
            return [_explain(explainer, [document], use_gold)[0] for document in documents]
        raise ValueError(f"document {excerpt(documents[0].id, 40)}: {error}") from None


def calibration_of(model: Any) -> Calibration:
    """Return the calibration of a model; one of another package has none."""
    values = getattr(model.config, "calibration", None)
    return Calibration() if values is None else Calibration.from_config(values, model.config.entity_types)


def _with_scores(explanations: Sequence[Sequence[Explanation]], by: Calibration) -> Sequence[Sequence[Explanation]]:
    """Add the calibrated scores, if the checkpoint was calibrated."""
    if not by.is_fitted:
        return explanations
    return [
        [replace(one, score=by.labels.get(one.entity.label, by.score)(one.posterior)) for one in group]
        for group in explanations
    ]


def _with_annotation(explanation: Explanation, document: Document) -> Explanation:
    if not document.entities:
        return explanation
    comparison = _compare_with_gold(explanation, document)
    return replace(explanation, details={**explanation.details, ANNOTATION: comparison})


def _compare_with_gold(explanation: Explanation, document: Document) -> str:
    start, end, label = explanation.span
    overlapping = [gold for gold in document.spans if gold[0] < end and start < gold[1]]
    if explanation.span in overlapping:
        return "the same entity"
    labels = {gold[2] for gold in overlapping}
    if label in labels:
        return "the same label with other boundaries"
    return f"other labels: {', '.join(sorted(labels))}" if labels else "no entity here"


@dataclass(frozen=True)
class ExplainedCheckpoint:
    """A loaded model, its tokenizer, and its global table or None."""

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
        """Load a token classifier with BIO labels.

        Args:
            name: folder or Hub name.
            revision, device: as for `transformers.pipeline`.
            table_folder: folder of the global table, also if it is built; default: the checkpoint.
            build_from: training documents to build the table from.

        Raises:
            FileNotFoundError: `table_folder` holds no table, or the table would be built into a Hub checkpoint.
            ValueError: no entity to build a table from, or a checkpoint without all weights of its model.
        """
        check_tokenizer_files(Path(name))
        model = load_complete(AutoModelForTokenClassification, name, revision=revision or "main")
        loaded = pipeline("token-classification", model, tokenizer=name, revision=revision, device=device)
        model, tokenizer = loaded.model, loaded.tokenizer
        if build_from is not None:
            return cls(model, tokenizer, _build_table(name, model, tokenizer, table_folder, build_from))
        table = find_global_table(model) if table_folder is None else resolve_global_table(table_folder, model)
        return cls(model, tokenizer, table)

    def explainer(self, name: str | None = None, **options: Any) -> Any:
        """Make an explainer by name; default: ``fused`` with a table, else gradient x input.

        Options are those of `make_explainer`.

        Raises:
            TypeError, ValueError: as `make_explainer`.
        """
        name = name or (DEFAULT_EXPLAINER if self.table is None else "fused")
        options |= {"global_table": self.table} if name in FROM_TABLE else {}
        return make_explainer(name, self.model, self.tokenizer, **options)

    @property
    def review_threshold(self) -> float:
        """Score below which an entity needs review: that of the checkpoint's budget, else `REVIEW_THRESHOLD`."""
        fitted = calibration_of(self.model).review_threshold
        return REVIEW_THRESHOLD if fitted is None else fitted

    @property
    def shown_table(self) -> GlobalTable | None:
        """The published form of the table, which may be shown beside notes."""
        return None if self.table is None else self.table.publish()


def _build_table(
    name: str, model: Any, tokenizer: Any, folder: str | Path | None, documents: Iterable[Document]
) -> GlobalTable:
    explainer = make_explainer(DEFAULT_EXPLAINER, model, tokenizer)
    if folder is None:
        return build_checkpoint_table(name, documents, explainer=explainer)
    table = build_global_table(explainer, documents)
    table.save(folder)
    return table
