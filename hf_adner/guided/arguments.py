"""Arguments of explanation-guided training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hf_adner.training.arguments import AdnerTrainingArguments, BestEpochDefaults

FUSIONS = ("none", "token-weight", "adaptive-direction")
"""How the global direction enters a perturbation; see `hf_adner.guided.perturbation`."""

CONTROLS = (
    "none", "random-direction", "other-window", "global-direction", "prediction-gradient", "shuffled",
)  # fmt: skip
"""Replacement of the explanation; see `hf_adner.guided.perturbation`."""

ADVERSARIAL = ("none", "fgm", "free")
"""Adversarial training to compare with: none, FGM (Miyato et al. 2017), or free (Shafahi et al. 2019)."""

PRECISIONS = ("half", "sign")
"""Storage of a cached gradient: every component as float16, or the sign of every component and a norm per token."""

_SHARES = ("stability_share", "ramp_share", "edited_share")
_WEIGHTS = ("perturbation_size", "consistency_weight", "r_drop_weight")


@dataclass
class ExplanationGuidedTrainingArguments(AdnerTrainingArguments):
    """`AdnerTrainingArguments` and the settings of explanation-guided training.

    The gradient of the tagging loss at a window's input embeddings is a local explanation: it tells where the decision
    is fragile. At its next visit the window is moved a little that way. A step stays one forward and one backward pass.

    * Stability: with probability `stability_share` the input is the embeddings plus a perturbation of norm
      `perturbation_size` x (mean norm of a character vector) x sqrt(text tokens).
    * Boundary: the perturbation is `boundary_scale` times as long at the edges of entities; its total norm stays.
    * Consistency: `consistency_weight` x divergence from the window's own earlier marginals.
    * Fusion: the global direction (mean over all windows, by entity type and role) weighs or turns the local one.

    With `stability_share`, `consistency_weight`, `r_drop_weight` and `edited_share` at zero and `adversarial` none,
    training is that of `AdnerTrainer`, bit by bit.

    Raises:
        ValueError: a value out of range or an unknown name.
    """

    trainer_class: ClassVar[str] = "hf_adner.guided.trainer:ExplanationGuidedTrainer"

    stability_share: float = field(
        default=0.7, metadata={"help": "probability that a window is perturbed at a visit, 0 to 1"}
    )
    perturbation_size: float = field(
        default=0.05, metadata={"help": "norm of a perturbation per token, in norms of a mean character vector"}
    )
    boundary_scale: float = field(
        default=2.0, metadata={"help": "how much longer perturbations are at the edges of entities; 1 for equally long"}
    )
    consistency_weight: float = field(
        default=0.3, metadata={"help": "weight of the divergence from the window's earlier marginals"}
    )
    fusion: str = field(
        default="token-weight",
        metadata={"help": "how the global direction enters the perturbation", "choices": list(FUSIONS)},
    )
    ramp_share: float = field(
        default=0.5, metadata={"help": "share of the steps over which perturbation and consistency rise to full size"}
    )
    cache_precision: str = field(
        default="half",
        metadata={"help": "storage of cached gradients; sign keeps one bit per component", "choices": list(PRECISIONS)},
    )
    explanation_control: str = field(
        default="none",
        metadata={"help": "what stands in the explanation's place, for comparisons", "choices": list(CONTROLS)},
    )
    adversarial: str = field(
        default="none", metadata={"help": "adversarial training to compare with", "choices": list(ADVERSARIAL)}
    )
    free_replays: int = field(default=3, metadata={"help": "steps on each batch in free adversarial training"})
    r_drop_weight: float = field(
        default=0.0, metadata={"help": "weight of the KL divergence between two dropout masks (R-Drop)"}
    )
    edited_share: float = field(
        default=0.0, metadata={"help": "share of the context that half of the visits replace by random characters"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not 0 < self.boundary_scale < float("inf"):
            raise ValueError(f"boundary_scale is {self.boundary_scale}, expected more than 0")
        if self.free_replays < 1:
            raise ValueError(f"free_replays is {self.free_replays}, expected 1 or more")
        known = {"fusion": FUSIONS, "cache_precision": PRECISIONS, "explanation_control": CONTROLS}
        for name, names in {**known, "adversarial": ADVERSARIAL}.items():
            if getattr(self, name) not in names:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(names)}")

    @property
    def perturbs(self) -> bool:
        """Whether inputs are perturbed along cached gradients."""
        return self.stability_share > 0 and self.perturbation_size > 0 and self.adversarial == "none"

    @property
    def remembers(self) -> bool:
        """Whether anything is remembered of a window's visit."""
        return self.perturbs or self.consistency_weight > 0

    @property
    def is_guided(self) -> bool:
        """Whether anything differs from plain training."""
        return self.remembers or self.adversarial != "none" or self.r_drop_weight > 0 or self.edited_share > 0

    def ramp(self, step: int, total_steps: int) -> float:
        """Return the size of perturbation and consistency at a step (from 0), 0 to 1: linear over the ramp."""
        ramp_steps = self.ramp_share * total_steps
        return 1.0 if step >= ramp_steps else step / ramp_steps


@dataclass
class GuidedCommandArguments(BestEpochDefaults, ExplanationGuidedTrainingArguments):
    """`ExplanationGuidedTrainingArguments` with the defaults of the commands: the best epoch is the result."""
