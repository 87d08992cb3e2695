"""Figures that a guided run logs about itself, and the warnings that they raise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_adner.metrics.intraclass import intraclass_correlation

logger = logging.getLogger(__name__)

EPOCH = "epoch_"
"""Prefix of the names of an epoch's figures in the log."""

MOST_PAIRS = 256
"""Entities of an epoch that the intraclass correlation is made of, in each process."""

_RULES: tuple[tuple[str, float, float, str], ...] = (
    (
        "explanation_entropy", 0.3, 0.95,
        "the explainer head points at single characters (below) or at all alike (above): change stability_weight, or "
        "explain more often (saliency_interval)",
    ),
    (
        "explanation_icc", 0.2, float("inf"),
        "the explainer head says the same of all entities: its maps are a template; lower stability_weight, lengthen "
        "plain_share, or use fusion=local",
    ),
    (
        "local_weight", 0.1, 0.9,
        "the fusion trusts the global table alone (below) or the local maps alone (above): compare fusion=equal, and "
        "look at the variance of the local maps (view_share measures it)",
    ),
    (
        "teacher_correct", 0.3, float("inf"),
        "the model gets most entities in focus wrong, so little of it is taught: lengthen plain_share",
    ),
)  # fmt: skip


class RunningTerms:
    """Sums of figures over the steps since they were last read, kept on the device until then.

    Terms are summed (their parts over batches and processes make up the step's value) and divided by the steps; shares
    are sums divided by sums.

    Args:
        first_step: optimizer steps that were done before, by the run that is resumed.
    """

    def __init__(self, first_step: int = 0) -> None:
        self._terms: dict[str, Tensor] = {}
        self._shares: dict[str, Tensor] = {}
        self._first_step = first_step

    def add(self, **terms: Tensor) -> None:
        """Add a batch's part of terms."""
        for name, value in terms.items():
            self._terms[name] = self._terms.get(name, 0) + value.detach().float()

    def count(self, **shares: tuple[Tensor, Tensor]) -> None:
        """Add a batch's (sum, number) of figures that are averages."""
        for name, pair in shares.items():
            both = torch.stack([one.detach().float() for one in pair])
            self._shares[name] = self._shares.get(name, 0) + both

    def read(self, step: int, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Means since the last reading, which then begins anew.

        Args:
            step: optimizer steps done so far.
            reduce: sums a tensor over all processes, which all have the same names.
        """
        steps, self._first_step = max(step - self._first_step, 1), step
        terms, shares = self._terms, self._shares
        self._terms, self._shares = {}, {}
        found = {}
        if terms:
            values = reduce(torch.stack([terms[name] for name in sorted(terms)])) / steps
            found.update({f"loss_{name}": value for name, value in zip(sorted(terms), values.tolist())})
        if shares:
            sums, numbers = reduce(torch.stack([shares[name] for name in sorted(shares)])).T.tolist()
            found.update({name: one / max(n, 1.0) for name, one, n in zip(sorted(shares), sums, numbers)})
        return found


class EpochFigures:
    """Figures of an epoch of explaining, from which `alarms` reads whether the explanations have collapsed."""

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, **figures: Tensor) -> None:
        """Add figures of a batch's entities, each (entities,) or (0,)."""
        for name, values in figures.items():
            total = self.sums.setdefault(name, [0.0, 0.0])
            total[0] += float(values.sum())
            total[1] += len(values)

    def add_pairs(self, windows: Tensor, views: Tensor) -> None:
        """Add role masses (pairs, roles) of the head's maps of entities, in a window and in its view."""
        room = MOST_PAIRS - len(self.pairs)
        self.pairs += list(zip(windows[:room].cpu().numpy(), views[:room].cpu().numpy()))

    def take(self, gather: Callable[[Any], Sequence[Any]]) -> dict[str, float]:
        """Means over all processes, and begin anew.

        Args:
            gather: the same object of every process.
        """
        parts = gather((self.sums, self.pairs))
        self.sums, self.pairs = {}, []
        means = {}
        for name in sorted({name for sums, _ in parts for name in sums}):
            total, number = np.sum([sums.get(name, [0.0, 0.0]) for sums, _ in parts], axis=0)
            means[name] = float(total / number) if number else float("nan")
        pairs = [pair for _, own in parts for pair in own]
        if len(pairs) > 1:
            views = np.array([one for pair in pairs for one in pair], dtype=np.float64)  # (2 * pairs, roles)
            instances = np.repeat(np.arange(len(pairs)), 2)
            means["explanation_icc"] = intraclass_correlation(views, instances, min_views=2)["icc"]
        return means


def alarms(figures: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """Return the warnings that the figures of an epoch raise, each with advice.

    Args:
        figures: of the epoch, see `EpochFigures.take`.
        before: of the epoch before, empty for the first.
    """
    found = [
        f"{name} is {figures[name]:.2f}, expected {_range(low, high)}: {advice}"
        for name, low, high, advice in _RULES
        if name in figures and not np.isnan(figures[name]) and not low <= figures[name] <= high
    ]
    now, past = figures.get("divergence"), before.get("divergence")
    if now is not None and past is not None and now > 1.2 * past + 0.02:
        found.append(
            f"the explainer head's divergence from the fused maps rose from {past:.2f} to {now:.2f}: raise "
            "stability_weight or explainer_learning_rate, or lower the encoder's learning rate"
        )
    return found


def best_of(history: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The best validation figures of a run's log so far, as `development_alarms` compares with them."""
    best: dict[str, float] = {}
    for entry in history:
        for name, value in entry.items():
            if name.startswith("eval_") and isinstance(value, float):
                better = min if name == "eval_ece" else max
                best[name] = better(best.get(name, value), value)
    return best


def last_figures(history: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of the last epoch in a run's log (`EpochFigures`), empty where there is none."""
    logged = [entry for entry in history if any(name.startswith(EPOCH) for name in entry)]
    last = logged[-1].items() if logged else ()
    return {name.removeprefix(EPOCH): value for name, value in last if name.startswith(EPOCH)}


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == float("inf") else f"{low:g} to {high:g}"


def development_alarms(metrics: Mapping[str, float], best: Mapping[str, float]) -> list[str]:
    """Return the warnings that validation figures raise: views make the model context-free, or overconfident.

    Args:
        metrics: of an evaluation, `eval_recall` and, where they are computed, `eval_ece`, `eval_unseen_recall`.
        best: the best value of each so far.
    """
    found = []
    for name in ("eval_unseen_recall", "eval_recall"):
        if name in metrics and metrics[name] < best.get(name, 0.0) - 0.05:
            found.append(
                f"{name} fell to {metrics[name]:.3f} from {best[name]:.3f}: lower consistency_weight or edited_share"
            )
    if "eval_ece" in metrics and metrics["eval_ece"] > 1.2 * best.get("eval_ece", float("inf")):
        found.append(
            f"eval_ece rose to {metrics['eval_ece']:.3f} from {best['eval_ece']:.3f}: lower consistency_weight, which "
            "sharpens what the model says"
        )
    return found
