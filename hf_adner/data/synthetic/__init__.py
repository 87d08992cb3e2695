"""The synthetic atopic-dermatitis corpus and the word list it is made of."""

from hf_adner.data.synthetic.corpus import DEFAULT_SIZES, generate_corpus
from hf_adner.data.synthetic.vocabulary import ad_lexicon

__all__ = ["DEFAULT_SIZES", "ad_lexicon", "generate_corpus"]
