"""The forms in which a tokenizer takes texts: a string, a pair, a list of words, or a batch of any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def is_batched(text: Any, is_split_into_words: bool) -> bool:
    """Return whether an input is a batch."""
    is_list = isinstance(text, (list, tuple))
    return bool(text) and isinstance(text[0], (list, tuple)) if is_list and is_split_into_words else is_list


def samples(text: Sequence[Any], text_pair: Sequence[Any] | None, is_split_into_words: bool) -> list[tuple[Any, ...]]:
    """Return the one or two sequences of each sample: strings, or lists of words."""
    if text_pair is not None:
        return list(zip(text, text_pair))
    return [tuple(item) if _is_pair(item, is_split_into_words) else (item,) for item in text]


def _is_pair(item: Any, is_split_into_words: bool) -> bool:
    if isinstance(item, str) or not item:
        return False
    return not (is_split_into_words and isinstance(item[0], str))


def map_texts(function: Callable[[str], str], text: Any) -> Any:
    """Apply a function to each string of a batch, of its pairs and of its lists of words."""
    if isinstance(text, str):
        return function(text)
    if isinstance(text, tuple):
        return tuple(map_texts(function, item) for item in text)
    return [map_texts(function, item) for item in text] if isinstance(text, list) else text
