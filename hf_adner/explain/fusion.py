"""Fusions by name, and the batches they take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_adner.explain.fusion_rules import (
    EmpiricalBayes,
    Equal,
    Fused,
    Fusion,
    FusionInputs,
    Global,
    InverseVariance,
    Local,
    Product,
    StabilitySoftmax,
    role_errors,
    shrunk_variance,
)
from hf_adner.explain.learned_gate import LearnedGate

__all__ = [
    "FUSIONS",
    "USES_TAU2",
    "EmpiricalBayes",
    "Equal",
    "Fused",
    "Fusion",
    "FusionInputs",
    "Global",
    "InverseVariance",
    "LearnedGate",
    "Local",
    "Product",
    "StabilitySoftmax",
    "make_fusion",
    "pad_inputs",
    "role_errors",
    "shrunk_variance",
]

FUSIONS: dict[str, type[Fusion]] = {
    fusion.name: fusion
    for fusion in (EmpiricalBayes, Equal, Product, InverseVariance, StabilitySoftmax, LearnedGate, Local, Global)
}
"""What `make_fusion` knows, by name."""

USES_TAU2 = (EmpiricalBayes.name, LearnedGate.name)
"""Fusions that take the option `tau2`, see `EmpiricalBayes`."""


def make_fusion(name: str, **options: object) -> Fusion:
    """A fusion by name.

    Args:
        name: one of `FUSIONS`.
        options: of its class, such as `tau2` of ``empirical-bayes``.

    Returns:
        ``fusion(inputs)``: `FusionInputs` -> `Fused`.

    Raises:
        ValueError: an unknown name, or an option out of range.
        TypeError: an option that the fusion does not have.
    """
    if name not in FUSIONS:
        raise ValueError(f"fusion {name!r} is not available; expected one of {sorted(FUSIONS)}")
    return FUSIONS[name](**options)


def pad_inputs(
    local: Sequence[np.ndarray],
    priors: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    local_variance: Sequence[float],
    roles: Sequence[np.ndarray],
    masks: Sequence[np.ndarray] | None = None,
    length: int | None = None,
) -> FusionInputs:
    """Entities of texts of different lengths as a batch, padded on the right.

    Args:
        local: per entity its log attributions, (its length,).
        priors: per entity mean, variance and count as `GlobalTable.lookup` gives them.
        local_variance: one per entity.
        roles: per entity the roles of its text's characters.
        masks: per entity the characters that count; default: all.
        length: to pad to; default: the longest text.
    """
    size = max(map(len, local), default=0) if length is None else length
    masks = [np.ones(len(row), dtype=bool) for row in local] if masks is None else masks
    means, variances, counts = zip(*priors) if priors else ((), (), ())
    return FusionInputs(
        local=_padded(local, size, np.float32),
        prior=_padded(means, size, np.float32),
        prior_variance=_padded(variances, size, np.float32),
        local_variance=torch.tensor(local_variance, dtype=torch.float32),
        roles=_padded(roles, size, np.int64),
        mask=_padded(masks, size, np.bool_),
        counts=_padded(counts, size, np.float32),
    )


def _padded(rows: Sequence[np.ndarray], length: int, dtype: type) -> Tensor:
    table = np.zeros((len(rows), length), dtype=dtype)  # (batch, length)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return torch.from_numpy(table)
