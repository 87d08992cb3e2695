"""Trainer of masked language models: loss and perplexity over the masked tokens alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, TrainerCallback

from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.pretraining.collator import MacBertCollator
from hf_adner.training.resume import CheckedResume


class PretrainingTrainer(CheckedResume):
    """`Trainer` whose loss is the mean over all masked tokens of a step, across batches and processes.

    The masks of training text change every epoch, the masks of held-out text never.

    Args:
        collator: collator of training text; its epoch is set by the trainer.
        eval_collator: collator of held-out text.
        options: arguments of `Trainer`.
    """

    def __init__(self, *, collator: MacBertCollator, eval_collator: MacBertCollator, **options: Any) -> None:
        self._eval_collator = eval_collator
        eval_collator.set_epoch(0)
        super().__init__(
            data_collator=collator,
            compute_metrics=perplexity,
            preprocess_logits_for_metrics=masked_token_sums,
            callbacks=[_SetEpoch(collator)],
            **options,
        )

    def learned_settings(self) -> dict[str, Any]:
        """Return what the masks follow, and the digest of the words that are masked as a whole."""
        collator, names = self.data_collator, ("replacement", "share", "ngram_shares", "longest_word")
        lexicon = None if collator.lexicon is None else collator.lexicon.hash
        return {**{name: getattr(collator, name) for name in names}, "lexicon": lexicon}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Return the summed loss of the masked tokens, divided by the number of masked tokens of the whole step."""
        labels = inputs["labels"]  # (batch, tokens)
        features = {name: value for name, value in inputs.items() if name != "labels"}
        chosen = labels != UNOBSERVED
        if return_outputs:
            logits = model(**features).logits  # (batch, tokens, vocabulary)
            picked = logits[chosen]
        else:
            with _head_at(self.model, chosen):
                picked = model(**features).logits
            picked = picked[chosen] if picked.dim() == 3 else picked  # the head was not found
        # convert only masked positions to float32: all positions would take several times the memory
        total = cross_entropy(picked.float(), labels[chosen], reduction="sum")
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        if num_items_in_batch is None:
            loss = total / chosen.sum().clamp(min=1)
        else:
            loss = total * processes / torch.as_tensor(num_items_in_batch, device=total.device).clamp(min=1)
        return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return held-out blocks with their fixed masks."""
        training, self.data_collator = self.data_collator, self._eval_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training


class _SetEpoch(TrainerCallback):
    """Sets the epoch of a collator, also when a resumed run starts."""

    def __init__(self, collator: MacBertCollator) -> None:
        self._collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the current epoch."""
        self._collator.set_epoch(int(state.epoch or 0))


@contextmanager
def _head_at(model: PreTrainedModel, chosen: torch.Tensor) -> Iterator[None]:
    """Let the head of a masked language model read the chosen positions alone: its logits are (chosen, vocabulary).

    With 4 layers of width 384 and 8,266 tokens, the head at all positions takes two fifths of a step.

    Args:
        model: the model, not wrapped.
        chosen: (batch, tokens), True for the positions to read.
    """
    output = model.get_output_embeddings()
    head = next((child for child in model.children() if output in list(child.modules())), None)
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][chosen], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def masked_token_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return per row (batch, 3): the summed loss of the masked tokens, the number predicted correctly, their number.

    Args:
        logits: (batch, tokens, vocabulary).
        labels: (batch, tokens), -100 for tokens that are not masked.
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
    """Compute perplexity, mean loss and accuracy over all masked tokens from `masked_token_sums`."""
    loss, right, count = prediction.predictions.sum(0, dtype="float64").tolist()
    mean = loss / max(count, 1.0)
    return {"perplexity": math.exp(min(mean, 700.0)), "masked_loss": mean, "accuracy": right / max(count, 1.0)}
