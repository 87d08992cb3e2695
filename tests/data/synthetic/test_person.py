"""Invented persons."""

import random

from hf_adner.data.synthetic.scene import AGES, make_person


def test_a_person_fits_its_stage_and_sex():
    person = make_person(random.Random(1), ("infant",), ("女",))
    assert (person.stage, person.sex) == ("infant", "女")
    assert "月" in person.phrases["age"] or person.phrases["age"] in ("1岁", "2岁")


def test_every_stage_occurs():
    assert {make_person(random.Random(seed)).stage for seed in range(80)} == set(AGES)


def test_all_phrases_are_there():
    assert set(make_person(random.Random(0)).phrases) == {"age", "sex", "who", "noun", "name", "kin", "person"}
