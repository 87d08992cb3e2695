"""The synthetic atopic-dermatitis corpus, and a lexicon of its terms."""

from hf_adner.data.synthetic.corpus import DEFAULT_SIZES, generate_corpus
from hf_adner.data.synthetic.vocabulary import ad_lexicon

__all__ = ["DEFAULT_SIZES", "ad_lexicon", "generate_corpus"]
