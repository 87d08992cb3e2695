"""One token per character for any text, and the lexicon's words in every window of it."""

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from datasets.fingerprint import Hasher
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    DataCollatorForTokenClassification,
    pipeline,
)

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import LEXICON_KEYS, SPACE, AdnerTokenizer

SPECIALS = ["[PAD]", "[unused1]", "[unused2]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIALS, *"患者特应性皮炎红斑湿疹外用他克莫司软膏后好转，。[]igesp0123456789σ", "##炎", "160", "皮炎"]
WORDS = ("皮炎", "特应性皮炎", "特应性", "湿疹", "外用", "他克莫司", "IgE", "炎", "[SEP]", "炎 红", "I")
TEXT = "特应性皮炎\t患者，\u200bIGE 160，[SEP]外用他克莫司😀后皮炎。"

any_texts = st.text(st.characters(exclude_categories=()), max_size=40)
pieces = st.sampled_from([*WORDS, *"皮炎 热iIgGeE[SP]İ😀\ud800\n"])
medical_texts = st.lists(pieces, max_size=12).map("".join)
sides = st.sampled_from(["left", "right"])


def make_tokenizer(do_lower_case=True, lexicon=None, **kwargs):
    vocab = {token: index for index, token in enumerate(VOCABULARY)}
    return AdnerTokenizer(vocab, lexicon=lexicon, do_lower_case=do_lower_case, **kwargs)


LEXICON = Lexicon(WORDS)
TOKENIZERS = {lower: make_tokenizer(lower, LEXICON, model_max_length=64) for lower in (True, False)}


@pytest.fixture
def tokenizer():
    return make_tokenizer(lexicon=LEXICON, model_max_length=64)


@pytest.fixture
def bert_directory(tmp_path):
    """A repository with nothing but a vocabulary."""
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return folder


def rows_of(encoded, index):
    """The lexicon rows of one encoding as (id, start, end), without the padding."""
    rows = [tuple(map(int, row)) for row in zip(*(encoded[key][index] for key in LEXICON_KEYS))]
    assert all(row == (0, 0, 0) for row in rows if not row[0])
    return [row for row in rows if row[0]]


def expected_rows(tokenizer, encoding, sequences):
    """The same from the definition: the words all of whose characters are tokens of this encoding."""
    rows = []
    for number, words in enumerate(sequences):
        begins = [sum(map(len, words[:index])) for index in range(len(words))]
        token_of = {
            begins[word] + start: token
            for token, (sequence, word, (start, _)) in enumerate(
                zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets)
            )
            if sequence == number
            for word in ([word] if len(words) > 1 else [0])
        }
        for word_id, start, end in tokenizer.lexicon.match("".join(words), lower_case=tokenizer.do_lower_case):
            if start in token_of and end - 1 in token_of:
                rows.append((word_id, token_of[start], token_of[end - 1] + 1))
    return rows


# ---- one token per character -------------------------------------------------------------------------------------


@given(any_texts | medical_texts, st.booleans())
def test_every_character_is_a_token_with_its_offsets(text, do_lower_case):
    encoded = TOKENIZERS[do_lower_case](text, return_offsets_mapping=True)
    middle = [(index, index + 1) for index in range(len(text))]
    assert encoded["offset_mapping"] == [(0, 0), *middle, (0, 0)]
    assert len(encoded["input_ids"]) == len(text) + 2
    assert rows_of({key: [encoded[key]] for key in LEXICON_KEYS}, 0) == [
        (word_id, start + 1, end + 1) for word_id, start, end in LEXICON.match(text, lower_case=do_lower_case)
    ]


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_every_code_point_is_one_token(do_lower_case):
    tokenizer = make_tokenizer(do_lower_case)
    texts = ["".join(map(chr, range(start, start + 0x800))) for start in range(0, sys.maxunicode, 0x800)]
    surrogates = texts.pop(0xD800 // 0x800)
    assert tokenizer(surrogates).char_to_token(0x7FF) == 0x800
    for text, encoding in zip(texts, tokenizer(texts, add_special_tokens=False).encodings):
        assert encoding.offsets == [(index, index + 1) for index in range(len(text))]


def test_ids_come_from_the_vocabulary(tokenizer):
    vocab = tokenizer.get_vocab()
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("皮炎160IgE炎热İΣ")["input_ids"])
    assert tokens == ["[CLS]", *"皮炎160ige炎", "[UNK]", "i", "σ", "[SEP]"]
    assert make_tokenizer(False).tokenize("IgE") == ["[UNK]", "g", "[UNK]"]
    assert vocab[SPACE] == VOCABULARY.index("[unused1]") and len(vocab) == len(VOCABULARY)


@pytest.mark.parametrize("text", ["[SEP]", "[CLS][PAD]", "[MASK]", "[unused1]", "##炎"])
def test_special_tokens_in_a_text_are_text(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text) + 2
    assert not set(ids[1:-1]) & {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    assert copy.deepcopy(tokenizer)(text)["input_ids"] == ids


def test_special_tokens_in_a_text_cannot_be_switched_on(tokenizer):
    with pytest.raises(ValueError, match="split_special_tokens=False"):
        tokenizer("[SEP]", split_special_tokens=False)


INVISIBLE = " \t\n\r\x00\x1f\x7f\x85\xa0\xad\u2003\u200b\u200d\u2028\u2060\u3000\ufeff"


def test_characters_without_ink_share_one_entry(tokenizer):
    assert set(tokenizer(INVISIBLE, add_special_tokens=False)["input_ids"]) == {tokenizer.get_vocab()[SPACE]}


@pytest.mark.parametrize(("entry", "expected"), [(SPACE, SPACE), ("[unused2]", "[UNK]")])
def test_the_entry_for_characters_without_ink_depends_on_the_vocabulary(entry, expected):
    vocab = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", entry, "皮"])}
    tokenizer = AdnerTokenizer(vocab)
    assert tokenizer("皮 \n")["input_ids"] == tokenizer.convert_tokens_to_ids(["[CLS]", "皮", *[expected] * 2, "[SEP]"])


def test_lone_surrogates_are_read_as_replacement_characters(tokenizer):
    broken, readable = "皮炎\ud800湿疹", "皮炎\ufffd湿疹"
    assert dict(tokenizer(broken)) == dict(tokenizer(readable))
    assert dict(tokenizer(["炎", broken], [broken, "炎"])) == dict(tokenizer(["炎", readable], [readable, "炎"]))
    split = tokenizer([list(broken), ["炎"]], is_split_into_words=True)
    assert dict(split) == dict(tokenizer([list(readable), ["炎"]], is_split_into_words=True))


def test_an_added_character_stays_one_token(tokenizer, tmp_path):
    assert tokenizer.add_tokens(["腘", "皲"]) == 2
    ids = tokenizer("腘窝皲", return_offsets_mapping=True)
    assert ids["input_ids"][1] == len(VOCABULARY) and ids["input_ids"][3] == len(VOCABULARY) + 1
    assert ids["offset_mapping"][1:-1] == [(0, 1), (1, 2), (2, 3)]
    tokenizer.save_pretrained(tmp_path)
    assert AdnerTokenizer.from_pretrained(tmp_path)("腘窝皲")["input_ids"] == ids["input_ids"]


def test_a_longer_token_is_refused_unless_special(tokenizer):
    with pytest.raises(ValueError, match="cannot add '皮炎'"):
        tokenizer.add_tokens(["皮炎"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<e>"]})
    assert len(tokenizer("<e>")["input_ids"]) == 5


# ---- lexicon rows ------------------------------------------------------------------------------------------------


@given(
    st.lists(medical_texts, min_size=1, max_size=3),
    st.integers(4, 20),
    st.data(),
)
def test_windows_hold_the_words_of_the_whole_text(texts, max_length, data):
    tokenizer = TOKENIZERS[data.draw(st.booleans())]
    encoded = tokenizer(
        texts,
        truncation=True,
        max_length=max_length,
        stride=data.draw(st.integers(0, max_length - 3)),
        padding=data.draw(st.sampled_from([False, True, "max_length"])),
        padding_side=data.draw(sides),
        return_overflowing_tokens=True,
        return_attention_mask=data.draw(st.booleans()),
        add_special_tokens=data.draw(st.booleans()),
    )
    for index, sample in enumerate(encoded["overflow_to_sample_mapping"]):
        assert rows_of(encoded, index) == expected_rows(tokenizer, encoded.encodings[index], [[texts[sample]]])


@given(medical_texts, medical_texts, st.integers(6, 30), sides)
def test_pairs_have_the_words_of_both_texts(first, second, max_length, side):
    tokenizer = TOKENIZERS[True]
    encoded = tokenizer([first], [second], truncation=True, max_length=max_length, padding_side=side, padding=True)
    assert rows_of(encoded, 0) == expected_rows(tokenizer, encoded.encodings[0], [[first], [second]])
    tupled = tokenizer([(first, second)], truncation=True, max_length=max_length, padding_side=side, padding=True)
    assert dict(tupled) == dict(encoded)


@given(st.lists(medical_texts, max_size=8), st.integers(4, 30), sides)
def test_words_given_split_are_matched_as_written_together(words, max_length, side):
    tokenizer = TOKENIZERS[True]
    options = {"truncation": True, "max_length": max_length, "padding": "max_length", "padding_side": side}
    encoded = tokenizer([words, ["炎"]], is_split_into_words=True, stride=1, return_overflowing_tokens=True, **options)
    for index, sample in enumerate(encoded["overflow_to_sample_mapping"]):
        sequence = [*[words, ["炎"]][sample], "", ""]  # two empty words more: the reference then counts by word
        assert rows_of(encoded, index) == expected_rows(tokenizer, encoded.encodings[index], [sequence])


@given(medical_texts)
def test_a_text_split_into_characters_gives_what_the_text_gives(text):
    tokenizer = TOKENIZERS[True]
    assert dict(tokenizer(list(text), is_split_into_words=True)) == dict(tokenizer(text))


def test_split_pairs(tokenizer):
    split = tokenizer([["皮", "炎"]], [["湿", "疹"]], is_split_into_words=True)
    assert dict(split) == dict(tokenizer(["皮炎"], ["湿疹"]))
    assert dict(tokenizer([(["皮", "炎"], ["湿", "疹"])], is_split_into_words=True)) == dict(split)
    assert dict(tokenizer(["皮", "炎"], ["湿", "疹"], is_split_into_words=True)) == dict(tokenizer("皮炎", "湿疹"))


def test_a_string_is_no_list_of_words(tokenizer):
    with pytest.raises(ValueError, match="found a string"):
        tokenizer("皮炎", is_split_into_words=True)


def test_the_example_by_hand(tokenizer):
    encoded = tokenizer("湿疹、IGE")
    assert encoded["lexicon_ids"] == [4, 11, 7]
    assert encoded["lexicon_starts"] == [1, 4, 4]
    assert encoded["lexicon_ends"] == [3, 5, 7]


def test_a_text_without_words_has_one_padding_row(tokenizer):
    for text in ("", "红斑"):
        assert [tokenizer(text)[key] for key in LEXICON_KEYS] == [[0]] * 3
        tensors = tokenizer(text, return_tensors="pt")
        assert all(tensors[key].shape == (1, 1) and tensors[key].dtype == torch.long for key in LEXICON_KEYS)


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_tensors_are_padded(tokenizer, kind):
    lists = tokenizer([TEXT, "湿疹"], padding=True)
    tensors = tokenizer([TEXT, "湿疹"], padding=True, return_tensors=kind)
    assert lists.keys() == tensors.keys()
    assert all(tensors[key].tolist() == lists[key] for key in lists)
    assert len(lists["lexicon_ids"][1]) == len(lists["lexicon_ids"][0]) > 1
    single = tokenizer("湿疹", return_tensors=kind, return_length=True, return_offsets_mapping=True)
    stock = make_tokenizer()("湿疹", return_tensors=kind, return_length=True, return_offsets_mapping=True)
    assert {key: single[key].tolist() for key in stock} == {key: stock[key].tolist() for key in stock}


def test_without_lexicon_the_outputs_are_those_of_bert():
    assert set(make_tokenizer()("皮炎")) == {"input_ids", "token_type_ids", "attention_mask"}


def test_the_lexicon_can_be_changed(tokenizer, tmp_path):
    tokenizer.lexicon = None
    assert not set(LEXICON_KEYS) & (set(tokenizer("皮炎")) | set(tokenizer.model_input_names))
    tokenizer.lexicon = Lexicon(["红"])
    assert tokenizer("皮炎红")["lexicon_starts"] == [3]
    tokenizer.save_pretrained(tmp_path)
    assert AdnerTokenizer.from_pretrained(tmp_path).lexicon == Lexicon(["红"])
    with pytest.raises(TypeError, match="lexicon is list"):
        tokenizer.lexicon = ["皮炎"]


# ---- too long texts ----------------------------------------------------------------------------------------------


def test_truncation_error_refuses_what_would_be_cut(tokenizer):
    assert tokenizer("皮炎", truncation="error", max_length=4)["input_ids"] == tokenizer("皮炎")["input_ids"]
    with pytest.raises(ValueError, match="text 1 has 5 tokens, expected at most 4"):
        tokenizer(["皮", "皮炎。"], truncation="error", max_length=4, padding=True)
    with pytest.raises(ValueError, match="has 72 tokens, expected at most 64"):
        tokenizer("炎" * 70, truncation="error")


# ---- padding -----------------------------------------------------------------------------------------------------


@given(st.lists(medical_texts, min_size=1, max_size=4), sides, st.sampled_from([None, 8]), st.booleans())
def test_pad_equals_padding_while_encoding(texts, side, multiple, as_list):
    tokenizer = TOKENIZERS[True]
    encoded = tokenizer(texts)
    expected = tokenizer(texts, padding=True, padding_side=side, pad_to_multiple_of=multiple)
    examples = [{key: encoded[key][index] for key in encoded} for index in range(len(texts))]
    inputs = examples if as_list else encoded
    padded = tokenizer.pad(inputs, padding_side=side, pad_to_multiple_of=multiple)
    assert dict(padded) == dict(expected)


def test_pad_takes_tensors_and_single_examples(tokenizer):
    expected = tokenizer(["湿疹", TEXT], padding=True, return_tensors="pt")
    examples = [{key: torch.tensor(value) for key, value in tokenizer(text).items()} for text in ("湿疹", TEXT)]
    padded = tokenizer.pad(examples)
    assert all(torch.equal(padded[key], expected[key]) for key in expected)
    single = tokenizer.pad(tokenizer("湿疹"), padding="max_length", max_length=6, padding_side="left")
    assert single["lexicon_starts"] == [3] and single["lexicon_ends"] == [5] and len(single["input_ids"]) == 6
    assert tokenizer.pad(tokenizer(["湿疹", TEXT]), padding=False)["lexicon_ids"][0] == [4]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_stock_collator_pads_lexicon_rows(side):
    tokenizer = make_tokenizer(lexicon=LEXICON, padding_side=side)
    examples = [{**tokenizer(text), "labels": [0] * (len(text) + 2)} for text in ("湿疹", TEXT, "")]
    batch = DataCollatorForTokenClassification(tokenizer)(examples)
    expected = tokenizer(["湿疹", TEXT, ""], padding=True, return_tensors="pt")
    assert all(torch.equal(batch[key], expected[key]) for key in expected)
    assert batch["labels"].shape == batch["input_ids"].shape


# ---- decoding ----------------------------------------------------------------------------------------------------


def test_decoding_puts_nothing_between_characters(tokenizer):
    ids = tokenizer("特应性皮炎\tIgE 160，热")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "特应性皮炎 ige 160，"
    assert tokenizer.decode(ids) == "[CLS]特应性皮炎 ige 160，[UNK][SEP]"


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_the_word_of_the_stock_pipeline_is_the_text(strategy):
    tokenizer = make_tokenizer(model_max_length=16)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.intermediate_size, config.id2label = 8, {0: "O", 1: "I-Disease"}
    model = BertForTokenClassification(config).eval()
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    tagger = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy, stride=4)
    text = "特应性皮炎，热160，外用他克莫司软膏后好转。"
    found = tagger(text)
    assert "".join(entity["word"] for entity in found).startswith(text[:14])
    assert all(entity["word"] == text[entity["start"] : entity["end"]] for entity in found)


# ---- loading and saving ------------------------------------------------------------------------------------------


def test_a_repository_with_only_a_vocabulary_loads(bert_directory, tokenizer):
    loaded = AdnerTokenizer.from_pretrained(bert_directory, lexicon=LEXICON)
    assert dict(loaded(TEXT)) == dict(tokenizer(TEXT))
    assert loaded.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_a_repository_of_a_bert_tokenizer_loads(bert_directory, tmp_path, do_lower_case):
    stock = BertTokenizer.from_pretrained(bert_directory, do_lower_case=do_lower_case, model_max_length=77)
    stock.save_pretrained(tmp_path / "stock")
    assert not (tmp_path / "stock" / "vocab.txt").exists()
    loaded = AdnerTokenizer.from_pretrained(tmp_path / "stock")
    assert loaded(TEXT)["input_ids"] == make_tokenizer(do_lower_case)(TEXT)["input_ids"]
    assert (loaded.do_lower_case, loaded.model_max_length, len(loaded)) == (do_lower_case, 77, len(stock))


@pytest.mark.parametrize("do_lower_case", [True, False])
@pytest.mark.parametrize("lexicon", [None, LEXICON])
def test_saved_tokenizers_come_back_equal(tmp_path, do_lower_case, lexicon):
    tokenizer = make_tokenizer(do_lower_case, lexicon, model_max_length=99, padding_side="left")
    tokenizer(TEXT, truncation=True, max_length=9, padding="max_length")  # must not be saved as a default
    files = tokenizer.save_pretrained(tmp_path)
    assert any(file.endswith("lexicon.json") for file in files) == (lexicon is not None)
    loaded = AdnerTokenizer.from_pretrained(tmp_path)
    assert dict(loaded(TEXT)) == dict(tokenizer(TEXT))
    assert (loaded.lexicon, loaded.do_lower_case) == (lexicon, do_lower_case)
    assert (loaded.model_max_length, loaded.padding_side) == (99, "left")
    assert loaded.model_input_names == tokenizer.model_input_names
    loaded.save_pretrained(tmp_path / "again")
    assert dict(AdnerTokenizer.from_pretrained(tmp_path / "again")(TEXT)) == dict(tokenizer(TEXT))


def test_a_promised_lexicon_must_be_there(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    Lexicon(["皮炎"]).save(tmp_path / "lexicon.json")
    with pytest.raises(ValueError, match="lexicon_hash of tokenizer_config.json is"):
        AdnerTokenizer.from_pretrained(tmp_path)
    (tmp_path / "lexicon.json").unlink()
    with pytest.raises(ValueError, match=r"lexicon.json is missing"):
        AdnerTokenizer.from_pretrained(tmp_path)
    assert AdnerTokenizer.from_pretrained(tmp_path, lexicon=LEXICON).lexicon == LEXICON


def test_saving_without_lexicon_leaves_none_behind(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    assert not (tmp_path / "lexicon.json").exists()
    assert AdnerTokenizer.from_pretrained(tmp_path).lexicon is None


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"lacks the special tokens \['\[SEP\]', '\[CLS\]'\]"):
        AdnerTokenizer({"[PAD]": 0, "[UNK]": 1, "皮": 2})
    with pytest.raises(ValueError, match="no vocabulary"):
        AdnerTokenizer()
    assert AdnerTokenizer({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}).mask_token is None


def test_pickles_and_copies_encode_alike(tokenizer):
    expected = dict(tokenizer(TEXT))
    for duplicate in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert dict(duplicate(TEXT)) == expected
        assert duplicate.lexicon == tokenizer.lexicon


def test_datasets_hash_the_tokenizer_alike_after_use(tokenizer):
    before = Hasher.hash(tokenizer)
    tokenizer(TEXT)
    assert Hasher.hash(tokenizer) == before


def test_datasets_map_in_two_processes(tokenizer):
    texts = ["", TEXT, "湿疹", "红斑"] * 4
    options = {"batched": True, "batch_size": 2}
    dataset = Dataset.from_dict({"text": texts})
    mapped = dataset.map(lambda batch: tokenizer(batch["text"]), num_proc=2, **options)
    encoded = tokenizer(texts)
    assert all(mapped[key][:] == encoded[key] for key in encoded)


@pytest.mark.slow
def test_auto_tokenizer_finds_the_class_without_the_package(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["auto_map"] == {
        "AutoTokenizer": ["tokenization_adner.AdnerTokenizer", None]
    }
    code = (
        "import sys, json; from transformers import AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)\n"
        "assert 'hf_adner' not in sys.modules, 'the package was imported'\n"
        f"print(json.dumps(dict(tokenizer({TEXT!r}))))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == dict(tokenizer(TEXT))
    assert type(AutoTokenizer.from_pretrained(tmp_path)).__name__ == "AdnerTokenizer"


# ---- from_texts --------------------------------------------------------------------------------------------------


def test_a_vocabulary_is_made_of_the_texts():
    texts = ["皮炎皮疹 IgE\ud800", "皮 炎i"]
    tokenizer = AdnerTokenizer.from_texts(texts, lexicon=LEXICON, model_max_length=50)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    assert tokens == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", SPACE, "皮", "i", "炎", "e", "g", "疹", "\ufffd"]
    assert tokenizer.unk_token_id not in tokenizer(texts[0])["input_ids"]
    assert (tokenizer.lexicon, tokenizer.model_max_length) == (LEXICON, 50)
    assert AdnerTokenizer.from_texts(texts[::-1]).get_vocab() == tokenizer.get_vocab()


def test_rare_characters_and_case_of_a_made_vocabulary():
    assert set(AdnerTokenizer.from_texts(["皮炎皮"], min_count=2).get_vocab()) == {*SPECIALS, SPACE, "皮"} - {
        "[unused1]",
        "[unused2]",
    }
    assert "I" in AdnerTokenizer.from_texts(["I"], do_lower_case=False).get_vocab()


# ---- real data ---------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_a_real_encoder_and_word_list(data_dir):
    lexicon = Lexicon.from_file(data_dir / "lexicon" / "medical_words.tsv")
    tokenizer = AdnerTokenizer.from_pretrained(data_dir / "encoders" / "e5-small-zh-char", lexicon=lexicon)
    assert (len(tokenizer), tokenizer.model_max_length, tokenizer.do_lower_case) == (8266, 512, False)
    encoded = tokenizer("特应性皮炎 DLQI")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][1:-1]) == [*"特应性皮炎", SPACE, *"DLQI"]
    words = [lexicon.words[word - 1] for word in encoded["lexicon_ids"]]
    assert {"特应性皮炎", "皮炎"} <= set(words)
