"""AdnerConfig: the named switches, what follows from them, and what is refused."""

import json

import pytest

from hf_adner import AdnerConfig, AdnerModel
from hf_adner.model.configuration_adner import ARCHITECTURES

LABELS = {0: "O", 1: "B-x", 2: "I-x", 3: "B-y", 4: "I-y"}
SWITCHES = list(ARCHITECTURES["m-dscmg"])


def switched_on(config: AdnerConfig) -> set[str]:
    return {name.removeprefix("use_") for name in SWITCHES if getattr(config, name)}


@pytest.mark.parametrize(
    ("architecture", "parts"),
    [
        ("m-dscmg", "encoder dual_stream self_attention graph lexicon_edges crf"),
        ("m-dscmg-no-dual-stream", "encoder self_attention graph crf"),
        ("m-dscmg-no-attention", "encoder dual_stream graph lexicon_edges crf"),
        ("m-dscmg-no-graph", "encoder dual_stream self_attention crf"),
        ("bert-crf", "encoder crf"),
        ("bert-bilstm-crf", "encoder bilstm crf"),
        ("bert-att-crf", "encoder self_attention crf"),
        ("bert-softmax", "encoder"),
        ("bilstm-crf", "bilstm crf"),
    ],
)
def test_architectures_switch_on(architecture, parts, encoder_config):
    config = AdnerConfig(architecture=architecture, encoder_config=encoder_config, num_stream_heads=2)
    assert switched_on(config) == set(parts.split())
    assert config.needs_lexicon == ("dual_stream" in parts)
    assert (config.encoder_config is None) == ("encoder" not in parts)


def test_every_architecture_has_every_switch():
    assert all(list(switches) == SWITCHES for switches in ARCHITECTURES.values())


def test_a_switch_given_by_itself_overrides_the_name(encoder_config):
    config = AdnerConfig(architecture="bert-crf", encoder_config=encoder_config, use_bilstm=True, use_crf=False)
    assert switched_on(config) == {"encoder", "bilstm"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saving_and_loading_changes_nothing(architecture, encoder_config, sizes, tmp_path):
    config = AdnerConfig(
        architecture=architecture, encoder_config=encoder_config, id2label=LABELS, lexicon_hash="abc", **sizes
    )
    config.save_pretrained(tmp_path)
    loaded = AdnerConfig.from_pretrained(tmp_path)
    assert {**loaded.to_dict(), "_name_or_path": ""} == {**config.to_dict(), "_name_or_path": ""}
    assert loaded.labels == ["O", "B-x", "I-x", "B-y", "I-y"] and loaded.entity_types == ["x", "y"]


def test_states_follow_head_and_scheme():
    def states(**kwargs):
        return AdnerConfig(architecture="bilstm-crf", id2label=LABELS, **kwargs).states

    assert len(states()) == 9 and states()[1:5] == ["B-x", "I-x", "E-x", "S-x"]
    assert states(tag_scheme="bio") == list(LABELS.values())
    assert states(use_crf=False) == list(LABELS.values())


def test_labels_may_come_as_label2id():
    config = AdnerConfig(architecture="bilstm-crf", label2id={label: index for index, label in LABELS.items()})
    assert config.id2label == LABELS
    assert AdnerConfig(architecture="bilstm-crf").labels == ["O"]


def test_widths(encoder_config):
    def width(**kwargs):
        config = AdnerConfig(encoder_config=encoder_config, num_stream_heads=2, **kwargs)
        return config.hidden_size, config.fused_size, config.output_size

    assert width(architecture="m-dscmg", stream_size=12) == (16, 12, 12)
    assert width(architecture="m-dscmg", stream_size=None) == (16, 16, 16)
    assert width(architecture="m-dscmg", stream_size=12, use_bilstm=True, bilstm_size=10) == (16, 12, 10)
    assert width(architecture="bert-crf", stream_size=12) == (16, 16, 16)
    assert width(architecture="bilstm-crf", character_embedding_size=8, bilstm_size=10) == (8, 8, 10)


def test_vocabulary_size_lives_where_the_embedding_does(encoder_config):
    config = AdnerConfig(encoder_config={**encoder_config, "vocab_size": 77}, num_stream_heads=2)
    config.vocab_size += 1
    assert config.encoder_config.vocab_size == 78 and config.character_vocab_size == 0
    config = AdnerConfig(architecture="bilstm-crf", character_vocab_size=5)
    config.vocab_size += 1
    assert config.character_vocab_size == 6


def test_the_encoder_may_be_of_any_family():
    config = AdnerConfig(encoder_config={"model_type": "distilbert", "dim": 24}, num_stream_heads=2)
    assert type(config.encoder_config).__name__ == "DistilBertConfig" and config.hidden_size == 24
    assert AdnerConfig().encoder_config.model_type == "bert"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "m-dscgm"}, "architecture='m-dscgm' is unknown; expected one of .*m-dscmg"),
        ({"tag_scheme": "iob"}, "tag_scheme='iob' is unknown"),
        ({"lexicon_pooling": "max"}, "lexicon_pooling='max' is unknown"),
        ({"stream_fusion": "sum"}, "stream_fusion='sum' is unknown"),
        ({"word_layer": "gru"}, "word_layer='gru' is unknown"),
        ({"id2label": {0: "B-x", 1: "I-x", 2: "O"}}, "label 0 must be 'O', found 'B-x'"),
        ({"id2label": {0: "O", 1: "B-x", 2: "E-x"}}, "'E-x' is not BIO"),
        ({"id2label": {0: "O", 1: "x"}}, "'x' is neither 'O' nor"),
        ({"num_labels": 3}, "label 0 must be 'O', found|is neither 'O' nor|LABEL_0"),
        ({"id2label": {0: "O", 1: "B-x"}}, r"must contain each of \['O', 'B-x', 'I-x'\] once"),
        ({"id2label": {0: "O", 1: "B-x", 2: "I-x", 3: "I-x"}}, "must contain each of"),
        ({"id2label": {0: "O", 2: "B-x", 3: "I-x"}}, r"without a gap, found \[0, 2, 3\]"),
        ({"id2label": {}}, r"without a gap, found \[\]"),
        ({"id2label": LABELS, "label2id": {"O": 0}}, "label2id is not the inverse"),
        ({"architecture": "bert-crf", "use_lexicon_edges": True}, "use_lexicon_edges=True needs use_graph=True"),
        ({"num_stream_heads": 5}, "num_stream_heads=5 does not divide the width 256"),
        ({"architecture": "bert-att-crf", "num_stream_heads": 3}, "num_stream_heads=3 does not divide the width 16"),
        ({"num_stream_heads": 0}, "num_stream_heads must be 1 to 2147483647, found 0"),
        ({"graph_rounds": 0}, "graph_rounds must be 1 to 2147483647, found 0"),
        ({"lexicon_size": -1}, "lexicon_size must be 0 to"),
        ({"lexicon_embedding_size": 10**30}, "lexicon_embedding_size must be 1 to"),
        ({"stream_size": 0}, r"stream_size must be 1 to \d+ \(or null\), found 0"),
        ({"bilstm_size": 9}, "bilstm_size must be even and 2 to 2147483647, found 9"),
        (
            {"encoder_config": {"model_type": "bert", "num_hidden_layers": -1}},
            "num_hidden_layers of encoder_config is -1",
        ),
        ({"format_version": "x"}, "format_version must be a version such as '1.2', found 'x'"),
        ({"dtype": -1}, "dtype must be a type of torch, such as 'float32', found -1"),
        ({"head_dropout": 1.0}, r"head_dropout must be in \[0, 1\), found 1.0"),
    ],
)
def test_contradictions_are_refused(fields, message, encoder_config):
    with pytest.raises(ValueError, match=message):
        AdnerConfig(**{"encoder_config": encoder_config, **fields})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph_rounds": "two"}, "Validation error for field 'graph_rounds'"),
        ({"architecture": ["m-dscmg"]}, "Validation error for field 'architecture'"),
        ({"model_type": "bert"}, "model_type is 'bert', expected 'adner'"),
        ({"id2label": {"zero": "O"}}, "invalid literal"),
        ({"id2label": {"0": "O", "1": 5, "2": "I-x"}}, "id2label must map ids to strings"),
        ({"encoder_config": {"model_type": "nonsense"}}, "nonsense"),
    ],
)
def test_a_file_with_wrong_values_is_named(change, message, encoder_config, tmp_path):
    AdnerConfig(encoder_config=encoder_config).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **change}), encoding="utf-8")
    for load in (AdnerConfig.from_pretrained, AdnerModel.from_pretrained):
        with pytest.raises(ValueError, match=rf"{tmp_path}: config.json cannot be read: .*{message}"):
            load(tmp_path)


def test_an_architecture_without_encoder_needs_a_vocabulary():
    for sizes in ({}, {"character_vocab_size": 3, "pad_token_id": 3}):
        with pytest.raises(
            ValueError, match=r"character_vocab_size is \d and pad_token_id \d: an architecture without"
        ):
            AdnerModel(AdnerConfig(architecture="bilstm-crf", **sizes))


def test_overrides_at_loading_are_checked_when_the_model_is_built(encoder_config, tmp_path):
    AdnerConfig(encoder_config=encoder_config).save_pretrained(tmp_path)
    config = AdnerConfig.from_pretrained(tmp_path, num_stream_heads=5)
    with pytest.raises(ValueError, match="num_stream_heads=5 does not divide"):
        AdnerModel(config)
