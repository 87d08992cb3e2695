"""How many tokens a model takes: one function knows it, and every tokenizer of a checkpoint states it."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer
from hf_adner.data.dataset import dataset_from_documents
from hf_adner.data.encoding import encode_dataset
from hf_adner.data.records import Document
from hf_adner.model.encoders_adner import (
    NO_LIMIT,
    limit_tokenizer,
    longest_text,
    position_limit,
    token_limit,
)
from hf_adner.training.arguments import ModelArguments
from hf_adner.training.run import run_training

from ..corpora import note, quick, write_corpus

SMALL = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 24,
}
LIMITS = {  # encoder: settings, positions
    "bert": ({}, 24),
    "roberta": ({"pad_token_id": 1}, 22),
    "xlm-roberta": ({"pad_token_id": 5}, 18),
    "electra": ({"embedding_size": 16}, 24),
    "distilbert": ({"dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2}, 24),
    "roformer": ({"embedding_size": 16}, 24),
    "ibert": ({"pad_token_id": 1}, 22),
    "deberta-v2": ({}, 24),
    "deberta-v2 relative": ({"position_biased_input": False, "relative_attention": True}, None),
    "modernbert": ({"pad_token_id": 0, "global_attn_every_n_layers": 1}, None),
}


def small_config(kind: str, **options):
    settings, _ = LIMITS[kind]
    return AutoConfig.for_model(kind.split()[0], **{**SMALL, **settings, **options})


@pytest.mark.parametrize("kind", LIMITS)
def test_a_model_takes_as_many_tokens_as_it_has_absolute_positions(kind):
    model, expected = AutoModel.from_config(small_config(kind)).eval(), LIMITS[kind][1]
    assert position_limit(model) == expected
    with torch.no_grad():
        assert model(torch.full((1, expected or 60), 7)).last_hidden_state.isfinite().all()
        if expected is not None:
            with pytest.raises((IndexError, RuntimeError, ValueError)):
                model(torch.full((1, expected + 1), 7))


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "deberta-v2 relative", None])
def test_a_tokenizer_states_what_the_model_takes(kind, tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    encoder = None if kind is None else small_config(kind).to_dict()
    architecture = "bilstm-crf" if kind is None else "bert-crf"
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], architecture, encoder_config=encoder)
    limit = None if kind is None else LIMITS[kind][1]
    assert token_limit(model, tokenizer) == limit
    limit_tokenizer(tokenizer, model)
    assert longest_text(model, tokenizer) == (limit and limit - 2)
    assert tokenizer.model_max_length == limit if limit else tokenizer.model_max_length >= NO_LIMIT
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for state in ("stated", "not stated"):
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert loaded.model_max_length == tokenizer.model_max_length, state
        forget_limit(tmp_path)


def test_the_encoders_limit_is_that_of_a_tokenizer_made_from_it(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    AutoModel.from_config(small_config("bert")).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert AdnerTokenizer.from_pretrained(tmp_path).model_max_length == 24
    tokenizer = AdnerTokenizer.from_texts(["面部红斑"])
    AdnerForTokenClassification.from_encoder_pretrained(str(tmp_path), tokenizer, ["Symptom"], "bert-crf")
    assert tokenizer.model_max_length == 24


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "adner"}', '{"model_type": "gone"}', "[]"])
def test_a_tokenizer_loads_without_a_model_beside_it(content, tmp_path):
    AdnerTokenizer.from_texts(["面部红斑"]).save_pretrained(tmp_path)
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert AdnerTokenizer.from_pretrained(tmp_path).model_max_length >= NO_LIMIT


def test_a_smaller_limit_of_the_tokenizer_stays(tmp_path):
    model = AutoModel.from_config(small_config("bert"))
    model.save_pretrained(tmp_path)
    AdnerTokenizer.from_texts(["面部红斑"], model_max_length=9).save_pretrained(tmp_path)
    loaded = AdnerTokenizer.from_pretrained(tmp_path)
    limit_tokenizer(loaded, model)
    assert loaded.model_max_length == 9


def forget_limit(folder) -> None:
    """Make a tokenizer's file one of those that state no limit."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "model_max_length": int(1e30)}), encoding="utf-8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """What the training command writes, trained until it is sure of its entities."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ModelArguments(architecture="bert-crf", encoder_size=32, encoder_layers=1, encoder_dropout=0.0)
    training = quick(folder / "run", max_steps=60, learning_rate=5e-3)
    run_training(write_corpus(folder), arguments, training)
    return folder / "run" / "model"


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("length", [527, 5000])
def test_the_stock_pipeline_reads_long_texts_of_a_trained_checkpoint(checkpoint, length, stated):
    if not stated:
        forget_limit(checkpoint)
    text = "".join(note(number).text for number in range(300))[:length]
    stock = pipeline("token-classification", model=str(checkpoint), aggregation_strategy="simple", stride=64)
    assert stock.tokenizer.model_max_length == 512
    ours = pipeline("adner-ner", model=str(checkpoint))
    spans = [[(found["start"], found["end"], found["entity_group"]) for found in pipe(text)] for pipe in (ours, stock)]
    common = set(spans[0]) & set(spans[1])
    assert len(spans[0]) > length / 20 and len(common) > 0.95 * max(map(len, spans))


def test_the_default_window_fits_the_model_of_a_trained_checkpoint(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AdnerForTokenClassification.from_pretrained(checkpoint)
    dataset = dataset_from_documents([Document("long", "面部红斑。" * 300)])
    encoded = encode_dataset(dataset, tokenizer, model.config.label2id)
    assert max(map(len, encoded["input_ids"])) == 512 and len(encoded) == 4
    with pytest.raises(ValueError, match=r"max_length \(--max-length\) is 513 tokens, but .* at most 512"):
        encode_dataset(dataset, tokenizer, model.config.label2id, max_length=513)
    assert AdnerPipeline(model, tokenizer, device="cpu")("面部红斑。" * 300) is not None
