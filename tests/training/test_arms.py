"""Arms: what each one sets, and variants of them."""

from dataclasses import fields

import pytest

from hf_adner.comparison.arms import ARMS, CONTROLS, CORE, make_arm, make_arms
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments

DEFAULTS = ExplanationGuidedTrainingArguments


def arguments(tmp_path, **options):
    return DEFAULTS(output_dir=str(tmp_path), use_cpu=True, **options)


@pytest.mark.parametrize("name", list(ARMS))
def test_every_arm_can_be_applied_and_leaves_the_arguments_alone(name, tmp_path):
    before = arguments(tmp_path, learning_rate=3e-4)
    after = ARMS[name].apply(before, seed=7)
    assert {field: getattr(after, field) for field in ARMS[name].overrides} == dict(ARMS[name].overrides)
    assert (after.seed, before.seed, after.learning_rate) == (7, 42, 3e-4)
    assert before.stability_weight == DEFAULTS.stability_weight


def test_arms_differ_from_each_other(tmp_path):
    def told(name):
        args = ARMS[name].apply(arguments(tmp_path))
        return tuple(getattr(args, field.name) for field in fields(args) if field.init and field.name in OWN)

    OWN = {name for arm in ARMS.values() for name in arm.overrides}
    assert len({told(name) for name in ARMS}) == len(ARMS)


def test_plain_is_plain_whatever_the_comparison_says(tmp_path):
    args = ARMS["plain"].apply(arguments(tmp_path, r_drop_weight=1.0, boundary_smoothing=0.1))
    assert not args.is_guided
    assert not ARMS["augmentation-only"].apply(arguments(tmp_path)).uses_explanations
    assert ARMS["augmentation-only"].apply(arguments(tmp_path)).uses_views
    assert not ARMS["r-drop"].apply(arguments(tmp_path)).uses_views


def test_the_groups_name_arms():
    assert {*CORE, *CONTROLS} <= set(ARMS)


def test_a_variant_has_its_base_and_more():
    arm = make_arm("full-without-stability:view_share=0.25,fusion=equal")
    assert arm.overrides == {"stability_weight": 0.0, "view_share": 0.25, "fusion": "equal"}
    assert arm.slug == "full-without-stability-view-share=0.25-fusion=equal"


@pytest.mark.parametrize(
    ("spec", "message"),
    [("fuller", "no arm 'fuller'; there are plain"), ("full:view_share", "name=value")],
)
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        make_arm(spec)


def test_an_unknown_field_and_a_repeated_arm(tmp_path):
    with pytest.raises(ValueError, match=r"sets \['speed'\], which ExplanationGuidedTrainingArguments does not have"):
        make_arm("full:speed=9").apply(arguments(tmp_path))
    with pytest.raises(ValueError, match="different names"):
        make_arms(["full", "full"])
