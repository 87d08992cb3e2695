"""Discriminative faithfulness against its definition, its invariances, and what controls score."""

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.discriminative_faithfulness as module
from hf_adner.metrics.discriminative_faithfulness import DiscriminativeFaithfulness, discriminative_faithfulness
from hf_adner.metrics.discriminative_stability import discriminative_stability
from hf_adner.metrics.similarity import average_ranks, role_window, spearman

LENGTHS = (12, 30, 7, 25, 9)
SPANS = ((0, 1), (11, 17), (5, 7), (22, 25), (2, 4))
LABELS = ("a", "b", "a", "b", "a")
NAME = "discriminative_faithfulness"


def random_case(seed: int, copies: int = 3) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """Maps of views and effects, with ties."""
    generator = np.random.default_rng(seed)
    effects = [generator.integers(0, 9, length) / 8 for length in LENGTHS]
    views = [[generator.integers(0, 9, length) / 8 for _ in range(copies)] for length in LENGTHS]
    return views, effects


@given(seed=st.integers(0, 30))
def test_it_equals_its_definition(seed):
    views, effects = random_case(seed)
    scores = discriminative_faithfulness(views, effects, SPANS, LABELS, width=4)

    def window(values, span):
        return role_window(average_ranks(values), span, width=4)

    def rho(first, second):
        present = first[1] & second[1]
        return spearman(first[0][present], second[0][present])

    expected = []
    for index, label in enumerate(LABELS):
        rest = [other for other in range(len(LABELS)) if LABELS[other] == label and other != index]
        values = []
        for view in views[index]:
            own = rho(window(view, SPANS[index]), window(effects[index], SPANS[index]))
            others = [rho(window(view, SPANS[index]), window(effects[other], SPANS[other])) for other in rest]
            values.append(own - np.mean(others))
        expected.append(np.mean(values))
    assert scores["per_entity"] == pytest.approx(expected)
    assert scores[NAME] == pytest.approx(np.mean(expected)) == pytest.approx(scores["own"] - scores["others"])


@pytest.mark.parametrize("change", [np.square, np.exp, np.sqrt, lambda values: 3 * values + 1, np.tanh])
@pytest.mark.parametrize("seed", range(5))
def test_a_monotone_change_of_the_maps_leaves_every_digit(change, seed):
    views, effects = random_case(seed)
    plain = discriminative_faithfulness(views, effects, SPANS, LABELS)
    changed = [[change(view) for view in entity] for entity in views]
    assert discriminative_faithfulness(changed, effects, SPANS, LABELS) == plain
    assert discriminative_faithfulness(views, [change(row) for row in effects], SPANS, LABELS) == plain


def test_a_constant_explanation_scores_exactly_zero():
    _, effects = random_case(0)
    views = [[np.full(length, 1 / length)] * 2 for length in LENGTHS]
    scores = discriminative_faithfulness(views, effects, SPANS, LABELS)
    assert scores["per_entity"] == [0.0] * 5 and scores[NAME] == 0


def test_a_model_without_response_scores_zero():
    views, _ = random_case(0)
    assert discriminative_faithfulness(views, [np.zeros(length) for length in LENGTHS], SPANS, LABELS)[NAME] == 0


def test_a_template_of_positions_scores_zero_whatever_the_effects():
    """Whole windows, one type: what the template gains with one entity's effects it loses with those of the others."""
    generator = np.random.default_rng(1)
    spans = [(12, 16), (14, 17), (11, 18), (20, 25)]
    effects = [generator.random(40) for _ in spans]

    def template(span):
        distance = [max(span[0] - place, place - span[1] + 1, 0) for place in range(40)]
        return 1 / (1 + np.array(distance))

    scores = discriminative_faithfulness([[template(span)] for span in spans], effects, spans, "aaaa")
    assert scores[NAME] == pytest.approx(0, abs=1e-12) and max(map(abs, scores["per_entity"])) > 0.05


def test_a_hash_of_the_characters_tells_entities_apart_but_is_not_faithful():
    """The hash is perfectly stable and different for every entity, which discriminative stability takes for quality."""
    generator = np.random.default_rng(2)
    texts = ["".join(generator.choice(list("红斑痒疹面部明显反复外用"), 30)) for _ in range(60)]
    maps = [np.array([(crc32(one.encode()) / 2**32) ** 3 for one in text]) for text in texts]
    effects = [generator.random(30) for _ in texts]
    spans, labels = [(12, 15)] * 60, "a" * 60
    views = [[values] for values in maps]
    assert discriminative_stability(maps, views, spans, labels)["discriminative_stability"] > 0.3
    assert abs(discriminative_faithfulness(views, effects, spans, labels)[NAME]) < 0.1
    assert discriminative_faithfulness([[row] for row in effects], effects, spans, labels)[NAME] > 0.9


def test_opposite_entities_have_the_extreme_values():
    effects = [[1, 2, 3], [3, 2, 1]]
    spans = [(1, 2)] * 2
    assert discriminative_faithfulness([[effects[0]], [effects[1]]], effects, spans, "aa")["per_entity"] == [2, 2]
    assert discriminative_faithfulness([[effects[1]], [effects[0]]], effects, spans, "aa")["per_entity"] == [-2, -2]


def test_lost_views_and_single_entities_of_a_type_are_not_compared():
    views, effects = random_case(3)
    views = [[None, None], views[1], [views[2][0], None, None], views[3], []]
    scores = discriminative_faithfulness(views, effects, SPANS, ("a", "b", "a", "c", "a"))
    assert [value is None for value in scores["per_entity"]] == [True, True, False, True, True]
    assert (scores["entities"], scores["compared"]) == (5, 1)
    assert (scores["pairs"], scores["kept"], scores["coverage"]) == (11, 7, pytest.approx(7 / 11))


def test_views_are_laid_on_the_original():
    effects = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]
    views = [[[9.0, 0.1, 0.5, 0.4]], [[0.3, 0.1]]]
    scores = discriminative_faithfulness(views, effects, [(1, 2)] * 2, "aa", [[[1, 2, 3]], [[None, 0, 1]]])
    assert scores["own"] == pytest.approx(1)


def test_it_does_not_depend_on_the_block_size(monkeypatch):
    views, effects = random_case(1)
    whole = discriminative_faithfulness(views, effects, SPANS, LABELS)
    monkeypatch.setattr("hf_adner.metrics.similarity.BLOCK_ELEMENTS", 1)
    assert discriminative_faithfulness(views, effects, SPANS, LABELS) == whole


def test_without_entities_it_is_nan():
    scores = discriminative_faithfulness([], [], [], [])
    assert np.isnan(scores[NAME]) and scores["per_entity"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[[1, 2]]], [[1, 2]], [(0, 1)], "a", [[None, None]]), r"views\[0\] 1, alignments\[0\] 2"),
        (([[[1, 2]]], [[1, 2]], [(0, 1)] * 2, "a"), "views 1, effects 1, spans 2"),
        (([[[1, 2, 3]]], [[1, 2]], [(0, 1)], "a"), "must hold 2 numbers, found 3"),
        (([[[1, np.nan]]], [[1, 2]], [(0, 1)], "a"), r"views\[0\] must be finite"),
        (([[[1, 2]]], [[1, 2]], [(1, 4)], "a"), "span needs whole"),
    ],
)
def test_invalid_rows_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        discriminative_faithfulness(*arguments)


def test_the_metric_equals_the_function(load):
    views, effects = random_case(4)
    views[0][1] = None
    metric = load(module, DiscriminativeFaithfulness)
    scores = metric.compute(predictions=views, references=effects, spans=SPANS, labels=LABELS, width=5)
    assert scores == discriminative_faithfulness(views, effects, SPANS, LABELS, width=5)
