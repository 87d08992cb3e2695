"""Fusion of a local map with that of the global table: the weight of each, per character.

Maps are log attributions (`hf_adner.explain.unit_statistics`). A fusion takes the variances of both maps and returns
the fused map with its weights. Stability alone must not decide: a constant map is perfectly stable and useless (Yeh et
al., NeurIPS 2019), and a table hardly varies either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hf_adner.explain.explanation import ROLES
from hf_adner.explain.unit_statistics import simplex

SMALLEST_VARIANCE = 1e-3
"""tau2 and perturbation variances, in squared log attributions, are taken as at least this."""

_TINY = torch.finfo(torch.float32).tiny


class FusionInputs(NamedTuple):
    """What a fusion is told of a batch of entities.

    Attributes:
        local: (batch, length) log attributions of the local explainer.
        prior: (batch, length) log attributions that the global table expects.
        prior_variance: (batch, length) variance of the table's means.
        local_variance: (batch,) perturbation variance of the local map.
        roles: (batch, length) int64, indices of `ROLES`.
        mask: (batch, length) bool, the characters that count.
    """

    local: Tensor
    prior: Tensor
    prior_variance: Tensor
    local_variance: Tensor
    roles: Tensor
    mask: Tensor


class Fused(NamedTuple):
    """Fused maps.

    Attributes:
        scores: (batch, length), 0 or more; each row sums to 1 over its mask.
        local_weight, global_weight: (batch, length) in [0, 1]; together 1 inside the mask, 0 outside.
    """

    scores: Tensor
    local_weight: Tensor
    global_weight: Tensor


class Fusion(nn.Module, ABC):
    """Fuses a batch of maps; `fusion(inputs)`."""

    name: ClassVar[str]

    def forward(self, inputs: FusionInputs) -> Fused:
        """Weigh the two maps and pool them."""
        weight = self._weight(inputs).expand_as(inputs.local).float() * inputs.mask
        return Fused(self._pool(inputs, weight), weight, (1 - weight) * inputs.mask)

    @abstractmethod
    def _weight(self, inputs: FusionInputs) -> Tensor:
        """Weight of the local map in [0, 1], of a shape that expands to (batch, length)."""

    def _pool(self, inputs: FusionInputs, weight: Tensor) -> Tensor:
        """Fused shares: the weighted mean of the logarithms."""
        return simplex(weight * inputs.local + (1 - weight) * inputs.prior, inputs.mask)


class _MeanOfShares(Fusion):
    """Pools by the weighted mean of the shares themselves, not of their logarithms."""

    def _pool(self, inputs: FusionInputs, weight: Tensor) -> Tensor:
        local, prior = simplex(inputs.local, inputs.mask), simplex(inputs.prior, inputs.mask)
        mixed = weight * local + (1 - weight) * prior
        return mixed / mixed.sum(-1, keepdim=True).clamp(min=_TINY)


class Local(Fusion):
    """The local map alone."""

    name = "local"

    def _weight(self, inputs: FusionInputs) -> Tensor:
        return torch.ones_like(inputs.local)


class Global(Fusion):
    """The global table alone."""

    name = "global"

    def _weight(self, inputs: FusionInputs) -> Tensor:
        return torch.zeros_like(inputs.local)


class Equal(_MeanOfShares):
    """The mean of both: without any estimate a strong rival of every other fusion."""

    name = "equal"

    def _weight(self, inputs: FusionInputs) -> Tensor:
        return torch.full_like(inputs.local, 0.5)


class Product(Fusion):
    """The logarithmic pool: the product of both maps, each raised to its weight and scaled to sum to 1.

    Args:
        weight: of the local map, in [0, 1]; 0.5 is the geometric mean, which ranks as the plain product does.

    Raises:
        ValueError: a weight out of range.
    """

    name = "product"

    def __init__(self, weight: float = 0.5):
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"weight must lie in [0, 1], found {weight!r}")
        self.weight = weight

    def _weight(self, inputs: FusionInputs) -> Tensor:
        return torch.full_like(inputs.local, self.weight)


class StabilitySoftmax(_MeanOfShares):
    """Weights by a softmax over the stability of both maps, one pair for each entity.

    The stability of a map is 1 / (1 + its mean variance), in (0, 1]. It does not ask
    whether the table is right: a constant map has no variance and takes most of the weight.

    Args:
        temperature: of the softmax, above 0; the lower, the more the stabler map takes.

    Raises:
        ValueError: a temperature out of range.
    """

    name = "stability-softmax"

    def __init__(self, temperature: float = 0.25):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, found {temperature!r}")
        self.temperature = temperature

    def _weight(self, inputs: FusionInputs) -> Tensor:
        counted = inputs.mask.sum(-1).clamp(min=1)
        prior = (inputs.prior_variance * inputs.mask).sum(-1) / counted
        gain = 1 / (1 + inputs.local_variance) - 1 / (1 + prior)  # (batch,)
        return torch.sigmoid(gain / self.temperature)[:, None]


class EmpiricalBayes(Fusion):
    """Shrinkage in log space: the local map is a noisy observation, the table a prior with an error of its own.

    w = (1 / s2) / (1 / s2 + 1 / (tau2[role] + v)) is the weight of the local map, s2 its perturbation variance, v the
    variance of the table's mean, and tau2 how far the table is off beyond both, by role. A constant or irrelevant
    table gets a large tau2 and so loses its weight by itself; unstable maps borrow from the corpus.

    Args:
        tau2: (5,) by role, as a table's noise tells it; without it 1 until the first `update`.
        decay: of the moving average over updates, in [0, 1).

    Raises:
        ValueError: not one finite number per role, or a decay out of range.
    """

    name = "empirical-bayes"

    def __init__(self, tau2: Sequence[float] | None = None, decay: float = 0.9):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), found {decay!r}")
        start = torch.ones(len(ROLES)) if tau2 is None else torch.as_tensor(tau2, dtype=torch.float32).clone()
        if start.shape != (len(ROLES),) or not start.isfinite().all():
            raise ValueError(f"tau2 must be {len(ROLES)} finite numbers, one for each of {ROLES}")
        self.decay = decay
        self.register_buffer("moments", start)
        self.register_buffer("is_measured", torch.full((len(ROLES),), tau2 is not None))

    @property
    def tau2(self) -> Tensor:
        """(5,) squared error of the table by role, at least 1e-3."""
        return self.moments.clamp(min=SMALLEST_VARIANCE)

    def _weight(self, inputs: FusionInputs) -> Tensor:
        local = inputs.local_variance.clamp(min=SMALLEST_VARIANCE)[:, None]
        prior = self.tau2[inputs.roles] + inputs.prior_variance
        return prior / (prior + local)

    @torch.no_grad()
    def update(self, inputs: FusionInputs) -> None:
        """Move tau2 towards what a batch tells, by the method of moments; roles that it does not have stay."""
        self.update_from(*role_errors(inputs))

    @torch.no_grad()
    def update_from(self, sums: Tensor, counts: Tensor) -> None:
        """As `update`, from what `role_errors` gave, for instance summed over processes. Sums may be negative."""
        found = (sums / counts.clamp(min=1)).to(self.moments)
        moved = torch.where(self.is_measured, self.decay * self.moments + (1 - self.decay) * found, found)
        has_any = (counts > 0).to(self.is_measured.device)
        self.moments.copy_(torch.where(has_any, moved, self.moments))
        self.is_measured |= has_any


def role_errors(inputs: FusionInputs) -> tuple[Tensor, Tensor]:
    """How far the prior is off from the local maps, beyond the noise of both: (local - prior)^2 - s2 - v.

    Returns:
        Sums (5,) and numbers of characters (5,), by role; means of them are unbiased, and negative by chance.
    """
    excess = (inputs.local - inputs.prior).square() - inputs.local_variance[:, None] - inputs.prior_variance
    roles, excess = inputs.roles[inputs.mask], excess[inputs.mask].float()
    sums = excess.new_zeros(len(ROLES)).index_add(0, roles, excess)
    return sums, torch.bincount(roles, minlength=len(ROLES)).to(excess)


def shrunk_variance(variance: Tensor, mean: Tensor | float) -> Tensor:
    """A variance measured on few views, moved halfway to the corpus' mean."""
    return 0.5 * (variance + mean)


FUSIONS: dict[str, type[Fusion]] = {
    fusion.name: fusion for fusion in (EmpiricalBayes, Equal, Product, StabilitySoftmax, Local, Global)
}
"""What `make_fusion` knows, by name."""


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
    means, variances, _ = zip(*priors) if priors else ((), (), ())
    return FusionInputs(
        local=_padded(local, size, np.float32),
        prior=_padded(means, size, np.float32),
        prior_variance=_padded(variances, size, np.float32),
        local_variance=torch.tensor(local_variance, dtype=torch.float32),
        roles=_padded(roles, size, np.int64),
        mask=_padded(masks, size, np.bool_),
    )


def _padded(rows: Sequence[np.ndarray], length: int, dtype: type) -> Tensor:
    table = np.zeros((len(rows), length), dtype=dtype)  # (batch, length)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return torch.from_numpy(table)
