"""Validation scores inside the Trainer: label paths against gold labels, window by window."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hf_adner.metrics.entity_f1 import entity_f1
from hf_adner.model.labels_adner import UNOBSERVED, tags_to_spans


def predicted_labels(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """Label ids of an evaluation step: the model's own path where it has one, else the arg max of its logits.

    Fits `preprocess_logits_for_metrics` of the Trainer; keeps (batch, length) ids instead of all logits.
    """
    if isinstance(outputs, (tuple, list)):
        return outputs[1] if len(outputs) > 1 and outputs[1].dtype == torch.long else outputs[0].argmax(-1)
    return outputs.argmax(-1)


def span_scores(labels: Sequence[str]) -> Callable[[Any], dict[str, float]]:
    """A `compute_metrics` for the Trainer: strict entity precision, recall and F1 in [0, 1].

    Args:
        labels: BIO labels in id order.
    """

    def compute(evaluated: Any) -> dict[str, float]:
        paths, gold = np.asarray(evaluated.predictions), np.asarray(evaluated.label_ids)
        pairs = [_spans(*row, labels) for row in zip(paths, gold, strict=True)]
        scores = entity_f1([path for path, _ in pairs], [truth for _, truth in pairs])
        return {name: scores[name] for name in ("precision", "recall", "f1")}

    return compute


def _spans(path: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> tuple[list, list]:
    kept = gold != UNOBSERVED
    return (
        tags_to_spans([labels[max(index, 0)] for index in path[kept]]),
        tags_to_spans([labels[index] for index in gold[kept]]),
    )
