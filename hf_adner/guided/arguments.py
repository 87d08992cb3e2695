"""Arguments of explanation-guided training, and the schedule of its phases."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hf_adner.training.arguments import AdnerTrainingArguments, BestEpochDefaults

EXPLANATION_CONTROLS = ("none", "shuffled", "other-sentence", "random")
"""Replacement of the explanation: none, its own scores shuffled, the explanation of an entity of another sentence, or
random scores."""

_WEIGHTS = (
    "stability_weight", "boundary_weight", "consistency_weight", "view_ner_weight", "r_drop_weight",
    "explainer_learning_rate",
)  # fmt: skip
_SHARES = (
    "view_share", "plain_share", "ramp_share", "edited_share", "unimportant_share", "sweep_share",
    "boundary_smoothing",
)  # fmt: skip

FAST = {"view_share": 0.15, "saliency_interval": 8, "sweep_share": 0.05}
"""Fields of the `fast` setting."""


@dataclass
class ExplanationGuidedTrainingArguments(AdnerTrainingArguments):
    """`AdnerTrainingArguments` and the weights and schedule of explanation-guided training.

    The loss of a step is the tagging loss over texts and views (`view_ner_weight`), and, once the plain phase is over
    and as far as the ramp has risen, `stability_weight` x stability + `boundary_weight` x boundary +
    `consistency_weight` x consistency; `hf_adner.guided.losses` has each term. With all four weights, R-Drop's and
    boundary smoothing at zero nothing is built and the run is `AdnerTrainer`'s, bit by bit.

    The tagging loss is a mean per token, the boundary term a mean per entity in focus. A sentence has one of them and
    some hundred tokens: at 0.002 a margin pulls at its boundary about a fifth as hard as the tagging loss does, at 0.2
    it outweighs it twentyfold and costs precision (see model_cards/RESULTS.md).

    What a step costs, in steps of plain training: views add `view_share`, explaining adds
    (1 + `view_share`) / (3 `saliency_interval`); the sweep in front adds 2/3 of `sweep_share` over all. `fast` names
    settings that cost little.

    Raises:
        ValueError: a weight or a share out of range, or an unknown control.
    """

    trainer_class: ClassVar[str] = "hf_adner.guided.trainer:ExplanationGuidedTrainer"

    stability_weight: float = field(default=0.1, metadata={"help": "of the explainer head following the fused map"})
    boundary_weight: float = field(default=0.002, metadata={"help": "of margins and invariance at entity boundaries"})
    consistency_weight: float = field(default=1.0, metadata={"help": "of equal label marginals on text and view"})
    view_ner_weight: float = field(default=1.0, metadata={"help": "of the tagging loss on views; texts have 1"})
    view_share: float = field(default=0.5, metadata={"help": "share of the windows that get a view in an epoch"})
    saliency_interval: int = field(default=4, metadata={"help": "explain in every so many steps"})
    plain_share: float = field(
        default=0.2, metadata={"help": "share of the epochs before explanations are used, at least one epoch"}
    )
    ramp_share: float = field(default=0.2, metadata={"help": "share of all steps over which the terms then rise"})
    sweep_share: float = field(
        default=0.1, metadata={"help": "windows explained before the ramp, as a share of all that the run trains on"}
    )
    edited_share: float = field(default=0.15, metadata={"help": "share of the unimportant context that a view edits"})
    unimportant_share: float = field(default=0.5, metadata={"help": "share of the context that is unimportant"})
    fusion: str = field(default="empirical-bayes", metadata={"help": "how local and global maps are joined"})
    explanation_control: str = field(
        default="none",
        metadata={"help": "what stands in the explanations' place", "choices": list(EXPLANATION_CONTROLS)},
    )
    r_drop_weight: float = field(default=0.0, metadata={"help": "of the KL between two dropout masks (R-Drop)"})
    boundary_smoothing: float = field(
        default=0.0, metadata={"help": "share of the label given to entities with one boundary moved by one"}
    )
    masked_lm: str | None = field(
        default=None, metadata={"help": "masked language model whose proposals views take, a Hub name or a folder"}
    )
    explainer_learning_rate: float = field(default=1e-3, metadata={"help": "rate of the explainer head"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0..1")
        for name in ("edited_share", "unimportant_share"):
            if not getattr(self, name):
                raise ValueError(f"{name} is 0; leave views out by view_share=0")
        if self.saliency_interval < 1:
            raise ValueError(f"saliency_interval is {self.saliency_interval}, expected 1 or more")
        if self.explanation_control not in EXPLANATION_CONTROLS:
            raise ValueError(
                f"explanation_control is {self.explanation_control!r}, expected one of {EXPLANATION_CONTROLS}"
            )

    @classmethod
    def fast(cls, output_dir: str, **options: Any) -> ExplanationGuidedTrainingArguments:
        """Settings that cost little: fewer views, and explanations in every eighth step.

        Args:
            output_dir: as for `TrainingArguments`.
            options: any field; they win.
        """
        return cls(output_dir, **{**FAST, **options})

    @property
    def uses_explanations(self) -> bool:
        """Whether any term needs explanations."""
        return any((self.stability_weight, self.boundary_weight, self.consistency_weight))

    @property
    def uses_views(self) -> bool:
        """Whether perturbed copies of the texts are made."""
        return bool(self.view_share) and (self.uses_explanations or bool(self.view_ner_weight))

    @property
    def is_guided(self) -> bool:
        """Whether anything differs from plain training."""
        return self.uses_explanations or self.uses_views or any((self.r_drop_weight, self.boundary_smoothing))


@dataclass
class GuidedCommandArguments(BestEpochDefaults, ExplanationGuidedTrainingArguments):
    """`ExplanationGuidedTrainingArguments` with the defaults of the commands: the best epoch is the result."""


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
