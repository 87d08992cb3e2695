"""Validation scores from label paths."""

from types import SimpleNamespace

import numpy as np
import torch

from hf_adner.training.trainer import predicted_labels, span_scores

LABELS = ["O", "B-x", "I-x", "B-y", "I-y"]


def test_the_models_own_path_is_taken_where_there_is_one():
    logits, path = torch.randn(2, 3, 5), torch.tensor([[1, 2, 0], [0, 3, 4]])
    assert torch.equal(predicted_labels((logits, path), path), path)
    assert torch.equal(predicted_labels(logits, path), logits.argmax(-1))
    assert torch.equal(predicted_labels((logits, torch.randn(2, 3)), path), logits.argmax(-1))


def test_scores_count_whole_entities_and_leave_padding_out():
    gold = np.array([[-100, 1, 2, 0, -100, -100], [-100, 3, 0, 1, 2, -100]])
    path = np.array([[-100, 1, 2, 0, -100, 3], [0, 3, 0, 1, 0, 1]])  # the last entity is cut short
    scores = span_scores(LABELS)(SimpleNamespace(predictions=path, label_ids=gold))
    assert scores == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}
