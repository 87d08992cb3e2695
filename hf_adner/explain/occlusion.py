"""Occlusion: by how much the target falls when a unit of the text is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.masking import Masking
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens
from hf_adner.explain.units import check_units


class Occlusion(LocalExplainer):
    """Target of the text minus target with one unit hidden (Zeiler and Fergus 2014); captum's `FeatureAblation`.

    The hidden copies of a sentence are read once for all its entities. Scores are signed; that of a word is split
    equally over its characters. A word of the lexicon has as its own score what the target loses when it is not
    matched while its characters stay.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`; `batch_size` copies share a forward pass.
        units: what is hidden at once: ``characters`` (of a sub-word tokenizer: tokens), ``lexicon-words``, ``words``.

    Raises:
        ValueError: as for `LocalExplainer`, other units, or lexicon words without a lexicon.
    """

    name = "occlusion"

    def __init__(self, tagger: Tagger, target: str = "label", batch_size: int = 16, units: str = "characters"):
        super().__init__(tagger, target, batch_size)
        check_units(units, tagger.tokenizer)
        self.units = units

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        return [
            self._attribute_row(batch.row(row), [place._replace(row=0) for place in ones])
            for row, ones in enumerate(places)
        ]

    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        masking = Masking(self.tagger, self.target, row, self.units, places, self.batch_size)
        whole, log_probs = masking.whole()
        falls = whole - masking.scores(~torch.eye(masking.count, dtype=torch.bool))  # (units, entities)
        without = masking.without_words()
        words = None if without is None else whole - without  # (words, entities)
        return [
            Attribution(
                masking.shared_over_tokens(falls[:, number]),
                None if words is None else words[:, number],
                float(whole[number]),
                log_probs,
                {"units": self.units},
            )
            for number in range(len(places))
        ]
