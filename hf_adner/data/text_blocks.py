"""Plain texts packed to blocks of tokens, for pretraining."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 1000
_OPEN = 32
_SENTENCE_END = re.compile(r"[。！？；!?;\n]")


class TextBlocks:
    """A dataset of blocks ``[CLS] text [SEP] text [SEP] ...``; no text runs on behind a separator.

    Short texts share a block; a text is never cut if a block can hold it. A longer one is cut into
    pieces, at the end of a sentence where one is near, and nothing of it is lost. Tokens are kept in memory, 4 bytes
    each, and never written to disk.

    Args:
        texts: the texts; blank ones are passed over.
        tokenizer: with a beginning ([CLS]) and a separating token ([SEP]).
        max_length: most tokens of a block, special ones included.

    Attributes:
        texts: number of texts that are not blank.
        tokens: number of their tokens.

    Raises:
        ValueError: no room for text, or a tokenizer without these tokens.
    """

    def __init__(self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, max_length: int = 512) -> None:
        self._begin, self._separator = tokenizer.cls_token_id, tokenizer.sep_token_id
        if self._begin is None or self._separator is None:
            raise ValueError(f"{type(tokenizer).__name__} has no [CLS] or no [SEP] token, which blocks are made with")
        if max_length < 3:
            raise ValueError(f"max_length is {max_length}, which leaves no room for text beside [CLS] and [SEP]")
        self.max_length = max_length
        self.texts = self.tokens = 0
        self._ids, ends = array("i"), array("q", [0])
        for block in self._packed(self._pieces(texts, tokenizer)):
            self._ids.extend(block)
            ends.append(len(self._ids))
        self._ends = np.array(ends)  # (blocks + 1,)
        self._ids = np.array(self._ids, dtype=np.int32)  # (all tokens,)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """`input_ids` (tokens,) int64 of a block."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        index %= len(self)
        return {"input_ids": self._ids[self._ends[index] : self._ends[index + 1]].astype(np.int64)}

    @property
    def fill(self) -> float:
        """Share of the blocks' places that hold text, 0 to 1."""
        return self.tokens / (len(self) * self.max_length) if len(self) else 0.0

    def _packed(self, pieces: Iterable[list[int]]) -> Iterator[list[int]]:
        """Put every piece into the fullest of a few open blocks that has room for it (best fit)."""
        opened: list[list[int]] = []
        for piece in pieces:
            fitting = [block for block in opened if len(block) + len(piece) < self.max_length]
            if not fitting:
                if len(opened) == _OPEN:
                    fullest = max(range(_OPEN), key=lambda number: len(opened[number]))
                    yield opened.pop(fullest)
                fitting = [[self._begin]]
                opened += fitting
            max(fitting, key=len).extend([*piece, self._separator])
        yield from opened

    def _pieces(self, texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
        size = self.max_length - 2
        pieces = self._texts(texts, size)
        while batch := list(islice(pieces, _BATCH)):
            for ids in tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]:
                self.tokens += len(ids)
                # a tokenizer of word pieces may make more tokens than characters
                yield from (ids[start : start + size] for start in range(0, len(ids), size))

    def _texts(self, texts: Iterable[str], size: int) -> Iterator[str]:
        for text in texts:
            if text.strip():
                self.texts += 1
                yield from cut_text(text, size)


def cut_text(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters that together are the text.

    A piece ends behind the last sign that ends a sentence in its second half, else where it is full.
    """
    start = 0
    while len(text) - start > size:
        ends = [found.end() for found in _SENTENCE_END.finditer(text, start + size // 2, start + size)]
        end = ends[-1] if ends else start + size
        yield text[start:end]
        start = end
    yield text[start:]
