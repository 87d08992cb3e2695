"""A closer look at the least certain entities of a note, within a budget of text that the model reads for it.

The posterior tells wrong entities from right ones far better than anything about their explanations does, so it says
where to look: what costs much (occlusion, probes, views) is spent on the entities that the model is least sure of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_adner.explain.explainer import Progress
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.probes import DEFAULT_PROBES, check_probes, probe_explanations
from hf_adner.explain.stability import StabilityMeter
from hf_adner.explain.text_windows import DEFAULT_CONTEXT, TextTile, TextWindow, reads_whole, tile_entities
from hf_adner.model.pipeline_adner import check_count
from hf_adner.model.windows_adner import Window

DEFAULT_BUDGET = 40
"""Characters that the model reads for the closer look at a note, per character of the note."""

LEAST_BUDGET = 12_000
"""Characters that it may read for a note however short."""

CLOSER_CONTEXT = 32
"""Characters on both sides of an entity that are hidden for a closer look."""

WINDOW = 512
"""Characters that are read for a probe at most."""


@dataclass(frozen=True)
class CloserLook:
    """What the least certain entities of a note get beside the explanation that all of them have.

    Args:
        explainer: explains them in place of the explainer of all; None: nothing else does.
        probes: perturbations, see `probe_explanations`.
        stability_views: see `StabilityMeter`; 0 for no stability.
        budget: characters that the model may read for it, per character of the note; a note of any length has
            `LEAST_BUDGET` at least, its least certain entity is always looked at, and 0 is for no closer look. None:
            all entities get one.
        seed: of perturbations and views.

    Raises:
        ValueError: an unknown probe, or a number below 0.
    """

    explainer: Any = None
    probes: Sequence[str] = DEFAULT_PROBES
    stability_views: int = 0
    budget: int | None = DEFAULT_BUDGET
    seed: int = 0

    def __post_init__(self) -> None:
        check_probes(self.probes)
        check_count(self.stability_views, "stability_views", 0)
        if self.budget is not None:
            check_count(self.budget, "budget", 0)

    def allowed(self, length: int) -> float:
        """Return the characters that the model may read for a note of a length; infinite without a limit."""
        if self.budget is None:
            return math.inf
        return max(self.budget * length, LEAST_BUDGET) if self.budget else 0

    def choose(self, explanations: Sequence[Explanation]) -> list[int]:
        """Return which entities of one text are looked at, in order: the least certain ones that the budget allows.

        Args:
            explanations: of all entities of the text, with posteriors.
        """
        if not explanations or not (self.explainer or self.probes or self.stability_views):
            return []
        left, hidden, chosen = self.allowed(len(explanations[0].text)), set(), []
        for number in sorted(range(len(explanations)), key=lambda number: explanations[number].posterior):
            cost, own = self._cost(explanations[number], hidden)
            if cost > left and (chosen or not self.budget):
                break
            left, hidden = left - cost, hidden | own
            chosen.append(number)
        return sorted(chosen)

    def add(self, explainer: Any, explanations: Sequence[Explanation], progress: Progress) -> list[Explanation]:
        """Return explanations in which the chosen entities were looked at.

        Args:
            explainer: the explainer of `explanations`.
            explanations: of all entities of one text, with posteriors.
            progress: called with the number of entities that were looked at since.
        """
        chosen = self.choose(explanations)
        if not chosen:
            return list(explanations)
        closer = [explanations[number] for number in chosen]
        told = _Told(progress)
        if self.explainer is not None:
            found = self.explainer([closer[0].text], [[one.span for one in closer]], told)[0]
            closer = [replace(one, posterior=before.posterior) for one, before in zip(found, closer)]
        groups = [closer]
        if self.stability_views:
            groups = StabilityMeter(self.explainer or explainer, self.stability_views, self.seed).measure(groups)
        if self.probes:
            groups = probe_explanations(explainer.tagger, groups, self.probes, seed=self.seed)
        told(len(chosen) - told.count)
        looked_at = dict(zip(chosen, groups[0]))
        return [looked_at.get(number, one) for number, one in enumerate(explanations)]

    def remark(self, explanations: Sequence[Explanation]) -> str:
        """Say in a sentence which entities of a note were looked at, and within what budget; empty if all were."""
        chosen, length = self.choose(explanations), len(explanations[0].text) if explanations else 0
        if self.budget is None or len(chosen) == len(explanations):
            return ""
        what = [] if self.explainer is None else [f"explained by {self.explainer.name}"]
        what += [f"tried in {len(self.probes)} other wordings"] if self.probes else []
        what += ["their stability measured"] if self.stability_views else []
        if not what:
            return ""
        return (
            f"{len(chosen)} of {len(explanations)} entities, those the model is least sure of, were looked at closely "
            f"({', '.join(what)}); the budget was {self.allowed(length):,.0f} characters read by the model."
        )

    def _cost(self, explanation: Explanation, hidden: set[int]) -> tuple[int, set[int]]:
        """Return the characters that the model reads for an entity, and those that are hidden for it.

        What is hidden for another entity already costs nothing.
        """
        tiles = self._tiles(explanation)
        own = {place for tile in tiles for place in range(*tile.hidden)}
        cost = len(self.probes) * min(len(explanation.text), WINDOW) + self.stability_views * max(map(_size, tiles))
        if self.explainer is not None:
            for tile in tiles:
                cost += _size(tile) * len(set(range(*tile.hidden)) - hidden)
                cost += _size(tile) * self._words(explanation, tile, hidden)
        return cost, own

    def _words(self, explanation: Explanation, tile: TextTile, hidden: set[int]) -> int:
        """Return how many matched words are about to be taken away: about one begins with each character."""
        if not self.explainer.tagger.reads_lexicon:
            return 0
        return len(set(range(*tile.word_reach(explanation.span))) & set(range(*tile.hidden)) - hidden)

    def _tiles(self, explanation: Explanation) -> list[TextTile]:
        text, context = explanation.text, getattr(self.explainer, "context", DEFAULT_CONTEXT)
        if reads_whole(text, context):
            whole = Window(0, len(text))
            return [TextTile(TextWindow(0, whole), whole)]
        return tile_entities(0, text, [explanation.span], context, None, lambda texts: True)


def _size(tile: TextTile) -> int:
    start, end = tile.window.window
    return end - start


class _Told:
    """Passes progress on and counts it."""

    def __init__(self, progress: Progress):
        self._progress, self.count = progress, 0

    def __call__(self, count: int) -> None:
        self.count += count
        self._progress(count)
