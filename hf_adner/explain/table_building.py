"""Building the global table: one sweep of a local explainer over a corpus.

The global table of a checkpoint: where it lies, how it is built and how it is found.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from tqdm.auto import tqdm
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner.data.records import Document, EntitySpan
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fused import LocalMap, fusion_inputs, local_maps, map_variance
from hf_adner.explain.fusion import role_errors
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.gradients import GradientTimesInput
from hf_adner.explain.stability import explain_views
from hf_adner.explain.table_files import TableNoise, has_table
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.unit_statistics import ROLES
from hf_adner.model.lexicon_adner import Lexicon

logger = logging.getLogger(__name__)

SOURCES = ("gold", "predicted")
"""Whose entities are explained: the documents' own, or those that the model finds."""

DOCUMENTS_AT_ONCE = 16
NOISE_ENTITIES = 20_000
"""Entities whose maps are kept in memory to estimate the noise; of more, a random sample."""

GroupKey = str | Callable[[Document], str]


class MeasuredMap(NamedTuple):
    """A local map that is in a table, and its perturbation variance if it was measured."""

    map: LocalMap
    variance: float | None


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
) -> GlobalTable:
    """Explain every entity of a corpus and gather the maps in a table, with the estimates that fusion needs.

    Processes may each sweep over a part of the corpus; `GlobalTable.merge` joins their tables. Take training documents
    only: what the table knows of a test document, it cannot explain honestly.

    Args:
        explainer: a local explainer, as `make_explainer` gives it; the table is for its maps and its target.
        documents: training documents; entities whose boundaries the tokenizer has no tokens for are left out, with a
            warning that says how many.
        group_key: whose a document is, for `GlobalTable.publish`: a key of its `meta`, or a function of it.
        progress: show a progress bar.
        entities: ``gold`` or ``predicted``.
        kappa, lexicon: of the table; by default the lexicon of the tokenizer, if it has one.
        variance_views: how often each document is explained again after a label-preserving edit, to estimate
            `GlobalTable.noise`; 0 leaves it out.
        seed: of those views.

    Raises:
        ValueError: another `entities`, an entity label that the model does not have, a document without the
            `group_key`, or documents without any entity that can be explained.
    """
    if entities not in SOURCES:
        raise ValueError(f"entities must be one of {SOURCES}, found {entities!r}")
    lexicon = getattr(explainer.tagger.tokenizer, "lexicon", None) if lexicon is None else lexicon
    halves = [GlobalTable(kappa, lexicon, explainer.target.name) for _ in range(2)]
    sweep = _Sweep(explainer, halves, variance_views, seed)
    total = len(documents) if isinstance(documents, Sized) else None
    with tqdm(total=total, desc="global table", unit="doc", disable=not progress) as bar:
        for chunk in _chunks(documents):
            sweep.read(chunk, [_group(one, group_key) for one in chunk], entities == "gold")
            bar.update(len(chunk))
    return sweep.finished()


def estimate_noise(parts: Iterable[tuple[GlobalTable, Sequence[MeasuredMap]]]) -> TableNoise | None:
    """How noisy maps are, and how far a table is off from those of documents that it does not know.

    By the method of moments: tau2 of a role is the mean of (local - global)^2 less the variances of both.

    Args:
        parts: tables, each with maps of other documents than it was made of.

    Returns:
        None if no map has a variance.
    """
    parts = list(parts)
    variances = [one.variance for _, maps in parts for one in maps if one.variance is not None]
    if not variances:
        return None
    mean = float(np.mean(variances))
    sums, counts = np.zeros(len(ROLES)), np.zeros(len(ROLES))
    for table, maps in parts:
        for first in range(0, len(maps), 64):
            part = maps[first : first + 64]
            own = [mean if one.variance is None else one.variance for one in part]
            errors, numbers = role_errors(fusion_inputs([one.map for one in part], table, own))
            sums, counts = sums + errors.double().numpy(), counts + numbers.double().numpy()
    overall = sums.sum() / max(counts.sum(), 1)  # for roles that no entity has
    tau2 = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return TableNoise(mean, tuple(tau2.tolist()), sum(len(maps) for _, maps in parts))


class _Sweep:
    """Explains documents, fills two tables with half of them each, and keeps a sample of the maps.

    Each half shows how far the other is off. Both together are the table.
    """

    def __init__(self, explainer: LocalExplainer, halves: Sequence[GlobalTable], views: int, seed: int):
        self._explainer, self._halves, self._views, self._seed = explainer, halves, views, seed
        self._samples = [_Sample(NOISE_ENTITIES // len(halves), seed) for _ in halves]
        self._left_out = 0
        self._last_error: ValueError | None = None

    def read(self, documents: Sequence[Document], groups: Sequence[str | None], with_gold: bool) -> None:
        """Explain documents and add the maps of their entities."""
        texts = [document.text for document in documents]
        if with_gold:
            explanations = self._explain(texts, [document.spans for document in documents])
        else:
            explanations = self._explainer(texts)
        variances = self._variances(explanations)
        for document, group, ones, values in zip(documents, groups, explanations, variances):
            half = crc32((group or document.id).encode()) % len(self._halves)
            for found, variance in zip(local_maps(ones), values):
                self._halves[half].add(found.text, found.entity, found.values, document=document.id, group=group)
                self._samples[half].add(MeasuredMap(found, variance))

    def finished(self) -> GlobalTable:
        """The table with its noise; says what was left out."""
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
        """Explanations; entities that cannot be explained are looked for only where something fails."""
        for label in {label for ones in spans for _, _, label in ones}:
            self._explainer.tagger.labels.check(label)
        try:
            return self._explainer(texts, spans)
        except ValueError as error:
            if len(texts) > 1:
                return [self._explain([text], [ones])[0] for text, ones in zip(texts, spans)]
            if len(spans[0]) > 1:
                return [[one for span in spans[0] for one in self._explain(texts, [[span]])[0]]]
            self._left_out, self._last_error = self._left_out + 1, error
            return [[]]

    def _variances(self, explanations: Sequence[Sequence[Explanation]]) -> list[list[float | None]]:
        """Of each entity of each text the mean over its views."""
        found: list[list[list[float]]] = [[[] for _ in ones] for ones in explanations]
        views = explain_views(self._explainer, explanations, self._views, self._seed) if self._views else []
        for view in views:
            for values, before, after in zip(found[view.text], explanations[view.text], view.explanations):
                variance = map_variance(before, after, view.kept)
                values += [] if variance is None else [variance]
        return [[float(np.mean(values)) if values else None for values in lists] for lists in found]


class _Sample:
    """A uniform sample of the maps that it was shown."""

    def __init__(self, size: int, seed: int):
        self.maps: list[MeasuredMap] = []
        self.seen = 0
        self._size, self._rng = size, random.Random(seed)

    def add(self, measured: MeasuredMap) -> None:
        """Show it a map."""
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
        raise ValueError(f"document {document.id!r} has no {key!r} in its meta, which was given as group_key")
    return str(document.meta[key])


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
            "documents with hf_adner.explain.table_building.build_checkpoint_table(model_folder, documents), or "
            "give one as global_table=build_global_table(make_explainer('grad-x-input', model, tokenizer), documents)"
        )
    return table
