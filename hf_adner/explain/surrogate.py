"""The linear model that LIME and KernelSHAP fit to the answers of perturbed texts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class WeightedRidge:
    """Weighted least squares with an intercept and a penalty on the coefficients, solved in float64.

    It has the two methods that captum asks of an interpretable model; captum's own need scikit-learn.

    Args:
        penalty: on the squared coefficients, relative to the mean weight of a sample; the intercept is free.
    """

    def __init__(self, penalty: float = 0.0):
        self.penalty = penalty
        self._coefficients: Tensor | None = None

    def fit(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]], **_: object) -> dict[str, float]:
        """Fit batches of (features (samples, units), values (samples,), weights (samples,))."""
        features, values, weights = (torch.cat(parts).double() for parts in zip(*batches))
        roots = weights.sqrt()[:, None]
        design = torch.cat((features, torch.ones_like(features[:, :1])), 1)
        penalty = torch.full((design.shape[1],), self.penalty * float(weights.mean()), dtype=torch.float64)
        penalty[-1] = 0.0
        design = torch.cat((roots * design, penalty.sqrt().diag()))
        values = torch.cat((roots * values.view(-1, 1), torch.zeros(len(penalty), 1, dtype=torch.float64)))
        self._coefficients = torch.linalg.lstsq(design, values, driver="gelsd").solution[:-1, 0]
        return {}

    def representation(self) -> Tensor:
        """Coefficients of the features, (1, units) float32."""
        return self._coefficients.float()[None]
