"""The controls: explanations that must earn nothing, with the interface of every explainer."""

import pytest

from hf_adner import Entity
from hf_adner.explain.controls import CONTROLS, ConstantExplainer, PositionalTemplate, RandomExplainer

TEXT = "四肢红斑伴瘙痒"


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_each_gives_an_explanation_per_entity_in_order(name):
    found = CONTROLS[name]()([TEXT, "", "痒"], [[(5, 7, "Symptom"), Entity(2, 4, "Sign")], [], [(0, 1, "Symptom")]])
    assert [[one.entity.start for one in ones] for ones in found] == [[5, 2], [], [0]]
    assert found[0][0].method == name and len(found[0][0].scores) == len(TEXT)


def test_constant_and_template():
    (constant,) = ConstantExplainer()([TEXT], [[(2, 4, "Sign")]])[0]
    assert set(constant.scores) == {1.0}
    (template,) = PositionalTemplate()([TEXT], [[(2, 4, "Sign")]])[0]
    assert template.scores == pytest.approx((1 / 3, 1 / 2, 1, 1, 1 / 2, 1 / 3, 1 / 4))


def test_random_depends_on_seed_text_and_entity_alone():
    ask = [[(2, 4, "Sign"), (5, 7, "Sign")]]
    first, second = RandomExplainer()([TEXT], ask)[0]
    assert RandomExplainer()([TEXT], ask)[0] == [first, second]
    assert first.scores != second.scores
    assert first.scores != RandomExplainer(seed=1)([TEXT], ask)[0][0].scores


@pytest.mark.parametrize("entities", [None, [[], []]])
def test_without_a_list_per_text(entities):
    with pytest.raises(ValueError, match="'constant' needs one list of entities per text"):
        ConstantExplainer()([TEXT], entities)
