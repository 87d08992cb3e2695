"""Phases and ramp."""

import pytest

from hf_adner.guided.arguments import FAST, ExplanationGuidedTrainingArguments, GuidedSchedule

from .guided import NO_TERMS, arguments


def schedule(tmp_path, steps: int, per_epoch: int, **options) -> GuidedSchedule:
    return GuidedSchedule.of(arguments(tmp_path, **options), steps, per_epoch)


def test_the_plain_phase_is_whole_epochs_and_at_least_one(tmp_path):
    assert schedule(tmp_path, 100, 10, plain_share=0.2).plain_steps == 20
    assert schedule(tmp_path, 100, 10, plain_share=0.0).plain_steps == 10
    assert schedule(tmp_path, 30, 10, plain_share=0.2).plain_epochs == 1
    assert not schedule(tmp_path, 10, 10).has_guided_phase and schedule(tmp_path, 11, 10).has_guided_phase


def test_weights_rise_over_the_ramp(tmp_path):
    plan = schedule(tmp_path, 100, 10, plain_share=0.2, ramp_share=0.2, saliency_interval=3)
    rise = [plan.ramp(step) for step in range(100)]
    assert rise[:20] == [0.0] * 20 and rise[39:] == [1.0] * 61
    assert all(one < two for one, two in zip(rise[19:39], rise[20:40])) and 0 < rise[20] < 0.02
    assert schedule(tmp_path, 100, 10, ramp_share=0.0).ramp(20) == 1.0
    assert [step for step in range(7) if plan.explains_anew(step)] == [0, 3, 6]
    assert not plan.is_settled(49) and plan.is_settled(50) and plan.epoch_of(19) == 1


def test_arguments_are_checked(tmp_path):
    for wrong in (
        {"stability_weight": -1.0}, {"view_share": 1.5}, {"edited_share": 0.0}, {"saliency_interval": 0},
        {"explanation_control": "other"}, {"boundary_smoothing": 2.0}, {"r_drop_weight": float("nan")},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            arguments(tmp_path, **wrong)


def test_what_is_built_depends_on_the_weights(tmp_path):
    assert not arguments(tmp_path, **NO_TERMS).is_guided
    for name in NO_TERMS:
        one = arguments(tmp_path, **{**NO_TERMS, name: 0.5})
        assert one.is_guided and one.uses_views and one.uses_explanations == (name != "view_ner_weight")
    assert not arguments(tmp_path, view_share=0.0).uses_views
    assert arguments(tmp_path, **NO_TERMS, r_drop_weight=1.0).is_guided
    fast = ExplanationGuidedTrainingArguments.fast(str(tmp_path), use_cpu=True, view_share=0.3)
    assert fast.view_share == 0.3 and fast.saliency_interval == FAST["saliency_interval"]
