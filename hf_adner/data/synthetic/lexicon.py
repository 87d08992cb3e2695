"""The built-in word list for lexicon features: the terms of the synthetic corpus."""

from __future__ import annotations

from hf_adner.data.synthetic.vocabulary import Vocabulary

HARMLESS = ("healthy_food",)
"""Groups whose terms are entities only where the context makes them so."""


def ad_lexicon(*, held_out: bool = True, rules: bool = False) -> dict[str, str]:
    """Words of at least two characters with their label, sorted; iterating gives the words a `Lexicon` takes.

    Args:
        held_out: also the terms kept for the split `test_unseen`.
        rules: also what the head and modifier rules produce.
    """
    vocabulary = Vocabulary.default()
    words = vocabulary.expanded(without=HARMLESS) if rules else vocabulary.terms(HARMLESS)
    return {w: words[w] for w in sorted(words) if len(w) > 1 and (held_out or not vocabulary.is_held_out(w))}
