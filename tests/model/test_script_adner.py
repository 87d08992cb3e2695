"""Either script: one character for each at the tokenizer's door, with offsets and words of the text as written."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import pipeline

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon, make_explainer
from hf_adner.model.loading_adner import CheckpointError
from hf_adner.model.script_adner import ScriptMap

STANDARD = ScriptMap.standard()
PAIRS = {
    "患者全身皮膚乾燥": "患者全身皮肤干燥",
    "頭髮後面濕疹，裡": "头发后面湿疹,里",
    "ＳＣＯＲＡＤ３５％（重）": "SCORAD35%(重)",
}
SIMPLIFIED = "患者四肢红斑、丘疹伴剧烈瘙痒，皮肤干燥；后颈部、头发里湿疹，外用他克莫司软膏"
TRADITIONAL = "患者四肢紅斑、丘疹伴劇烈瘙癢，皮膚乾燥；後頸部、頭髮裡濕疹，外用他克莫司軟膏"

either_script = st.lists(
    st.sampled_from([*SIMPLIFIED, *TRADITIONAL, *"ＡＢＣ１２３（），％", "😀", "\ud800", "\u200b", "İ"]), max_size=40
).map("".join)


@pytest.fixture(scope="module")
def tokenizer():
    return AdnerTokenizer.from_texts([SIMPLIFIED], lexicon=Lexicon(["红斑", "湿疹", "他克莫司", "軟膏"]))


@pytest.fixture(scope="module")
def pipe(tokenizer):
    torch.manual_seed(1)
    encoder = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder |= {"intermediate_size": 24, "max_position_embeddings": 64}
    sizes = {"stream_size": 12, "lexicon_embedding_size": 6, "num_stream_heads": 2}
    model = AdnerForTokenClassification.from_scratch(
        tokenizer, ["Symptom", "Drug"], "m-dscmg", encoder_config=encoder, **sizes
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5) if parameter.dim() > 1 else None
    return pipeline("adner-ner", model=model, tokenizer=tokenizer, device="cpu")


@pytest.mark.parametrize("written, read", PAIRS.items())
def test_the_standard_map_reads_either_script(written, read):
    assert STANDARD(written) == read and STANDARD(read) == read


@pytest.mark.parametrize("character", "着著藉覆后里干斗台谷松面余云只表征皮疱症炎疹的一是")
def test_correct_simplified_characters_stay(character):
    assert STANDARD(character) == character


@given(st.text(max_size=60))
def test_the_map_keeps_places_and_is_idempotent(text):
    assert len(STANDARD(text)) == len(text)
    assert STANDARD(STANDARD(text)) == STANDARD(text)


def test_the_vocabulary_wins():
    vocabulary = {"濕", "藥", "药", "Ａ", "ｂ", "a", "（"}
    kept = ScriptMap({"濕": "湿", "藥": "药", "膚": "肤", "Ａ": "A", "（": "("}).for_vocabulary(vocabulary)
    assert kept.forms == {"藥": "药", "膚": "肤"}
    assert ScriptMap({"Ａ": "A", "Ｂ": "B"}).for_vocabulary(vocabulary, lower_case=True).forms == {"Ａ": "A"}


@pytest.mark.parametrize("forms", [{"ab": "c"}, {"a": "bc"}, {"a": ""}, {"a": "b", "b": "c"}, {"\ud800": "a"}])
def test_only_one_for_one_is_accepted(forms):
    with pytest.raises(ValueError, match="expected one character for one|which is itself read as"):
        ScriptMap(forms)


@given(either_script)
def test_offsets_are_those_of_the_text_as_written(text):
    tokenizer = AdnerTokenizer.from_texts([SIMPLIFIED])
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert encoded["offset_mapping"] == [(place, place + 1) for place in range(len(text))]
    assert encoded["input_ids"] == tokenizer(STANDARD(text), add_special_tokens=False)["input_ids"]


def test_either_script_has_the_same_inputs(tokenizer):
    assert dict(tokenizer(TRADITIONAL)) == dict(tokenizer(SIMPLIFIED))
    words = [[*TRADITIONAL], [*SIMPLIFIED]]
    encoded = tokenizer(words, is_split_into_words=True)
    assert encoded["input_ids"][0] == encoded["input_ids"][1]
    assert encoded["lexicon_ids"][0] == encoded["lexicon_ids"][1] and len(encoded["lexicon_ids"][0]) == 4
    pairs = tokenizer([(TRADITIONAL, SIMPLIFIED), (SIMPLIFIED, TRADITIONAL)])
    assert pairs["input_ids"][0] == pairs["input_ids"][1]


@given(either_script)
def test_entities_are_words_of_the_text_as_written(pipe, text):
    found = pipe(text)
    assert all(entity["word"] == text[entity["start"] : entity["end"]] for entity in found)
    plain = [{**entity, "word": STANDARD(entity["word"])} for entity in found]
    assert plain == [{**entity, "word": STANDARD(entity["word"])} for entity in pipe(STANDARD(text))]


@pytest.mark.parametrize("name", ["occlusion", "grad-x-input", "fused"])
def test_either_script_has_the_same_explanations(pipe, name):
    from hf_adner.data.records import Document, Entity
    from hf_adner.explain.table_building import build_global_table

    entities = [(4, 6, "Symptom"), (32, 36, "Drug")]
    options = {}
    if name == "fused":
        documents = [
            Document(str(number), SIMPLIFIED, tuple(Entity(*entity) for entity in entities)) for number in range(6)
        ]
        local = make_explainer("occlusion", pipe.model, pipe.tokenizer)
        options["global_table"] = build_global_table(local, documents, variance_views=0, progress=False)
    explainer = make_explainer(name, pipe.model, pipe.tokenizer, **options)
    texts = [TRADITIONAL, SIMPLIFIED]
    first, second = explainer(texts, entities=[entities, entities])
    for one, other in zip(first, second, strict=True):
        assert one.text == TRADITIONAL and other.text == SIMPLIFIED
        assert list(one.scores) == pytest.approx(list(other.scores), abs=1e-5)


def test_the_map_travels_with_the_checkpoint(pipe, tokenizer, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = AdnerTokenizer.from_pretrained(tmp_path)
    assert loaded.script_map == tokenizer.script_map and loaded(TRADITIONAL) == tokenizer(TRADITIONAL)
    assert json.loads((tmp_path / "config.json").read_text())["script_hash"] == tokenizer.script_hash
    path = tmp_path / "script_map.json"
    ScriptMap({"濕": "湿"}).save(path)
    with pytest.raises(CheckpointError, match="script_map.json: map has hash"):
        AdnerTokenizer.from_pretrained(tmp_path)
    path.write_text(path.read_text().replace("湿", "干"))
    with pytest.raises(CheckpointError, match="script_map.json was changed after it was saved"):
        AdnerTokenizer.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match="script_map.json is missing"):
        AdnerTokenizer.from_pretrained(tmp_path)


def test_a_tokenizer_without_map_is_not_the_models(pipe, tmp_path):
    plain = AdnerTokenizer.from_texts([SIMPLIFIED], lexicon=pipe.tokenizer.lexicon, script_map=None)
    with pytest.raises(ValueError, match="script_hash in config.json"):
        pipe.model.check_tokenizer(plain)


def test_checkpoints_from_before_the_map_read_as_before(tmp_path):
    """Their `tokenizer_config.json` has a lexicon_hash, but no script_hash."""
    plain = AdnerTokenizer.from_texts([SIMPLIFIED + TRADITIONAL], script_map=None)
    plain.save_pretrained(tmp_path)
    assert not (tmp_path / "script_map.json").exists()
    path = Path(tmp_path / "tokenizer_config.json")
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in settings.items() if name != "script_hash"}))
    loaded = AdnerTokenizer.from_pretrained(tmp_path)
    assert loaded.script_map is None
    assert loaded(TRADITIONAL)["input_ids"] == plain(TRADITIONAL)["input_ids"] != plain(SIMPLIFIED)["input_ids"]
