"""Gradient explainers against captum, and attention x gradient against a direct computation."""

import copy

import pytest
import torch
from captum.attr import LayerGradientXActivation, LayerIntegratedGradients

from hf_adner import AdnerForTokenClassification, make_explainer
from hf_adner.explain.gradients import set_eager_attention
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.windows_adner import Window

from .captum_forward import Forward


@pytest.fixture
def longest(case):
    number = max(range(len(case.texts)), key=lambda number: len(case.texts[number]))
    return case.texts[number], case.entities[number]


@pytest.mark.parametrize("norm", ["l2", "signed"])
def test_gradient_x_input_equals_captum(case, longest, norm):
    text, entities = longest
    (found,) = make_explainer("grad-x-input", case.model, case.tokenizer, norm=norm, spread_words=False)(
        [text], [entities]
    )
    for one, entity in zip(found, entities):
        forward = Forward(case, text, entity)
        values = LayerGradientXActivation(forward, forward.layers).attribute(forward.inputs)
        values = [v.sum(-1) if norm == "signed" else v.norm(dim=-1) for v in values]
        expected = values[0][0, 1:-1].tolist()
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            assert sum(one.scores) == pytest.approx(sum(expected), abs=1e-5)
            assert one.scores[entity[0]] == pytest.approx(expected[_token(forward, entity)] / _width(forward, entity))
        if len(values) > 1:
            assert [word.score for word in one.lexicon] == pytest.approx(values[1][0].tolist(), abs=1e-5)
            assert any(score != 0 for score in values[1][0].tolist())
        assert one.value == pytest.approx(forward(*forward.inputs).item(), abs=1e-5)


def _token(forward, entity):
    return forward.batch.tokens_of(0, entity).start - 1


def _width(forward, entity):
    start, end = forward.batch.offsets[0][forward.batch.tokens_of(0, entity).start]
    return end - start


@pytest.mark.parametrize("name", ["grad-x-input", "integrated-gradients", "attention"])
def test_no_gradient_of_the_weights_is_prepared(stock, name):
    trained = []
    hook = stock.model.register_forward_hook(
        lambda module, *_: trained.append(any(weight.requires_grad for weight in module.parameters()))
    )
    make_explainer(name, stock.model, stock.tokenizer)(stock.texts, stock.entities)
    hook.remove()
    assert trained and not any(trained)
    assert all(weight.requires_grad and weight.grad is None for weight in stock.model.parameters())


def test_words_are_by_place(build):
    case = build("m-dscmg")
    ((one,),) = make_explainer("grad-x-input", case.model, case.tokenizer)(["红斑伴红斑"], [[(0, 2, "Disease")]])
    assert [(word.word, word.start, word.end) for word in one.lexicon] == [
        ("红", 0, 1),
        ("红斑", 0, 2),
        ("红", 3, 4),
        ("红斑", 3, 5),
    ]
    assert len({word.score for word in one.lexicon}) == 4


@pytest.mark.parametrize("name", ["grad-x-input", "integrated-gradients"])
def test_word_scores_are_spread_over_their_characters(build, name):
    case = build("m-dscmg")
    options = {"norm": "signed"} if name == "grad-x-input" else {"steps": 3}
    plain, spread = (
        make_explainer(name, case.model, case.tokenizer, spread_words=choice, **options)(case.texts, case.entities)
        for choice in (False, True)
    )
    for one, other in zip(sum(plain, []), sum(spread, [])):
        expected = list(one.scores)
        for word in one.lexicon:
            for place in range(word.start, word.end):
                expected[place] += word.score / (word.end - word.start)
        assert other.scores == pytest.approx(expected, abs=1e-6) and other.lexicon == one.lexicon
        assert sum(other.scores) == pytest.approx(sum(one.scores) + sum(word.score for word in one.lexicon), abs=1e-5)
    default = make_explainer(name, case.model, case.tokenizer, **options)(case.texts, case.entities)
    assert default == spread


@pytest.mark.parametrize("architecture", ["bert-crf", "bilstm-crf", "bert-softmax"])
def test_no_words_without_a_lexicon_stream(build, architecture):
    case = build(architecture)
    ((one,),) = make_explainer("grad-x-input", case.model, case.tokenizer)(["红斑"], [[(0, 2, "Disease")]])
    assert one.lexicon == ()


def test_one_forward_and_a_backward_per_round(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("grad-x-input", case.model, case.tokenizer)
    calls = {"forward": 0, "backward": 0}
    tag, grad = explain.tagger.tag, torch.autograd.grad

    def counted(kind, function):
        def call(*args, **kwargs):
            calls[kind] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(explain.tagger, "tag", counted("forward", tag))
    monkeypatch.setattr(torch.autograd, "grad", counted("backward", grad))
    explain(case.texts, case.entities)
    assert calls == {"forward": 1, "backward": 3}


def test_unknown_norm(build):
    case = build("bert-crf")
    with pytest.raises(ValueError, match="norm must be"):
        make_explainer("grad-x-input", case.model, case.tokenizer, norm="l1")


@pytest.fixture
def padding_word_is_zero(case):
    """captum takes the zero vector of a word from the padding row of the table."""
    table = case.tagger._word_table
    if table is not None:
        with torch.no_grad():
            table.weight[0] = 0


def test_integrated_gradients_equal_captum(case, longest, padding_word_is_zero):
    text, entities = longest
    explain = make_explainer("integrated-gradients", case.model, case.tokenizer, steps=7, spread_words=False)
    (found,) = explain([text], [entities])
    for one, entity in zip(found, entities):
        forward = Forward(case, text, entity)
        values = LayerIntegratedGradients(forward, forward.layers).attribute(
            forward.inputs, forward.baselines, n_steps=7, method="riemann_middle"
        )
        expected = values[0].sum(-1)[0, 1:-1].tolist()
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            assert sum(one.scores) == pytest.approx(sum(expected), abs=1e-5)
            start, end, _ = entity
            place = forward.batch.tokens_of(0, entity)
            assert sum(one.scores[start:end]) == pytest.approx(sum(expected[place.start - 1 : place.end - 1]), abs=1e-5)
        if len(values) > 1:
            assert [word.score for word in one.lexicon] == pytest.approx(values[1].sum(-1)[0].tolist(), abs=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad", "zero"])
def test_scores_complete_the_difference(case, longest, baseline):
    text, entities = longest
    errors = []
    for steps in (8, 128):
        options = {"steps": steps, "baseline": baseline, "batch_size": 64, "spread_words": False}
        (found,) = make_explainer("integrated-gradients", case.model, case.tokenizer, **options)([text], [entities[:1]])
        one = found[0]
        total = sum(one.scores) + sum(word.score for word in one.lexicon)
        error = abs(total - (one.value - one.details["baseline_value"]))
        assert error == pytest.approx(one.details["completeness_error"], abs=1e-4)
        errors.append(error)
    assert errors[1] < 2e-3 and errors[1] <= errors[0] + 1e-4


def test_bad_options_of_integrated_gradients(build):
    case = build("bert-crf")
    with pytest.raises(ValueError, match="steps must be"):
        make_explainer("integrated-gradients", case.model, case.tokenizer, steps=0)
    with pytest.raises(ValueError, match="baseline must be"):
        make_explainer("integrated-gradients", case.model, case.tokenizer, baseline="noise")


@pytest.mark.parametrize("layers", [1, 4])
def test_attention_equals_the_direct_computation(case, layers):
    if case.tagger.is_adner and not case.model.config.use_encoder:
        with pytest.raises(ValueError, match="no encoder"):
            make_explainer("attention", case.model, case.tokenizer)
        return
    number = max(range(len(case.texts)), key=lambda number: len(case.texts[number]))
    text, entity = case.texts[number], case.entities[number][0]
    explain = make_explainer("attention", case.model, case.tokenizer, layers=layers)
    ((one,),) = explain([text], [[entity]])
    tagger = case.tagger
    batch = tagger.encode([text], [TextWindow(0, Window(0, len(text)))])
    place = batch.tokens_of(0, entity)
    eager = tagger.with_own_modules().model
    set_eager_attention(eager)
    outputs = eager(**batch.inputs, output_attentions=True)
    score = Target("label", tagger.labels)(tagger.read(outputs), [place])
    used = outputs.attentions[-layers:]
    slopes = torch.autograd.grad(score.sum(), used)
    total = torch.zeros(batch.is_text.shape[1])
    for weights, slope in zip(used, slopes):
        for token in range(place.start, place.end):
            total += (weights * slope)[0, :, token].abs().sum(0) / (place.end - place.start) / len(used)
    for (start, end), expected in zip(batch.offsets[0], total.tolist()):
        if end > start:
            assert sum(one.scores[start:end]) == pytest.approx(expected, abs=1e-6)
    assert one.details == {"layers": len(used)} and min(one.scores) >= 0


def test_own_modules_share_weights_and_nothing_else(build):
    case = build("m-dscmg")
    case.model.set_attn_implementation({"": "sdpa", "encoder_config": "sdpa"})
    own = case.tagger.with_own_modules().model
    set_eager_attention(own)
    own.adner.encoder.config.hidden_act = "relu"
    for config in (case.model.config, case.model.config.encoder_config, case.model.adner.encoder.config):
        assert config._attn_implementation == "sdpa"
    assert case.model.config.encoder_config.hidden_act == "gelu"
    assert all(one is two for one, two in zip(own.parameters(), case.model.parameters(), strict=True))
    assert all(one is two for one, two in zip(own.buffers(), case.model.buffers(), strict=True))
    assert not set(map(id, own.modules())) & set(map(id, case.model.modules()))


def test_attention_needs_a_layer(stock):
    with pytest.raises(ValueError, match="layers must be"):
        make_explainer("attention", stock.model, stock.tokenizer, layers=0)


@pytest.mark.parametrize("name", ["grad-x-input", "integrated-gradients", "attention"])
@pytest.mark.parametrize("target", ["label", "span"])
def test_a_float16_model_is_explained_in_float32(build, name, target, tmp_path):
    case = build("m-dscmg")
    case.model.adner.dual_stream.lexicon.frequencies[1:] *= 1e4  # beyond float16
    options = {"target": target}
    entities = [[] if not text else [(0, 1, "Disease")] for text in case.texts]
    expected = make_explainer(name, case.model, case.tokenizer, **options)(case.texts, entities)
    case.model.save_pretrained(tmp_path)
    half = AdnerForTokenClassification.from_pretrained(tmp_path, dtype=torch.float16)
    assert half(**case.tokenizer(case.texts, padding=True, return_tensors="pt")).logits.isfinite().all()
    found = make_explainer(name, half, case.tokenizer, **options)(case.texts, entities)
    same = make_explainer(name, copy.deepcopy(half).float(), case.tokenizer, **options)(case.texts, entities)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16, torch.float32}
    for ours, rounded, exact in zip(
        *([one for group in groups for one in group] for groups in (found, same, expected))
    ):
        assert ours.scores == rounded.scores and ours.lexicon == rounded.lexicon
        largest = max(map(abs, exact.scores))
        assert ours.scores == pytest.approx(exact.scores, abs=0.05 * largest)
