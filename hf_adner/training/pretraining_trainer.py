"""The Trainer of masked-language modelling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainerCallback

from hf_adner.data.macbert_collator import MacBertCollator
from hf_adner.model.labels_adner import UNOBSERVED


class PretrainingTrainer(Trainer):
    """`Trainer` whose loss is the mean over all masked tokens of a step, however they lie in batches and processes.

    The masks of training text change with every epoch, those of held-out text never do.

    Args:
        collator: masks; it gets the epoch told.
        eval_collator: of held-out text.
        options: of `Trainer`.
    """

    def __init__(self, *, collator: MacBertCollator, eval_collator: MacBertCollator, **options: Any) -> None:
        self._eval_collator = eval_collator
        eval_collator.set_epoch(0)
        super().__init__(
            data_collator=collator,
            compute_metrics=perplexity,
            preprocess_logits_for_metrics=masked_token_sums,
            callbacks=[_Epochs(collator)],
            **options,
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Sum of the masked tokens' losses by the number of all of the step's masked tokens."""
        labels = inputs["labels"]  # (batch, tokens)
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        chosen = labels != UNOBSERVED
        # only chosen positions in float32: all of them would take several times the memory
        total = cross_entropy(outputs.logits[chosen].float(), labels[chosen], reduction="sum")
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        if num_items_in_batch is None:
            loss = total / chosen.sum().clamp(min=1)
        else:
            loss = total * processes / torch.as_tensor(num_items_in_batch, device=total.device).clamp(min=1)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Held-out blocks with the masks that they always have."""
        training, self.data_collator = self.data_collator, self._eval_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training


class _Epochs(TrainerCallback):
    """Tells a collator of the epochs, also of the one that a resumed run begins in."""

    def __init__(self, collator: MacBertCollator) -> None:
        self._collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The masks of this epoch."""
        self._collator.set_epoch(int(state.epoch or 0))


def masked_token_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Per row (batch, 3): summed loss of the masked tokens, how many are right, how many there are.

    Args:
        logits: (batch, tokens, vocabulary).
        labels: (batch, tokens), -100 where nothing is masked.
    """
    chosen = labels != UNOBSERVED
    picked, true = logits[chosen].float(), labels[chosen]  # (masked, vocabulary), (masked,)
    values = torch.stack(
        [
            cross_entropy(picked, true, reduction="none"),
            (picked.argmax(-1) == true).float(),
            torch.ones_like(true).float(),
        ]
    )  # (3, masked)
    sums = values.new_zeros(3, len(labels))
    rows = chosen.nonzero()[:, 0]  # (masked,)
    return sums.index_add(1, rows, values).T


def perplexity(prediction: EvalPrediction) -> dict[str, float]:
    """Perplexity and accuracy over all masked tokens, from what `masked_token_sums` gives."""
    loss, right, count = prediction.predictions.sum(0, dtype="float64").tolist()
    mean = loss / max(count, 1.0)
    return {"perplexity": math.exp(min(mean, 700.0)), "masked_loss": mean, "accuracy": right / max(count, 1.0)}
