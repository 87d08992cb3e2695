"""What a model does on changed texts, against the same changes made by hand."""

import numpy as np
import pytest
import torch

from hf_adner import AdnerPipeline
from hf_adner.audit.responses import END, LOG_ODDS, PROBABILITY, START, Behaviour
from hf_adner.audit.sample import draw_population
from hf_adner.explain.explainers import make_explainer
from hf_adner.explain.removal import Occlusion
from hf_adner.explain.tagger import Tagger


def behaviour_of(case, **options) -> Behaviour:
    of = draw_population(case.model, case.tokenizer, case.documents, 100)
    return Behaviour(Tagger(case.model, case.tokenizer), of, **options)


@pytest.fixture(scope="module")
def behaviour(case) -> Behaviour:
    return behaviour_of(case, draws=6)


def test_intact_readings_are_the_pipelines_scores(case, behaviour):
    pipe = AdnerPipeline(model=case.model, tokenizer=case.tokenizer)
    found = pipe([document.text for document in case.documents])
    for number, subject in enumerate(behaviour.population.subjects):
        ones = found[subject.document]
        one = next(one for one in ones if (one["start"], one["end"], one["entity_group"]) == subject.span)
        readings = behaviour.intact(number)
        wanted = [one["score"], one["start_score"], one["end_score"]]
        # the pipeline's boundaries are those of any label
        assert readings[PROBABILITY] == pytest.approx(wanted[0], abs=1e-5)
        assert readings[START] <= wanted[1] + 1e-5 and readings[END] <= wanted[2] + 1e-5


@pytest.mark.parametrize("which", ["case", "stock"])
def test_effects_of_hiding_are_what_occlusion_says(which, request):
    case = request.getfixturevalue(which)
    behaviour = behaviour_of(case)
    explainer = make_explainer("occlusion", case.model, case.tokenizer)
    assert isinstance(explainer, Occlusion)
    for number, subject in enumerate(behaviour.population.subjects[:4]):
        text = behaviour.population.text_of(number)
        (explanation,) = explainer([text], [[subject.span]])[0]
        found = behaviour.character_effects(number, LOG_ODDS)
        assert found == pytest.approx(explanation.scores, abs=2e-4)
        assert behaviour.intact(number)[LOG_ODDS] == pytest.approx(explanation.value, abs=1e-4)


def test_replacing_is_not_hiding(behaviour):
    hidden, replaced = (behaviour.effects(0, PROBABILITY, replaced=flag) for flag in (False, True))
    assert hidden.shape == replaced.shape and not np.allclose(hidden, replaced)


def test_random_sets_change_the_log_odds_by_what_is_measured(behaviour):
    hidden, changes = behaviour.random_sets(0)
    window, number, _ = behaviour.home(0)
    assert hidden.shape == (6, window.count) and 0 < hidden.mean() < 0.6
    readings = window.hidden(~hidden)[:, number, LOG_ODDS]
    assert changes == pytest.approx(behaviour.intact(0)[LOG_ODDS] - readings)


def test_thinning_everything_nothing_and_the_same_twice(behaviour):
    window, number, _ = behaviour.home(0)
    whole = window.thinned(np.ones((1, window.count)), torch.Generator().manual_seed(0))
    assert whole[0] == pytest.approx(window.intact, abs=1e-4)
    half = np.full((3, window.count), 0.5)
    first, again, other = (window.thinned(half, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


def test_units_and_their_characters(case, behaviour):
    for number, subject in enumerate(behaviour.population.subjects):
        window, place, _ = behaviour.home(number)
        own = [window.ranges[unit] for unit in window.own_units(place)]
        assert (own[0][0], own[-1][1]) == subject.span[:2]
        assert sorted([*window.own_units(place), *window.context_units(place)]) == list(range(window.count))
        length = len(behaviour.population.text_of(number))
        scores = np.arange(length, dtype=float)
        assert window.over_characters(window.importance(scores), length) == pytest.approx(scores)


def test_boundary_sensitivity_has_every_figure(behaviour):
    found = behaviour.boundary_sensitivity()
    assert set(found) == {"start", "end", "start_log_odds", "end_log_odds", "middle", "ratio", "outer"}
    assert all(-1 <= found[name] <= 1 for name in ("start", "end", "outer"))
    assert np.isnan(found["middle"]) or 0 <= found["ratio"] < 1
    number = 0
    window, place, _ = behaviour.home(number)
    own = window.own_units(place)
    starts = behaviour.effects(number, START)[own[0]]
    assert behaviour._sensitivities(number)[0] == pytest.approx(starts, abs=1e-6)
