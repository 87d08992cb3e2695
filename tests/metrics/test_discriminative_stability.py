import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hf_adner.metrics.discriminative_stability as module
from hf_adner.metrics.discriminative_stability import DiscriminativeStability, discriminative_stability
from hf_adner.metrics.similarity import cosine, role_window

LENGTHS, SPANS, LABELS = (12, 30, 7, 25, 9), ((0, 1), (11, 17), (5, 7), (22, 25), (2, 4)), ("a", "b", "a", "b", "a")


def template(length, span, width=30):
    """A map that depends on the role of a character alone, on a scale of its own."""
    start, end = span
    left, right = np.arange(length) - start, np.arange(length) - (end - 1)
    values = np.where(left < 0, 0.5 ** -np.minimum(left, 0), np.where(right > 0, 0.7 ** np.maximum(right, 0), 4.0))
    values[start], values[end - 1] = 7.0, 5.0 if end - start > 1 else 7.0
    return length * values


def noisy(seed, spread):
    generator = np.random.default_rng(seed)
    maps = [generator.random(length) for length in LENGTHS]
    views = [[values + spread * generator.random(values.size) for _ in range(3)] for values in maps]
    return maps, views


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_constant_explanation_scores_zero(scale):
    maps = [np.full(length, scale / length) for length in LENGTHS]
    views = [[values, 3 * values] for values in maps]
    scores = discriminative_stability(maps, views, SPANS, LABELS)
    assert scores["within"] == pytest.approx(1.0)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_a_template_of_positions_scores_zero():
    spans = [(5, 9), (11, 17), (2, 5), (20, 24), (3, 7)]  # three characters or more: every role has its own cell
    maps = [template(length, span) for length, span in zip(LENGTHS, spans)]
    scores = discriminative_stability(maps, [[values] for values in maps], spans, LABELS)
    assert scores["discriminative_stability"] == pytest.approx(0.0, abs=1e-12)


def test_stable_explanations_that_differ_score_above_unstable_ones():
    steady, shaky = (
        discriminative_stability(*noisy(0, spread), SPANS, LABELS)["discriminative_stability"] for spread in (0.1, 3)
    )
    assert steady > shaky
    assert steady > 0.1


def test_orthogonal_explanations_that_stay_score_one():
    maps = [[1, 0, 0], [0, 0, 1]]
    assert discriminative_stability(maps, [maps[:1], maps[1:]], [(1, 2)] * 2, "aa")[
        "discriminative_stability"
    ] == pytest.approx(1.0)


@given(seed=st.integers(0, 20))
def test_equals_the_definition_entity_by_entity(seed):
    maps, views = noisy(seed, 1.0)
    scores = discriminative_stability(maps, views, SPANS, LABELS, width=4)

    def likeness(first, second):
        (one, here), (other, there) = first, second
        return cosine(one[here & there], other[here & there])

    windows = [role_window(values, span, width=4) for values, span in zip(maps, SPANS)]
    expected = []
    for index, label in enumerate(LABELS):
        within = [likeness(windows[index], role_window(view, SPANS[index], width=4)) for view in views[index]]
        others = [other for other in range(len(LABELS)) if LABELS[other] == label and other != index]
        expected.append(np.mean(within) - np.mean([likeness(windows[index], windows[other]) for other in others]))
    assert scores["per_entity"] == pytest.approx(expected)
    assert scores["discriminative_stability"] == pytest.approx(np.mean(expected))


def test_blocks_change_nothing(monkeypatch):
    maps, views = noisy(1, 1.0)
    whole = discriminative_stability(maps, views, SPANS, LABELS)["per_entity"]
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    assert discriminative_stability(maps, views, SPANS, LABELS)["per_entity"] == pytest.approx(whole)


def test_scale_of_each_map_changes_nothing():
    maps, views = noisy(2, 1.0)
    scaled = [10.0**index * values for index, values in enumerate(maps)]
    before, after = (discriminative_stability(each, views, SPANS, LABELS)["per_entity"] for each in (maps, scaled))
    assert after == pytest.approx(before)


def test_lost_views_and_lonely_types_are_counted_not_compared():
    maps, views = noisy(3, 1.0)
    views = [[None, None], views[1], [views[2][0], None, None], views[3], []]
    scores = discriminative_stability(maps, views, SPANS, ("a", "b", "a", "c", "a"))
    assert [value is None for value in scores["per_entity"]] == [True, True, False, True, True]
    assert (scores["entities"], scores["compared"]) == (5, 1)
    assert (scores["pairs"], scores["kept"], scores["coverage"]) == (11, 7, pytest.approx(7 / 11))


def test_views_are_brought_back_to_the_characters_of_the_original():
    maps = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]
    views = [[[9.0, 0.1, 0.5, 0.4]], [[0.3, 0.1]]]
    scores = discriminative_stability(maps, views, [(1, 2)] * 2, "aa", [[[1, 2, 3]], [[None, 0, 1]]])
    assert scores["within"] == pytest.approx(1.0)


def test_nothing_to_compare_has_no_score():
    scores = discriminative_stability([], [], [], [])
    assert np.isnan(scores["discriminative_stability"])
    assert scores["per_entity"] == []


def test_views_and_alignments_must_pair_up():
    with pytest.raises(ValueError, match=r"views\[0\] 1, alignments\[0\] 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)], "a", [[None, None]])
    with pytest.raises(ValueError, match="maps 1, views 1, spans 2"):
        discriminative_stability([[1, 2]], [[[1, 2]]], [(0, 1)] * 2, "a")


def test_metric_gives_what_the_function_gives(load):
    maps, views = noisy(4, 1.0)
    views[0][1] = None
    metric = load(module, DiscriminativeStability)
    scores = metric.compute(predictions=views, references=maps, spans=SPANS, labels=LABELS, width=5)
    assert scores == discriminative_stability(maps, views, SPANS, LABELS, width=5)
