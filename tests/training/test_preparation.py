"""Splits, lexicon, tokenizer and model of a run, built from its arguments."""

from dataclasses import replace

import pytest
import torch
from transformers import BertConfig, BertModel

from hf_adner.training.arguments import DatasetArguments
from hf_adner.training.preparation import (
    build_lexicon,
    build_model,
    build_tokenizer,
    entity_types_of,
    load_splits,
    parse_overrides,
    sample,
)

from ..corpora import tiny_model, write_corpus


@pytest.fixture
def arguments(tmp_path) -> DatasetArguments:
    return write_corpus(tmp_path)


def test_the_validation_share_is_the_same_every_time(arguments):
    splits = load_splits(arguments)
    assert {name: len(split) for name, split in splits.items()} == {"train": 24, "validation": 8, "test": 8}
    assert not set(splits["train"]["id"]) & set(splits["validation"]["id"])
    assert load_splits(arguments)["validation"]["id"] == splits["validation"]["id"]


def test_groups_stay_in_one_split(arguments):
    arguments.group_key = "patient"
    splits = load_splits(arguments)
    patients = [set(splits[name]["meta"]) for name in ("train", "validation")]
    assert patients[0] and patients[1] and not patients[0] & patients[1]


def test_a_share_of_zero_holds_out_nothing(arguments):
    arguments.validation_share = 0.0
    assert set(load_splits(arguments)) == {"train", "test"}


def test_samples_are_fixed_and_in_order(arguments):
    train = load_splits(arguments)["train"]
    assert sample(train, 5, 1)["id"] == sample(train, 5, 1)["id"] != sample(train, 5, 2)["id"]
    places = [train["id"].index(name) for name in sample(train, 5, 1)["id"]]
    assert places == sorted(places)
    assert sample(train, 99, 0) is train
    arguments.max_train_documents, arguments.max_test_documents = 10, 3
    splits = load_splits(arguments)
    assert (len(splits["train"]), len(splits["test"])) == (10, 3)


def test_a_folder_without_training_split_is_refused(tmp_path, arguments):
    (tmp_path / "train.jsonl").rename(tmp_path / "dev.jsonl")
    with pytest.raises(ValueError, match="no training split"):
        load_splits(DatasetArguments(str(tmp_path)))


def test_entity_types_come_from_training_and_validation_documents(arguments, caplog):
    splits = load_splits(arguments)
    assert entity_types_of(splits) == ["Disease", "Symptom"] and not caplog.records
    other = [{"start": 0, "end": 2, "label": "Drug", "text": "患者", "meta": "{}"}]
    for name in ("validation", "test"):
        changed = {**splits, name: splits[name].map(lambda row: {"entities": other})}
        assert ("Drug" in entity_types_of(changed)) == (name == "validation")
        assert f"the {name} split has entities of types that no training document has" in caplog.text
    entity_types_of({**splits, "validation": splits["validation"].map(lambda row: {"entities": []})})
    assert "the validation split has no entity" in caplog.text
    with pytest.raises(ValueError, match="none of the 24 training documents has an entity"):
        entity_types_of({**splits, "train": splits["train"].map(lambda row: {"entities": []})})


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_shares_out_of_range_are_refused(share, arguments):
    with pytest.raises(ValueError, match=rf"--validation-share\) is {share}, expected 0 or more and less than 1"):
        load_splits(replace(arguments, validation_share=share))


@pytest.mark.parametrize(("share", "lost"), [(0.001, "validation"), (0.999, "train")])
def test_a_share_that_leaves_a_split_empty_is_refused(share, lost, arguments):
    with pytest.raises(ValueError, match=f"of 32 documents none is left for {lost}; .*--validation"):
        load_splits(replace(arguments, validation_share=share))


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("name", ["max_train_documents", "max_validation_documents", "max_test_documents"])
def test_samples_of_nothing_are_refused(name, size, arguments):
    with pytest.raises(ValueError, match=f"a sample of {size} documents .*expected 1 or more"):
        load_splits(replace(arguments, **{name: size}))


WRONG = {
    "field": ({"config_overrides": "foo=1"}, "AdnerConfig has no field 'foo'"),
    "type": ({"config_overrides": "bilstm_size=a"}, "configuration is invalid .*bilstm_size"),
    "layers": ({"encoder_layers": 0}, r"--encoder-layers\) is 0, expected 1 or more"),
    "size": ({"encoder_size": 0}, r"--encoder-size\) is 0, expected 1 or more"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_model_arguments_are_named(wrong, arguments):
    options, told = WRONG[wrong]
    args = tiny_model(lexicon=None, **options)
    with pytest.raises(ValueError, match=told):
        build_model(args, build_tokenizer(args, load_splits(arguments)["train"]), ["Disease"])


def test_lexicons_are_joined_and_counted(tmp_path, arguments):
    train = load_splits(arguments)["train"]
    (tmp_path / "words.txt").write_text("患者\n发热\n", encoding="utf-8")
    spec = f"{tmp_path / 'words.txt'}+train"
    lexicon = build_tokenizer(tiny_model(lexicon=spec), train).lexicon
    frequency = dict(zip(lexicon.words, lexicon.frequencies, strict=True))
    assert {"患者", "发热", "瘙痒"} <= set(frequency)
    assert frequency["患者"] == 24 and frequency["发热"] == 0
    uncounted = build_tokenizer(tiny_model(lexicon=spec, lexicon_counts=False), train).lexicon
    assert uncounted == build_lexicon(spec, train) and uncounted.words == lexicon.words
    assert build_tokenizer(tiny_model(lexicon=None), train).lexicon is None
    assert "特应性皮炎" in build_lexicon("ad", train).words
    rare = build_tokenizer(tiny_model(lexicon=spec, lexicon_min_documents=25), train).lexicon
    assert not any(rare.frequencies)


def test_encoder_layers_keeps_the_first_layers(tmp_path, arguments):
    train = load_splits(arguments)["train"]
    tokenizer = build_tokenizer(tiny_model(lexicon=None), train)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
    )
    encoder = BertModel(config)
    encoder.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    args = tiny_model(encoder=str(tmp_path / "encoder"), encoder_layers=2, encoder_dropout=0.25, lexicon=None)
    model = build_model(args, build_tokenizer(args, train), ["Disease"])
    layers = model.adner.encoder.encoder.layer
    assert len(layers) == 2 and model.config.encoder_config.hidden_dropout_prob == 0.25
    assert torch.equal(layers[1].output.dense.weight, encoder.encoder.layer[1].output.dense.weight)
    args.encoder_layers = 4
    with pytest.raises(ValueError, match="the encoder has only 3"):
        build_model(args, tokenizer, ["Disease"])


def test_word_vectors_set_the_embedding_size_and_need_a_lexicon(tmp_path, arguments):
    train = load_splits(arguments)["train"]
    (tmp_path / "vectors.txt").write_text("瘙痒 1 0 2\n红斑 0 1 3\n", encoding="utf-8")
    args = tiny_model(word_vectors=str(tmp_path / "vectors.txt"))
    tokenizer = build_tokenizer(args, train)
    model = build_model(args, tokenizer, ["Disease"])
    row = model.adner.dual_stream.lexicon.word_embeddings.weight[tokenizer.lexicon.words.index("瘙痒") + 1]
    assert row.tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="word_vectors needs a lexicon"):
        build_model(args, build_tokenizer(tiny_model(lexicon=None), train), ["Disease"])


def test_overrides_are_parsed_with_types():
    assert parse_overrides("stream_size=128, head_dropout=0.5") == {"stream_size": 128, "head_dropout": 0.5}
    parsed = parse_overrides("word_layer=transformer,use_graph=false,lexicon_hash=none")
    assert parsed == {"word_layer": "transformer", "use_graph": False, "lexicon_hash": None}
    assert parse_overrides(None) == {}
    with pytest.raises(ValueError, match="name=value"):
        parse_overrides("stream_size")


@pytest.mark.parametrize(
    ("architecture", "lexicon", "told"),
    [
        ("m-dscmg", None, "reads dictionary words, and there is no lexicon (--lexicon)"),
        ("m-dscmg-no-attention", None, "reads dictionary words"),
        ("m-dscmg", "ad", None),
        ("bert-crf", None, None),
        ("bert-crf", "ad", "does not read the words of the lexicon ad"),
    ],
)
def test_a_lexicon_that_is_missing_or_not_read_is_told(architecture, lexicon, told, arguments, caplog):
    args = tiny_model(architecture=architecture, lexicon=lexicon)
    train = load_splits(arguments)["train"]
    build_model(args, build_tokenizer(args, train), ["Symptom"])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [told in text for text in warnings] == [True] * (told is not None)
