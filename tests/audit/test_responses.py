"""Responses of a model to changed texts, the sample of entities and its views, random weights and noisy embeddings."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_adner import AdnerPipeline, Entity
from hf_adner.audit.measuring_stability import noisy_embeddings, randomised_weights
from hf_adner.audit.prediction import scored_spans
from hf_adner.audit.responses import END, LOG_ODDS, PROBABILITY, START, ModelResponses
from hf_adner.audit.robustness import check_label_preserving, make_families
from hf_adner.audit.sample import draw_sample, make_views
from hf_adner.explain.explainers import make_explainer
from hf_adner.explain.occlusion import Occlusion
from hf_adner.explain.tagger import Tagger
from hf_adner.perturb.registry import make_perturbation


def responses_of(case, **options) -> ModelResponses:
    of = draw_sample(case.model, case.tokenizer, case.documents, 100)
    return ModelResponses(Tagger(case.model, case.tokenizer), of, **options)


@pytest.fixture(scope="module")
def responses(case) -> ModelResponses:
    return responses_of(case, draws=6)


def test_intact_readings_are_the_pipelines_scores(case, responses):
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    found = pipe([document.text for document in case.documents])
    for number, audited in enumerate(responses.sample.entities):
        ones = found[audited.document]
        one = next(one for one in ones if (one["start"], one["end"], one["entity_group"]) == audited.span)
        readings = responses.intact(number)
        wanted = [one["score"], one["start_score"], one["end_score"]]
        # the pipeline's boundaries are those of any label
        assert readings[PROBABILITY] == pytest.approx(wanted[0], abs=1e-5)
        assert readings[START] <= wanted[1] + 1e-5 and readings[END] <= wanted[2] + 1e-5


@pytest.mark.parametrize("which", ["case", "stock"])
def test_effects_of_hiding_are_what_occlusion_says(which, request):
    case = request.getfixturevalue(which)
    responses = responses_of(case)
    explainer = make_explainer("occlusion", case.model, case.tokenizer)
    assert isinstance(explainer, Occlusion)
    for number, audited in enumerate(responses.sample.entities[:4]):
        text = responses.sample.text_of(number)
        (explanation,) = explainer([text], [[audited.span]])[0]
        found = responses.character_effects(number, LOG_ODDS)
        assert found == pytest.approx(explanation.scores, abs=2e-4)
        assert responses.intact(number)[LOG_ODDS] == pytest.approx(explanation.value, abs=1e-4)


def test_replacing_is_not_hiding(responses):
    hidden, replaced = (responses.effects(0, PROBABILITY, replaced=flag) for flag in (False, True))
    assert hidden.shape == replaced.shape and not np.allclose(hidden, replaced)


def test_replacements_are_other_characters_drawn_once_for_all_entities(case):
    responses = responses_of(case, replacements=3)
    window, _, index = responses.locate(0)
    asked = []
    hidden = window.hidden
    window.hidden = lambda kept, filler=None: (asked.append(filler), hidden(kept, filler))[1]
    inside = [number for number in range(len(responses.sample.entities)) if responses.locate(number).index == index]
    assert len(inside) > 1
    for number in inside:
        changes = responses.replacement_changes(number, LOG_ODDS)
        assert changes.shape == (3, window.count)
        length = len(responses.sample.text_of(number))
        found = responses.response(number)
        assert found == pytest.approx(window.over_characters(np.abs(changes).mean(axis=0), length))
        for column in (LOG_ODDS, PROBABILITY):
            mean = responses.replacement_changes(number, column).mean(axis=0)
            assert responses.effects(number, column, replaced=True) == pytest.approx(mean)
    assert len(asked) == 3  # one filler per draw, whatever the number of entities and columns
    for filler in asked:
        assert len(filler) == len(window.token_ids)
        assert all(new != own for new, own in zip(filler, window.token_ids))
    assert asked[0] != asked[1]


def test_replacing_a_character_is_reading_the_text_with_another_one(responses):
    window, number, index = responses.locate(0)
    kept = np.ones((1, window.count), dtype=bool)
    kept[0, 0] = False
    rng = random.Random(f"replaced {responses._seed} {index}")
    readings = window.hidden(kept, responses._filler(window, rng))[0, number]
    changes = [responses.replacement_changes(0, column)[0, 0] for column in (PROBABILITY, START, END, LOG_ODDS)]
    assert changes == pytest.approx(responses.intact(0) - readings, abs=1e-4)


def test_random_sets_change_the_log_odds_by_what_is_measured(responses):
    hidden, changes = responses.random_sets(0)
    window, number, _ = responses.locate(0)
    assert hidden.shape == (6, window.count) and 0 < hidden.mean() < 0.6
    readings = window.hidden(~hidden)[:, number, LOG_ODDS]
    assert changes == pytest.approx(responses.intact(0)[LOG_ODDS] - readings)


def test_thinning_everything_nothing_and_the_same_twice(responses):
    window, number, _ = responses.locate(0)
    whole = window.thinned(np.ones((1, window.count)), torch.Generator().manual_seed(0))
    assert whole[0] == pytest.approx(window.intact, abs=1e-4)
    half = np.full((3, window.count), 0.5)
    first, again, other = (window.thinned(half, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


def test_units_and_their_characters(case, responses):
    for number, audited in enumerate(responses.sample.entities):
        window, place, _ = responses.locate(number)
        own = [window.ranges[unit] for unit in window.own_units(place)]
        assert (own[0][0], own[-1][1]) == audited.span[:2]
        assert sorted([*window.own_units(place), *window.context_units(place)]) == list(range(window.count))
        length = len(responses.sample.text_of(number))
        scores = np.arange(length, dtype=float)
        assert window.over_characters(window.importance(scores), length) == pytest.approx(scores)


def test_boundary_sensitivity_has_every_figure(responses):
    found = responses.boundary_sensitivity()
    assert set(found) == {"start", "end", "start_log_odds", "end_log_odds", "middle", "ratio", "outer"}
    assert all(-1 <= found[name] <= 1 for name in ("start", "end", "outer"))
    assert np.isnan(found["middle"]) or 0 <= found["ratio"] < 1
    number = 0
    window, place, _ = responses.locate(number)
    own = window.own_units(place)
    starts = responses.effects(number, START)[own[0]]
    assert responses._sensitivities(number)[0] == pytest.approx(starts, abs=1e-6)


def draw(case, documents=None, **options):
    options = {"max_entities": 100, **options}
    return draw_sample(case.model, case.tokenizer, documents or case.documents, **options)


def test_only_gold_entities_that_are_found(case):
    first = case.documents[0]
    wrong = replace(first, entities=(replace(first.entities[0], label="Drug", text=None), *first.entities[1:]))
    if first.entities[0].label == "Drug":
        wrong = replace(first, entities=(replace(first.entities[0], label="Disease", text=None), *first.entities[1:]))
    of = draw(case, [wrong, *case.documents[1:]])
    total = sum(len(document.entities) for document in case.documents)
    assert (of.gold, of.found, of.coverage) == (total, total - 1, (total - 1) / total)
    assert sorted(of.entities) == sorted(
        (number, index, span)
        for number, document in enumerate(case.documents)
        for index, span in enumerate(document.spans)
        if (number, index) != (0, 0)
    )


def test_draws_are_limited_and_repeatable(case):
    everything = draw(case)
    assert draw(case, seed=1).entities != everything.entities
    assert draw(case, max_entities=3).entities == everything.entities[:3]
    one_each = draw(case, entities_per_document=1)
    assert len({audited.document for audited in one_each.entities}) == len(one_each.entities)
    owners = everything.by_document(3)
    assert sorted(number for numbers in owners.values() for number in numbers) == [0, 1, 2]
    assert all(everything.entities[number].document == one for one, numbers in owners.items() for number in numbers)


def test_nothing_found_is_an_error(case):
    strange = [replace(case.documents[0], entities=(Entity(0, 1, "Tumour"),))]
    with pytest.raises(ValueError, match="finds none of the 1 gold entities of 1 documents"):
        draw(case, strange)


def test_views_keep_what_is_found_again(case):
    of = draw(case)
    families = make_families(["punctuation", "context-masking"], case.model, case.tokenizer)
    views = make_views(case.model, case.tokenizer, of, families, views=2, seed=5)
    assert views and {view.family for view in views} <= set(families)
    for view in views:
        found = scored_spans(case.model, case.tokenizer, [view.perturbed.document.text])[0]
        there = {one.span for one in found}
        for number in view.entities:
            entity = view.perturbed.entity(of.entities[number].entity)
            span = (entity.start, entity.end, entity.label)
            assert view.kept.get(number) == (span if span in there else None)
    again = make_views(case.model, case.tokenizer, of, families, views=2, seed=5)
    assert [view.perturbed for view in again] == [view.perturbed for view in views]


def test_families_and_their_materials(case, stock):
    assert "similar-words" in make_families(None, case.model, case.tokenizer)
    assert "similar-words" not in make_families(None, stock.model, stock.tokenizer)
    assert "entity-swap" in make_families(["entity-swap"], case.model, case.tokenizer, case.documents)
    own = {"mine": make_perturbation("punctuation")}
    assert make_families(own, case.model, case.tokenizer) == own
    for names, message in (
        (["similar-words"], "needs a tokenizer with a lexicon"),
        (["entity-swap"], "needs training documents"),
        (["masked-lm"], "needs a masked language model"),
        (["p77"], "unknown perturbation"),
    ):
        with pytest.raises(ValueError, match=message):
            make_families(names, stock.model, stock.tokenizer)
    with pytest.raises(ValueError, match="label-preserving.*mine"):
        check_label_preserving({"mine": make_perturbation("virtual-boundary")})
    with pytest.raises(ValueError, match="none"):
        check_label_preserving({})


def weights(model) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_last_parameters_are_random_for_a_while(case, share):
    before = weights(case.model)
    with randomised_weights(case.model, share, seed=3):
        inside = weights(case.model)
    with randomised_weights(case.model, share, seed=3):
        again = weights(case.model)
    changed = [not torch.equal(one, other) for one, other in zip(before, inside, strict=True)]
    varied = [bool(one.std(correction=0) > 0) for one in before]
    first = len(before) - -(-len(before) * int(share * 10) // 10)
    assert changed == [place >= first and there for place, there in enumerate(varied)]
    assert all(map(torch.equal, inside, again)) and all(map(torch.equal, before, weights(case.model)))
    largest = max(before[first:], key=torch.numel)
    found = inside[[one is largest for one in before].index(True)]
    assert found.std().item() == pytest.approx(largest.std().item(), rel=0.2)


def test_weights_come_back_after_an_error(case):
    before = weights(case.model)
    with pytest.raises(RuntimeError), randomised_weights(case.model):
        raise RuntimeError
    assert all(map(torch.equal, before, weights(case.model)))
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], found 0"), randomised_weights(case.model, 0):
        pass


def test_noise_is_bounded_and_the_same_for_every_text(case):
    table = case.model.get_input_embeddings()
    short, long = torch.tensor([[5, 6]]), torch.tensor([[6, 5, 7], [7, 7, 7]])
    quiet = [table(ids) for ids in (short, long)]
    with noisy_embeddings(case.model, 0.05, seed=2):
        noises = [table(ids) - before for ids, before in zip((short, long), quiet)]
    torch.testing.assert_close(noises[0][0], noises[1][0, :2])
    torch.testing.assert_close(noises[1][0], noises[1][1])
    scale = table.weight.square().mean().sqrt()
    assert 0 < noises[1].abs().max() <= 0.05 * scale * (1 + 1e-3)
    assert torch.equal(table(short), quiet[0])
    with noisy_embeddings(case.model, 0.05, seed=3):
        assert not torch.allclose(table(short) - quiet[0], noises[0], atol=1e-6)
