"""Posteriors of entities in perturbed texts, and cues from a global table."""

import pytest

from hf_adner import Entity, Explanation, make_explainer
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.probes import BESIDE_ENTITY, DEFAULT_PROBES, add_cues, probe_explanations
from hf_adner.explain.stability import as_document
from hf_adner.explain.tagger import entity_posteriors

NOTE = "患者反复红斑，伴瘙痒，皮肤干燥，外用他克莫司软膏。夜间瘙痒明显，影响睡眠，今来就诊。"
SPANS = [(4, 6, "Disease"), (8, 10, "Disease"), (18, 22, "Drug")]


def explained(text, spans):
    return [Explanation(text, Entity(*span), [0.0] * len(text), "none", "label", 0.0) for span in spans]


@pytest.fixture(scope="module")
def tagger(build):
    return build("m-dscmg").tagger


def test_every_entity_is_asked_about_in_changed_texts(tagger):
    found = probe_explanations(tagger, [explained(NOTE, SPANS), [], explained("痒", [(0, 1, "Disease")])])
    assert [len(ones) for ones in found] == [3, 0, 1]
    assert {probe.perturbation for one in found[0] for probe in one.probes} == set(DEFAULT_PROBES)
    before = entity_posteriors(tagger, [NOTE], [SPANS])[0]
    for one, value in zip(found[0], before):
        assert one.posterior == pytest.approx(value, abs=1e-6)
        for probe in one.probes:
            assert probe.before == one.posterior and probe.text != NOTE
            assert probe.entity.label == one.entity.label
            if probe.perturbation not in BESIDE_ENTITY or probe.perturbation == "outer-neighbour":
                assert probe.kind == "label-preserving" and probe.entity.text == one.entity.text
            else:
                assert probe.kind == "boundary" and "\u25a1" in probe.entity.text


def test_the_posterior_after_is_that_of_the_changed_text(tagger):
    probes = probe_explanations(tagger, [explained(NOTE, SPANS)], ["outer-neighbour", "punctuation"])[0]
    for probe in (probe for one in probes for probe in one.probes):
        span = (probe.entity.start, probe.entity.end, probe.entity.label)
        assert probe.after == pytest.approx(entity_posteriors(tagger, [probe.text], [[span]])[0][0], abs=1e-5)


def test_the_same_seed_makes_the_same_probes(tagger):
    first, again, other = (
        [
            probe.text
            for one in probe_explanations(tagger, [explained(NOTE, SPANS)], seed=seed)[0]
            for probe in one.probes
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_an_entity_given_twice_is_probed_twice(tagger):
    one, two = probe_explanations(tagger, [explained(NOTE, [SPANS[0], SPANS[0]])], ["punctuation"])[0]
    assert one.probes == two.probes and len(one.probes) == 1


def test_a_stock_model_with_sub_words(stock):
    explanations = make_explainer("grad-x-input", stock.model, stock.tokenizer)(stock.texts, stock.entities)
    found = probe_explanations(stock.tagger, explanations)
    probes = [probe for ones in found for one in ones for probe in one.probes]
    assert len(probes) > 5 and all(0 <= probe.after <= 1 for probe in probes)


def test_a_text_that_no_document_holds_has_posteriors_only(tagger):
    one = probe_explanations(tagger, [explained("红斑\ud83d", [(0, 2, "Disease")])])[0][0]
    assert one.probes == () and 0 <= one.posterior <= 1
    assert as_document("", []) is None and as_document("a\udfff", []) is None


def test_bad_arguments(tagger):
    with pytest.raises(ValueError, match="unknown probe 'entity-swap'; expected one of context-masking"):
        probe_explanations(tagger, [], ["entity-swap"])
    two_texts = explained("红斑", [(0, 2, "Disease")]) + explained("痒", [(0, 1, "Disease")])
    with pytest.raises(ValueError, match="about 2 texts"):
        probe_explanations(tagger, [two_texts])


SEEN = "伴红斑。"


@pytest.fixture
def table():
    found = GlobalTable()
    for number in range(8):
        found.add(SEEN, (1, 3, "Symptom"), [1.0, 2.0, 0.5, -2.0], document=f"d{number}")
    return found


def entity_of(text, start, end, label="Symptom"):
    return Explanation(text, Entity(start, end, label), [0.0] * len(text), "lime", "label", 0.0)


def test_known_characters_in_their_roles_are_cues(table):
    first, second = add_cues(table, [[entity_of("常伴红块。", 2, 4)], [entity_of("伴红斑", 1, 3, "Drug")]])
    assert [(cue.start, cue.role) for cue in first[0].cues] == [(2, "left-edge"), (1, "left-context")]
    assert first[0].cues[0].score > first[0].cues[1].score > 0
    assert second[0].cues == ()  # a label of which the table knows nothing


def test_as_many_cues_as_asked_for(table):
    assert len(add_cues(table, [[entity_of(SEEN, 1, 3)]], most=1)[0][0].cues) == 1
    assert add_cues(table, [[], []]) == [[], []]
