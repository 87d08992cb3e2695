"""What a guided run does between its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from hf_adner.training.guided_trainer import ExplanationGuidedTrainer


class GuidanceCallback(TrainerCallback):
    """Tells the trainer of beginnings and ends; the head is stepped along with the model.

    Args:
        trainer: the guided trainer.
    """

    def __init__(self, trainer: ExplanationGuidedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Plan the run."""
        self.trainer.begin_guidance(kwargs["train_dataloader"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in what the last epoch has seen."""
        self.trainer.advance_guidance()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Clip the head's gradients."""
        self.trainer.clip_head()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the head's gradients."""
        self.trainer.head.zero_grad()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Warn of what validation shows."""
        self.trainer.watch_validation(metrics or {})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report on the last epoch."""
        self.trainer.end_guidance()
