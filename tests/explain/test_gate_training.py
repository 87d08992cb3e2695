"""Training the gate on documents."""

import pytest

from hf_adner import Document, Entity, make_explainer
from hf_adner.explain.gate_training import fit_gate

from .tables import random_table


def documents_of(case):
    pairs = enumerate(zip(case.texts, case.entities))
    return [Document(str(number), text, tuple(Entity(*one) for one in ones)) for number, (text, ones) in pairs]


def test_a_teacher_that_agrees_with_one_side_gives_it_the_weight(build):
    case = build("bert-crf")
    table = random_table(case)
    local = make_explainer("grad-x-input", case.model, case.tokenizer)
    corpus = make_explainer("global", case.model, case.tokenizer, global_table=table)
    weights = {}
    for name, teacher in (("local", local), ("global", corpus)):
        gate = fit_gate(local, teacher, table, documents_of(case), progress=False)
        fused = make_explainer("fused", case.model, case.tokenizer, global_table=table, fusion=gate)
        found = [one for ones in fused(case.texts, case.entities) for one in ones if len(one.text) > 1]
        weights[name] = sum(sum(one.fusion_weights["local"]) / len(one.text) for one in found) / len(found)
        assert {one.details["fusion"] for one in found} == {"learned-gate"}
    assert weights["local"] > 0.9 and weights["global"] < 0.1


def test_targets_must_agree(build):
    case = build("bert-crf")
    local = make_explainer("grad-x-input", case.model, case.tokenizer)
    teacher = make_explainer("occlusion", case.model, case.tokenizer, target="end")
    with pytest.raises(ValueError, match=r"different targets: \['end', 'label'\]"):
        fit_gate(local, teacher, random_table(case), documents_of(case), progress=False)
