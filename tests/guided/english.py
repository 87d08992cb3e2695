"""English notes written for the tests, and stock models with word pieces or byte pairs."""

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
)

from hf_adner.data.records import Document, Entity
from hf_adner.model.labels_adner import bio_labels

NOTES = (
    ("The patient has severe eczema on both arms and dry skin .", ("severe eczema", "Disease"),
     ("dry skin", "Symptom")),
    ("No fever today , but the itching came back after swimming .", ("itching", "Symptom")),
    ("Her asthma was treated years ago ; now psoriasis is suspected .", ("asthma", "Disease"),
     ("psoriasis", "Disease")),
    ("Red patches and itching on the neck , likely eczema .", ("Red patches", "Symptom"), ("itching", "Symptom"),
     ("eczema", "Disease")),
    ("He uses a mild cream every evening and sleeps well .",),
    ("Dry skin in winter , and asthma in spring .", ("Dry skin", "Symptom"), ("asthma", "Disease")),
    ("The rash on her legs looks like psoriasis to me .", ("rash", "Symptom"), ("psoriasis", "Disease")),
    ("Eczema since childhood with itching at night .", ("Eczema", "Disease"), ("itching", "Symptom")),
)  # fmt: skip

MODELS = {
    "bert": {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32},
    "roberta": {
        "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32,
        "max_position_embeddings": 66, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
    },
    "electra": {
        "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32,
        "embedding_size": 16,
    },
    "distilbert": {"n_layers": 1, "n_heads": 2, "dim": 32, "hidden_dim": 32},
}  # fmt: skip


def documents() -> list[Document]:
    """Return the notes with their entities."""
    notes = []
    for number, (text, *entities) in enumerate(NOTES):
        places = [(text.index(word), word, label) for word, label in entities]
        spans = tuple(Entity(start, start + len(word), label) for start, word, label in places)
        notes.append(Document(f"english-{number}", text, spans))
    return notes


def tokenizer(folder: Path) -> BertTokenizer:
    """Return a tokenizer with pieces of at most four letters, so that most words have several."""
    words = sorted({word for text, *_ in NOTES for word in text.lower().split()})
    pieces = {word[:4] for word in words} | {
        f"##{word[at : at + 4]}" for word in words for at in range(4, len(word), 4)
    }
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(pieces)]) + "\n", encoding="utf-8"
    )
    return BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True, model_max_length=64)


def byte_tokenizer() -> RobertaTokenizer:
    """Return a byte-level BPE tokenizer trained on the notes; a token may begin with the space before it."""
    learned = ByteLevelBPETokenizer(add_prefix_space=False)
    special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    learned.train_from_iterator([text for text, *_ in NOTES], vocab_size=330, min_frequency=1, special_tokens=special)
    state = json.loads(learned.to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    return RobertaTokenizer(vocab=state["vocab"], merges=merges, model_max_length=64)


def model(kind: str, words: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return a stock token classifier with random weights and no dropout."""
    names = bio_labels(["Disease", "Symptom"])
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(words),
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        **{"max_position_embeddings": 64, **MODELS[kind]},
    )
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.classifier_dropout = config.seq_classif_dropout = 0.0
    torch.manual_seed(0)
    return AutoModelForTokenClassification.from_config(config)
