"""Fused explanations: the maps of a local explainer, shrunk towards those of the global table."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_adner.data.records import Entity, EntitySpan
from hf_adner.explain.explainer import Attribution, LocalExplainer, Places, Progress, WindowExplainer
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fusion import Fused, Fusion, FusionInputs, pad_inputs, shrunk_variance
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.stability import ExplainedView, explain_views, mean_over_views
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.unit_statistics import character_roles, log_attributions
from hf_adner.model.pipeline_adner import check_count


class LocalMap(NamedTuple):
    """The map of one entity over the characters that the model read.

    Attributes:
        text: the window of text that the model read.
        entity: start, end and label in it.
        offset: where the window begins in the whole text.
        logs: (length,) float32 log attributions, see `log_attributions`.
        mask: (length,) bool; blank characters without a token have no log attribution.
    """

    text: str
    entity: EntitySpan
    offset: int
    logs: np.ndarray
    mask: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """Log attributions, NaN for characters without one."""
        return np.where(self.mask, self.logs, np.nan)

    def in_whole(self, length: int, values: np.ndarray | None = None, fill: float = np.nan) -> np.ndarray:
        """Values of the window's characters (default: its log attributions) in a text of `length` characters."""
        whole = np.full(length, fill)
        whole[self.offset : self.offset + len(self.text)] = self.values if values is None else values
        return whole


def local_maps(explanations: Sequence[Explanation]) -> list[LocalMap]:
    """Maps of explanations, in their order."""
    windows = [one.details.get("window", (0, len(one.text))) for one in explanations]
    size = max((end - start for start, end in windows), default=0)
    scores, masks = np.zeros((len(windows), size), dtype=np.float32), np.zeros((len(windows), size), dtype=bool)
    for row, (one, (start, end)) in enumerate(zip(explanations, windows)):
        scores[row, : end - start] = one.scores[start:end]
        blank = np.fromiter(map(str.isspace, one.text[start:end]), dtype=bool, count=end - start)
        masks[row, : end - start] = ~blank | (scores[row, : end - start] != 0)
    logs = log_attributions(torch.from_numpy(scores), torch.from_numpy(masks)).numpy()  # (entities, size)
    return [
        LocalMap(one.text[start:end], _moved(one, -start), start, row[: end - start], mask[: end - start])
        for one, (start, end), row, mask in zip(explanations, windows, logs, masks)
    ]


def _moved(explanation: Explanation, by: int) -> EntitySpan:
    entity = explanation.entity
    return entity.start + by, entity.end + by, entity.label


def fusion_inputs(maps: Sequence[LocalMap], table: GlobalTable, variances: Sequence[float]) -> FusionInputs:
    """Maps, and what a table expects of them, as the input of a fusion.

    Args:
        maps: of one entity each.
        table: is asked for each; it should not hold these very maps.
        variances: perturbation variance of each map.
    """
    priors = table.lookup_many([one.text for one in maps], [one.entity for one in maps])
    roles = [character_roles(len(one.text), *one.entity[:2]) for one in maps]
    return pad_inputs([one.logs for one in maps], priors, variances, roles, [one.mask for one in maps])


def map_variance(before: Explanation, after: Explanation, kept: Iterable[tuple[int, int]]) -> float | None:
    """Variance of a map's log attributions under a change of the text: half the mean squared difference.

    Args:
        before, after: explanations of the same entity in the original and in the changed text.
        kept: (place in the original, place in the changed text) of the characters to compare.

    Returns:
        In squared log attributions; None if no character can be compared.
    """
    one, other = (found.in_whole(len(whole.text)) for found, whole in zip(local_maps([before, after]), (before, after)))
    pairs = np.array(list(kept), dtype=np.int64).reshape(-1, 2)
    squares = (one[pairs[:, 0]] - other[pairs[:, 1]]) ** 2
    squares = squares[~np.isnan(squares)]
    return float(squares.mean() / 2) if len(squares) else None


DEFAULT_LOCAL_VARIANCE = 0.5
"""Perturbation variance of local maps that is assumed where none was estimated, in squared log attributions."""

_BATCH = 64

FUSED, FUSED_FAST = "fused", "fused-fast"
_FUSED_OF = {"occlusion": FUSED, "grad-x-input": FUSED_FAST}
"""Name of the fused explainer of each local one that has such a name."""


class FusedExplainer:
    """Explains with a local explainer, and shrinks its maps towards the global table's by a fusion.

    Scores are shares: their sizes sum to 1 over the characters that the model read. The table knows sizes only, so what
    speaks against the entity in the local map does so in the fused one (grad-x-input and attention have nothing that
    does; a character that the local map has no part in is positive). Value, boundary profiles and lexicon scores are
    those of the local explanation; `fusion_weights` tell how much of each score is ``local`` and
    ``global``, `details` the local explainer, the fusion and the variance that was assumed. Apart from views, fusing
    asks the model nothing: it costs what the local explanation costs.

    Args:
        local: gives the local maps.
        table: gives the global ones; of the same explainer's maps.
        fusion: what weighs them.
        variance_views: how often each text is explained again after label-preserving edits, to measure the variance
            of its own maps (shrunk halfway to the corpus' mean); 0 takes the corpus' mean. `stability` is left to
            `StabilityMeter`.
        seed: of the views.
        name: how the method calls itself.

    Raises:
        ValueError: a negative number of views, or a table of another explainer's maps, of maps for another target, or
            of entity types that the model does not have.
    """

    def __init__(
        self,
        local: LocalExplainer,
        table: GlobalTable,
        fusion: Fusion,
        variance_views: int = 0,
        seed: int = 0,
        name: str = FUSED,
    ):
        check_count(variance_views, "variance_views", 0)
        if local.name not in (table.explainer, NoMap.name):
            raise ValueError(
                f"the global table is of {table.explainer}'s maps, and {local.name}'s are to be fused with it: take "
                f"{_FUSED_OF.get(table.explainer, f'an explainer with local={table.explainer!r}')}, or build a table "
                f"of {local.name}'s maps with adner explain MODEL --build-table DOCUMENTS --explainer "
                f"{_FUSED_OF.get(local.name, FUSED)}"
            )
        if table.target != local.target.name:
            raise ValueError(
                f"the global table is of maps for {table.target!r}, and {local.target.name!r} is explained; build a "
                "table for that target (adner explain MODEL --build-table DOCUMENTS --target "
                f"{local.target.name}), or take a local explainer alone"
            )
        if foreign := sorted(set(table.labels) - set(local.tagger.labels.types)):
            raise ValueError(
                f"the global table is of another model: the labels {foreign[:5]} are in the table, and the model has "
                f"{local.tagger.labels.types}; build the model's own with adner explain MODEL --build-table DOCUMENTS"
            )
        self.local, self.table, self.fusion = local, table, fusion.eval()
        self.variance_views, self.seed, self.name = variance_views, seed, name

    @property
    def tagger(self) -> Tagger:
        """What the local explainer asks."""
        return self.local.tagger

    @tagger.setter
    def tagger(self, tagger: Tagger) -> None:
        self.local = copy.copy(self.local)  # other explainers may use it as it is
        self.local.tagger = tagger

    @property
    def target(self) -> Any:
        """What is explained."""
        return self.local.target

    @property
    def context(self) -> int | None:
        """Characters on both sides of an entity that are read at least."""
        return self.local.context

    @property
    def mean_variance(self) -> float:
        """Perturbation variance of the corpus' local maps."""
        return DEFAULT_LOCAL_VARIANCE if self.table.noise is None else self.table.noise.local_variance

    def __call__(
        self,
        texts: Sequence[str],
        entities: Sequence[Sequence[EntitySpan | Entity]] | None = None,
        progress: Progress | None = None,
    ) -> list[list[Explanation]]:
        """Explain entities; arguments, result and errors as for `LocalExplainer.__call__`."""
        explanations = self.local(texts, entities, progress)
        views = explain_views(self.local, explanations, self.variance_views, self.seed) if self.variance_views else []
        variances = self._variances(explanations, views)
        return self._fuse(explanations, variances)

    def _variances(
        self, explanations: Sequence[Sequence[Explanation]], views: Sequence[ExplainedView]
    ) -> list[list[float]]:
        """Of each entity of each text."""
        mean = self.mean_variance
        return [
            [mean if variance is None else shrunk_variance(variance, mean) for variance in group]
            for group in mean_over_views(explanations, views, map_variance)
        ]

    def _fuse(
        self, explanations: Sequence[Sequence[Explanation]], variances: Sequence[Sequence[float]]
    ) -> list[list[Explanation]]:
        """Explanations with fused scores."""
        pairs = [pair for ones, values in zip(explanations, variances) for pair in zip(ones, values, strict=True)]
        batches = [pairs[first : first + _BATCH] for first in range(0, len(pairs), _BATCH)]
        fused = iter([one for batch in batches for one in self._fuse_batch(*zip(*batch))])
        return [[next(fused) for _ in ones] for ones in explanations]

    def _fuse_batch(self, explanations: Sequence[Explanation], variances: Sequence[float]) -> list[Explanation]:
        maps = local_maps(explanations)
        with torch.no_grad():
            fused = Fused(*(part.numpy() for part in self.fusion(fusion_inputs(maps, self.table, variances))))
        return [
            self._explanation(one, found, Fused(*(part[row] for part in fused)), variance)
            for row, (one, found, variance) in enumerate(zip(explanations, maps, variances))
        ]

    def _explanation(self, local: Explanation, found: LocalMap, fused: Fused, variance: float) -> Explanation:
        scores, *weights = (found.in_whole(len(local.text), part[: len(found.text)], 0.0) for part in fused)
        against = (np.array(local.scores) < 0) & (weights[0] > 0)
        details = {**local.details, "local": local.method, "fusion": self.fusion.name, "local_variance": variance}
        return replace(
            local,
            method=self.name,
            scores=_shared_zeros(np.where(against, -scores, scores)),
            fusion_weights=dict(zip(("local", "global"), map(_shared_zeros, weights))),
            details=details,
        )


def _shared_zeros(values: np.ndarray) -> tuple[float, ...]:
    """Return numbers of which all zeros are the same object: of a long text most are."""
    return tuple(value or 0.0 for value in values.tolist())


class NoMap(WindowExplainer):
    """Runs the model for the target's value and the boundary profiles, and scores no character.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`.
    """

    name = "none"

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        with torch.no_grad():
            tagging = self.tagger.tag(batch.inputs)
            values = iter(self.target(tagging, [place for ones in places for place in ones]).tolist())
        nothing = torch.zeros(batch.is_text.shape[1])
        return [
            [Attribution(nothing, None, next(values), tagging.log_probs[row]) for _ in ones]
            for row, ones in enumerate(places)
        ]
