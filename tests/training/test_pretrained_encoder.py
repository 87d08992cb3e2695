"""Encoders of pretraining runs: with and without head, with the wrong vocabulary, and their folders."""

import logging

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertModel

from hf_adner.model.tokenization_adner import SPACE, UNUSED, AdnerTokenizer
from hf_adner.pretraining.run import block_length, load_masked_lm, make_masked_lm, save_vocabulary

VOCABULARY = ["[PAD]", UNUSED, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"面部红斑伴瘙痒"]


def config(**options) -> BertConfig:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(**{"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, **small, **options})


@pytest.fixture
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer({token: index for index, token in enumerate(VOCABULARY)})


def test_a_missing_head_is_made_and_told_and_an_existing_one_kept(tmp_path, tokenizer, caplog):
    encoder = BertModel(config())
    encoder.save_pretrained(tmp_path / "encoder")
    with caplog.at_level(logging.WARNING):
        model = load_masked_lm(str(tmp_path / "encoder"), tokenizer)
    assert "no masked-language-model head" in caplog.text
    assert torch.equal(model.bert.encoder.layer[1].output.dense.weight, encoder.encoder.layer[1].output.dense.weight)
    model.save_pretrained(tmp_path / "headed")
    caplog.clear()
    again = load_masked_lm(str(tmp_path / "headed"), tokenizer)
    assert "head" not in caplog.text
    assert torch.equal(again.cls.predictions.transform.dense.weight, model.cls.predictions.transform.dense.weight)


def test_layers_are_cut_and_not_made_up(tmp_path, tokenizer):
    BertModel(config()).save_pretrained(tmp_path)
    assert len(load_masked_lm(str(tmp_path), tokenizer, layers=1).bert.encoder.layer) == 1
    with pytest.raises(ValueError, match="encoder_layers=3, expected 1 to 2"):
        load_masked_lm(str(tmp_path), tokenizer, layers=3)


def test_a_vocabulary_of_another_encoder_is_refused(tmp_path, tokenizer):
    BertModel(config(vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="id 12, but the encoder only 9 embeddings"):
        load_masked_lm(str(tmp_path), tokenizer)


def test_weights_that_lack_layers_are_refused(tmp_path, tokenizer):
    BertModel(config(num_hidden_layers=1)).save_pretrained(tmp_path)
    config(num_hidden_layers=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \d+ weights of the encoder, the first is bert\.encoder\.layer\.1"):
        load_masked_lm(str(tmp_path), tokenizer)


def test_the_vocabulary_is_written_as_bert_has_it(tmp_path, tokenizer):
    model = make_masked_lm(tokenizer, 32, 1, 0)
    model.save_pretrained(tmp_path)
    save_vocabulary(tokenizer, tmp_path, max_length=64)
    assert (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines() == VOCABULARY
    again, stock = AdnerTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert (
        again.get_vocab() == tokenizer.get_vocab()
        and again(["红 斑"])["input_ids"] == tokenizer(["红 斑"])["input_ids"]
    )
    assert stock("面部红斑")["input_ids"] == tokenizer("面部红斑")["input_ids"] and stock.mask_token_id == 5
    assert AutoModel.from_pretrained(tmp_path).config.vocab_size == len(VOCABULARY)
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path)) is type(model)


def test_a_vocabulary_from_text_survives_too(tmp_path):
    made = AdnerTokenizer.from_texts(["红 斑"])
    save_vocabulary(made, tmp_path, max_length=64)
    make_masked_lm(made, 32, 1, 0).config.save_pretrained(tmp_path)
    again = AdnerTokenizer.from_pretrained(tmp_path)
    assert again("红 斑x")["input_ids"] == made("红 斑x")["input_ids"] and SPACE in again.get_vocab()


def test_blocks_are_no_longer_than_the_encoder():
    assert block_length(None, config()) == 64 and block_length(16, config()) == 16
    assert block_length(None, config(max_position_embeddings=2048)) == 512
    with pytest.raises(ValueError, match="max_length=65, but the encoder has only 64 positions"):
        block_length(65, config())
