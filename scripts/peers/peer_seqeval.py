"""A pytest plugin that lets `tag_f1` answer seqeval's strict scores under IOB2; used by `scripts/peers.sh`."""

import numpy as np
import seqeval.metrics
from seqeval.scheme import IOB2

from hf_adner.metrics.tag_f1 import tag_f1


def answered(name: str, original):
    """Return seqeval's function of a score, which asks `tag_f1` where that has the figure."""

    def score(y_true, y_pred, *, average="micro", mode=None, scheme=None, **options):
        if mode != "strict" or scheme is not IOB2 or options:
            return original(y_true, y_pred, average=average, mode=mode, scheme=scheme, **options)
        found = tag_f1(y_pred, y_true)
        labels = sorted(found["per_label"])
        values = [found["per_label"][label][name] for label in labels]
        weights = [found["per_label"][label]["support"] for label in labels]
        if average is None:
            return np.array(values)
        return {
            "micro": lambda: found[name],
            "macro": lambda: np.mean(values),
            "weighted": lambda: np.average(values, weights=weights),
        }[average]()

    return score


for name, function in (("f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
    setattr(seqeval.metrics, function, answered(name, getattr(seqeval.metrics, function)))
