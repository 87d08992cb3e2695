"""The global table of a checkpoint: where it lies, how it is built and how it is found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.data.records import Document
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.gradient import GradientTimesInput
from hf_adner.explain.table_files import has_table
from hf_adner.explain.table_sweep import build_global_table
from hf_adner.explain.tagger import Tagger

TABLE_FOLDER = "global_table"
"""Beside a checkpoint: the published table."""

PRIVATE_FOLDER = "private/global_table"
"""Beside a checkpoint: the raw table, which no push carries."""


def build_checkpoint_table(
    model_folder: str | Path,
    documents: Iterable[Document],
    *,
    explainer: LocalExplainer | None = None,
    min_documents: int = 5,
    device: Any = None,
    **options: Any,
) -> GlobalTable:
    """Build the global table of a checkpoint and save it there: raw in `private/`, published beside the model.

    Args:
        model_folder: a folder that `save_pretrained` of model and tokenizer wrote; tables in it are replaced.
        documents: training documents.
        explainer: a local explainer of the same model; default: gradient x input of the checkpoint.
        min_documents: see `GlobalTable.publish`.
        device: where the checkpoint's model runs; default: the CPU.
        options: of `build_global_table`, such as `group_key`.

    Returns:
        The raw table.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as `build_global_table` and `GlobalTable.publish`.
    """
    folder = Path(model_folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder of a checkpoint")
    table = build_global_table(explainer or _explainer_of(folder, device), documents, **options)
    save_checkpoint_table(folder, table, min_documents)
    return table


def save_checkpoint_table(model_folder: str | Path, table: GlobalTable, min_documents: int = 5) -> None:
    """Save a raw table beside a checkpoint, in both its forms.

    Raises:
        ValueError: the table is a published one, or `min_documents` is out of range.
    """
    if table.min_documents is not None:
        raise ValueError("the table is a published one; a checkpoint's private/ takes the raw table")
    public = table.publish(min_documents)
    folder = Path(model_folder)
    table.save(folder / PRIVATE_FOLDER)
    public.save(folder / TABLE_FOLDER)


def _explainer_of(folder: Path, device: Any) -> LocalExplainer:
    model = AutoModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return GradientTimesInput(Tagger(model if device is None else model.to(device), tokenizer))


def find_global_table(model: Any) -> GlobalTable | None:
    """The table beside the checkpoint that a model was loaded from: the published one, or else the raw one.

    A model from the Hub is asked for at the revision it was loaded from; without a network, only the cache is.
    """
    name = getattr(model, "name_or_path", "")
    folder = Path(name) if name and Path(name).is_dir() else _hub_folder(model, name)
    return None if folder is None else _table_in(folder)


def _table_in(folder: Path) -> GlobalTable | None:
    places = (folder, folder / TABLE_FOLDER, folder / PRIVATE_FOLDER)
    return next((GlobalTable.load(place) for place in places if has_table(place)), None)


def _hub_folder(model: Any, name: str) -> Path | None:
    if not name:
        return None
    revision = getattr(model.config, "_commit_hash", None)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[f"{TABLE_FOLDER}/*"]))
    except (HFValidationError, OSError):  # no repository's name, none that is there, or no network
        return None


def resolve_global_table(table: GlobalTable | str | Path | None, model: Any) -> GlobalTable:
    """The table that an explainer should use.

    Args:
        table: a table, the folder of one or of a checkpoint with one, or None for that of the model's checkpoint.
        model: the model to be explained.

    Raises:
        ValueError: there is none; says how to build one.
        FileNotFoundError: the folder given holds none.
        TypeError: `table` is something else.
    """
    if isinstance(table, GlobalTable):
        return table
    if table is None:
        return _required(find_global_table(model), model)
    if not isinstance(table, (str, Path)):
        raise TypeError(f"global_table is {type(table).__name__}, expected a GlobalTable or the path of one")
    found = _table_in(Path(table))
    if found is None:
        raise FileNotFoundError(f"{table} holds no global table; see build_checkpoint_table")
    return found


def _required(table: GlobalTable | None, model: Any) -> GlobalTable:
    if table is None:
        place = getattr(model, "name_or_path", "") or "the model's checkpoint"
        raise ValueError(
            f"global explanations need a global table, and {place} has no {TABLE_FOLDER}/. Build one from training "
            "documents with hf_adner.explain.checkpoint_table.build_checkpoint_table(model_folder, documents), or "
            "give one as global_table=build_global_table(make_explainer('grad-x-input', model, tokenizer), documents)"
        )
    return table
