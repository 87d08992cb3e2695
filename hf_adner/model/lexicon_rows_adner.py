"""The words of a lexicon that a text contains, as rows of the model's lexicon inputs."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np

from .lexicon_adner import Lexicon
from .script_adner import ScriptMap

LEXICON_KEYS = ("lexicon_ids", "lexicon_starts", "lexicon_ends")

MatchColumns = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # word ids, starts, ends (characters)
MatchRows = tuple[list[int], list[int], list[int]]  # word ids, first tokens, tokens after the last


def match_columns(lexicon: Lexicon, text: str, lower_case: bool, script_map: ScriptMap | None = None) -> MatchColumns:
    """Return the matches of a text as word ids, starts and ends in characters."""
    return tuple(zip(*lexicon.match(text, lower_case=lower_case, script_map=script_map))) or ((), (), ())


def rows_in_window(columns: MatchColumns, start: int, end: int, first: int) -> MatchRows:
    """Return the matches within the characters start..end, as word ids, first tokens and tokens after the last.

    Args:
        columns: matches of the whole text, sorted by start.
        start, end: the window.
        first: the token of the window's first character.
    """
    word_ids, starts, ends = columns
    low, high = bisect_left(starts, start), bisect_left(starts, end)
    word_ids, starts, ends = word_ids[low:high], starts[low:high], ends[low:high]
    if ends and max(ends) > end:
        inside = [row for row in zip(word_ids, starts, ends) if row[2] <= end]
        word_ids, starts, ends = zip(*inside) if inside else ((), (), ())
    shift = first - start
    return list(word_ids), [position + shift for position in starts], [position + shift for position in ends]


def as_features(batch_rows: list[MatchRows], pad: Any) -> dict[str, list[list[int]]]:
    """Return the rows per key, (batch, words), each of at least one word; all of equal length if `pad`."""
    width = max((len(rows[0]) for rows in batch_rows), default=1) if pad else 1
    return {
        key: [rows[number] + [0] * (max(width, 1) - len(rows[number])) for rows in batch_rows]
        for number, key in enumerate(LEXICON_KEYS)
    }


def as_arrays(features: dict[str, Any]) -> dict[str, Any]:
    """Return features whose rows are arrays: of lists transformers would walk through every number to make tensors."""
    return {
        key: [np.asarray(row, dtype=np.int64) for row in rows] if rows and isinstance(rows[0], list) else rows
        for key, rows in features.items()
    }


def pad_features(
    features: dict[str, Any], before: list[Any], after: list[Any], left: bool, pad: Any
) -> dict[str, list[Any]]:
    """Pad lexicon features; `before` and `after` are the input ids before and after padding."""
    is_batch = bool(after) and isinstance(after[0], list)
    if not is_batch:
        features, before, after = {key: [value] for key, value in features.items()}, [before], [after]
    rows = []
    for ids, starts, ends, old, new in zip(*(features[key] for key in LEXICON_KEYS), before, after):
        shift = len(new) - len(old) if left else 0
        starts = [start + shift if word else 0 for word, start in zip(ids, starts)]
        rows.append((list(ids), starts, [end + shift if word else 0 for word, end in zip(ids, ends)]))
    padded = as_features(rows, pad)
    return padded if is_batch else {key: value[0] for key, value in padded.items()}
