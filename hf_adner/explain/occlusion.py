"""Occlusion: what the target loses when a part of the text is hidden.

Every masked copy is read once, in a tile of text around the masked characters, and scores all entities in reach. Tiles
of all texts of a call share batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_adner.data.records import EntitySpan
from hf_adner.explain.explainer import DEFAULT_BATCH_SIZE, LocalExplainer, Progress
from hf_adner.explain.explanation import Explanation, WordScore
from hf_adner.explain.removal import check_units, hide_tokens, split_into_units, token_units
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import EntityTokens
from hf_adner.explain.text_windows import DEFAULT_CONTEXT, TextTile

Key = tuple[int, int]
"""Number of a text, and of an entity in it."""


class Copy(NamedTuple):
    """A copy of a tile in which something is missing.

    Attributes:
        row: of the tile in its batch.
        unit: unit of the tile that is hidden, or -1.
        word: matched word of the tile that is taken away while its characters stay, or -1.
        entities: numbers of the tile's entities that are scored.
    """

    row: int
    unit: int
    word: int
    entities: tuple[int, ...]


@dataclass
class _Found:
    """What is known of an entity so far; `make` makes its explanation, once the tile around it is read."""

    scores: np.ndarray  # (characters of the text,)
    words: list[WordScore]
    make: Callable[..., Explanation] | None = None


class Occlusion(LocalExplainer):
    """Target of the text minus target with one unit hidden (Zeiler and Fergus 2014), as captum's `FeatureAblation`.

    A unit is hidden once for all entities within `context` characters of it. Scores are signed; the score of a word is
    split equally over its characters. The score of a matched lexicon word is the drop of the target without the match,
    characters kept; in a long text, of the words that begin within 8 characters of the entity.

    Args:
        tagger, target, batch_size, context: as for `LocalExplainer`.
        units: ``characters`` (tokens of a sub-word tokenizer), ``lexicon-words`` or ``words``, see `UNITS`.

    Raises:
        ValueError: as for `LocalExplainer`, unknown units, or lexicon words without a lexicon.
    """

    name = "occlusion"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        units: str = "characters",
        context: int | None = DEFAULT_CONTEXT,
    ):
        super().__init__(tagger, target, batch_size, context)
        check_units(units, tagger.tokenizer)
        self.units = units

    def _explain_all(
        self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]], results: list[list[Any]], progress: Progress
    ) -> None:
        tiles = self._tiles(texts, spans)
        sizes = [tile.window.window.end - tile.window.window.start for tile in tiles]
        order = sorted(range(len(tiles)), key=lambda number: -sizes[number])  # against padding
        found = {
            (text, index): _Found(np.zeros(len(texts[text])), [])
            for text, text_spans in enumerate(spans)
            for index in range(len(text_spans))
        }
        bar = _ProgressShare(progress, len(found), sum(tile.hidden.end - tile.hidden.start for tile in tiles))
        batches = self.tagger.batches([tiles[n] for n in order], [sizes[n] for n in order], self.batch_size)
        for batch in batches:
            _TileBatch(self, texts, batch).read(found, bar)
        for (text, index), one in found.items():
            results[text][index] = one.make(scores=[score or 0.0 for score in one.scores.tolist()], words=one.words)
        bar.finish()

    def _tiles(self, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]]) -> list[TextTile]:
        if self.units == "characters":
            return self.tagger.tiles(texts, spans, self.context)
        # words may reach over the edges of any cell, so all those of a crop are hidden in it
        return [TextTile(window, window.window) for window in self.tagger.crops(texts, spans, self.context)]


class _ProgressShare:
    """Tells progress in entities while it is made in hidden characters."""

    def __init__(self, progress: Progress, entities: int, characters: int):
        self._progress, self._entities, self._characters = progress, entities, max(characters, 1)
        self._done, self._told = 0, 0

    def add(self, characters: int) -> None:
        self._done += characters
        self._tell(min(self._done * self._entities // self._characters, self._entities))

    def finish(self) -> None:
        self._tell(self._entities)

    def _tell(self, entities: int) -> None:
        self._progress(entities - self._told)
        self._told = entities


class _TileBatch:
    """Tiles of similar length, read together: whole first, then a copy per hidden unit and per missing word."""

    def __init__(self, explainer: Occlusion, texts: Sequence[str], tiles: Sequence[TextTile]):
        self._explainer, self._tagger, self._target = explainer, explainer.tagger, explainer.target
        self._texts, self._tiles = texts, tiles
        windows = [tile.window for tile in tiles]
        self._batch = self._tagger.encode(texts, windows)
        self._places = [explainer._places(self._batch, row, window) for row, window in enumerate(windows)]
        self._units = torch.full(self._batch.is_text.shape, -1)
        for row, (text, first) in enumerate(self._batch.windows):
            ranges = split_into_units(text, explainer.units, self._tagger.tokenizer)
            units = token_units(self._batch.offsets[row], self._batch.is_text[row].tolist(), first, ranges)
            self._units[row, : len(units)] = units
        self._characters = [self._unit_characters(row) for row in range(len(tiles))]
        self._words = [explainer.words_of(texts[window.text], self._batch, row) for row, window in enumerate(windows)]

    def read(self, found: dict[Key, _Found], bar: _ProgressShare) -> None:
        """Read all copies and add what they tell to `found`."""
        whole = self._read_whole(found)
        copies = [copy for row in range(len(self._tiles)) for copy in self._copies(row)]
        length = self._batch.is_text.shape[1]
        for part in self._tagger.batches(copies, [length] * len(copies), self._explainer.batch_size):
            values = iter(self._values(part))
            for copy in part:
                for number in copy.entities:
                    self._add(found, copy, number, whole[copy.row][number] - next(values))
            bar.add(sum(copy.unit >= 0 for copy in part))

    def _read_whole(self, found: dict[Key, _Found]) -> list[list[float]]:
        """Return the target of each entity of each tile with nothing hidden; tell `found` of entities at home here."""
        with torch.no_grad():
            tagging = self._tagger.tag(self._batch.inputs)
            values = iter(self._target(tagging, [place for places in self._places for place in places]).tolist())
        whole = [[next(values) for _ in places] for places in self._places]
        log_probs = tagging.log_probs.cpu()
        for row, tile in enumerate(self._tiles):
            for (index, span), value in zip(tile.window.entities, whole[row]):
                if tile.hidden.start <= (span[0] + span[1] - 1) // 2 < tile.hidden.end:
                    known = found[tile.window.text, index]
                    known.make = partial(
                        self._explainer.record,
                        self._texts[tile.window.text],
                        span,
                        batch=self._batch,
                        row=row,
                        value=value,
                        log_probs=log_probs[row].clone(),
                        window=tuple(self._reach_in_text(tile, span)),
                        details={"units": self._explainer.units},
                    )
        return whole

    def _reach_in_text(self, tile: TextTile, span: EntitySpan) -> tuple[int, int]:
        """Return the characters whose scores are found in this and other tiles."""
        if tile.context is None:
            return tuple(tile.window.window)
        start, end = tile.window.home
        return max(start, span[0] - tile.context), min(end, span[1] + tile.context)

    def _unit_characters(self, row: int) -> list[list[int]]:
        """Return the characters of each unit of a tile, those of its tokens."""
        units = self._units[row].tolist()
        characters: list[list[int]] = [[] for _ in range(max(units, default=-1) + 1)]
        for unit, (start, end) in zip(units, self._batch.offsets[row]):
            if unit >= 0:
                characters[unit] += range(start, end)
        return characters

    def _copies(self, row: int) -> Iterator[Copy]:
        tile = self._tiles[row]
        reaches = [tile.reach(span) for _, span in tile.window.entities]
        for unit, characters in enumerate(self._characters[row]):
            if entities := self._scored(tile, reaches, characters[0]):
                yield Copy(row, unit, -1, entities)
        reaches = [tile.word_reach(span) for _, span in tile.window.entities]
        for number, word in enumerate(self._words[row]) if self._tagger.reads_lexicon else ():
            if entities := self._scored(tile, reaches, word.start):
                yield Copy(row, -1, number, entities)

    def _scored(self, tile: TextTile, reaches: Sequence[tuple[int, int]], character: int) -> tuple[int, ...]:
        """Return the entities for which a character counts, none if it is hidden in another tile."""
        if not tile.hidden.start <= character < tile.hidden.end:
            return ()
        return tuple(number for number, (start, end) in enumerate(reaches) if start <= character < end)

    def _values(self, copies: Sequence[Copy]) -> list[float]:
        """Return the target of the scored entities of each copy, one copy after the other."""
        rows = torch.tensor([copy.row for copy in copies])
        units = torch.tensor([copy.unit if copy.unit >= 0 else -2 for copy in copies])
        device = self._tagger.device
        hidden = (self._units[rows] == units[:, None]).to(device)  # (copies, tokens)
        inputs = hide_tokens(self._batch.rows(rows.to(device)), hidden, self._tagger.mask_id)
        if any(copy.word >= 0 for copy in copies):
            words = torch.tensor([copy.word for copy in copies], device=device)
            ids = inputs["lexicon_ids"]
            gone = torch.arange(ids.shape[1], device=device) == words[:, None]
            inputs["lexicon_ids"] = ids.masked_fill(gone, 0)
        places: list[EntityTokens] = [
            self._places[copy.row][number]._replace(row=place)
            for place, copy in enumerate(copies)
            for number in copy.entities
        ]
        with torch.no_grad():
            return self._target(self._tagger.tag(inputs), places).tolist()

    def _add(self, found: dict[Key, _Found], copy: Copy, number: int, drop: float) -> None:
        window = self._tiles[copy.row].window
        known = found[window.text, window.entities[number][0]]
        if copy.unit >= 0:
            characters = self._characters[copy.row][copy.unit]
            known.scores[characters] += drop / len(characters)
        else:
            known.words.append(self._words[copy.row][copy.word]._replace(score=drop))
