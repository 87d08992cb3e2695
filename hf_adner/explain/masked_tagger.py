"""A tagger that reads the masked characters of perturbed texts as hidden ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from hf_adner.explain.passages import Passage
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.perturb.perturbed import masked_tokens


class MaskedTagger(Tagger):
    """The same model and tokenizer; tokens of masked characters become the mask token.

    Args:
        tagger: what reads texts as they are.
        masked: for each of the texts that will be read, by number, the places of its masked characters
            (`Perturbed.masked`).

    Raises:
        ValueError: the tokenizer has no token to hide text with.
    """

    def __init__(self, tagger: Tagger, masked: Sequence[Sequence[int]]):
        vars(self).update(vars(tagger))
        self.masked = masked
        if any(masked):
            self._hidden_id = self.mask_id

    def encode(self, texts: Sequence[str], passages: Sequence[Passage]) -> TokenBatch:
        """As `Tagger.encode`; passages count in the texts that `masked` was given for."""
        batch = super().encode(texts, passages)
        rows = [masked_tokens(spans, self.masked[one.text]) for spans, one in zip(batch.offsets, passages)]
        hidden = torch.tensor(rows, device=batch.is_text.device).view_as(batch.is_text) & batch.is_text
        if not hidden.any():
            return batch
        ids = batch.inputs["input_ids"].masked_fill(hidden, self._hidden_id)  # (batch, tokens)
        return replace(batch, inputs={**batch.inputs, "input_ids": ids})
