"""Plans and sections."""

import random

import pytest

from hf_adner.data.synthetic.corpus import read_plans, read_sections
from hf_adner.data.synthetic.vocabulary import VocabularyError


def test_steps_and_repeats():
    (plan,) = read_plans("# comment\nnote 2 derm 0.5 a b? c* d+\n")
    assert plan.steps == (("a", 1, 1), ("b", 0, 1), ("c", 0, 2), ("d", 1, 2))
    drawn = [plan.sections(random.Random(seed)) for seed in range(40)]
    assert {len(sections) for sections in drawn} == {2, 3, 4, 5, 6}
    assert all(sections[0] == "a" and sections[-1] == "d" for sections in drawn)


def test_a_plan_without_sections_is_refused():
    with pytest.raises(VocabularyError, match="plans:1"):
        read_plans("note 2 derm 0.5\n")


def test_sections_hold_one_frame_a_line():
    assert read_sections("[[a]]\n[x|y]\n# no\nz\n[[b]]\nw\n") == {"a": ["[x|y]", "z"], "b": ["w"]}


def test_a_frame_without_a_section_is_refused():
    with pytest.raises(VocabularyError, match="frames:1"):
        read_sections("x\n")
