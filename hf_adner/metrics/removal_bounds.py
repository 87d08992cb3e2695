"""Bounds of AOPC: how much, and how little, any ordering of removal could have scored for one entity.

Either from orderings that were evaluated anyway, or by a beam search that never calls a model: it asks for the
probabilities of sets of removed units and is told them, so that the caller batches them as it likes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .inputs import Numbers, as_matrix, as_probabilities, as_vector


def bounds_of_orderings(full: float, curves: Numbers) -> tuple[float, float]:
    """Lowest and highest AOPC among evaluated orderings of one entity.

    Args:
        full: probability in the whole text.
        curves: (orderings, steps) probabilities along each ordering, at the same steps for all.

    Raises:
        ValueError: not probabilities, or no ordering.
    """
    full = as_probabilities(as_vector([full], "full"), "full")
    curves = as_probabilities(as_matrix(curves, "curves"), "curves")
    if not curves.size:
        raise ValueError(f"curves must hold at least one ordering and step, found {curves.shape}")
    areas = (full - curves).mean(axis=1)
    return float(areas.min()), float(areas.max())


class Ordering(NamedTuple):
    """A beginning of an ordering: the units in the order of their removal and the drops added up so far."""

    units: tuple[int, ...]
    total: float


class RemovalBeam:
    """Beam search for the ordering of removal with the highest, or lowest, AOPC of one entity (arXiv 2408.08137).

    Units are whatever is removed at once: characters, words, or what is put back where sufficiency is bounded. Two
    beginnings that removed the same set have the same future, so only the better is kept; a beam as wide as there are
    sets is therefore exact. Use:

        while not beam.finished:
            beam.accept([probability_without(units) for units in beam.proposals])
        bound = beam.bound

    Args:
        full: probability in the whole text.
        size: number of units.
        width: beginnings kept at each step.
        highest: search the highest AOPC, else the lowest.
        depths: after how many removals a probability counts, as for `faithfulness.removal_counts`; a depth named
            twice counts twice. All by default.

    Raises:
        ValueError: `full` is no probability, `size` or `width` below 1, or a depth outside 1..size.
    """

    def __init__(
        self, full: float, size: int, width: int = 5, highest: bool = True, depths: Sequence[int] | None = None
    ):
        if size < 1 or width < 1:
            raise ValueError(f"size and width must be at least 1, found {size} and {width}")
        self.depths = tuple(range(1, size + 1)) if depths is None else tuple(depths)
        if not self.depths or not all(1 <= depth <= size for depth in self.depths):
            raise ValueError(f"depths must lie in 1..{size}, found {list(self.depths)}")
        self.full = float(as_probabilities(as_vector([full], "full"), "full")[0])
        self.size, self.width, self.sign = size, width, 1.0 if highest else -1.0
        self.beams = [Ordering((), 0.0)]
        self._propose()

    @property
    def finished(self) -> bool:
        """Whether the last depth that counts was reached."""
        return len(self.beams[0].units) >= max(self.depths)

    @property
    def bound(self) -> float:
        """The best AOPC found.

        Raises:
            RuntimeError: the search is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"the search is at depth {len(self.beams[0].units)} of {max(self.depths)}")
        return self.beams[0].total / len(self.depths)

    def accept(self, probabilities: Numbers) -> None:
        """Take the probability for each of `proposals` and go one removal further.

        Raises:
            ValueError: not one probability for each proposal.
            RuntimeError: the search is finished.
        """
        if self.finished:
            raise RuntimeError(f"the search is finished at depth {max(self.depths)}")
        told = as_probabilities(as_vector(probabilities, "probabilities", len(self.proposals)), "probabilities")
        drops = dict(zip(self.proposals, self.full - told))
        counts = self.depths.count(len(self.beams[0].units) + 1)
        ranked = sorted(
            (self._candidate(beam, unit, drops, counts) for beam, unit in self._expansions()),
            key=lambda candidate: -self.sign * candidate[0],
        )
        best: dict[tuple[int, ...], Ordering] = {}
        for _, ordering in ranked:
            best.setdefault(tuple(sorted(ordering.units)), ordering)
        self.beams = list(best.values())[: self.width]
        self._propose()

    def _candidate(self, beam: Ordering, unit: int, drops: dict, counts: int) -> tuple[float, Ordering]:
        drop = float(drops[tuple(sorted((*beam.units, unit)))])
        total = beam.total + counts * drop
        # Where a depth does not count its drop still tells which way is promising.
        return total if counts else total + drop, Ordering((*beam.units, unit), total)

    def _expansions(self) -> list[tuple[Ordering, int]]:
        return [(beam, unit) for beam in self.beams for unit in range(self.size) if unit not in beam.units]

    def _propose(self) -> None:
        sets = {tuple(sorted((*beam.units, unit))) for beam, unit in self._expansions()}
        self.proposals: list[tuple[int, ...]] = [] if self.finished else sorted(sets)
