"""Shades of scores and the stretches of a text that are shown."""

from hypothesis import given
from hypothesis import strategies as st

from hf_adner.view.charts import LEVELS, WHOLE, encode_levels, heat_levels, heat_runs


def test_shades_are_even_steps_to_the_furthest_score():
    assert heat_levels([0.0, 4.0, -2.0, 0.2, 0.3, -4.0]) == [0, 8, -4, 0, 1, -8]
    assert heat_levels([0.0, 0.0]) == [0, 0] and heat_levels([]) == []
    assert encode_levels([-8, 0, 8]) == "aiq"


@given(st.lists(st.integers(-LEVELS, LEVELS), min_size=1, max_size=600), st.data())
def test_runs_cover_the_text_and_show_the_entity(levels, data):
    start = data.draw(st.integers(0, len(levels) - 1))
    entity = (start, data.draw(st.integers(start + 1, len(levels))))
    runs = heat_runs(levels, entity)
    assert [place for run in runs for place in range(run.start, run.end)] == list(range(len(levels)))
    for run in runs:
        if run.is_gap:
            assert not run.is_entity and len(levels) > WHOLE
        else:
            assert set(levels[run.start : run.end]) == {run.level}
        assert all(run.is_entity == (entity[0] <= place < entity[1]) for place in range(run.start, run.end))


def test_far_from_the_entity_only_strong_places_are_shown():
    levels = [0] * 1000
    levels[500], levels[600] = LEVELS, 1
    gaps = [(run.start, run.end) for run in heat_runs(levels, (10, 12)) if run.is_gap]
    assert gaps == [(48, 492), (509, 1000)]
