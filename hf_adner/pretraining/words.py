"""Segmentation of texts and of token sequences into words, for whole-word masking."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

from hf_adner.data.records import CharacterRange
from hf_adner.model.lexicon_adner import Lexicon, leftmost_longest
from hf_adner.model.script_adner import ScriptMap
from hf_adner.model.tokenization_adner import SPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


_RUN = re.compile(r"[A-Za-z]+|[0-9]+|\s+|.", re.DOTALL)


def segment(
    text: str,
    lexicon: Lexicon | None,
    *,
    lower_case: bool = False,
    longest: int | None = None,
    script_map: ScriptMap | None = None,
) -> list[tuple[int, int]]:
    """Cut a text into words by forward maximum matching, without gaps.

    At each place the longest word of the lexicon is taken; if none begins there, a run of Latin letters, of digits or
    of white space, or a single character.

    Args:
        text: any string.
        lexicon: the words; None for runs and characters only.
        lower_case: match case-insensitively, as for a lower-casing tokenizer.
        longest: largest number of characters of a lexicon word; longer words are ignored.
        script_map: of the tokenizer, so that words of the lexicon are found in either script.

    Returns:
        (start, end) of each word in characters, end exclusive.
    """
    matches = [] if lexicon is None else lexicon.match(text, lower_case=lower_case, script_map=script_map)
    words = [match for match in matches if longest is None or match[2] - match[1] <= longest]
    # a word may end inside a run: then the rest of the run is a candidate too
    runs = [(0, start, run.end()) for run in _RUN.finditer(text) for start in range(*run.span())]
    return [(start, end) for _, start, end in leftmost_longest([*words, *runs])]


UNKNOWN = "\ufffd"
_CONTINUES = "##"


class TokenWords:
    """Finds words in token ids, with one token per character or with word pieces.

    Args:
        tokenizer: tokenizer of the ids.
        lexicon: words that are kept together; None for runs of letters and digits, and characters only.
        longest: largest number of characters of a lexicon word.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, lexicon: Lexicon | None = None, longest: int = 8) -> None:
        self.lexicon, self.longest = lexicon, longest
        self.lower_case = bool(getattr(tokenizer, "do_lower_case", False))
        self.script_map = getattr(tokenizer, "script_map", None)
        self.unknown = tokenizer.unk_token_id
        self.special = frozenset(tokenizer.all_special_ids) - {self.unknown}
        last = max(tokenizer.get_vocab().values(), default=-1)  # ids may have gaps
        tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(range(last + 1))]
        self._continues = [token.startswith(_CONTINUES) and len(token) > 2 for token in tokens]
        self._texts = [
            token.removeprefix(_CONTINUES) if piece else token for token, piece in zip(tokens, self._continues)
        ]
        self._texts = [" " if text == SPACE else text for text in self._texts]
        if self.unknown is not None:
            self._texts[self.unknown] = UNKNOWN

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, with U+FFFD for an unknown token."""
        return "".join([self._texts[token] for token in ids])

    def continues(self, token: int) -> bool:
        """Return whether a token is a word piece that continues the previous token."""
        return self._continues[token]

    def runs(self, ids: Sequence[int]) -> list[list[CharacterRange]]:
        """Return the words of each run of tokens between special tokens.

        Args:
            ids: token ids; all special ids except the unknown token end a run.

        Returns:
            Per run the (start, end) of its words in tokens, in order and without gaps.
        """
        runs, start = [], 0
        for place, token in enumerate([*ids, None]):
            if token is None or token in self.special:
                if place > start:
                    runs.append(self._words(ids[start:place], start))
                start = place + 1
        return runs

    def _words(self, ids: Sequence[int], first: int) -> list[CharacterRange]:
        reading = {"lower_case": self.lower_case, "script_map": self.script_map}
        spans = segment(self.text(ids), self.lexicon, longest=self.longest, **reading)
        starts = {start for start, _ in spans}
        offsets = accumulate((len(self._texts[token]) for token in ids), initial=0)
        begins = [
            place
            for place, (token, offset) in enumerate(zip(ids, offsets))
            if not self._continues[token] and (offset in starts or self._is_separate(ids[place - 1], token))
        ]
        begins = begins if begins[:1] == [0] else [0, *begins]
        return [(first + start, first + end) for start, end in zip(begins, [*begins[1:], len(ids)])]

    def _is_separate(self, before: int, token: int) -> bool:
        """Return whether two tokens of a word-piece vocabulary are two words separated by a space."""
        text = self._texts[token]
        return text.isascii() and text.isalnum() and (len(text) > 1 or len(self._texts[before]) > 1)
