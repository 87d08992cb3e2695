"""Edits of the context: characters and words outside all entities are masked or replaced (P1, P2, P3)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.edits import Edit, apply_guarded
from hf_adner.perturb.perturbation import Focus, Perturbation
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.replacements import Masks, Replacements, edits_of
from hf_adner.perturb.selection import budget, context_units, draw_runs, draw_units, least_important
from hf_adner.perturb.terms import Terms
from hf_adner.perturb.units import Unit


class ContextEdit(Perturbation):
    """Replaces a share of the context's units, each by one of the sources that cover it.

    Args:
        sources: (weight, source) of each; what none covers, or the drawn one has nothing for, stays.
        share: of the units that may be edited, 0..1.
        bottom: where scores are given, only this share of the units, the least important, may be edited.
        lexicon: words that are edited as a whole; None takes those of the sources.
        terms: what edits must not write into the text (the entities of the training data).
        runs: edit neighbouring units together (n-grams, as MacBERT's masking).

    Raises:
        ValueError: a share outside 0..1, no source, or weights that are negative or all zero.
    """

    name = "context"

    def __init__(
        self,
        sources: Sequence[tuple[float, Replacements]],
        *,
        share: float = 0.15,
        bottom: float = 0.5,
        lexicon: Lexicon | None = None,
        terms: Terms | None = None,
        runs: bool = False,
    ) -> None:
        if not (0 < share <= 1 and 0 < bottom <= 1):
            raise ValueError(f"share {share} and bottom {bottom} must lie in 0..1, above 0")
        if not sources or min(weight for weight, _ in sources) < 0 or not sum(weight for weight, _ in sources) > 0:
            raise ValueError("expected at least one source, weights of 0 or more, and one above 0")
        self.weights = [weight for weight, _ in sources]
        self.sources = [source for _, source in sources]
        self.share, self.bottom, self.runs, self.terms = share, bottom, runs, terms
        own = (source.lexicon for source in self.sources if source.lexicon is not None)
        self.lexicon = lexicon if lexicon is not None else next(own, None)

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        units = context_units(document, self.lexicon)
        if focus.scores is not None:
            units = least_important(units, focus.scores, self.bottom)
        weights = {unit: self._weights(document, unit) for unit in units}
        open_units = [unit for unit in units if any(weights[unit])]
        drawn = (draw_runs if self.runs else draw_units)(open_units, budget(units, self.share), rng)
        sources = [rng.choices(range(len(self.sources)), weights[unit])[0] for unit in drawn]
        edits = self._edits(document, drawn, sources, rng)
        wanted = [edit for edit in edits if not self._makes_term(document.text, edit)]
        return apply_guarded(document, wanted, family=self.name, kind=self.kind)

    def _weights(self, document: Document, unit: Unit) -> list[float]:
        return [
            weight if weight and source.covers(document, unit) else 0.0
            for weight, source in zip(self.weights, self.sources)
        ]

    def _edits(
        self, document: Document, units: Sequence[Unit], choices: Sequence[int], rng: random.Random
    ) -> list[Edit]:
        edits: list[Edit] = []
        for place, source in enumerate(self.sources):
            own = [unit for unit, choice in zip(units, choices) if choice == place]
            edits += edits_of(own, source.propose(document, own, rng)) if own else []
        return edits

    def _makes_term(self, text: str, edit: Edit) -> bool:
        return self.terms is not None and not edit.masked and self.terms.made_by(text, edit)


class ContextMasking(ContextEdit):
    """P1: mask characters or words of the context.

    Args:
        share: of the units of the context.
        lexicon: words that are masked as a whole; None masks single characters of Chinese text.
        bottom: see `ContextEdit`.
    """

    name = "p1"

    def __init__(self, share: float = 0.125, lexicon: Lexicon | None = None, bottom: float = 0.5) -> None:
        super().__init__([(1.0, Masks())], share=share, bottom=bottom, lexicon=lexicon)


class MaskedLanguageModelEdit(ContextEdit):
    """P2: replace units of the context by what a masked language model finds likely there.

    Args:
        source: a `MaskedLanguageModel` or the `StoredProposals` of one.
        share, lexicon, bottom, terms: see `ContextEdit`.
    """

    name = "p2"

    def __init__(
        self,
        source: Replacements,
        share: float = 0.15,
        lexicon: Lexicon | None = None,
        bottom: float = 0.5,
        terms: Terms | None = None,
    ) -> None:
        super().__init__([(1.0, source)], share=share, bottom=bottom, lexicon=lexicon, terms=terms)


class SimilarWordEdit(ContextEdit):
    """P3: replace words of the context by similar ones, in n-grams (MacBERT's recipe, Cui et al. 2020).

    Args:
        source: a `SimilarWords`; its words are the units.
        share, bottom, terms: see `ContextEdit`.
    """

    name = "p3"

    def __init__(
        self, source: Replacements, share: float = 0.15, bottom: float = 0.5, terms: Terms | None = None
    ) -> None:
        super().__init__([(1.0, source)], share=share, bottom=bottom, terms=terms, runs=True)
