"""Random CRFs, emissions and masks for the tests of the CRF."""

import torch
from torch import Tensor

from hf_adner.model.crf_adner import AdnerCRF


def make_crf(states: int, constraints=None, scale: float = 1.0) -> AdnerCRF:
    """Create a CRF with normally distributed scores of standard deviation `scale`."""
    crf = AdnerCRF(states, constraints)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return crf


def make_mask(lengths: list[int], length: int | None = None) -> Tensor:
    """Return the mask (batch, length) of rows of given lengths."""
    return torch.arange(length or max(lengths)) < torch.tensor(lengths).unsqueeze(1)


def make_emissions(batch: int, length: int, states: int, scale: float = 2.0) -> Tensor:
    """Return random emissions that require a gradient."""
    return (torch.randn(batch, length, states) * scale).requires_grad_()


def assert_equal(actual, expected, atol: float = 1e-5) -> None:
    """Compare within a tolerance, whatever the dtypes."""
    torch.testing.assert_close(actual, expected, atol=atol, rtol=1e-5, check_dtype=False)
