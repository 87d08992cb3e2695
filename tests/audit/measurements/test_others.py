"""Sensitivity, boundary, plausibility, randomisation and seed noise."""

import numpy as np
import pytest

from hf_adner import make_explainer
from hf_adner.audit.measures import TargetedExplainer, with_target
from hf_adner.audit.measuring_faithfulness import cue_positions, measure_boundary, measure_plausibility
from hf_adner.audit.measuring_stability import measure_randomisation, measure_seed_noise, measure_sensitivity, reseeded
from hf_adner.audit.responses import END, START
from hf_adner.data.records import Document
from hf_adner.explain.controls import ConstantExplainer, RandomExplainer
from hf_adner.metrics.similarity import spearman


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
                for number, subject in enumerate(audit.population.subjects)
                if subject.span == (entity.start, entity.end, entity.label) and audit.population.text_of(number) == text
            )
            return audit.behaviour.character_effects(number, self.column).tolist()

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
    has_context = [subject.span[0] > 0 for subject in run.subjects]
    assert np.isfinite(found.values["context_auprc"]).tolist() == has_context
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
    text, span = run.population.text_of(0), run.subjects[0].span
    wanted = spearman(run.maps[0], np.abs(other([text], [[span]])[0][0].scores))
    assert found.values["seed_spearman"][0] == pytest.approx(wanted, abs=1e-6)
    assert reseeded(sampler).seed == 1 and reseeded(other_kind := RandomExplainer()) is other_kind
    assert sampler.seed == 0 and found.details == {"n_samples": 12}
    assert not measure_seed_noise(run_of("random")).values
