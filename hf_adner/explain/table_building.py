"""Building a global table from a corpus, and finding the one of a checkpoint."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from tqdm.auto import tqdm
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.data.errors import excerpt
from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.explanation import ROLES, Explanation
from hf_adner.explain.fused import fusion_inputs, local_maps, map_variance
from hf_adner.explain.fusion import role_errors
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.occlusion import Occlusion
from hf_adner.explain.stability import explain_views, mean_over_views
from hf_adner.explain.table_files import TableNoise, has_table
from hf_adner.explain.table_progress import KeptMaps, MeasuredMap, model_digest
from hf_adner.explain.tagger import Tagger
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.loading_adner import check_tokenizer_files, load_complete
from hf_adner.model.pipeline_adner import check_count

logger = logging.getLogger(__name__)

SOURCES = ("gold", "predicted")
"""Explain the entities of the documents, or those that the model predicts."""

DOCUMENTS_AT_ONCE = 16
NOISE_ENTITIES = 20_000
"""Number of maps that are kept in memory to estimate the noise; a random sample if there are more entities."""

TABLE_FOLDER = "global_table"
"""Folder in a checkpoint: the published table."""

PRIVATE_FOLDER = "private/global_table"
"""Folder in a checkpoint: the raw table, which is never pushed."""

UNFINISHED_FOLDER = "private/global_table.part"
"""Folder in a checkpoint: maps of a table that is being built."""

DEFAULT_DOCUMENTS = 80
"""Documents that `adner explain --build-table` takes."""

GroupKey = str | Callable[[Document], str]


def build_global_table(
    explainer: LocalExplainer,
    documents: Iterable[Document],
    *,
    group_key: GroupKey | None = None,
    progress: bool = True,
    entities: str = "gold",
    kappa: float = 5.0,
    lexicon: Lexicon | None = None,
    variance_views: int = 1,
    seed: int = 0,
    kept_in: Path | None = None,
) -> GlobalTable:
    """Explain every entity of a corpus and collect the maps in a table, with the estimates that a fusion needs.

    Several processes may each explain a part of the corpus; `GlobalTable.merge` joins their tables. Use training
    documents only: explanations of a test document must not be fused with a table that already contains it.

    Args:
        explainer: a local explainer, as returned by `make_explainer`; the table is for its maps and its target.
        documents: training documents; entities with a boundary inside a token are left out with a warning.
        group_key: group of a document for `GlobalTable.publish`: a key of its `meta`, or a function of the document.
        progress: show a progress bar.
        entities: ``gold`` or ``predicted``.
        kappa, lexicon: of the table; default: the lexicon of the tokenizer, if any.
        variance_views: label-preserving views of each document that are explained again to estimate
            `GlobalTable.noise`; 0 for no estimate.
        seed: of those views.
        kept_in: folder for the maps found so far; a build that was interrupted goes on from them, and a finished one
            removes the folder. It is as private as the documents. None: nothing is kept.

    Raises:
        ValueError: an unknown value of `entities`, an entity label that the model does not have, a document without
            the `group_key`, or documents without any entity that can be explained.
    """
    if entities not in SOURCES:
        raise ValueError(f"entities must be one of {SOURCES}, found {entities!r}")
    lexicon = getattr(explainer.tagger.tokenizer, "lexicon", None) if lexicon is None else lexicon
    script_map = getattr(explainer.tagger.tokenizer, "script_map", None)
    halves = [GlobalTable(kappa, lexicon, explainer.target.name, script_map, explainer.name) for _ in range(2)]
    kept = KeptMaps(kept_in, kept_in and _settings(explainer, entities, variance_views, seed))
    sweep = _Sweep(explainer, halves, variance_views, seed, kept)
    total = len(documents) if isinstance(documents, Sized) else None
    with tqdm(total=total, desc="global table", unit="doc", disable=not progress) as bar:
        for chunk in _chunks(documents):
            sweep.read(chunk, [_group(document, group_key) for document in chunk], entities == "gold")
            bar.update(len(chunk))
    table = sweep.finish()
    kept.clear()
    return table


def _settings(explainer: LocalExplainer, entities: str, variance_views: int, seed: int) -> list[Any]:
    """Return what the maps of a document depend on beside the document."""
    plain = {name: value for name, value in vars(explainer).items() if isinstance(value, (str, int, float, type(None)))}
    model = explainer.tagger.model
    reads = [model_digest(model), getattr(model.config, "lexicon_hash", None)]
    return [explainer.name, explainer.target.name, plain, reads, entities, variance_views, seed]


def sample_documents(documents: Sequence[Document], count: int | None, seed: int = 0) -> list[Document]:
    """Return a random sample of the documents with entities, in their order; all of them if there are no more.

    Args:
        documents: to draw from.
        count: documents to draw, 1 or more; None: all.
        seed: of the sample.
    """
    useful = [document for document in documents if document.entities]
    if count is None or len(useful) <= check_count(count, "count"):
        return useful
    drawn = sorted(random.Random(seed).sample(range(len(useful)), count))
    return [useful[number] for number in drawn]


def estimate_noise(parts: Iterable[tuple[GlobalTable, Sequence[MeasuredMap]]]) -> TableNoise | None:
    """Estimate the noise of maps, and the error of a table on documents that it does not contain.

    By the method of moments: tau2 of a role is the mean of (local - global)^2 minus the variances of both.

    Args:
        parts: tables, each with maps of documents that it does not contain.

    Returns:
        None if no map has a variance.
    """
    parts = list(parts)
    variances = [measured.variance for _, maps in parts for measured in maps if measured.variance is not None]
    if not variances:
        return None
    mean = float(np.mean(variances))
    sums, counts = np.zeros(len(ROLES)), np.zeros(len(ROLES))
    for table, maps in parts:
        for first in range(0, len(maps), 64):
            batch = maps[first : first + 64]
            batch_variances = [mean if measured.variance is None else measured.variance for measured in batch]
            errors, numbers = role_errors(fusion_inputs([measured.map for measured in batch], table, batch_variances))
            sums, counts = sums + errors.double().numpy(), counts + numbers.double().numpy()
    overall = sums.sum() / max(counts.sum(), 1)  # for roles that no entity has
    tau2 = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return TableNoise(mean, tuple(tau2.tolist()), sum(len(maps) for _, maps in parts))


class _Sweep:
    """Explains documents into two tables of half the corpus each, and keeps a sample of the maps.

    The error of each half is estimated on the maps of the other. Merged, they are the table.
    """

    def __init__(self, explainer: LocalExplainer, halves: Sequence[GlobalTable], views: int, seed: int, kept: KeptMaps):
        self._explainer, self._halves, self._views, self._seed, self._kept = explainer, halves, views, seed, kept
        self._samples = [_Sample(NOISE_ENTITIES // len(halves), seed) for _ in halves]
        self._left_out = 0
        self._last_error: ValueError | None = None

    def read(self, documents: Sequence[Document], groups: Sequence[str | None], with_gold: bool) -> None:
        """Explain documents, unless their maps were kept, and add the maps of their entities."""
        found = self._kept.read(documents)
        if found is None:
            before = self._left_out
            found = self._measure(documents, with_gold)
            if self._left_out == before:  # what is left out has to be told again
                self._kept.write(documents, found)
        for document, group, maps in zip(documents, groups, found):
            half = crc32((group or document.id).encode()) % len(self._halves)
            for measured in maps:
                local = measured.map
                self._halves[half].add(local.text, local.entity, local.values, document=document.id, group=group)
                self._samples[half].add(measured)

    def _measure(self, documents: Sequence[Document], with_gold: bool) -> list[list[MeasuredMap]]:
        texts = [document.text for document in documents]
        if with_gold:
            explanations = self._explain(texts, [document.spans for document in documents])
        else:
            explanations = self._explainer(texts)
        views = explain_views(self._explainer, explanations, self._views, self._seed) if self._views else []
        variances = mean_over_views(explanations, views, map_variance)
        return [
            [MeasuredMap(local, variance) for local, variance in zip(local_maps(entities), entity_variances)]
            for entities, entity_variances in zip(explanations, variances)
        ]

    def finish(self) -> GlobalTable:
        """Return the table with its noise; warn of entities that were left out."""
        seen = sum(sample.seen for sample in self._samples)
        if not seen:
            raise self._last_error or ValueError("the documents hold no entity to build a global table from")
        if self._left_out:
            logger.warning(
                "%d of %d entities could not be explained and are not in the global table, for instance: %s",
                self._left_out,
                self._left_out + seen,
                self._last_error,
            )
        noise = estimate_noise(zip(reversed(self._halves), (sample.maps for sample in self._samples)))
        table, *others = self._halves
        for other in others:
            table.merge(other)
        table.noise = noise
        return table

    def _explain(self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]]) -> list[list[Explanation]]:
        """Explain all at once; only if that fails, text by text and entity by entity to leave out what fails."""
        for label in {label for text_spans in spans for _, _, label in text_spans}:
            self._explainer.tagger.labels.check(label)
        try:
            return self._explainer(texts, spans)
        except ValueError as error:
            if len(texts) > 1:
                return [self._explain([text], [text_spans])[0] for text, text_spans in zip(texts, spans)]
            if len(spans[0]) > 1:
                return [[explanation for span in spans[0] for explanation in self._explain(texts, [[span]])[0]]]
            self._left_out, self._last_error = self._left_out + 1, error
            return [[]]


class _Sample:
    """A uniform random sample of a stream of maps (reservoir sampling)."""

    def __init__(self, size: int, seed: int):
        self.maps: list[MeasuredMap] = []
        self.seen = 0
        self._size, self._rng = size, random.Random(seed)

    def add(self, measured: MeasuredMap) -> None:
        """Add the next map of the stream."""
        self.seen += 1
        if len(self.maps) < self._size:
            self.maps.append(measured)
        elif (place := self._rng.randrange(self.seen)) < self._size:
            self.maps[place] = measured


def _chunks(documents: Iterable[Document]) -> Iterable[list[Document]]:
    chunk: list[Document] = []
    for document in documents:
        chunk.append(document)
        if len(chunk) == DOCUMENTS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _group(document: Document, key: GroupKey | None) -> str | None:
    if key is None:
        return None
    if callable(key):
        return str(key(document))
    if document.meta.get(key) is None:
        raise ValueError(
            f"document {excerpt(document.id, 40)} has no {key!r} in its meta, which was given as group_key"
        )
    return str(document.meta[key])


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
        model_folder: checkpoint folder with model and tokenizer; tables in it are replaced.
        documents: training documents.
        explainer: a local explainer of the same model; default: occlusion of the checkpoint.
        min_documents: see `GlobalTable.publish`.
        device: of the checkpoint's model; default: the CPU.
        options: of `build_global_table`, such as `group_key`.

    Returns:
        The raw table.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as `build_global_table` and `GlobalTable.publish`.
    """
    folder = Path(model_folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a checkpoint folder")
    options = {"kept_in": folder / UNFINISHED_FOLDER, **options}
    table = build_global_table(explainer or _explainer_of(folder, device), documents, **options)
    save_checkpoint_table(folder, table, min_documents)
    return table


def save_checkpoint_table(model_folder: str | Path, table: GlobalTable, min_documents: int = 5) -> None:
    """Save a raw table in a checkpoint, raw and published.

    Raises:
        ValueError: the table is already published, or `min_documents` is out of range.
    """
    if table.min_documents is not None:
        raise ValueError("the table is already published; a checkpoint's private/ takes the raw table")
    public = table.publish(min_documents)
    folder = Path(model_folder)
    table.save(folder / PRIVATE_FOLDER)
    public.save(folder / TABLE_FOLDER)


def _explainer_of(folder: Path, device: Any) -> LocalExplainer:
    check_tokenizer_files(Path(folder))
    model = load_complete(AutoModelForTokenClassification, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Occlusion(Tagger(model if device is None else model.to(device), tokenizer))


def find_global_table(model: Any) -> GlobalTable | None:
    """Return the table of the checkpoint that a model was loaded from, published or else raw; None if there is none.

    The table of a Hub model is downloaded at the model's revision; offline, it is read from the cache.
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
    except (HFValidationError, OSError):  # not a repository name, not found, or offline
        return None


def resolve_global_table(table: GlobalTable | str | Path | None, model: Any) -> GlobalTable:
    """Return the table that an explainer should use.

    Args:
        table: a table, its folder, a checkpoint folder with one, or None for the table of the model's checkpoint.
        model: the model to be explained.

    Raises:
        ValueError: the checkpoint has no table; the message says how to build one.
        FileNotFoundError: the given folder holds no table.
        TypeError: `table` is of another type.
    """
    if isinstance(table, GlobalTable):
        return table
    if table is None:
        return _required(find_global_table(model), model)
    if not isinstance(table, (str, Path)):
        raise TypeError(f"global_table is {type(table).__name__}, expected a GlobalTable or the path of one")
    loaded = _table_in(Path(table))
    if loaded is None:
        raise FileNotFoundError(f"{table} holds no global table; see build_checkpoint_table")
    return loaded


def _required(table: GlobalTable | None, model: Any) -> GlobalTable:
    if table is None:
        place = getattr(model, "name_or_path", "") or "the model's checkpoint"
        raise ValueError(
            f"global explanations need a global table, and {place} has no {TABLE_FOLDER}/. Build one from training "
            "documents with adner explain MODEL --build-table DOCUMENTS, or with "
            "hf_adner.explain.table_building.build_checkpoint_table(model_folder, documents), or "
            "pass one as global_table=build_global_table(make_explainer('occlusion', model, tokenizer), documents)"
        )
    return table
