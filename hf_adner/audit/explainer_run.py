"""One explainer at work on a population."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from tqdm.auto import tqdm

from hf_adner.audit.behaviour import Behaviour
from hf_adner.audit.explanation_settings import ExplanationSettings
from hf_adner.audit.explanation_views import View
from hf_adner.audit.population import Population, Span
from hf_adner.explain.explanation import Explanation

Explainer: TypeAlias = Callable[[Sequence[str], Sequence[Sequence[Span]]], list[list[Explanation]]]
CHUNK = 16


class ExplainerRun:
    """An explainer with everything that its measurements need.

    Args:
        explainer: what explains.
        count: how many of the population's subjects it is asked for, the first ones.
        population, views, behaviour, settings: what all explainers of an audit share.
        rebuild: makes the explainer anew while the model's weights are random; None asks the same one.
        bar: counts the texts that were explained.
    """

    def __init__(
        self,
        explainer: Explainer,
        count: int,
        population: Population,
        views: Sequence[View],
        behaviour: Behaviour,
        settings: ExplanationSettings,
        rebuild: Callable[[], Explainer] | None = None,
        bar: tqdm | None = None,
    ):
        self.explainer, self.count, self.rebuild = explainer, count, rebuild
        self.population, self.views, self.behaviour, self.settings = population, views, behaviour, settings
        self._bar = bar

    @property
    def subjects(self):
        """The entities that are explained."""
        return self.population.subjects[: self.count]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each subject."""
        return [subject.span[:2] for subject in self.subjects]

    @cached_property
    def originals(self) -> list[Explanation]:
        """The explanation of every subject in its own text."""
        return self.explain(self.explainer)

    @cached_property
    def maps(self) -> list[np.ndarray]:
        """Importance of every character for every subject: the magnitudes of its scores."""
        return [magnitudes(explanation) for explanation in self.originals]

    def explain(self, explainer: Explainer) -> list[Explanation]:
        """Explanations of every subject in its own text, by another explainer or the same once more."""
        owners = self.population.by_document(self.count)
        texts = [self.population.documents[document].text for document in owners]
        spans = [[self.population.subjects[number].span for number in numbers] for numbers in owners.values()]
        found: dict[int, Explanation] = {}
        for numbers, explanations in zip(owners.values(), self.ask(explainer, texts, spans)):
            found.update(zip(numbers, explanations, strict=True))
        return [found[number] for number in range(self.count)]

    def ask(
        self, explainer: Explainer, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[list[Explanation]]:
        """Explanations of given entities of texts, some texts at a time."""
        found = []
        for first in range(0, len(texts), CHUNK):
            part = slice(first, first + CHUNK)
            found += explainer(texts[part], spans[part])
            if self._bar is not None:
                self._bar.update(len(texts[part]))
        return found


def magnitudes(explanation: Explanation) -> np.ndarray:
    """(characters,) absolute scores."""
    return np.abs(np.array(explanation.scores, dtype=np.float64))
