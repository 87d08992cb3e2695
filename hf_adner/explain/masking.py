"""Copies of one window of text in which some units are hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.explain.units import split_into_units


class Masking:
    """Hides units of a window, and asks the model about all its entities at once.

    A hidden token becomes the mask token (or the unknown one where the tokenizer has no mask). Words of the lexicon
    that a hidden token belongs to are no longer matched: they would give away what is hidden.

    Args:
        tagger: model and tokenizer.
        target: what is asked.
        row: a batch of one row.
        units: see `split_into_units`.
        places: the entities, in row 0.
        batch_size: copies per forward pass.

    Attributes:
        count: number of units that hold a token.
        token_units: (tokens,) the unit of each token, -1 for those that stand for no text.
    """

    def __init__(
        self,
        tagger: Tagger,
        target: Target,
        row: TokenBatch,
        units: str,
        places: Sequence[EntityTokens],
        batch_size: int,
    ):
        self._tagger, self._target, self._row = tagger, target, row
        self._places, self._batch_size = list(places), batch_size
        text, start = row.windows[0]
        self.token_units = _token_units(row, start, split_into_units(text, units, tagger.tokenizer))
        self.count = int(self.token_units.max()) + 1 if len(self.token_units) else 0

    def whole(self) -> tuple[Tensor, Tensor]:
        """Target values (entities,) of the text as it is, on the CPU, and its log-probabilities (tokens, labels)."""
        with torch.no_grad():
            tagging = self._tagger.tag(self._row.inputs)
        return self._read(tagging, 1)[0], tagging.log_probs[0]

    def scores(self, kept: Tensor) -> Tensor:
        """Target values when only some units are left.

        Args:
            kept: (copies, units) bool.

        Returns:
            (copies, entities) float32, on the CPU.
        """
        return torch.cat([self._ask(self._inputs(part)) for part in kept.split(self._batch_size)])

    def without_words(self) -> Tensor | None:
        """Target values without each matched word of the lexicon, its characters left as they are.

        Returns:
            (words, entities) float32, on the CPU; None where the model reads no words.
        """
        ids = self._row.inputs.get("lexicon_ids")
        if ids is None or not self._tagger.reads_lexicon:
            return None
        count = ids.shape[1]
        hidden = ids.expand(count, -1).masked_fill(torch.eye(count, dtype=torch.bool, device=ids.device), 0)
        parts = [self._row.copies(len(part), lexicon_ids=part) for part in hidden.split(self._batch_size)]
        return torch.cat([self._ask(part) for part in parts])

    def shared_over_tokens(self, scores: Tensor) -> Tensor:
        """Split the score of each unit over its tokens by their characters, (units,) -> (tokens,)."""
        lengths = torch.tensor([end - start for start, end in self._row.offsets[0]], dtype=scores.dtype)
        inside = self.token_units >= 0
        index = self.token_units.clamp(min=0)
        totals = torch.zeros(max(self.count, 1), dtype=scores.dtype).index_add(0, index, lengths * inside)
        return torch.where(inside, scores[index] * lengths / totals[index].clamp(min=1), 0)

    def _inputs(self, kept: Tensor) -> dict[str, Tensor]:
        hidden = ~kept[:, self.token_units.clamp(min=0)] & (self.token_units >= 0)  # (copies, tokens)
        hidden = hidden.to(self._tagger.device)
        ids = self._row.inputs["input_ids"].masked_fill(hidden, self._tagger.mask_id)
        replaced = {"input_ids": ids}
        if "lexicon_ids" in self._row.inputs:
            replaced["lexicon_ids"] = self._visible_words(hidden)
        return self._row.copies(len(kept), **replaced)

    def _visible_words(self, hidden: Tensor) -> Tensor:
        """Ids of the matched words, 0 for those with a hidden token, (copies, words)."""
        before = torch.nn.functional.pad(hidden.cumsum(1), (1, 0))  # hidden tokens before each token
        starts, ends = (self._row.inputs[name].expand(len(hidden), -1) for name in ("lexicon_starts", "lexicon_ends"))
        is_whole = before.gather(1, ends) == before.gather(1, starts)
        return self._row.inputs["lexicon_ids"] * is_whole

    def _ask(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return self._read(self._tagger.tag(inputs), len(inputs["input_ids"]))

    def _read(self, tagging: Tagging, count: int) -> Tensor:
        places = [place._replace(row=copy) for copy in range(count) for place in self._places]
        return self._target(tagging, places).view(count, len(self._places)).cpu()


def _token_units(row: TokenBatch, start: int, ranges: Sequence[tuple[int, int]]) -> Tensor:
    """Number of the unit of each token, by its first character; units that hold no token's first are not counted."""
    unit_of = [unit for unit, (first, after) in enumerate(ranges) for _ in range(first, after)]
    tokens = [
        unit_of[first - start] if is_text else -1
        for (first, _), is_text in zip(row.offsets[0], row.is_text[0].tolist())
    ]
    number = {unit: rank for rank, unit in enumerate(sorted({unit for unit in tokens if unit >= 0}))}
    return torch.tensor([number.get(unit, -1) for unit in tokens], dtype=torch.long)
