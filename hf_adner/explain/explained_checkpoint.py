"""A checkpoint with what explaining its entities takes: an explainer and, where there is one, the global table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import pipeline

from hf_adner.data.records import Document
from hf_adner.explain.checkpoint_table import build_checkpoint_table, find_global_table, resolve_global_table
from hf_adner.explain.explainers import DEFAULT_EXPLAINER, make_explainer
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_sweep import build_global_table

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
