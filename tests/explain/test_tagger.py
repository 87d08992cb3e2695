"""The record around model and tokenizer: alignment, windows, embeddings, entities, and no traces."""

import pytest
import torch

from hf_adner import AdnerPipeline
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.text_windows import Passage
from hf_adner.model.windows_adner import Window


def encode(tagger: Tagger, *texts: str):
    return tagger.encode(texts, [Passage(number, Window(0, len(text))) for number, text in enumerate(texts)])


def test_embeddings_give_what_ids_give(case):
    tagger = case.tagger
    batch = encode(tagger, case.texts[0], case.texts[4 if tagger.is_adner else 3])
    with torch.no_grad():
        expected = tagger.tag(batch.inputs).log_probs
        words = tagger.embed_words(batch.inputs)
        found = tagger.tag(batch.inputs, tagger.embed(batch.inputs["input_ids"]), words).log_probs
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(expected.exp().sum(-1), torch.ones(expected.shape[:2]))
    if words is not None:
        changed = tagger.tag(batch.inputs, words=words + 1).log_probs
        assert not torch.allclose(changed, expected)


def test_nothing_stays_on_the_model(build):
    tagger = build("m-dscmg").tagger
    model = tagger.model
    model.train()
    model.adner.encoder.eval()
    before = [module.training for module in model.modules()]
    with torch.inference_mode(), pytest.raises(KeyError), tagger.quiet():
        assert not any(module.training for module in model.modules())
        batch = encode(tagger, "红斑瘙痒")
        words = tagger.embed_words(batch.inputs).requires_grad_()
        tagger.tag(batch.inputs, words=words).log_probs.sum().backward(inputs=[words])
        assert words.grad is not None
        raise KeyError
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_offsets_count_in_the_whole_text(stock):
    tagger = stock.tagger
    text = stock.texts[0]
    batch = tagger.encode([text], [Passage(0, Window(16, len(text)))])
    assert batch.offsets[0] == [(0, 0), (16, 22), (23, 25), (25, 27), (27, 29), (30, 32), (33, 36), (36, 37), (0, 0)]
    place = batch.tokens_of(0, (23, 29, "Disease"))
    assert (place.start, place.end, place.following) == (2, 5, 5)
    assert batch.tokens_of(0, (33, 37, "Drug")).following == -1


def test_a_special_token_written_in_the_text_is_text(stock):
    batch = encode(stock.tagger, "arm [SEP] arm")
    assert batch.is_text[0].tolist() == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("span", "message"), [((23, 26), "ends inside the token of characters 25-27"), ((24, 29), "begins inside")]
)
def test_a_boundary_inside_a_token_is_an_error(stock, span, message):
    batch = encode(stock.tagger, stock.texts[0])
    with pytest.raises(ValueError, match=message):
        batch.tokens_of(0, (*span, "Disease"))


def test_an_entity_without_a_token_is_an_error(stock):
    with pytest.raises(ValueError, match="no token is left for entity 3-4"):
        encode(stock.tagger, "the   arm").tokens_of(0, (3, 4, "Drug"))


def test_a_row_alone_is_as_in_its_batch(build):
    tagger = build("m-dscmg").tagger
    batch = encode(tagger, "他克莫司", "痒", "反复红斑伴瘙痒")
    alone = encode(tagger, "痒")
    row = batch.row(1)
    assert row.offsets == alone.offsets and row.windows == [("痒", 0)] and row.is_text.equal(alone.is_text)
    for name, values in alone.inputs.items():
        assert row.inputs[name].equal(values), name


def test_our_entities_are_the_pipelines(build):
    case = build("bert-crf", seed=1)
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    expected = [[(one["start"], one["end"], one["entity_group"]) for one in found] for found in pipe(case.texts)]
    assert any(expected)
    assert case.tagger.find_entities(case.texts, 2) == expected


def test_entities_of_a_stock_model_are_its_best_labels(stock):
    found = stock.tagger.find_entities(stock.texts, 4)
    assert found[1] == [] and any(found)
    inputs = stock.tokenizer(stock.texts[0], return_offsets_mapping=True, return_tensors="pt")
    offsets = inputs.pop("offset_mapping")[0].tolist()
    labels = [stock.model.config.id2label[i] for i in stock.model(**inputs).logits[0].argmax(-1).tolist()]
    for (start, _), label in zip(offsets[1:-1], labels[1:-1]):
        assert (label == "O") == (not any(first <= start < end for first, end, _ in found[0]))


def test_the_limit_is_the_smaller_of_tokenizers_and_models(build, stock):
    assert build("bert-crf").tagger.max_tokens == 40
    assert stock.tagger.max_tokens == 40
    assert build("bilstm-crf").tagger.max_tokens is None


def test_errors(build, stock, tokenizer):
    with pytest.raises(TypeError, match="fast tokenizer.*NoneType"):
        Tagger(stock.model, None)
    case = build("m-dscmg")
    other = type(tokenizer).from_texts(case.texts)
    with pytest.raises(ValueError, match="lexicon"):
        Tagger(case.model, other)
