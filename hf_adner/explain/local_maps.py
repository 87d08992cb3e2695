"""The maps of local explainers as log attributions, and how much they move in changed texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fusion import FusionInputs, pad_inputs
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.log_attributions import log_attributions
from hf_adner.explain.passages import Span
from hf_adner.explain.roles import character_roles


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
    entity: Span
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


def _moved(explanation: Explanation, by: int) -> Span:
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
