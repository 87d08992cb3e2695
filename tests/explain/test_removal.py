"""Occlusion against captum, LIME and KernelSHAP against exact values, and the units and copies they share."""

import itertools
import math

import pytest
import torch
from captum.attr import FeatureAblation

from hf_adner import make_explainer
from hf_adner.explain.removal import Masking, WeightedRidge, split_into_units
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.windows_adner import Window

from .captum_forward import Forward

TEXT, ENTITY = "红斑伴瘙", (0, 2, "Disease")


def values_of_sets(case, text, entity):
    tagger = case.tagger
    batch = tagger.encode([text], [TextWindow(0, Window(0, len(text)))])
    place = batch.tokens_of(0, entity)
    masking = Masking(tagger, Target("label", tagger.labels), batch, "characters", [place], 64)
    sets = list(itertools.product([False, True], repeat=masking.count))
    return dict(zip(sets, masking.scores(torch.tensor(sets))[:, 0].tolist()))


def shapley(values):
    count = len(next(iter(values)))
    scores = [0.0] * count
    for kept, value in values.items():
        for unit in range(count):
            if not kept[unit]:
                size = sum(kept)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                gained = values[tuple(one or place == unit for place, one in enumerate(kept))] - value
                scores[unit] += weight * gained
    return scores


def test_kernel_shap_nears_the_shapley_values(build):
    case = build("m-dscmg")
    expected = shapley(values_of_sets(case, TEXT, ENTITY))
    ((one,),) = make_explainer("kernel-shap", case.model, case.tokenizer, n_samples=3000)([TEXT], [[ENTITY]])
    spread = max(map(abs, expected))
    assert one.scores == pytest.approx(expected, abs=0.15 * spread)
    values = values_of_sets(case, TEXT, ENTITY)
    assert sum(one.scores) == pytest.approx(values[(True,) * 4] - values[(False,) * 4], abs=1e-3)


def test_lime_fits_the_samples_it_drew(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0)
    ((one,),) = explain([TEXT], [[ENTITY]])
    again = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0)([TEXT], [[ENTITY]])
    assert again[0][0].scores == one.scores
    other = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0, seed=1)([TEXT], [[ENTITY]])
    assert other[0][0].scores != one.scores
    # in the limit: half of the samples are any of 16 sets, half one of the 4 that hold the entity
    values = values_of_sets(case, TEXT, ENTITY)
    sets = torch.tensor(list(values), dtype=torch.float64)
    probability = torch.tensor([0.5 / 16 + 0.5 / 4 * (kept[0] and kept[1]) for kept in values], dtype=torch.float64)
    similarity = torch.exp(-((1 - sets.mean(1).sqrt()) ** 2) / (2 * 0.25**2))
    roots = (probability * similarity).sqrt()[:, None]
    design = torch.cat((sets, torch.ones(len(sets), 1, dtype=torch.float64)), 1)
    goal = torch.tensor(list(values.values()), dtype=torch.float64)[:, None]
    expected = torch.linalg.lstsq(roots * design, roots * goal).solution[:-1, 0].tolist()
    assert one.scores == pytest.approx(expected, abs=0.15 * max(map(abs, expected)))


def test_entities_share_the_samples_of_kernel_shap(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("kernel-shap", case.model, case.tokenizer, n_samples=50)
    rows = []
    tag = explain.tagger.tag
    monkeypatch.setattr(explain.tagger, "tag", lambda inputs: rows.append(len(inputs["input_ids"])) or tag(inputs))
    explain([case.texts[4]], [[(0, 2, "Drug")]])
    one, rows[:] = sum(rows), []
    explain([case.texts[4]], [[(0, 2, "Drug"), (3, 5, "Drug"), (6, 7, "Disease")]])
    assert sum(rows) == one <= 51


def test_a_text_of_one_character(build):
    case = build("bert-crf")
    for name in ("lime", "kernel-shap"):
        ((one,),) = make_explainer(name, case.model, case.tokenizer, n_samples=5)(["痒"], [[(0, 1, "Disease")]])
        values = values_of_sets(case, "痒", (0, 1, "Disease"))
        assert one.scores == pytest.approx([values[True,] - values[False,]], abs=1e-5)


@pytest.mark.parametrize("target", ["label", "posterior"])
@pytest.mark.parametrize("name", ["lime", "kernel-shap", "occlusion", "integrated-gradients", "grad-x-input"])
def test_explaining_warns_of_nothing(build, name, target, recwarn):
    case = build("m-dscmg")
    options = {"n_samples": 5} if name in ("lime", "kernel-shap") else {}
    make_explainer(name, case.model, case.tokenizer, target=target, **options)([TEXT], [[ENTITY]])
    assert [str(warning.message) for warning in recwarn] == []


def test_bad_options_of_sampling(build):
    case = build("bert-crf")
    for options, message in [
        ({"n_samples": 1}, "n_samples must be"),
        ({"units": "x"}, "units must be"),
        ({"kernel_width": 0}, "kernel_width must be positive"),
        ({"penalty": -1}, "penalty not negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_explainer("lime", case.model, case.tokenizer, **options)


def ablation(case, text, entity, mask=None):
    forward = Forward(case, text, entity, drops_hidden_words=True)
    with torch.no_grad():
        return FeatureAblation(forward).attribute(forward.ids, forward.masked, feature_mask=mask)[0, 1:-1].tolist()


def test_occlusion_equals_captum(case):
    number = max(range(len(case.texts)), key=lambda number: len(case.texts[number]))
    text, entities = case.texts[number], case.entities[number]
    (found,) = make_explainer("occlusion", case.model, case.tokenizer)([text], [entities])
    for one, entity in zip(found, entities):
        expected = ablation(case, text, entity)
        if case.tagger.is_adner:
            assert one.scores == pytest.approx(expected, abs=1e-5)
        else:
            offsets = Forward(case, text, entity).batch.offsets[0][1:-1]
            sums = [sum(one.scores[start:end]) for start, end in offsets]
            assert sums == pytest.approx(expected, abs=1e-5)


def test_lexicon_words_are_hidden_whole(build):
    case = build("m-dscmg")
    text, entity = "反复红斑伴瘙痒", (5, 7, "Disease")
    ((one,),) = make_explainer("occlusion", case.model, case.tokenizer, units="lexicon-words")([text], [[entity]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 2, 3, 3, 4]])
    expected = ablation(case, text, entity, mask)
    assert one.scores == pytest.approx([score / n for score, n in zip(expected, [4, 4, 4, 4, 1, 2, 2])], abs=1e-5)


def test_words_between_spaces(stock):
    text, entity = stock.texts[0], (23, 29, "Disease")
    ((one,),) = make_explainer("occlusion", stock.model, stock.tokenizer, units="words")([text], [[entity]])
    expected = ablation(stock, text, entity, torch.tensor([[0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 7, 8]]))
    assert sum(one.scores[23:29]) == pytest.approx(expected[4], abs=1e-5)
    assert len(set(one.scores[23:29])) == 1 and one.scores[22] == 0
    assert sum(one.scores[33:37]) == pytest.approx(expected[8], abs=1e-5)


def test_a_word_of_the_lexicon_is_judged_by_its_absence(build):
    case = build("m-dscmg")
    text, entity = "红斑伴瘙痒", (0, 2, "Disease")
    ((one,),) = make_explainer("occlusion", case.model, case.tokenizer)([text], [[entity]])
    forward = Forward(case, text, entity)
    for number, word in enumerate(one.lexicon):
        without = forward.words.clone()
        without[0, number] = 0
        expected = forward(forward.ids, forward.words) - forward(forward.ids, without)
        assert word.score == pytest.approx(expected.item(), abs=1e-5) and word.score != 0


def test_entities_share_the_hidden_copies(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("occlusion", case.model, case.tokenizer)
    rows = []
    tag = explain.tagger.tag
    monkeypatch.setattr(explain.tagger, "tag", lambda inputs: rows.append(len(inputs["input_ids"])) or tag(inputs))
    text = case.texts[4]
    explain([text], [[(0, 2, "Drug")]])
    one, rows[:] = sum(rows), []
    explain([text], [[(start, start + 1, "Drug") for start in range(12)]])
    assert sum(rows) == one == len(text) + 1


def test_bad_units_of_occlusion(build, stock):
    with pytest.raises(ValueError, match="units must be"):
        make_explainer("occlusion", stock.model, stock.tokenizer, units="sentences")
    with pytest.raises(ValueError, match="needs a tokenizer with a lexicon"):
        make_explainer("occlusion", stock.model, stock.tokenizer, units="lexicon-words")


def masking_of(case, text, window, entity, units="characters"):
    tagger = case.tagger
    batch = tagger.encode([text], [TextWindow(0, window)])
    return Masking(tagger, Target("label", tagger.labels), batch, units, [batch.tokens_of(0, entity)], 4), batch


def test_hidden_tokens_and_their_words(build, monkeypatch):
    case = build("m-dscmg")
    masking, batch = masking_of(case, "伴红斑块", Window(1, 4), (1, 3, "Disease"))
    assert masking.count == 3 and masking.token_units.tolist() == [-1, 0, 1, 2, -1]
    inputs = masking._inputs(torch.tensor([[True, True, True], [False, True, True], [True, True, False]]))
    mask, ids = case.tokenizer.mask_token_id, batch.inputs["input_ids"][0].tolist()
    assert inputs["input_ids"].tolist() == [ids, [*ids[:1], mask, *ids[2:]], [*ids[:3], mask, *ids[4:]]]
    words = [case.tokenizer.lexicon.words[i - 1] if i else "" for i in batch.inputs["lexicon_ids"][0].tolist()]
    visible = [{words[n] for n, i in enumerate(row) if i} for row in inputs["lexicon_ids"].tolist()]
    assert visible == [{"红", "红斑", "斑块"}, {"斑块"}, {"红", "红斑"}]


def test_scores_of_a_unit_are_shared_by_characters(stock):
    masking, batch = masking_of(stock, stock.texts[0], Window(16, 37), (23, 29, "Disease"), "words")
    assert masking.token_units.tolist() == [-1, 0, 1, 1, 1, 2, 3, 3, -1]
    shared = masking.shared_over_tokens(torch.tensor([6.0, 12.0, 4.0, 8.0]))
    assert shared.tolist() == pytest.approx([0, 6, 4, 4, 4, 4, 6, 2, 0])


def test_nothing_hidden_is_the_text_itself(case):
    number = max(range(len(case.texts)), key=lambda number: len(case.texts[number]))
    text = case.texts[number]
    masking, _ = masking_of(case, text, Window(0, len(text)), case.entities[number][0])
    whole, log_probs = masking.whole()
    kept = torch.ones(6, masking.count, dtype=torch.bool)
    torch.testing.assert_close(masking.scores(kept)[:, 0], whole.expand(6), atol=1e-4, rtol=1e-4)
    assert log_probs.shape[1] == 5


def test_recovers_a_linear_function():
    torch.manual_seed(0)
    features = (torch.rand(60, 4) < 0.5).float()
    values = features @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    model = WeightedRidge()
    model.fit([(features[:40], values[:40], torch.rand(40)), (features[40:], values[40:], torch.rand(20))])
    assert model.representation()[0].tolist() == pytest.approx([1.0, -2.0, 0.5, 0.0], abs=1e-5)


def test_equals_the_closed_form():
    torch.manual_seed(1)
    features, values, weights = torch.rand(30, 3), torch.rand(30), torch.rand(30)
    model = WeightedRidge(0.7)
    model.fit([(features, values, weights)])
    design = torch.cat((features, torch.ones(30, 1)), 1).double()
    penalty = torch.diag(torch.tensor([0.7, 0.7, 0.7, 0.0], dtype=torch.float64) * float(weights.mean()))
    scaled = design.T * weights.double()
    expected = torch.linalg.solve(scaled @ design + penalty, scaled @ values.double())[:3]
    assert model.representation()[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_units_that_always_go_together_share():
    features = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    model = WeightedRidge()
    model.fit([(features, torch.tensor([2.0, 0.0]), torch.ones(2))])
    assert model.representation()[0].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_units_cover_the_text(tokenizer):
    text = "反复红斑块 A bc"
    assert split_into_units("ab", "characters", tokenizer) == [(0, 1), (1, 2)]
    assert split_into_units(text, "lexicon-words", tokenizer)[:3] == [(0, 4), (4, 5), (5, 6)]
    assert split_into_units(text, "words", tokenizer) == [(0, 5), (5, 6), (6, 7), (7, 8), (8, 10)]
    for units in ("characters", "lexicon-words", "words"):
        ranges = split_into_units(text, units, tokenizer)
        assert [start for start, _ in ranges] == [0, *[end for _, end in ranges]][:-1] and ranges[-1][1] == len(text)
        assert split_into_units("", units, tokenizer) == []


def test_unknown_units(tokenizer):
    with pytest.raises(ValueError, match="units must be one of"):
        split_into_units("x", "clauses", tokenizer)
