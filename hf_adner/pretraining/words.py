"""Words of a sequence of tokens, for whole-word masking.

Words of a text: the longest that a lexicon has, and single characters in between.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

from hf_adner.data.records import CharacterRange
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import SPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


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


UNKNOWN = "\ufffd"
_CONTINUES = "##"


class TokenWords:
    """Finds the words in token ids, with one token per character or with word pieces.

    Args:
        tokenizer: of the ids.
        lexicon: words that are kept together; None leaves runs of letters and digits, and characters.
        longest: most characters of a lexicon word.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, lexicon: Lexicon | None = None, longest: int = 8) -> None:
        self.lexicon, self.longest = lexicon, longest
        self.lower_case = bool(getattr(tokenizer, "do_lower_case", False))
        self.unknown = tokenizer.unk_token_id
        self.special = frozenset(tokenizer.all_special_ids) - {self.unknown}
        last = max(tokenizer.get_vocab().values(), default=-1)  # more than their number where a vocabulary has gaps
        tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(range(last + 1))]
        self._continues = [token.startswith(_CONTINUES) and len(token) > 2 for token in tokens]
        self._texts = [
            token.removeprefix(_CONTINUES) if later else token for token, later in zip(tokens, self._continues)
        ]
        self._texts = [" " if text == SPACE else text for text in self._texts]
        if self.unknown is not None:
            self._texts[self.unknown] = UNKNOWN

    def text(self, ids: Sequence[int]) -> str:
        """What tokens stand for, an unknown one as U+FFFD."""
        return "".join([self._texts[one] for one in ids])

    def continues(self, one: int) -> bool:
        """Whether a token is a word piece that goes on from the one before it."""
        return self._continues[one]

    def runs(self, ids: Sequence[int]) -> list[list[CharacterRange]]:
        """The words of each run of tokens between special ones.

        Args:
            ids: token ids; all special ids but that of the unknown token end a run.

        Returns:
            Per run the (first token, token after the last) of its words, in order and without gaps.
        """
        runs, start = [], 0
        for place, one in enumerate([*ids, None]):
            if one is None or one in self.special:
                if place > start:
                    runs.append(self._words(ids[start:place], start))
                start = place + 1
        return runs

    def _words(self, ids: Sequence[int], first: int) -> list[CharacterRange]:
        spans = segment(self.text(ids), self.lexicon, lower_case=self.lower_case, longest=self.longest)
        starts = {start for start, _ in spans}
        offsets = accumulate((len(self._texts[one]) for one in ids), initial=0)
        begins = [
            place
            for place, (one, offset) in enumerate(zip(ids, offsets))
            if not self._continues[one] and (offset in starts or self._is_apart(ids[place - 1], one))
        ]
        begins = begins if begins[:1] == [0] else [0, *begins]
        return [(first + start, first + end) for start, end in zip(begins, [*begins[1:], len(ids)])]

    def _is_apart(self, before: int, one: int) -> bool:
        """Whether two tokens of word pieces are two words that a space stood between."""
        text = self._texts[one]
        return text.isascii() and text.isalnum() and (len(text) > 1 or len(self._texts[before]) > 1)
