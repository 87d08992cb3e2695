"""How a model behaves on one window of text when parts of it are hidden or its embeddings are thinned out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hf_adner.audit.entity_readings import EntityReadings
from hf_adner.explain.masking import Masking
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging

SPECIAL = -1


class WindowBehaviour(Masking):
    """Readings of all entities of a window in changed copies of it.

    Units are characters (of a sub-word tokenizer: tokens). A hidden one becomes the mask token, and the matched words
    it belongs to are hidden with it.

    Args:
        tagger: model and tokenizer.
        readings: what is read of the entities.
        row: a batch of one row.
        places: the entities, in row 0.
        batch_size: copies per forward pass.
    """

    def __init__(
        self,
        tagger: Tagger,
        readings: EntityReadings,
        row: TokenBatch,
        places: Sequence[EntityTokens],
        batch_size: int,
    ):
        super().__init__(tagger, readings, row, "characters", places, batch_size)

    @cached_property
    def intact(self) -> np.ndarray:
        """(entities, 4) readings of the window as it is."""
        return self.whole()[0].double().numpy()

    @cached_property
    def ranges(self) -> list[tuple[int, int]]:
        """Characters (start, end) of each unit, counted in the whole text."""
        ranges: dict[int, tuple[int, int]] = {}
        for unit, (start, end) in zip(self.token_units.tolist(), self._row.offsets[0]):
            if unit != SPECIAL:
                first = ranges.get(unit, (start, end))
                ranges[unit] = (min(first[0], start), max(first[1], end))
        return [ranges[unit] for unit in range(self.count)]

    def own_units(self, number: int) -> list[int]:
        """Units of entity `number`."""
        place = self._places[number]
        return sorted(set(self.token_units[place.start : place.end].tolist()) - {SPECIAL})

    def context_units(self, number: int) -> list[int]:
        """Units of the window that are not of entity `number`."""
        own = set(self.own_units(number))
        return [unit for unit in range(self.count) if unit not in own]

    def importance(self, scores: np.ndarray) -> np.ndarray:
        """Sums of the scores of each unit's characters, (characters of the text,) -> (units,)."""
        return np.array([scores[start:end].sum() for start, end in self.ranges])

    def over_characters(self, values: np.ndarray, length: int) -> np.ndarray:
        """Each unit's value at its characters, 0 elsewhere: (units,) -> (length,)."""
        spread = np.zeros(length)
        for value, (start, end) in zip(values, self.ranges):
            spread[start:end] = value
        return spread

    def hidden(self, kept: np.ndarray, filler: Sequence[int] | None = None) -> np.ndarray:
        """Readings with some units hidden.

        Args:
            kept: (copies, units) bool.
            filler: per token an id that stands for it where it is hidden; default: the mask token.

        Returns:
            (copies, entities, 4).
        """
        flags = torch.as_tensor(kept, dtype=torch.bool)
        if not len(flags):
            return np.zeros((0, *self.intact.shape))
        parts = [self._ask(self._filled(part, filler)) for part in flags.split(self._batch_size)]
        return torch.cat(parts).double().numpy()

    def thinned(self, keep: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Readings with dimensions of the embeddings set to zero at random.

        The same generator state gives the same random numbers, so that copies with equal probabilities are equal. A
        matched word keeps each of its dimensions with the mean probability of its characters.

        Args:
            keep: (copies, units) probabilities to keep each dimension.
            generator: on the CPU.

        Returns:
            (copies, entities, 4).
        """
        embeds, words = self._tagger.embed(self._row.inputs["input_ids"]), self._tagger.embed_words(self._row.inputs)
        probabilities = torch.as_tensor(keep, dtype=torch.float32)
        tokens = torch.where(self.token_units >= 0, probabilities[:, self.token_units.clamp(min=0)], 1.0)
        masked = _thinned(embeds, tokens, generator)
        masked_words = None if words is None else _thinned(words, self._word_means(tokens), generator)
        found = []
        for first in range(0, len(tokens), self._batch_size):
            part = slice(first, first + self._batch_size)
            leaves = (masked[part], None if masked_words is None else masked_words[part])
            found.append(self._ask_embedded(*leaves))
        return torch.cat(found).double().numpy()

    @torch.no_grad()
    def _ask_embedded(self, embeds: Tensor, words: Tensor | None) -> Tensor:
        tagging = self._tagger.tag(self._row.copies(len(embeds)), embeds, words)
        return self._read(tagging, len(embeds))

    def _word_means(self, tokens: Tensor) -> Tensor:
        """Mean over each matched word's tokens, (copies, tokens) -> (copies, words)."""
        before = torch.nn.functional.pad(tokens.cumsum(1), (1, 0))
        starts, ends = (self._row.inputs[name][0].cpu() for name in ("lexicon_starts", "lexicon_ends"))
        return (before[:, ends] - before[:, starts]) / (ends - starts).clamp(min=1)

    def _filled(self, kept: Tensor, filler: Sequence[int] | None) -> dict[str, Tensor]:
        inputs = self._inputs(kept)
        if filler is None:
            return inputs
        hidden = ~kept[:, self.token_units.clamp(min=0)] & (self.token_units >= 0)  # (copies, tokens)
        ids = torch.as_tensor(filler, device=self._tagger.device)
        own = self._row.inputs["input_ids"]
        return {**inputs, "input_ids": torch.where(hidden.to(own.device), ids, own)}

    @torch.no_grad()
    def _read(self, tagging: Tagging, count: int) -> Tensor:
        """(count, entities, 4) on the CPU."""
        places = [place._replace(row=copy) for copy in range(count) for place in self._places]
        return self._target(tagging, places).view(count, len(self._places), -1).cpu()


def _thinned(vectors: Tensor, keep: Tensor, generator: torch.Generator) -> Tensor:
    """(1, positions, size) with dimensions kept by (copies, positions) -> (copies, positions, size)."""
    chance = torch.rand(len(keep), *vectors.shape[1:], generator=generator)
    return vectors * (chance < keep[..., None]).to(vectors)
