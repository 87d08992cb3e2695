"""`TokenizerTesterMixin` of transformers over `AdnerTokenizer`; run by `scripts/peers.sh`."""

import string
import tempfile
import unittest

from tests.test_tokenization_common import TokenizerTesterMixin

from hf_adner import AdnerTokenizer

TEXTS = [string.ascii_letters + string.digits + string.punctuation, "面部红斑伴瘙痒。生活的真谛是"]
folder = tempfile.mkdtemp()
AdnerTokenizer.from_texts(TEXTS, do_lower_case=False).save_pretrained(folder)


class TestAdnerTokenizer(TokenizerTesterMixin, unittest.TestCase):
    """The suite over a tokenizer without a lexicon."""

    tokenizer_class = rust_tokenizer_class = AdnerTokenizer
    from_pretrained_id = folder
    test_slow_tokenizer = test_seq2seq = test_tokenizer_from_extractor = False
    integration_expected_tokens = None


del TokenizerTesterMixin
