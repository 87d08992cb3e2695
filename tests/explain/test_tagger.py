"""The tagger: alignment, windows, embeddings, entities, masks, posteriors, and no side effects on the model."""

import math

import pytest
import torch

from hf_adner import AdnerPipeline
from hf_adner.explain.stability import MaskedTagger
from hf_adner.explain.tagger import Tagger, entity_posteriors
from hf_adner.explain.text_windows import TextWindow, cover_text, place_entities
from hf_adner.model.windows_adner import Window


def encode(tagger: Tagger, *texts: str):
    return tagger.encode(texts, [TextWindow(number, Window(0, len(text))) for number, text in enumerate(texts)])


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


def test_nothing_but_evaluation_mode_stays_on_the_model(build):
    tagger = build("m-dscmg").tagger
    model = tagger.model
    model.train()
    with torch.inference_mode(), pytest.raises(KeyError), tagger.eval_mode():
        batch = encode(tagger, "红斑瘙痒")
        words = tagger.embed_words(batch.inputs).requires_grad_()
        tagger.tag(batch.inputs, words=words).log_probs.sum().backward(inputs=[words])
        assert words.grad is not None
        raise KeyError
    assert not any(module.training for module in model.modules() if not isinstance(module, torch.nn.LSTM))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_offsets_count_in_the_whole_text(stock):
    tagger = stock.tagger
    text = stock.texts[0]
    batch = tagger.encode([text], [TextWindow(0, Window(16, len(text)))])
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


def fits(limit: int):
    return lambda texts: all(len(text) <= limit for text in texts)


def test_a_short_text_is_one_window():
    (window,) = place_entities(3, "x" * 20, [(0, 2, "A"), (19, 20, "A")], 20, fits(20))
    assert window.text == 3 and window.window == (0, 20) and [index for index, _ in window.entities] == [0, 1]


def test_an_entity_goes_where_it_has_most_context():
    text = "x" * 50
    entities = [(start, start + 3, "A") for start in range(48)]
    windows = place_entities(0, text, entities, 20, fits(20))
    assert sorted(index for window in windows for index, _ in window.entities) == list(range(48))
    for window in windows:
        for _, (start, end, _) in window.entities:
            assert window.window.start <= start and end <= window.window.end
            left = start - window.window.start if window.window.start else 99
            right = window.window.end - end if window.window.end < 50 else 99
            assert min(left, right) >= 3


def test_an_entity_longer_than_the_overlap_gets_its_own_window():
    (window,) = place_entities(0, "x" * 100, [(5, 23, "A")], 20, fits(20))
    assert window.window == (4, 24)


def test_windows_shrink_until_they_fit():
    windows, size = cover_text("x" * 100, 40, fits(10))
    assert size <= 10 and windows[0].start == 0 and windows[-1].end == 100


def test_no_limit_and_no_text():
    assert cover_text("x" * 999, None, fits(1))[0] == [(0, 999)]
    assert cover_text("", 5, fits(5))[0] == []


def test_entities_and_limits_that_do_not_fit():
    with pytest.raises(ValueError, match="entity 0-21 has 21 characters"):
        place_entities(0, "x" * 30, [(0, 21, "A")], 20, fits(20))
    with pytest.raises(ValueError, match="no room for text"):
        cover_text("xxx", 2, fits(0))


def test_masked_characters_become_the_mask_token(case):
    texts = [text for text in case.texts if text]
    windows = [TextWindow(number, Window(0, len(text))) for number, text in enumerate(texts)]
    masked = [[0], [], [len(texts[2]) - 1], [0]][: len(texts)]
    plain = case.tagger.encode(texts, windows)
    hidden = MaskedTagger(case.tagger, masked).encode(texts, windows)
    is_changed = plain.inputs["input_ids"] != hidden.inputs["input_ids"]
    for row, places in enumerate(masked):
        covering = [any(start <= place < end for place in places) for start, end in plain.offsets[row]]
        assert is_changed[row].tolist() == covering
    assert (hidden.inputs["input_ids"][is_changed] == case.tagger.mask_id).all()
    assert torch.equal(plain.is_text, hidden.is_text)


def test_places_count_in_the_whole_text(build):
    case = build("bert-crf")
    text = "红斑伴痒" * 20
    window = TextWindow(0, Window(40, 60))
    batch = MaskedTagger(case.tagger, [[3, 41, 70]]).encode([text], [window])
    ids = batch.inputs["input_ids"][0].tolist()
    assert [token for token, value in enumerate(ids) if value == case.tagger.mask_id] == [2]


def test_without_masks_nothing_needs_a_mask_token(build, monkeypatch):
    case = build("bert-crf")
    for name in ("mask_token", "unk_token", "pad_token"):
        monkeypatch.setattr(case.tokenizer, f"_{name}", None, raising=False)
    windows = [TextWindow(0, Window(0, 4))]
    plain = case.tagger.encode(case.texts, windows)
    assert torch.equal(
        MaskedTagger(case.tagger, [()]).encode(case.texts, windows).inputs["input_ids"], plain.inputs["input_ids"]
    )


def test_they_are_the_scores_of_the_pipeline(build):
    case = build("m-dscmg")
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer, device="cpu")
    texts = [*case.texts, "痒红斑" * 30]  # the last one is longer than the model
    found = pipe(texts)
    spans = [[(one["start"], one["end"], one["entity_group"]) for one in ones] for ones in found]
    assert sum(map(len, spans)) > 5
    scores = [[one["score"] for one in ones] for ones in found]
    for size in (1, 16):
        values = entity_posteriors(case.tagger, texts[:-1], spans[:-1], size)
        assert [pytest.approx(ones, abs=1e-5) for ones in scores[:-1]] == values
    long = entity_posteriors(case.tagger, texts[-1:], spans[-1:])
    assert len(long[0]) == len(spans[-1]) and all(0 <= value <= 1 for value in long[0])


def test_of_other_models_the_product_of_the_tokens(stock):
    text = stock.texts[0]
    value = entity_posteriors(stock.tagger, [text], [[(23, 29, "Disease")]])[0][0]
    encoded = stock.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        log_probs = stock.model(**encoded).logits[0].log_softmax(-1)
    tokens = [encoded.char_to_token(23), encoded.char_to_token(25), encoded.char_to_token(27)]
    assert encoded.tokens()[tokens[0] : tokens[2] + 1] == ["ec", "##ze", "##ma"]
    assert value == pytest.approx(math.exp(sum(log_probs[token, label] for token, label in zip(tokens, (1, 2, 2)))))


def test_an_entity_inside_a_token_is_refused(stock):
    with pytest.raises(ValueError, match="begins inside the token"):
        entity_posteriors(stock.tagger, stock.texts[:1], [[(24, 29, "Disease")]])
    assert entity_posteriors(stock.tagger, ["", "eczema"], [[], []]) == [[], []]
