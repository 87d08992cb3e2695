"""Explaining the entities of documents from beginning to end: what `adner explain` does."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tqdm.auto import tqdm

from hf_adner.data.records import Document
from hf_adner.explain.display import explanation_lines
from hf_adner.explain.explained_checkpoint import ExplainedCheckpoint
from hf_adner.explain.explained_documents import explain_documents
from hf_adner.explain.explanation_files import write_explanations
from hf_adner.explain.probing import DEFAULT_PROBES
from hf_adner.explain.stability import DEFAULT_VIEWS


def run_explanations(
    checkpoint: ExplainedCheckpoint,
    documents: Iterable[Document],
    output: str | Path | None = None,
    *,
    explainer: str | None = None,
    target: str = "label",
    batch_size: int = 16,
    entities: str = "predicted",
    probes: Iterable[str] | None = None,
    stability_views: int = DEFAULT_VIEWS,
    limit: int | None = None,
    seed: int = 0,
) -> None:
    """Explain entities and write a page or JSON, or print the strongest characters of each.

    Args:
        checkpoint: model, tokenizer and table.
        documents: read as they are explained.
        output: file to write (`write_explanations`); None prints.
        explainer: see `ExplainedCheckpoint.explainer`.
        target, batch_size: of the explainer.
        entities, stability_views, seed: as for `explain_documents`.
        probes: the same; None takes all, but only where there is an output to show them.
        limit: explain only the first so many documents.

    Raises:
        ValueError: as `explain_documents` and `write_explanations`.
    """
    if probes is None:
        probes = DEFAULT_PROBES if output else ()
    notes = explain_documents(
        checkpoint.explainer(explainer, target=target, batch_size=batch_size),
        tqdm(islice(documents, limit), desc="explaining", unit="document", disable=None),
        entities=entities,
        table=checkpoint.table,
        probes=tuple(probes),
        stability_views=stability_views,
        seed=seed,
    )
    if output:
        write_explanations(notes, output, table=checkpoint.shown_table)
        return
    for note in notes:
        print(f"{note.name}: {len(note.explanations)} entities")
        print("\n".join(line for one in note.explanations for line in explanation_lines(one)))
