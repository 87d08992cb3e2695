"""Measures of stability, faithfulness, boundaries, plausibility and randomisation, and what controls score."""

from dataclasses import replace

import numpy as np
import pytest

from hf_adner import Entity, Explanation, make_explainer
from hf_adner.audit.measures import TargetedExplainer, with_target
from hf_adner.audit.measuring_faithfulness import (
    _bounds,
    by_importance,
    cue_positions,
    measure_boundary,
    measure_complexity,
    measure_faithfulness,
    measure_monotonicity,
    measure_plausibility,
    measure_removal,
    measure_soft_removal,
)
from hf_adner.audit.measuring_stability import (
    measure_randomisation,
    measure_seed_noise,
    measure_sensitivity,
    measure_stability,
    reseeded,
)
from hf_adner.audit.responses import END, LOG_ODDS, PROBABILITY, START
from hf_adner.data.records import Document
from hf_adner.explain.controls import ConstantExplainer, RandomExplainer
from hf_adner.metrics.complexity import complexity
from hf_adner.metrics.faithfulness import removal_counts
from hf_adner.metrics.similarity import cosine, spearman
from hf_adner.metrics.sparseness import sparseness


def test_sensitivity_of_what_reads_embeddings_and_what_does_not(run_of):
    moved = measure_sensitivity(run_of("grad-x-input"))
    assert (moved.values["max_sensitivity"] > 0).all() and moved.details["draws"] == 2
    assert measure_sensitivity(run_of("constant")).values["max_sensitivity"] == pytest.approx(0)


def test_boundary_agreement_of_the_effects_themselves_is_perfect(run_of, audit):
    class Effects(ConstantExplainer):
        """Explains a boundary by what was measured."""

        def __init__(self, column):
            self.column = column

        def _scores(self, text, entity):
            number = next(
                number
                for number, audited in enumerate(audit.sample.entities)
                if audited.span == (entity.start, entity.end, entity.label) and audit.sample.text_of(number) == text
            )
            return audit.responses.character_effects(number, self.column).tolist()

    targets = {"label": ConstantExplainer(), "start": Effects(START), "end": Effects(END)}
    found = measure_boundary(run_of(TargetedExplainer(targets)))
    assert found.values["agreement"] == pytest.approx(1)
    assert (found.values["replaced_agreement"] < 1).any()
    assert found.values["boundary_mass_lift"] == pytest.approx(1)  # the map of the label is constant
    assert (found.values["agreement_given_position"] > 0.45).all()  # an edge whose effects fall with distance has 0
    constant = measure_boundary(run_of("constant"))
    assert constant.values["agreement"] == pytest.approx(0) and constant.details["agreement"]["constant"] == 1


def test_a_template_of_distances_agrees_only_by_position(run_of):
    class Distances(ConstantExplainer):
        """Falls with the distance to the edge."""

        def __init__(self, edge):
            self.edge = edge

        def _scores(self, text, entity):
            place = entity.start if self.edge == "start" else entity.end - 1
            return [1 / (1 + abs(place - number)) for number in range(len(text))]

    targets = {"label": ConstantExplainer(), **{edge: Distances(edge) for edge in ("start", "end")}}
    found = measure_boundary(run_of(TargetedExplainer(targets))).values
    assert (found["agreement"] != 0).any()
    assert found["agreement_given_position"] == pytest.approx(0)
    assert found["replaced_agreement_given_position"] == pytest.approx(0)


def test_explainers_are_asked_for_the_boundarys_target(case):
    for name in ("grad-x-input", "occlusion"):
        explainer = make_explainer(name, case.model, case.tokenizer)
        start = with_target(explainer, "start")
        assert (explainer.target.name, start.target.name) == ("label", "start")
        span = case.documents[0].spans[0]
        direct = make_explainer(name, case.model, case.tokenizer, target="start")
        text = case.documents[0].text
        assert start([text], [[span]])[0][0].scores == direct([text], [[span]])[0][0].scores
    control = RandomExplainer()
    assert with_target(control, "end")([text], [[span]]) == control([text], [[span]])
    only_label = TargetedExplainer({"label": explainer})
    assert with_target(only_label, "end").target.name == "end"
    with pytest.raises(ValueError, match="'label' is needed"):
        TargetedExplainer({"start": explainer})


def test_plausibility_reads_the_entitys_own_cues(run_of):
    run = run_of("constant")
    found = measure_plausibility(run)
    assert found.details["with_cues"] == 1
    has_context = [audited.span[0] > 0 for audited in run.entities]
    assert np.isfinite(found.values["context_average_precision"]).tolist() == has_context
    document = Document(
        "a", "红斑痒", meta={"cues": [{"entity": 0, "start": 0, "end": 2}, {"entity": 1, "start": 2, "end": 3}]}
    )
    assert cue_positions(document, 0) == [0, 1] and cue_positions(document, 1) == [2]
    assert cue_positions(Document("b", "红斑"), 0) == []


def test_randomisation_tells_maps_of_the_text_from_maps_of_the_model(run_of):
    template = measure_randomisation(run_of("template"))
    assert template.values["random_agreement"] == pytest.approx(1)
    assert template.values["random_agreement_given_position"] == pytest.approx(0)
    gradient = measure_randomisation(run_of("grad-x-input"))
    assert set(gradient.details) == {"0.4", "1"}
    assert np.abs(gradient.values["random_context_agreement"]).mean() < 0.9
    assert "per_entity" not in gradient.details["1"]


def test_an_explainer_is_made_anew_under_random_weights(run_of, case):
    seen = []
    weight = next(case.model.parameters())
    own = weight.detach().clone()

    def rebuild():
        seen.append(bool((weight == own).all()))
        return RandomExplainer(seed=len(seen))

    found = measure_randomisation(run_of("random", rebuild=rebuild))
    assert seen == [True, False]  # the first parameter is random only with all of them
    assert np.abs(found.values["random_agreement"]).max() < 1


def test_seed_noise_is_measured_of_samplers_alone(run_of, case):
    sampler = make_explainer("lime", case.model, case.tokenizer, n_samples=12)
    run = run_of(sampler)
    found = measure_seed_noise(run)
    other = make_explainer("lime", case.model, case.tokenizer, n_samples=12, seed=1)
    text, span = run.sample.text_of(0), run.entities[0].span
    wanted = spearman(run.maps[0], np.abs(other([text], [[span]])[0][0].scores))
    assert found.values["seed_spearman"][0] == pytest.approx(wanted, abs=1e-6)
    assert reseeded(sampler).seed == 1 and reseeded(other_kind := RandomExplainer()) is other_kind
    assert sampler.seed == 0 and found.details == {"n_samples": 12}
    assert not measure_seed_noise(run_of("random")).values


def test_removal_hides_the_most_important_context_first(run_of):
    run = run_of("grad-x-input")
    values = measure_removal(run).values
    for number in range(3):
        location = run.responses.locate(number)
        window, place = location.window, location.number
        context = window.context_units(place)
        order = sorted(context, key=lambda unit: -window.importance(run.maps[number])[unit])
        full, drops, gains = window.intact[place, PROBABILITY], [], []
        for count in removal_counts(len(context)):
            without = np.ones((1, window.count), dtype=bool)
            without[0, order[:count]] = False
            only = np.zeros((1, window.count), dtype=bool)
            only[0, [*order[:count], *window.own_units(place)]] = True
            drops.append(full - window.hidden(without)[0, place, PROBABILITY])
            gains.append(full - window.hidden(only)[0, place, PROBABILITY])
        assert values["comprehensiveness"][number] == pytest.approx(np.mean(drops), abs=1e-5)
        assert values["sufficiency"][number] == pytest.approx(np.mean(gains), abs=1e-5)
    for name in ("normalised_comprehensiveness", "normalised_sufficiency"):
        assert ((values[name] >= 0) & (values[name] <= 1)).all()


def test_wider_beams_bound_what_orderings_reach(run_of, audit):
    run = run_of("occlusion", settings=replace(audit.settings, beam_width=3))
    location = run.responses.locate(0)
    full = float(location.window.intact[location.number, PROBABILITY])
    searched = _bounds(run, 0, location, full)
    drawn = _bounds(run_of("occlusion"), 0, location, full)
    for (low, high), (lowest, highest) in zip(drawn, searched):
        assert lowest <= low + 0.02 and highest >= high - 0.02 and lowest <= highest


def test_ties_are_broken_the_same_for_everyone():
    order = by_importance(np.zeros(6), range(6), seed=4)
    assert order == by_importance(np.ones(6), range(6), seed=4) and sorted(order) == list(range(6))
    assert by_importance(np.array([0, 3, 1]), [0, 1, 2], seed=4) == [1, 2, 0]


def test_a_constant_gains_nothing_by_soft_removal(run_of):
    values = measure_soft_removal(run_of("constant")).values
    assert values["soft_comprehensiveness_gain"] == pytest.approx(0, abs=1e-9)
    assert values["soft_sufficiency_gain"] == pytest.approx(0, abs=1e-9)
    defined = values["soft_sufficiency"] > 0
    assert values["soft_comprehensiveness"][defined] == pytest.approx(1) and defined.any()


def test_soft_scores_lie_in_their_range(run_of):
    found = measure_soft_removal(run_of("occlusion"))
    assert 0 <= found.details["defined"] <= 1
    for name, column in found.values.items():
        assert (np.abs(column) <= 1).all() and (name.endswith("gain") or (column >= 0).all())


def test_infidelity_of_scores_that_tell_every_change(run_of):
    """With one unit hidden at a time, what hiding does is predicted perfectly by itself."""
    run = run_of("occlusion")
    found = measure_faithfulness(run).values["infidelity"]
    other = measure_faithfulness(run_of("random")).values["infidelity"]
    assert (found >= 0).all() and np.nanmean(found) < np.nanmean(other)
    hidden, changes = run.responses.random_sets(0)
    effects = run.responses.effects(0, LOG_ODDS)
    predicted = hidden @ effects
    scale = predicted @ changes / (predicted @ predicted)
    variance = np.concatenate([run.responses.random_sets(number).changes for number in range(run.count)]).var()
    assert found[0] == pytest.approx(np.mean((scale * predicted - changes) ** 2) / variance, rel=1e-2)


def by_span(audit) -> dict:
    """(text, start, end, label) -> number in the sample."""
    return {(audit.sample.text_of(number), *one.span): number for number, one in enumerate(audit.sample.entities)}


def test_complexity_is_that_of_the_maps(run_of):
    run = run_of("template")
    found = measure_complexity(run).values
    assert found["sparseness"].tolist() == sparseness(run.maps)["per_entity"]
    assert found["complexity"].tolist() == complexity(run.maps)["per_entity"]
    constant = measure_complexity(run_of("constant")).values
    assert not constant["sparseness"].any()
    lengths = [len(run.sample.text_of(number)) for number in range(run.count)]
    assert constant["complexity"] == pytest.approx(np.log(lengths))


def test_monotonicity_restores_the_text_from_the_least_important_character_on(run_of, function_explainer):
    run = run_of(
        function_explainer(lambda text, entity: range(len(text), 0, -1))
    )  # so the last character is restored first
    found = measure_monotonicity(run)
    for number in range(run.count):
        window, place, _ = run.responses.locate(number)
        step = -(-window.count // 10)
        kept = [[unit >= window.count - count for unit in range(window.count)] for count in range(step, 99, step)]
        kept = kept[: -(-window.count // step)]
        curve = window.hidden(np.array(kept))[:, place, PROBABILITY]
        assert found.values["monotonicity"][number] == (np.diff(curve) >= 0).all()
        assert all(kept[-1]) and 2 <= len(kept) <= 10
    assert 0 <= found.details["rising"] <= 1


def test_monotonicity_correlation_of_the_squared_changes_themselves_is_perfect(run_of, audit, function_explainer):
    numbers = by_span(audit)

    def changes(text, entity):
        number = numbers[text, entity.start, entity.end, entity.label]
        squares = (audit.responses.replacement_changes(number, PROBABILITY) ** 2).mean(axis=0)
        return audit.responses.locate(number).window.over_characters(squares, len(text)).tolist()

    found = measure_monotonicity(run_of(function_explainer(changes))).values["monotonicity_correlation"]
    assert found == pytest.approx(1)
    assert measure_monotonicity(run_of("constant")).values["monotonicity_correlation"] == pytest.approx(0)


class ByCharacter:
    """The score of a character is its code: it moves along with the text."""

    def __call__(self, texts, entities):
        return [
            [
                Explanation(text, Entity(*span), tuple(map(float, map(ord, text))), "codes", "nothing", 0.0)
                for span in ones
            ]
            for text, ones in zip(texts, entities)
        ]


def test_coverage_is_the_models(run_of):
    found, other = measure_stability(run_of("random")).details, measure_stability(run_of("constant")).details
    views = run_of("random").views
    pairs = [(number, number in view.kept) for view in views for number in view.entities]
    assert found["pairs"] == len(pairs) and found["kept"] == sum(kept for _, kept in pairs)
    assert found["coverage"] == other["coverage"] == pytest.approx(found["kept"] / found["pairs"])
    assert sum(family["pairs"] for family in found["families"].values()) == len(pairs)


def test_constant_is_stable_and_scores_nothing(run_of):
    found = measure_stability(run_of("constant"))
    known = np.isfinite(found.values["cosine"])
    assert found.values["cosine"][known] == pytest.approx(1)
    assert found.details["discriminative_stability"] == pytest.approx(0, abs=1e-9)
    assert found.values["spearman"][known] == pytest.approx(0)


def test_maps_are_laid_on_the_original_characters(run_of):
    """Where only characters of the context changed, the map of codes differs at these alone."""
    run = run_of(ByCharacter())
    found = measure_stability(run).values["cosine"]
    for number in range(run.count):
        values = []
        for view in run.views:
            if number in view.kept:
                new = [float(ord(one)) for one in view.perturbed.document.text]
                places = view.perturbed.alignment.forward
                pairs = [(run.maps[number][old], new[place]) for old, place in enumerate(places) if place is not None]
                values.append(cosine(*zip(*pairs)))
        if values:
            assert found[number] == pytest.approx(np.mean(values))
        else:
            assert np.isnan(found[number])


def test_an_explainer_is_asked_only_for_what_was_kept(run_of):
    asked = []

    class Watched(ByCharacter):
        def __call__(self, texts, entities):
            asked.extend(zip(texts, entities))
            return super().__call__(texts, entities)

    run = run_of(Watched())
    assert run.maps
    asked.clear()
    measure_stability(run)
    wanted = [(view.perturbed.document.text, list(view.kept.values())) for view in run.views if view.kept]
    assert sorted(asked) == sorted(wanted)
