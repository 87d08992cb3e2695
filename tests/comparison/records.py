"""Made-up records of runs."""

from hf_adner.comparison.record import BOUNDARY, CLEAN, SEEN, UNSEEN, RunRecord

GOLD = (2, 3, 1, 4)


def record(arm: str, seed: int = 0, correct=(1, 2, 1, 2), **options) -> RunRecord:
    """Return the record of a run on four documents that predicts as many entities as there are in the gold."""
    counts = {
        CLEAN: [[right, gold, gold] for right, gold in zip(correct, GOLD, strict=True)],
        BOUNDARY: [[2 * right, 2 * gold, 2 * gold] for right, gold in zip(correct, GOLD, strict=True)],
        SEEN: [[min(right, 1), 1, 1] for right in correct],
        UNSEEN: [[max(right - 1, 0), gold - 1, gold - 1] for right, gold in zip(correct, GOLD, strict=True)],
        "confusions": [[max(right - 1, 0), gold, gold] for right, gold in zip(correct[1:], GOLD[1:], strict=True)],
    }
    f1 = sum(correct) / sum(GOLD)
    fields = {
        "corpus": "notes",
        "model": "bert-crf",
        "settings": {"digest": "d", "train_digest": f"documents of seed {seed}"},
        "initial_weights": f"weights-{seed}",
        "documents": {"train": 1000, "test": 4},
        "steps": 60,
        "train_seconds": 10.0,
        "peak_memory": 1000,
        "perturbed": {"confusions": [1, 2, 3]},
        "scores": {"precision": f1, "recall": f1, "f1": f1, "correct": sum(correct)},
        "calibration": {"ece": 0.1, "brier": 0.2, "aurc": 0.3},
    }
    return RunRecord(**{**fields, "arm": arm, "seed": seed, "counts": counts, **options})
