"""Words of a text: the longest that a lexicon has, and single characters in between."""

from __future__ import annotations

import re

from hf_adner.model.lexicon_adner import Lexicon

_RUN = re.compile(r"[A-Za-z]+|[0-9]+|\s+|.", re.DOTALL)


def segment(
    text: str, lexicon: Lexicon | None, *, lower_case: bool = False, longest: int | None = None
) -> list[tuple[int, int]]:
    """Cut a text into words by forward maximum matching, without gaps.

    From each place the longest word of the lexicon is taken; where none begins, a run of Latin letters, of digits or of
    white space, or one character.

    Args:
        text: any string.
        lexicon: the words; None leaves runs and characters.
        lower_case: match without regard to case, as a lower-casing tokenizer does.
        longest: most characters of a lexicon word; longer ones do not count.

    Returns:
        (start, end) of each word in characters, end exclusive.
    """
    ends = _longest_ends(text, lexicon, lower_case, len(text) if longest is None else longest)
    spans, start = [], 0
    while start < len(text):
        end = max(ends.get(start, 0), _RUN.match(text, start).end())
        spans.append((start, end))
        start = end
    return spans


def _longest_ends(text: str, lexicon: Lexicon | None, lower_case: bool, longest: int) -> dict[int, int]:
    if lexicon is None:
        return {}
    # sorted by start, then end: the last one of a start is its longest
    matches = lexicon.match(text, lower_case=lower_case)
    return {start: end for _, start, end in matches if end - start <= longest}
