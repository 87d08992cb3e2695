"""Words in token ids."""

from transformers import BertTokenizerFast

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.pretraining.words import TokenWords

TEXT = "面部红斑伴瘙痒 IgE12。"


def test_words_of_characters_between_special_tokens():
    tokenizer = AdnerTokenizer.from_texts([TEXT])
    ids = tokenizer([TEXT, "红斑"])["input_ids"]
    words = TokenWords(tokenizer, Lexicon(["红斑", "瘙痒", "斑伴"]))
    row = [*ids[0], *ids[1][1:]]
    found = [[words.text(row[start:end]) for start, end in run] for run in words.runs(row)]
    assert found == [["面", "部", "红斑", "伴", "瘙痒", " ", "ige", "12", "。"], ["红斑"]]


def test_a_word_never_begins_inside_a_word_piece():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "斑", "ecz", "##ema", "##a", "is"]
    tokenizer = BertTokenizerFast(vocab={token: index for index, token in enumerate(vocabulary)})
    ids = tokenizer("eczema is 红斑")["input_ids"]
    words = TokenWords(tokenizer, Lexicon(["红斑", "ma"]))
    [run] = words.runs(ids)
    assert [words.text(ids[start:end]) for start, end in run] == ["eczema", "is", "红斑"]


def test_an_unknown_token_is_text_and_words_go_on_around_it():
    tokenizer = AdnerTokenizer.from_texts(["红斑"])
    ids = tokenizer("红腘斑")["input_ids"]
    assert TokenWords(tokenizer).runs(ids) == [[(1, 2), (2, 3), (3, 4)]]


def test_a_vocabulary_with_gaps_has_words_all_the_same():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "红": 5, "斑": 8}
    tokenizer = AdnerTokenizer(vocabulary)
    words = TokenWords(tokenizer, Lexicon(["红斑"]))
    assert words.text([5, 8]) == "红斑" and words.runs([2, 5, 8, 3]) == [[(1, 3)]]
