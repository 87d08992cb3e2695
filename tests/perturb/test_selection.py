import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.protected import Territory
from hf_adner.perturb.units import Unit, budget, context_units, draw_runs, draw_units, least_important

from .documents import documents, english, note


def _strings(document, lexicon=None):
    return [document.text[unit.start : unit.end] for unit in context_units(document, lexicon)]


def test_context_of_a_note():
    assert _strings(note()) == list("患者反复加重发热咳嗽查升高诊断外用")
    words = ["患者", "反复", "复面", "发热", "发热咳", "升高诊", "用0"]
    assert _strings(note(), Lexicon(words))[:5] == ["患者", "反复", "加", "重", "发热"]


def test_context_of_english_words():
    assert _strings(english()) == ["The", "patient", "has", "with", "on", "the", "arm", "given", "rash"]
    part_of_words = Lexicon(["he patient", "patient has", "rash"])
    assert _strings(english(), part_of_words) == ["The", "patient has", "with", "on", "the", "arm", "given", "rash"]


@given(documents(), st.sampled_from([None, Lexicon(["患者反复", "反复", "后出", "出现伴", "12", "en ee"])]))
def test_units_are_open_sorted_and_disjoint(document, lexicon):
    units = context_units(document, lexicon)
    closed = Territory.of_context(document)
    assert all(closed.is_open(unit.start, unit.end) for unit in units)
    assert all(first.end <= second.start for first, second in zip(units, units[1:]))


def test_longest_word_of_a_start_wins():
    document = Document("a", "反复发作瘙痒", (Entity(4, 6, "Symptom"),))
    assert _strings(document, Lexicon(["反复", "反复发作", "发作瘙"])) == ["反复发作"]


def test_least_important_by_mean_score():
    units = [Unit(0, 2), Unit(2, 3), Unit(3, 4)]
    assert least_important(units, [0.0, 0.6, 0.2, 0.4]) == [Unit(0, 2), Unit(2, 3)]
    assert least_important(units, [0.0, 0.6, 0.2, 0.4], 0.3) == [Unit(2, 3)]
    assert least_important([], [], 0.5) == []
    with pytest.raises(ValueError, match="not a number"):
        least_important(units, [0.0, float("nan"), 1.0, 1.0])


@given(st.integers(0, 20), st.floats(0.01, 1), st.integers(0, 9))
def test_draws_keep_the_order_and_the_budget(length, share, seed):
    units = [Unit(2 * place, 2 * place + 2) for place in range(length)]
    count = budget(units, share)
    for draw in (draw_units, draw_runs):
        drawn = draw(units, count, random.Random(seed))
        assert drawn == sorted(set(drawn)) and set(drawn) <= set(units)
        assert len(drawn) == count == (0 if not length else max(1, round(share * length)))


def test_runs_hold_neighbours():
    units = [Unit(place, place + 1) for place in range(100)]
    starts = [unit.start for unit in draw_runs(units, 2, random.Random(1), weights=(0, 1))]
    assert starts[1] == starts[0] + 1
    apart = [Unit(2 * place, 2 * place + 1) for place in range(100)]
    assert len(draw_runs(apart, 7, random.Random(1), weights=(0, 1))) == 7
