"""The closer look at the least certain entities of a note, and its budget."""

from dataclasses import replace

import pytest

from hf_adner import Entity, Explanation, make_explainer
from hf_adner.explain.closer_look import LEAST_BUDGET, CloserLook

TEXT = "反复红斑伴瘙痒，外用他克莫司软膏。" * 30  # 510 characters
SPANS = [(2 + 17 * number, 4 + 17 * number, "Disease") for number in range(30)]
LONG = "字" * 3000


@pytest.fixture(scope="module")
def case(build):
    return build("bilstm-crf")


@pytest.fixture(scope="module")
def occlusion(case):
    return make_explainer("occlusion", case.model, case.tokenizer, context=8)


class Tagless:
    """What is asked of a tagger."""

    reads_lexicon = True


def explained(text, spans, posteriors):
    return [
        Explanation(text, Entity(*span), [0.0] * len(text), "none", "label", 0.0, posterior=value)
        for span, value in zip(spans, posteriors)
    ]


def rising(spans=SPANS, text=TEXT):
    """Explanations of entities, each more certain than the one before."""
    return explained(text, spans, [(number + 1) / 100 for number in range(len(spans))])


def test_the_least_certain_entities_are_chosen_within_the_budget(occlusion):
    look = CloserLook(occlusion, ())
    chosen = look.choose(rising())
    assert chosen == list(range(len(chosen))) and 1 < len(chosen) < len(SPANS)
    assert look.choose(rising()[::-1]) == [len(SPANS) - 1 - number for number in chosen[::-1]]
    more = replace(look, budget=60).choose(rising())
    assert len(chosen) < len(more) and replace(look, budget=None).choose(rising()) == list(range(len(SPANS)))
    assert replace(look, budget=0).choose(rising()) == [] and look.choose([]) == []
    assert CloserLook(None, ()).choose(rising()) == []


def test_what_is_hidden_for_a_neighbour_costs_nothing():
    class Wide:
        context, name, tagger = 64, "occlusion", Tagless

    look = CloserLook(Wide(), ())
    apart = rising([(100 + 300 * number, 102 + 300 * number, "x") for number in range(9)], LONG)
    close = rising([(1000 + 2 * number, 1002 + 2 * number, "x") for number in range(9)], LONG)
    assert len(look.choose(apart)) < len(look.choose(close)) == 9


def test_a_short_note_is_looked_at_as_a_whole(occlusion):
    text = TEXT[:51]
    assert 2 * 51 * 51 <= LEAST_BUDGET
    assert CloserLook(occlusion, (), budget=1).choose(rising(SPANS[:3], text)) == [0, 1, 2]


def test_the_least_certain_entity_is_always_looked_at():
    class Wide:
        context, name, tagger = 100, "occlusion", Tagless

    apart = rising([(500, 502, "x"), (2000, 2002, "x")], LONG)
    look = CloserLook(Wide(), (), budget=1)
    assert look.choose(apart) == [0] and look.choose(apart[::-1]) == [1] and replace(look, budget=0).choose(apart) == []


def test_chosen_entities_are_explained_and_probed(case, occlusion):
    fast = make_explainer("grad-x-input", case.model, case.tokenizer, context=8)
    before = [replace(one, posterior=value / 100) for value, one in enumerate(fast([TEXT], [SPANS])[0], start=1)]
    look = CloserLook(occlusion, ("start-edit", "punctuation"), stability_views=1)
    told = []
    after, chosen = look.add(fast, before, told.append), look.choose(before)
    assert sum(told) == len(chosen) > 0
    expected = iter(occlusion([TEXT], [[before[number].span for number in chosen]])[0])
    for number, (one, other) in enumerate(zip(after, before, strict=True)):
        if number in chosen:
            assert one.scores == pytest.approx(next(expected).scores, abs=1e-6)
            assert one.method == "occlusion" and one.posterior == other.posterior
            assert {probe.perturbation for probe in one.probes} == set(look.probes) and one.stability is not None
        else:
            assert one == other
    remark = look.remark(before)
    assert (
        remark.startswith(f"{len(chosen)} of 30 entities") and "occlusion" in remark and "20,400 characters" in remark
    )
    assert replace(look, budget=None).remark(before) == "" == CloserLook(None, ()).remark(before) == look.remark([])


def test_what_is_refused():
    with pytest.raises(ValueError, match="unknown probe 'x'"):
        CloserLook(None, ["x"])
    with pytest.raises(ValueError, match="budget must be an integer of 0 or more"):
        CloserLook(None, budget=-1)
    with pytest.raises(ValueError, match="stability_views must be"):
        CloserLook(None, stability_views=-1)
