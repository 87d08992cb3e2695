"""Words added to the lexicon of a model: what stays, what they get, and what is refused."""

import copy

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from hf_adner import AdnerForTokenClassification, AdnerPipeline, AdnerTokenizer, Lexicon
from hf_adner.model.word_table_adner import add_words
from hf_adner.model.word_vectors_adner import character_mean_vectors

from .conftest import TEXTS, WORDS

NEW = ["四肢", "软膏", "伴瘙痒"]
WITH_NEW_WORDS = "四肢伴瘙痒，外用软膏"


@pytest.fixture
def reader(tokenizer) -> AdnerTokenizer:
    """A tokenizer of the test's own, for it grows."""
    return copy.deepcopy(tokenizer)


@pytest.fixture
def model(build):
    return build()


def entities(model, tokenizer, texts):
    return AdnerPipeline(model=model, tokenizer=tokenizer, device="cpu")(texts, candidates=0.01)


def vectors_of(model) -> torch.Tensor:
    return model.adner.dual_stream.lexicon.word_embeddings.weight.detach().clone()


def test_a_lexicon_keeps_its_words_where_others_are_added():
    lexicon = Lexicon(WORDS, WORDS.values())
    grown = lexicon.add(["四肢", "红斑", "软膏"], [4, 9, 0])
    assert grown.words == (*lexicon.words, "四肢", "软膏")
    assert grown.frequencies == (*lexicon.frequencies, 4, 0), "the frequency of a word that was there stays"
    assert lexicon.add(["红斑"]) == lexicon and lexicon.add([]) == lexicon
    assert lexicon.add(["四肢"], origin="documents").origin == "mix"
    assert lexicon.add(["红斑"], origin="documents").origin == "list", "no word came from documents"
    with pytest.raises(ValueError, match="word 1 .* is word 0 again"):
        lexicon.add(["四肢", "四肢"])
    with pytest.raises(ValueError, match="word 0 .* blank"):
        lexicon.add([" "])


def test_texts_without_the_new_words_are_read_as_before(model, reader):
    untouched = [text for text in TEXTS if not any(word in text for word in ["膏软", "膏"])]
    before, old = entities(model, reader, untouched), vectors_of(model)
    result = model.add_words(reader, ["膏软", "膏"])
    assert result == (("膏软", "膏"), (), {})
    assert untouched and entities(model, reader, untouched) == before
    assert torch.equal(vectors_of(model)[: len(old)], old)
    assert reader.lexicon.words == (*WORDS, "膏软", "膏")


def test_the_new_words_are_read(model, reader):
    before = model(**reader(WITH_NEW_WORDS, return_tensors="pt")).logits
    model.add_words(reader, NEW, [1, 2, 3])
    after = model(**reader(WITH_NEW_WORDS, return_tensors="pt"))
    matched = {reader.lexicon.words[number - 1] for number in reader(WITH_NEW_WORDS)["lexicon_ids"]}
    assert set(NEW) <= matched and not torch.allclose(after.logits, before)
    assert model.adner.dual_stream.lexicon.frequencies[-3:].tolist() == [1, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_vectors_are_those_of_a_lexicon_with_the_words_from_the_start(seed, sizes, encoder_config):
    whole = AdnerTokenizer.from_texts([*TEXTS, WITH_NEW_WORDS], lexicon=Lexicon([*WORDS, *NEW]))
    part = AdnerTokenizer.from_texts([*TEXTS, WITH_NEW_WORDS], lexicon=Lexicon(WORDS))
    models = []
    for tokenizer in (whole, part):
        torch.manual_seed(seed)
        options = {"encoder_config": encoder_config, **sizes}
        models.append(AdnerForTokenClassification.from_scratch(tokenizer, ["Disease"], "m-dscmg", **options))
    models[1].add_words(part, NEW)
    expected, found = (vectors_of(model) for model in models)
    scale = found.norm() / expected.norm()  # the deviation of all vectors is set to 0.1 at the start
    torch.testing.assert_close(found, expected * scale, atol=1e-5, rtol=1e-4)
    assert part.lexicon == whole.lexicon


def test_vectors_follow_the_axes_of_the_trained_ones(model, reader, sizes):
    """A training that had begun with other signs and another order of the axes gives the same words, so turned."""
    many = [first + second for first in "四肢红斑块他克" for second in "莫司软膏反复伴"]
    reader.lexicon = Lexicon([*WORDS, *many])
    model.config.lexicon_size, model.config.lexicon_hash = reader.lexicon.size, reader.lexicon.hash
    characters = model.get_input_embeddings().weight
    start = character_mean_vectors(reader, characters.float(), sizes["lexicon_embedding_size"])
    turn = torch.linalg.qr(torch.randn(start.shape[1], start.shape[1]))[0]
    table = model.adner.dual_stream.lexicon
    table.word_embeddings = torch.nn.Embedding.from_pretrained(start @ turn, freeze=False, padding_idx=0)
    table.frequencies = torch.ones(len(start))
    model.add_words(reader, ["痒块"])
    grown = copy.deepcopy(reader)
    expected = character_mean_vectors(grown, characters.float(), start.shape[1])
    expected = expected * (0.1 / expected[:-1].std())
    torch.testing.assert_close(vectors_of(model)[-1], expected[-1] @ turn, atol=1e-4, rtol=1e-3)


def test_what_is_there_and_what_cannot_be_read_is_told(model, reader):
    size = model.config.lexicon_size
    result = model.add_words(reader, ["红斑", "紅斑", "龘", "四" * 39, "四肢", "四　肢"])
    assert result.present == ("红斑", "紅斑")
    assert result.added == ("四肢", "四　肢")
    assert "none of its characters" in result.refused["龘"]
    assert "39 characters, more than the 38" in result.refused["四" * 39]
    assert model.config.lexicon_size == size + 2 == reader.lexicon.size
    assert model.add_words(reader, ["四肢"]).present == ("四肢",)
    model.check_tokenizer(reader)


def test_words_go_through_saving_with_and_without_the_package(model, reader, tmp_path):
    model.add_words(reader, NEW)
    model.save_pretrained(tmp_path)
    reader.save_pretrained(tmp_path)
    expected = entities(model, reader, [WITH_NEW_WORDS])
    loaded = AdnerForTokenClassification.from_pretrained(tmp_path), AdnerTokenizer.from_pretrained(tmp_path)
    assert entities(*loaded, [WITH_NEW_WORDS]) == expected
    again = loaded[0].add_words(loaded[1], ["膏软"])
    assert again.added == ("膏软",) and loaded[1].lexicon.words == (*WORDS, *NEW, "膏软")
    auto = (auto.from_pretrained(tmp_path) for auto in (AutoModelForTokenClassification, AutoTokenizer))
    assert entities(*auto, [WITH_NEW_WORDS]) == expected


def test_graph_edges_without_word_vectors_grow_too(build, reader):
    model = build("m-dscmg", use_dual_stream=False)
    before = model(**reader(WITH_NEW_WORDS, return_tensors="pt")).logits
    assert model.add_words(reader, NEW).added == tuple(NEW)
    assert not torch.allclose(model(**reader(WITH_NEW_WORDS, return_tensors="pt")).logits, before)


@pytest.mark.parametrize("architecture", ["bert-crf", "bilstm-crf", "bert-softmax", "m-dscmg-no-dual-stream"])
def test_architectures_without_a_lexicon_say_so(build, reader, architecture):
    with pytest.raises(ValueError, match=f"'{architecture}' reads no lexicon"):
        build(architecture).add_words(reader, NEW)


def test_a_model_that_never_saw_a_word_is_refused(sizes, encoder_config):
    tokenizer = AdnerTokenizer.from_texts(TEXTS)
    options = {"encoder_config": encoder_config, **sizes}
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Disease"], "m-dscmg", **options)
    with pytest.raises(ValueError, match="trained without a lexicon"):
        model.add_words(tokenizer, NEW)


def test_another_tokenizer_is_refused_and_a_failure_changes_nothing(model, reader, monkeypatch):
    other = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["四肢"]))
    with pytest.raises(ValueError, match="is not the one the model was trained with"):
        model.add_words(other, NEW)
    before, lexicon = copy.deepcopy(model.config.to_dict()), reader.lexicon
    monkeypatch.setattr("hf_adner.model.word_table_adner.character_mean_vectors", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_words(model, reader, NEW, None, "list")
    assert reader.lexicon is lexicon and model.config.to_dict() == before


def test_the_grown_model_trains(model, reader):
    model.add_words(reader, NEW)
    inputs = reader(WITH_NEW_WORDS, return_tensors="pt")
    labels = torch.zeros_like(inputs["input_ids"])
    labels[:, [0, -1]] = -100
    model.train()(**inputs, labels=labels).loss.backward()
    grad = model.adner.dual_stream.lexicon.word_embeddings.weight.grad
    assert grad[-len(NEW) :].abs().sum(1).min() > 0 and grad[0].abs().sum() == 0
