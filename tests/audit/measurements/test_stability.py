"""Stability: which pairs count, and what constant, moving and random explanations score."""

import numpy as np
import pytest

from hf_adner import Entity, Explanation
from hf_adner.audit.measuring_stability import measure_stability
from hf_adner.metrics.similarity import cosine


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
    pairs = [(number, number in view.kept) for view in views for number in view.subjects]
    assert found["pairs"] == len(pairs) and found["kept"] == sum(kept for _, kept in pairs)
    assert found["coverage"] == other["coverage"] == pytest.approx(found["kept"] / found["pairs"])
    assert sum(family["pairs"] for family in found["families"].values()) == len(pairs)


def test_constant_is_stable_and_scores_nothing(run_of):
    found = measure_stability(run_of("constant"))
    known = np.isfinite(found.values["cosine"])
    assert found.values["cosine"][known] == pytest.approx(1)
    discriminative = found.values["discriminative_stability"]
    assert discriminative[np.isfinite(discriminative)] == pytest.approx(0, abs=1e-9)
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
