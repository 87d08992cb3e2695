"""Contrast templates."""

import pytest

from hf_adner.data.synthetic.corpus import read_pairs


def test_a_template_has_two_sides():
    (pair,) = read_pairs("[[kind]]\n# no\n⟦多吃‖忌食⟧{food@a⟦!‖⟧}。\n")
    assert pair.kind == "kind"
    assert (pair.side(0), pair.side(1)) == ("多吃{food@a!}。", "忌食{food@a}。")


def test_a_template_without_a_difference_is_refused():
    with pytest.raises(ValueError, match="difference"):
        read_pairs("[[kind]]\n多吃{food}\n")
