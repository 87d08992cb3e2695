"""Model families of a comparison."""

import pytest
import torch
from transformers import BertConfig, BertModel

from hf_adner import AdnerForTokenClassification
from hf_adner.comparison.arms import FAMILIES, STOCK, family_arguments, family_model, family_tokenizer
from hf_adner.data.dataset import dataset_from_documents

from .corpus import note, tiny_model

TYPES = ["Disease", "Symptom"]


@pytest.fixture(scope="module")
def train():
    return dataset_from_documents(map(note, range(8)))


@pytest.mark.parametrize("family", [STOCK, "bert-crf", "bilstm-crf", "m-dscmg"])
def test_every_family_reads_the_same_characters(family, train):
    args = tiny_model()
    tokenizer = family_tokenizer(args, family, train)
    model = family_model(args, family, tokenizer, TYPES)
    assert (tokenizer.lexicon is not None) == (family == "m-dscmg")
    assert isinstance(model, AdnerForTokenClassification) == (family != STOCK)
    text = note(1).text
    batch = tokenizer([text], return_tensors="pt")
    with torch.no_grad():
        assert model(**batch).logits.shape == (1, len(text) + 2, 5)
    assert model.config.id2label[1] == "B-Disease" and model.config.label2id["I-Symptom"] == 4


def test_the_stock_classifier_stands_on_the_pretrained_encoder(train, tmp_path):
    tokenizer = family_tokenizer(tiny_model(), STOCK, train)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    encoder = BertModel(config)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    args = tiny_model(encoder=str(tmp_path), encoder_layers=2, encoder_dropout=0.0)
    model = family_model(args, STOCK, family_tokenizer(args, STOCK, train), TYPES)
    assert type(model).__name__ == "BertForTokenClassification" and len(model.bert.encoder.layer) == 2
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight)
    assert model.config.hidden_dropout_prob == 0.0 and model.num_labels == 5


def test_an_unknown_family_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="no model 'gpt'; there are stock, m-dscmg"):
        family_arguments(tiny_model(), "gpt")
    assert set(FAMILIES) > {"stock", "m-dscmg", "bilstm-crf"}
