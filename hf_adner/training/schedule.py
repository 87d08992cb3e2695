"""When a guided run does what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hf_adner.training.guided_arguments import ExplanationGuidedTrainingArguments


@dataclass(frozen=True)
class GuidedSchedule:
    """Steps and epochs of a run's phases.

    First comes the plain phase, of whole epochs; then the sweep, and from there on explanations are used, with
    weights that rise over the ramp.

    Attributes:
        steps_per_epoch: optimizer steps.
        plain_epochs: before explanations are used, 1 or more.
        ramp_steps: over which the weights rise.
        saliency_interval: explain in every so many steps.
        total_steps: of the run.
    """

    steps_per_epoch: int
    plain_epochs: int
    ramp_steps: int
    saliency_interval: int
    total_steps: int

    @classmethod
    def of(cls, args: ExplanationGuidedTrainingArguments, total_steps: int, steps_per_epoch: int) -> GuidedSchedule:
        """The schedule of a run.

        Args:
            args: `plain_share` and `ramp_share` of it.
            total_steps: of the run.
            steps_per_epoch: optimizer steps.
        """
        epochs = total_steps / steps_per_epoch
        return cls(
            steps_per_epoch=steps_per_epoch,
            plain_epochs=max(1, round(args.plain_share * epochs)),
            ramp_steps=math.ceil(args.ramp_share * total_steps),
            saliency_interval=args.saliency_interval,
            total_steps=total_steps,
        )

    @property
    def plain_steps(self) -> int:
        """Steps of the plain phase."""
        return self.plain_epochs * self.steps_per_epoch

    @property
    def has_guided_phase(self) -> bool:
        """Whether the run is long enough for a step with explanations."""
        return self.plain_steps < self.total_steps

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, in which a step (from 0) lies."""
        return step // self.steps_per_epoch

    def explains_anew(self, step: int) -> bool:
        """Whether a step makes new local maps."""
        return step % self.saliency_interval == 0

    def is_settled(self, step: int) -> bool:
        """Whether explanations have had their full weight for an epoch after so many steps."""
        return step >= self.plain_steps + self.ramp_steps + self.steps_per_epoch

    def ramp(self, step: int) -> float:
        """Weight of the terms with explanations, 0..1: exp(-5 (1 - t)^2) over the ramp (Laine & Aila 2017)."""
        since = step - self.plain_steps
        if since < 0:
            return 0.0
        return math.exp(-5 * (1 - min((since + 1) / max(self.ramp_steps, 1), 1.0)) ** 2)
