"""Measures over other entities: their definitions, their invariances, and that position alone scores nothing."""

import math

import numpy as np
import pytest

from hf_adner import make_explainer
from hf_adner.audit.measures import TargetedExplainer
from hf_adner.audit.measuring_discrimination import (
    OTHERS,
    measure_contrast,
    measure_discrimination,
    others_of_type,
    shared_places,
)
from hf_adner.audit.responses import END, PROBABILITY, START
from hf_adner.metrics.boundary import MARGIN
from hf_adner.metrics.discriminative_faithfulness import discriminative_faithfulness
from hf_adner.metrics.faithfulness import SHARES


def test_discrimination_ranks_the_maps_of_views_against_the_response_to_replacement(run_of):
    run = run_of("grad-x-input")
    responses = [run.responses.response(number) for number in range(run.count)]
    found = measure_discrimination(run)
    alone = discriminative_faithfulness(
        [[pair.map for pair in run.pairs if pair.entity == number] for number in range(run.count)],
        responses,
        run.spans,
        run.labels,
        [[pair.alignment for pair in run.pairs if pair.entity == number] for number in range(run.count)],
    )
    values = found.values["discriminative_faithfulness"]
    assert [None if np.isnan(value) else value for value in values] == alone.pop("per_entity")
    families = found.details["families"]
    assert alone == {name: figure for name, figure in found.details.items() if name != "families"}
    assert sum(family["pairs"] for family in families.values()) == found.details["pairs"] == len(run.pairs)
    assert families.keys() == {view.family for view in run.views}


@pytest.mark.parametrize("power", [0.25, 2, 4])
def test_discrimination_does_not_change_with_the_scale_of_an_explainer(run_of, case, function_explainer, power):
    gradient = make_explainer("grad-x-input", case.model, case.tokenizer)

    def powered(text, entity):
        scores = gradient([text], [[(entity.start, entity.end, entity.label)]])[0][0].scores
        return [abs(score) ** power for score in scores]

    plain, changed = (measure_discrimination(run_of(function_explainer(one))) for one in (by_scores(gradient), powered))
    assert changed.values["discriminative_faithfulness"].tolist() == pytest.approx(
        plain.values["discriminative_faithfulness"].tolist(), nan_ok=True, abs=0
    )
    assert changed.details == plain.details


def test_discrimination_of_a_constant_is_nothing(run_of):
    found = measure_discrimination(run_of("constant"))
    values = found.values["discriminative_faithfulness"]
    assert np.isfinite(values).any() and not np.nan_to_num(values).any()
    assert found.details["own"] == found.details["others"] == 0


def by_scores(explainer):
    """An explainer as a function of one text and one entity."""
    return lambda text, entity: explainer([text], [[(entity.start, entity.end, entity.label)]])[0][0].scores


@pytest.mark.parametrize("control", ["constant", "template"])
def test_position_alone_gains_nothing_by_removal(run_of, control):
    run = run_of(control)
    values = measure_contrast(run).values["comprehensiveness_over_others"]
    alone = [not others_of_type(run, number) for number in range(run.count)]
    assert np.isnan(values).tolist() == alone and not all(alone)
    assert not np.nan_to_num(values).any()


def test_agreement_over_others_is_that_of_the_edges_maps(run_of):
    run = run_of("grad-x-input")
    columns = []
    for maps, column in zip(run.edge_maps, (START, END)):
        effects = [np.abs(run.responses.character_effects(number, column, True)) for number in range(run.count)]
        views = [[values] for values in maps]
        columns.append(discriminative_faithfulness(views, effects, run.spans, run.labels, width=MARGIN)["per_entity"])
    expected = np.array(columns, dtype=float).mean(axis=0)
    assert measure_contrast(run).values["agreement_over_others"] == pytest.approx(expected, nan_ok=True)


def test_agreement_over_others_of_the_responses_themselves_is_the_best(run_of, audit, function_explainer):
    numbers = {(audit.sample.text_of(number), *one.span): number for number, one in enumerate(audit.sample.entities)}

    def measured(column):
        return function_explainer(
            lambda text, entity: np.abs(
                audit.responses.character_effects(
                    numbers[text, entity.start, entity.end, entity.label], column, replaced=True
                )
            ).tolist()
        )

    targets = {"label": function_explainer(lambda text, entity: [1.0] * len(text))}
    perfect = measure_contrast(run_of(TargetedExplainer({**targets, "start": measured(START), "end": measured(END)})))
    gradient = measure_contrast(run_of("grad-x-input"))
    name = "agreement_over_others"
    assert np.nanmean(perfect.values[name]) > max(0, np.nanmean(gradient.values[name]))
    assert np.nanmean(perfect.values["comprehensiveness_over_others"]) == 0


def test_removal_over_others_equals_its_definition(run_of):
    run = run_of("occlusion")
    found = measure_contrast(run).values["comprehensiveness_over_others"]
    for number in range(run.count):
        gains = [direct_gain(run, number, other) for other in others_of_type(run, number)]
        gains = [gain for gain in gains if gain is not None]
        assert found[number] == pytest.approx(np.mean(gains) if gains else np.nan, nan_ok=True)


def direct_gain(run, number, other):
    """AOPC in the order of the own map minus that of the other's; characters, from the spans alone."""
    location = run.responses.locate(number)
    (start, end), (other_start, other_end) = run.spans[number], run.spans[other]
    own_length, other_length = len(run.maps[number]), len(run.maps[other])
    offsets = [-step for step in range(1, 11) if step <= min(start, other_start)]
    left = {start + step: other_start + step for step in offsets}
    right = {
        end + step: other_end + step
        for step in range(10)
        if end + step < own_length and other_end + step < other_length
    }
    places = {**left, **right}
    if not places:
        return None
    lots = np.random.default_rng(run.settings.seed + number).permutation(own_length)
    areas = []
    for scores in ({at: run.maps[number][at] for at in places}, {at: run.maps[other][to] for at, to in places.items()}):
        order = sorted(places, key=lambda at: (-scores[at], lots[at]))
        drops = []
        for share in SHARES:
            kept = np.ones((1, own_length), dtype=bool)
            kept[0, order[: math.ceil(round(share * len(order), 9))]] = False
            probability = location.window.hidden(kept)[0, location.number, PROBABILITY]
            drops.append(location.window.intact[location.number, PROBABILITY] - min(probability, 1))
        areas.append(np.mean(drops))
    return areas[0] - areas[1]


def test_others_are_of_the_type_and_the_same_for_everyone(run_of):
    first, second = run_of("constant"), run_of("grad-x-input")
    for number in range(first.count):
        others = others_of_type(first, number)
        assert others == others_of_type(second, number) and number not in others and len(others) <= OTHERS
        assert {first.labels[other] for other in others} <= {first.labels[number]}


def test_shared_places_are_mirrored(run_of):
    run = run_of("constant")
    for number in range(run.count):
        for other in range(run.count):
            location, beside = run.responses.locate(number), run.responses.locate(other)
            places = shared_places(location, beside)
            assert shared_places(beside, location) == {there: here for here, there in places.items()}
            assert not set(places) & set(location.window.own_units(location.number))
