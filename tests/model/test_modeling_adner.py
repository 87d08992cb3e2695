"""Every architecture: what it says of a text depends on that text alone, and is what its CRF says."""

import dataclasses

import pytest
import torch

from hf_adner import AdnerConfig
from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.labels_adner import repair_bio
from hf_adner.model.lattice_adner import LexiconMatches
from hf_adner.model.modeling_adner import AdnerTokenClassifierOutput

from .lattice import dense_adjacency

EVERY = pytest.mark.parametrize("architecture", ARCHITECTURES)
VARIANTS = {
    "m-dscmg/bio": ("m-dscmg", {"tag_scheme": "bio"}),
    "m-dscmg/transformer": ("m-dscmg", {"word_layer": "transformer", "stream_fusion": "concat"}),
    "m-dscmg/mean": ("m-dscmg", {"lexicon_pooling": "mean", "stream_size": None}),
    "m-dscmg/bilstm": ("m-dscmg", {"use_bilstm": True}),
    "m-dscmg/characters": ("m-dscmg", {"use_encoder": False}),
    "graph/edges": ("m-dscmg-no-dual-stream", {"use_lexicon_edges": True}),
    "m-dscmg/softmax": ("m-dscmg", {"use_crf": False}),
    **{architecture: (architecture, {}) for architecture in ARCHITECTURES},
}
LEXICON = ("lexicon_ids", "lexicon_starts", "lexicon_ends")


def tag(model, tokenizer, texts, **kwargs) -> AdnerTokenClassifierOutput:
    with torch.no_grad():
        return model(**tokenizer(list(texts), padding=True, return_tensors="pt", **kwargs))


def by_text(output, texts, is_left: bool = False) -> list[tuple[torch.Tensor, ...]]:
    """Per text its characters' probabilities, boundaries and labels."""
    tokens, answers = output.logits.shape[1], []
    for row, text in enumerate(texts):
        first = tokens - len(text) - 1 if is_left else 1
        part = slice(first, first + len(text))
        answers.append(
            (
                output.logits[row, part].exp(),
                output.start_probs[row, part],
                output.end_probs[row, part],
                output.predictions[row, part],
            )
        )
    return answers


def assert_same(answers, expected) -> None:
    for answer, wanted in zip(answers, expected, strict=True):
        for found, value in zip(answer, wanted, strict=True):
            torch.testing.assert_close(found, value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_answer_depends_on_its_text_alone(variant, build, tokenizer, texts):
    """Alone = in a batch = with more padding = padded on the left = in another order."""
    architecture, options = VARIANTS[variant]
    model = build(architecture, **options)
    alone = [by_text(tag(model, tokenizer, [text]), [text])[0] for text in texts]
    assert_same(by_text(tag(model, tokenizer, texts), texts), alone)
    assert_same(by_text(tag(model, tokenizer, texts, pad_to_multiple_of=32), texts), alone)
    left = tag(model, tokenizer, texts, padding_side="left", pad_to_multiple_of=20)
    assert_same(by_text(left, texts, is_left=True), alone)
    assert_same(by_text(tag(model, tokenizer, texts[::-1]), texts[::-1]), alone[::-1])


@EVERY
def test_positions_differ(architecture, build, tokenizer, texts):
    """The equalities of this file would hold of a model that says the same everywhere."""
    output = tag(build(architecture), tokenizer, texts[-1:])
    answers = output.logits[0, 1:-1].exp()
    assert (answers[:, None] - answers).abs().amax(-1).fill_diagonal_(1).min() > 1e-4


@EVERY
def test_ids_under_the_padding_change_nothing(architecture, build, tokenizer, texts):
    model = build(architecture)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    other = {**inputs, "input_ids": inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, 7)}
    with torch.no_grad():
        assert_same(by_text(model(**other), texts), by_text(model(**inputs), texts))


@EVERY
def test_special_tokens_say_o(architecture, build, tokenizer, texts):
    output = tag(build(architecture), tokenizer, texts)
    torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(output.logits.shape[:2]))
    for row, text in enumerate(texts):
        others = [0, *range(len(text) + 1, output.logits.shape[1])]
        assert (output.logits[row, others].argmax(-1) == 0).all()
        assert output.logits[row, others, 0].exp().eq(1).all()
        assert output.predictions[row, others].eq(-100).all()
        assert output.predictions[row, 1 : len(text) + 1].ge(0).all()
        assert not output.start_probs[row, others].any() and not output.end_probs[row, others].any()


def noisy_encoder(model, noise: torch.Tensor, where: torch.Tensor):
    """Add noise to the encoder's states at some tokens; returns the handle of the hook."""

    def add(module, arguments, output):
        if isinstance(output, torch.Tensor):
            return output + noise * where[..., None]
        output.last_hidden_state = output.last_hidden_state + noise * where[..., None]
        return output

    return model.adner.encoder.register_forward_hook(add)


@EVERY
def test_special_tokens_and_padding_are_nobodys_neighbours(architecture, build, tokenizer, texts):
    """What the encoder says at [CLS], [SEP] and padding reaches no text position; what it says in the text does."""
    model, inputs = build(architecture), tokenizer(texts, padding=True, return_tensors="pt")
    special = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
    for row, text in enumerate(texts):
        special[row, 1 : len(text) + 1] = False
    noise = 5 * torch.randn(model.config.hidden_size)
    with torch.no_grad():
        expected = model(**inputs)
        handle = noisy_encoder(model, noise, special)
        assert_same(by_text(model(**inputs), texts), by_text(expected, texts))
        handle.remove()
        first = torch.zeros_like(special)
        first[-1, 1] = True
        noisy_encoder(model, noise, first)
        moved = (model(**inputs).logits[-1].exp() - expected.logits[-1].exp()).abs().amax(-1)[1 : len(texts[-1]) + 1]
    reach = moved > 1e-6
    assert reach[0] and reach.sum() > 1 or architecture == "bert-softmax"


@pytest.mark.parametrize("scheme", ["bioes", "bio"])
def test_logits_and_predictions_are_the_crfs(scheme, build, tokenizer, label_paths):
    """End to end against enumeration of every label sequence."""
    short = ["红斑块", "", "痒"]
    model = build("m-dscmg", tag_scheme=scheme)
    output = tag(model, tokenizer, short)
    labels = model.config.labels
    for row, text in enumerate(short):
        assert output.text_mask[row].sum() == len(text)
        paths = label_paths(model.head, output.emissions[row, : len(text)])
        for position in range(len(text)):
            marginals = [sum(p for tags, p in paths if tags[position] == label) for label in labels]
            assert output.logits[row, position + 1].exp().tolist() == pytest.approx(marginals, abs=1e-5)
        best = max(paths, key=lambda path: path[1])[0]
        assert [labels[label] for label in output.predictions[row, 1 : len(text) + 1]] == list(best)


@EVERY
def test_predictions_are_well_formed(architecture, build, tokenizer, texts):
    model = build(architecture, seed=3)
    output = tag(model, tokenizer, texts)
    for row, text in enumerate(texts):
        path = [model.config.labels[label] for label in output.predictions[row, 1 : len(text) + 1]]
        assert repair_bio(path) == (path, 0)


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-softmax", "bilstm-crf"])
def test_only_empty_texts(architecture, build, tokenizer):
    model = build(architecture)
    inputs = tokenizer(["", ""], padding=True, return_tensors="pt")
    output = model(**inputs, labels=torch.full_like(inputs["input_ids"], -100))
    assert output.loss.item() == 0 and output.predictions.eq(-100).all() and output.logits.argmax(-1).eq(0).all()
    output.loss.backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())
    assert model.entity_log_posteriors(output.emissions, output.text_mask, []).shape == (0,)


@pytest.mark.parametrize("architecture", ["m-dscmg", "m-dscmg-no-attention", "m-dscmg-no-graph", "bert-att-crf"])
@pytest.mark.parametrize("word_layer", ["lstm", "transformer"])
def test_sdpa_equals_eager(architecture, word_layer, build, tokenizer, texts):
    model = build(architecture, word_layer=word_layer)
    assert model.config._attn_implementation == "sdpa"
    fast = tag(model, tokenizer, texts)
    model.set_attn_implementation("eager")
    assert_same(by_text(tag(model, tokenizer, texts), texts), by_text(fast, texts))


def test_attentions_come_with_eager(build, tokenizer, texts):
    model = build("m-dscmg")
    model.set_attn_implementation("eager")
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs, output_attentions=True, output_hidden_states=True)
        streams = model.adner(**inputs).stream_attentions
    tokens = inputs["input_ids"].shape[1]
    assert len(output.attentions) == 2 and output.attentions[0].shape == (len(texts), 2, tokens, tokens)
    assert len(output.hidden_states) == 3 and output.hidden_states[-1].shape == (len(texts), tokens, 16)
    assert len(streams) == 3  # to words, to characters, self-attention
    for weights in streams:
        for row, text in enumerate(texts):
            if text:
                part = weights[row, :, : len(text)]
                torch.testing.assert_close(part.sum(-1), torch.ones(part.shape[:2]))
                assert not part[..., len(text) :].any()


def test_a_callers_edges_replace_the_lattice(build, tokenizer, texts):
    model = build("m-dscmg")
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    matches = LexiconMatches(*(inputs[name] for name in LEXICON))
    edges = dense_adjacency(inputs["attention_mask"].bool(), matches)
    special_edges = edges.clone()
    for row, text in enumerate(texts):
        others = [0, *range(len(text) + 1, edges.shape[1])]
        special_edges[row, others] = 1
        special_edges[row, :, others] = 1
    with torch.no_grad():
        lattice = model(**inputs)
        assert_same(by_text(model(**inputs, adjacency=edges), texts), by_text(lattice, texts))
        assert_same(by_text(model(**inputs, adjacency=special_edges.long()), texts), by_text(lattice, texts))
        alone = model(**inputs, adjacency=torch.zeros_like(edges))
    assert (alone.logits.exp() - lattice.logits.exp()).abs().max() > 1e-3


def test_words_change_the_answer(build, tokenizer, texts):
    inputs = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    none = {name: torch.zeros(len(texts), 0, dtype=torch.long) for name in LEXICON}
    for architecture in ("m-dscmg", "m-dscmg-no-graph", "bert-crf"):
        model = build(architecture)
        with torch.no_grad():
            change = (model(**inputs).logits.exp() - model(**{**inputs, **none}).logits.exp()).abs().amax((1, 2))
        has_words = [text not in ("", "痒") for text in texts]
        assert (change > 1e-3).tolist() == [found and architecture != "bert-crf" for found in has_words]


@pytest.mark.parametrize("architecture", ["m-dscmg", "bilstm-crf"])
def test_embeddings_may_stand_for_ids(architecture, build, tokenizer, texts):
    model = build(architecture)
    inputs = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    expected = tag(model, tokenizer, texts)
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    with torch.no_grad():
        assert_same(by_text(model(**inputs, inputs_embeds=embeds), texts), by_text(expected, texts))


def test_without_mask_every_token_counts(build, tokenizer):
    model = build("m-dscmg")
    inputs = dict(tokenizer(["四肢红斑块"], return_tensors="pt"))
    expected = tag(model, tokenizer, ["四肢红斑块"])
    inputs.pop("attention_mask")
    with torch.no_grad():
        assert_same(by_text(model(**inputs), ["四肢红斑块"]), by_text(expected, ["四肢红斑块"]))


def test_tuples_instead_of_outputs(build, tokenizer, texts):
    model = build("m-dscmg")
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits, predictions, *_ = model(**inputs, return_dict=False)
        output = model(**inputs)
    assert torch.equal(logits, output.logits) and torch.equal(predictions, output.predictions)
    hidden = model.adner(**inputs, return_dict=False)[0]
    assert hidden.shape == (*inputs["input_ids"].shape, model.config.output_size)


def test_the_trainer_keeps_logits_and_predictions_only():
    fields = {field.name for field in dataclasses.fields(AdnerTokenClassifierOutput)}
    remaining = fields - set(AdnerConfig.keys_to_ignore_at_inference)
    assert remaining == {"loss", "logits", "predictions"}


def test_inputs_that_contradict_are_refused(build, tokenizer, texts):
    model = build("m-dscmg")
    inputs = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    with pytest.raises(ValueError, match="built with a lexicon of 7 words, but lexicon_ids is missing"):
        model(**{name: value for name, value in inputs.items() if name not in LEXICON})
    with pytest.raises(ValueError, match="lexicon inputs must be three tensors"):
        model(**{name: value for name, value in inputs.items() if name != "lexicon_ends"})
    with pytest.raises(ValueError, match="lexicon_ids contains 8, expected 0 to 7: the model's lexicon has 7 words"):
        model(**{**inputs, "lexicon_ids": inputs["lexicon_ids"].clamp(max=1) * 8})
    embeds = torch.zeros(len(texts), inputs["input_ids"].shape[1], 16)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model(**inputs, inputs_embeds=embeds)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model.adner(attention_mask=inputs["attention_mask"])


@EVERY
def test_nan_in_the_weights_is_an_error(architecture, build, tokenizer, texts):
    model = build(architecture)
    name, weight = list(model.adner.named_parameters())[-1]
    weight.data[...] = float("nan")
    with pytest.raises(ValueError, match="emissions must be finite"):
        tag(model, tokenizer, texts)


@pytest.mark.parametrize("architecture", ["bert-crf", "bert-softmax"])
def test_entity_posteriors_outside_the_text_are_refused(architecture, build, tokenizer, texts):
    model = build(architecture)
    output = tag(model, tokenizer, texts)
    for entity in [(0, 3, 6, "Drug"), (0, 2, 2, "Drug"), (0, -1, 2, "Drug"), (1, 0, 1, "Drug"), (9, 0, 1, "Drug")]:
        with pytest.raises(ValueError, match="is outside the text of its row"):
            model.entity_log_posteriors(output.emissions, output.text_mask, [entity])
    with pytest.raises(ValueError, match="'Body' is unknown; the model has"):
        model.entity_log_posteriors(output.emissions, output.text_mask, [(0, 0, 1, "Body")])
