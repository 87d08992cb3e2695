"""A checkpoint whose weights are not those of its model is refused by their names, wherever it is loaded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForTokenClassification, BertConfig, BertForMaskedLM, BertModel, pipeline

from hf_adner import AdnerForTokenClassification, AdnerModel, AdnerTokenizer
from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.model.loading_adner import CheckpointError
from hf_adner.perturb.masked_lm import MaskedLanguageModel

LOADERS = {
    "model": AdnerForTokenClassification.from_pretrained,
    "auto class": AutoModelForTokenClassification.from_pretrained,
    "pipeline": lambda folder: pipeline("adner-ner", model=str(folder)),
    "stock pipeline": lambda folder: pipeline("token-classification", model=str(folder)),
    "explainer": lambda folder: ExplainedCheckpoint.load(str(folder)),
}
EVERYWHERE = pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)


@pytest.fixture(scope="module")
def saved(build, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    build("m-dscmg").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoint")


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def remove(*prefixes):
    def change(weights):
        for name in [name for name in weights if name.startswith(prefixes)]:
            del weights[name]

    return change


def spoil(weights):
    weights["adner.graph.message.weight"][3, 2] = float("nan")


DAMAGES = {
    "head": (remove("head."), r"lacks 5 weights \(head.classifier.bias, head.classifier.weight, head.crf.end_trans"),
    "one weight": (remove("head.crf.transitions"), r"lacks 1 weight \(head.crf.transitions\)"),
    "encoder layer": (
        remove("adner.encoder.encoder.layer.1."),
        r"lacks 16 weights \(adner.encoder.encoder.layer.1.att",
    ),
    "superfluous": (
        lambda weights: weights.update({"adner.extra.weight": torch.ones(2)}),
        r"has superfluous 1 weight \(adner.extra.weight\)",
    ),
    "shape": (
        lambda weights: weights.update({"head.classifier.bias": torch.ones(3)}),
        r"head.classifier.bias has shape \(3,\) where config.json says \(9,\)",
    ),
    "nan": (spoil, r"1 weight \(adner.graph.message.weight\) not finite"),
}


@EVERYWHERE
@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_other_weights_than_the_models_are_refused(load, change, message, checkpoint):
    change_weights(checkpoint, change)
    with pytest.raises(ValueError, match=rf"checkpoint does not hold the weights of its .*: .*{message}"):
        load(checkpoint)


@EVERYWHERE
def test_another_architecture_is_refused(load, checkpoint):
    path = checkpoint / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    switches = {name: None for name in config if name.startswith("use_") and name != "use_cache"}
    path.write_text(json.dumps({**config, **switches, "architecture": "bert-crf"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"has superfluous \d+ weights \(adner.dual_stream"):
        load(checkpoint)


def test_a_new_head_is_made_where_it_is_asked_for(build, checkpoint):
    change_weights(checkpoint, remove("head."))
    loaded = AdnerForTokenClassification.from_pretrained(checkpoint, ignore_mismatched_sizes=True)
    encoder, expected = loaded.adner.state_dict(), build("m-dscmg").adner.state_dict()
    assert all(torch.equal(encoder[name], weight) for name, weight in expected.items())


def test_the_network_without_head_is_loaded_from_a_tagger(checkpoint):
    for load in (AdnerModel.from_pretrained, AutoModel.from_pretrained):
        model, report = load(checkpoint, output_loading_info=True)
        assert type(model) is AdnerModel and not report["missing_keys"]
    change_weights(checkpoint, remove("adner.graph.norm"))
    with pytest.raises(CheckpointError, match=r"weights of its AdnerModel: lacks 2 weights \(graph.norm.bias"):
        AdnerModel.from_pretrained(checkpoint)


def test_a_checkpoint_in_parts_is_checked_in_every_part(checkpoint, saved, texts, tokenizer):
    model = AdnerForTokenClassification.from_pretrained(saved)
    (checkpoint / "model.safetensors").unlink()
    model.save_pretrained(checkpoint, max_shard_size="10KB")
    index = checkpoint / "model.safetensors.index.json"
    parts = sorted(checkpoint.glob("model-*.safetensors"))
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        loaded = AdnerForTokenClassification.from_pretrained(checkpoint)
        assert len(parts) > 1 and torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    content = parts[1].read_bytes()
    parts[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=f"{parts[1].name} is damaged or incomplete"):
        AdnerForTokenClassification.from_pretrained(checkpoint)
    parts[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {parts[1].name}, which model.safetensors.index.json names"):
        AdnerForTokenClassification.from_pretrained(checkpoint)
    for content in ("{}", '{"weight_map": {"x": 1}}', "[]", "{"):
        index.write_text(content, encoding="utf-8")
        with pytest.raises(CheckpointError, match=index.name):
            AdnerForTokenClassification.from_pretrained(checkpoint)


# ---- pretrained models of others ----------------------------------------------------------------------------------


@pytest.fixture
def encoder(tmp_path, tokenizer):
    """Save a model on a tiny encoder, with some of its weights left out."""

    def make(model_class, *left_out):
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        model_class(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        change_weights(tmp_path, remove(*left_out))
        return tmp_path

    return make


def test_training_needs_all_of_the_encoder_and_no_more(encoder, tokenizer, sizes):
    def train_from(folder):
        return AdnerForTokenClassification.from_encoder_pretrained(folder, tokenizer, ["Disease"], **sizes)

    assert train_from(encoder(BertModel, "pooler.")).head.classifier.weight.isfinite().all()
    assert train_from(encoder(BertForMaskedLM)).head.classifier.weight.isfinite().all()
    with pytest.raises(CheckpointError, match=r"its BertModel: lacks 16 weights \(encoder.layer.1.attention"):
        train_from(encoder(BertModel, "encoder.layer.1."))


def test_a_model_of_another_kind_needs_its_head_to_be_explained_or_to_propose_words(encoder):
    with pytest.raises(CheckpointError, match=r"lacks 2 weights \(classifier.bias, classifier.weight\)"):
        ExplainedCheckpoint.load(str(encoder(BertModel)))
    with pytest.raises(CheckpointError, match=r"its BertForMaskedLM: lacks \d+ weights \(cls.predictions.bias"):
        MaskedLanguageModel.from_pretrained(encoder(BertModel))


@pytest.mark.parametrize("lower_case", [True, False])
def test_a_tokenizer_that_lost_its_settings_is_refused(tmp_path, texts, lower_case):
    AdnerTokenizer.from_texts(texts, do_lower_case=lower_case).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for changed in ({**settings, "do_lower_case": not lower_case}, {"model_max_length": 512}):
        path.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(CheckpointError, match="tokenizer.json .* but do_lower_case of tokenizer_config.json is"):
            AdnerTokenizer.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="do_lower_case of tokenizer_config.json is missing"):
        AdnerTokenizer.from_pretrained(tmp_path)


def test_a_tokenizer_with_more_characters_than_the_model_is_refused(build, texts):
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ characters, the model's embedding only \d+"):
        build("bert-crf").check_tokenizer(AdnerTokenizer.from_texts([*texts, "".join(map(chr, range(0x4E00, 0x4F00)))]))
