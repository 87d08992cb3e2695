"""Saved models load bit by bit, from other checkpoints too; FSDP on two processes trains like a single process."""

import copy
import json

import pytest
import torch
from accelerate import PartialState, debug_launcher
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from hf_adner import AdnerConfig, AdnerForTokenClassification, AdnerModel, AdnerTokenizer, Lexicon
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import allowed_transitions
from hf_adner.model.word_vectors_adner import character_mean_vectors

EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES)
SHARED = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
FAMILIES = {
    "bert": (BertModel, BertConfig(**SHARED)),
    "bert-mlm": (BertForMaskedLM, BertConfig(**SHARED)),
    "roberta": (RobertaModel, RobertaConfig(**SHARED)),
    "electra": (ElectraModel, ElectraConfig(**SHARED, embedding_size=8)),
    "distilbert": (DistilBertModel, DistilBertConfig(vocab_size=30, dim=16, n_layers=2, n_heads=2, hidden_dim=24)),
}


def state(model) -> dict[str, torch.Tensor]:
    """Weights and all buffers, those that are not saved too."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def logits(model, tokenizer, texts, **kwargs) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt", **kwargs)).logits


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory, tokenizer):
    """Save a tiny encoder as a folder with `vocab.txt`, as Hub repositories of encoders are."""

    def make(family: str, dtype: torch.dtype = torch.float32):
        folder = tmp_path_factory.mktemp(family)
        torch.manual_seed(5)
        model_class, config = FAMILIES[family]
        model = model_class(copy.deepcopy(config)).to(dtype)
        model.save_pretrained(folder)
        vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        return folder, model

    return make


@EVERY
def test_saved_and_loaded_is_the_same(architecture, build, tokenizer, texts, tmp_path):
    model = build(architecture, head_dropout=0.25)
    model.save_pretrained(tmp_path)
    for load in (AdnerForTokenClassification, AutoModelForTokenClassification):
        loaded = load.from_pretrained(tmp_path)
        assert type(loaded) is AdnerForTokenClassification and not loaded.training
        assert_equal(state(loaded), state(model))
        assert torch.equal(logits(loaded, tokenizer, texts), logits(model, tokenizer, texts))
    assert isinstance(AutoConfig.from_pretrained(tmp_path), AdnerConfig)


@pytest.mark.parametrize("architecture", ["m-dscmg", "bilstm-crf", "bert-softmax"])
def test_base_model_out_of_a_tagger_and_into_one(architecture, build, tokenizer, texts, tmp_path):
    model = build(architecture)
    model.save_pretrained(tmp_path / "tagger")
    base = AutoModel.from_pretrained(tmp_path / "tagger")
    assert type(base) is AdnerModel
    assert_equal(state(base), state(model.adner))
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match=r"base does not hold .*: lacks \d+ weights \(head.classifier.bias"):
        AutoModelForTokenClassification.from_pretrained(tmp_path / "base")
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path / "base", ignore_mismatched_sizes=True)
    assert_equal(state(tagger.adner), state(model.adner))
    assert logits(tagger, tokenizer, texts).isfinite().all()
    if model.config.use_crf:
        assert all(0 < weight.abs().max() <= 0.1 for weight in tagger.head.crf.parameters())
        assert_constrained(tagger)


def assert_constrained(model) -> None:
    allowed = allowed_transitions(model.config.states)
    assert (model.head.crf.transition_penalties == 0).tolist() == allowed.transitions
    assert (model.head.crf.start_penalties == 0).tolist() == allowed.starts
    assert (model.head.crf.end_penalties == 0).tolist() == allowed.ends
    assert model.head.label_states.label_of_state.max() == len(model.config.labels) - 1


def test_weights_missing_from_a_checkpoint_are_refused_or_start_fresh(build, tmp_path):
    """Never what lay in memory: all that is not in the file is initialised as in a new model."""
    model = build("m-dscmg")
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    encoder_weights = {name: weight for name, weight in weights.items() if name.startswith("adner.encoder")}
    save_file(encoder_weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks \d+ weights \(adner.dual_stream"):
        AdnerForTokenClassification.from_pretrained(tmp_path)
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert_constrained(loaded)
    assert all(0 < weight.abs().max() <= 0.1 for weight in loaded.head.crf.parameters())
    assert loaded.adner.dual_stream.fusion.mix.bias.eq(1).all()
    assert loaded.adner.dual_stream.lexicon.frequencies.eq(1).all()
    assert not loaded.adner.dual_stream.lexicon.null_word.any()
    graph = loaded.adner.graph.update
    assert not graph.bias_ih.any() and 0 < graph.weight_hh.abs().max() < 1
    assert all(weight.isfinite().all() and weight.abs().max() < 2 for weight in loaded.parameters())


def test_a_new_model_starts_on_the_side_of_the_characters(tokenizer, sizes, encoder_config):
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["Disease"], "m-dscmg", encoder_config=encoder_config, **sizes
    )
    fusion = model.adner.dual_stream.fusion
    characters, words = torch.ones(1, 1, 12), torch.zeros(1, 1, 12)
    assert fusion(characters, words).min() > 0.6


@pytest.mark.parametrize("family", FAMILIES)
def test_encoder_weights_are_taken_bit_by_bit(family, encoder_folder, sizes, texts, tmp_path):
    folder, original = encoder_folder(family)
    tokenizer = AdnerTokenizer.from_pretrained(folder, lexicon=Lexicon(["红斑", "瘙痒"]))
    model = AdnerForTokenClassification.from_encoder_pretrained(folder, tokenizer, ["Disease", "Drug"], **sizes)
    encoder = original.bert if family == "bert-mlm" else original
    expected = {name: weight for name, weight in encoder.state_dict().items() if not name.startswith("pooler")}
    assert_equal(dict(model.adner.encoder.state_dict()), expected)
    assert not model.training and not model.adner.encoder.training
    model.save_pretrained(tmp_path)
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path)
    assert_equal(state(loaded), state(model))
    right = logits(loaded, tokenizer, texts)
    assert torch.equal(right, logits(model, tokenizer, texts))
    left = logits(model, tokenizer, texts, padding_side="left")
    torch.testing.assert_close(left[-1].exp(), right[-1].exp(), atol=1e-5, rtol=0)  # the longest has no padding
    torch.testing.assert_close(left[0, -6:-1].exp(), right[0, 1:6].exp(), atol=1e-5, rtol=0)
    config = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert str(folder) not in config and str(folder.parent) not in config
    loaded.save_pretrained(tmp_path / "again")
    assert str(tmp_path) not in (tmp_path / "again" / "config.json").read_text(encoding="utf-8")


def test_the_encoder_alone_says_what_the_plain_encoder_says(encoder_folder, texts):
    folder, original = encoder_folder("roberta")
    tokenizer = AdnerTokenizer.from_pretrained(folder)
    model = AdnerForTokenClassification.from_encoder_pretrained(folder, tokenizer, ["Disease"], "bert-crf")
    inputs = tokenizer(texts[:1], return_tensors="pt")
    positions = torch.arange(2, 9)[None]  # RoBERTa counts from behind its padding row 1
    with torch.no_grad():
        expected = original.eval()(inputs["input_ids"], position_ids=positions).last_hidden_state
        hidden = model.adner(**inputs).last_hidden_state
    torch.testing.assert_close(hidden[:, 1:-1], expected[:, 1:-1])


def test_half_precision_encoders_become_float32(encoder_folder, tmp_path):
    folder, original = encoder_folder("bert", torch.float16)
    tokenizer = AdnerTokenizer.from_pretrained(folder)
    model = AdnerForTokenClassification.from_encoder_pretrained(folder, tokenizer, ["Disease"], "bert-crf")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    weight = "embeddings.word_embeddings.weight"
    assert torch.equal(model.adner.encoder.state_dict()[weight], original.state_dict()[weight].float())
    model.save_pretrained(tmp_path)
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path)
    assert_equal(state(loaded), state(model))


def test_bf16_weights_with_a_float32_crf(build, tokenizer, texts, tmp_path):
    model = build("m-dscmg")
    model.save_pretrained(tmp_path / "full")
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path / "full", dtype=torch.bfloat16)
    loaded.save_pretrained(tmp_path / "half")
    for half in (loaded, AdnerForTokenClassification.from_pretrained(tmp_path / "half")):
        assert half.adner.encoder.dtype == torch.bfloat16 == half.head.classifier.weight.dtype
        assert {tensor.dtype for tensor in half.head.crf.parameters()} == {torch.float32}
        assert torch.equal(half.adner.dual_stream.lexicon.frequencies, model.adner.dual_stream.lexicon.frequencies)
        assert_constrained(half)
        output = logits(half, tokenizer, texts)
        assert output.dtype == torch.float32
        torch.testing.assert_close(output.exp().sum(-1), torch.ones(output.shape[:2]))
        torch.testing.assert_close(output.exp(), logits(model, tokenizer, texts).exp(), atol=0.2, rtol=0)


def test_encoder_options_reach_the_encoder(encoder_folder, sizes):
    folder, _ = encoder_folder("bert")
    tokenizer = AdnerTokenizer.from_pretrained(folder)

    def load(**encoder_kwargs):
        return AdnerForTokenClassification.from_encoder_pretrained(
            folder, tokenizer, ["Disease"], "bert-att-crf", encoder_kwargs=encoder_kwargs, **sizes
        )

    assert load(attn_implementation="eager").adner.encoder.config._attn_implementation == "eager"
    assert load(dtype=torch.bfloat16).adner.encoder.dtype == torch.bfloat16
    config = BertConfig.from_pretrained(folder, hidden_dropout_prob=0.35)
    model = load(config=config)
    assert model.config.encoder_config.hidden_dropout_prob == 0.35 == model.adner.encoder.embeddings.dropout.p


def test_hub_options_reach_the_encoders_config(encoder_folder, tmp_path):
    folder, _ = encoder_folder("bert")
    folder.rename(tmp_path / "inner")
    model = AdnerForTokenClassification.from_encoder_pretrained(
        tmp_path, None, ["Disease"], "bert-crf", encoder_kwargs={"subfolder": "inner"}
    )
    assert model.config.hidden_size == 16


@pytest.mark.parametrize("architecture", ["m-dscmg", "bilstm-crf"])
def test_more_characters(architecture, build, tokenizer, texts, tmp_path):
    model = build(architecture)
    expected, size = logits(model, tokenizer, texts), len(tokenizer)
    model.resize_token_embeddings(size + 9)
    assert model.config.vocab_size == size + 9 == model.get_input_embeddings().num_embeddings
    assert torch.equal(logits(model, tokenizer, texts), expected)
    model.save_pretrained(tmp_path)
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path)
    assert_equal(state(loaded), state(model))


def test_a_copy_is_a_model_of_its_own(build, tokenizer, texts):
    model = build("m-dscmg")
    twin = copy.deepcopy(model)
    expected = logits(model, tokenizer, texts)
    with torch.no_grad():
        model.head.classifier.weight.zero_()
    assert torch.equal(logits(twin, tokenizer, texts), expected)
    assert not torch.equal(logits(model, tokenizer, texts), expected)


def test_the_lexicon_gives_words_frequencies_and_first_vectors(encoder_folder, sizes):
    folder, original = encoder_folder("electra")
    tokenizer = AdnerTokenizer.from_pretrained(folder, lexicon=Lexicon(["红斑", "瘙痒", "红"], [4, 0, 900]))

    def load(**kwargs):
        return AdnerForTokenClassification.from_encoder_pretrained(folder, tokenizer, ["Disease"], **sizes, **kwargs)

    model = load()
    table = model.adner.dual_stream.lexicon
    assert model.config.lexicon_size == 4 and model.config.lexicon_hash == tokenizer.lexicon.hash
    assert table.frequencies.tolist() == [0, 4, 0, 900]
    characters = original.get_input_embeddings().weight.detach()
    assert torch.equal(table.word_embeddings.weight, character_mean_vectors(tokenizer, characters, 6))
    vectors = torch.randn(4, 6)
    assert torch.equal(load(word_vectors=vectors).adner.dual_stream.lexicon.word_embeddings.weight, vectors)
    with pytest.raises(ValueError, match=r"word_vectors has shape \(4, 5\), expected \(4, 6\)"):
        load(word_vectors=torch.randn(4, 5))
    assert load(architecture="bert-crf").config.lexicon_hash is None


def test_a_tokenizer_with_another_lexicon_is_refused(build, tokenizer, texts):
    model = build("m-dscmg")
    model.check_tokenizer(tokenizer)
    other = AdnerTokenizer.from_texts(texts, lexicon=Lexicon(["红斑"]))
    with pytest.raises(ValueError, match=r"lexicon \(1 words, hash .* is not the one .* with \(7 words, hash"):
        model.check_tokenizer(other)
    with pytest.raises(ValueError, match="trained with a lexicon, but its tokenizer has none"):
        model.check_tokenizer(AdnerTokenizer.from_texts(texts))
    build("bert-crf").check_tokenizer(other)


def test_a_checkpoint_that_does_not_fit_its_config_is_refused(build, tmp_path):
    build("m-dscmg").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "lexicon_size": 5}), encoding="utf-8")
    expected = r"word_embeddings.weight has shape \(8, 6\) where config.json says \(5, 6\)"
    with pytest.raises(ValueError, match=expected):
        AdnerForTokenClassification.from_pretrained(tmp_path)


def test_what_cannot_be_built_is_refused(encoder_folder, tokenizer):
    folder, _ = encoder_folder("bert")
    load = AdnerForTokenClassification.from_encoder_pretrained
    with pytest.raises(ValueError, match="'bilstm-crf' has no encoder; build it with from_scratch"):
        load(folder, tokenizer, ["Disease"], "bilstm-crf")
    with pytest.raises(ValueError, match="more than once"):
        load(folder, tokenizer, ["Disease", "Disease"], "bert-crf")
    large = AdnerTokenizer.from_texts(["".join(map(chr, range(0x4E00, 0x4E40)))], script_map=None)
    with pytest.raises(ValueError, match="the tokenizer has 70 characters, the model's embedding only 30"):
        load(folder, large, ["Disease"], "bert-crf")


TEXTS = ["患者反复红斑三年", "外用他克莫司软膏"]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def make_model(tokenizer) -> AdnerForTokenClassification:
    torch.manual_seed(0)
    return AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], "m-dscmg", encoder_config=ENCODER, stream_size=16, head_dropout=0.0
    ).train()


def train_both(report):
    PartialState._reset_state()  # the forked process inherits that of this one
    torch.set_num_threads(1)
    mesh = init_device_mesh("cpu", (PartialState(cpu=True).num_processes,))
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["红斑", "软膏"]))
    whole, shared = make_model(tokenizer), make_model(tokenizer)
    for layer in shared.adner.encoder.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(shared, mesh=mesh)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = torch.zeros_like(inputs["input_ids"])
    labels[:, 3], labels[:, 4] = 1, 2
    for model in (whole, shared):
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for _ in range(2):
            model(**inputs, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    begun = dict(make_model(tokenizer).named_parameters())
    gathered = {name: parameter.full_tensor() for name, parameter in shared.named_parameters()}
    differences = {name: (gathered[name] - weight).abs().max() for name, weight in whole.named_parameters()}
    moved = max((weight - begun[name]).abs().max() for name, weight in whole.named_parameters())
    if mesh.get_rank() == 0:
        report.write_text(f"{max(differences.values()).item()} {moved.item()}")


def test_two_processes_share_a_model(tmp_path):
    debug_launcher(train_both, (tmp_path / "report",), num_processes=2)
    difference, moved = map(float, (tmp_path / "report").read_text().split())
    assert difference < 1e-6 < 1e-3 < moved
