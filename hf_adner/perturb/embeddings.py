"""Perturbations inside the model: noise on embeddings (P7) and another dropout mask (P8); the text stays."""

from __future__ import annotations

import random

import torch

from hf_adner.data.records import Document
from hf_adner.perturb.perturbation import Focus, Perturbation
from hf_adner.perturb.perturbed import Perturbed


def add_embedding_noise(
    embeddings: torch.Tensor,
    sigma: float = 0.05,
    mask: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Add Gaussian noise whose standard deviation is a share of the embeddings' root mean square.

    Args:
        embeddings: (..., length, hidden), any float dtype.
        sigma: that share, 0 or more.
        mask: (..., length) bool, the positions that count and get noise; None takes all.
        generator: of the chance, on the device of the embeddings.

    Returns:
        Embeddings of the same shape and dtype; gradients flow to `embeddings`.

    Raises:
        ValueError: a negative sigma.
    """
    if sigma < 0:
        raise ValueError(f"sigma is {sigma}, expected 0 or more")
    counted = embeddings.detach() if mask is None else embeddings.detach()[mask]  # (positions, hidden)
    if not counted.numel():
        return embeddings.clone()
    scale = sigma * counted.float().square().mean().sqrt()
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device) * scale
    if mask is not None:
        noise = noise * mask.unsqueeze(-1)
    return embeddings + noise.to(embeddings.dtype)


class EmbeddingNoise(Perturbation):
    """P7: noise on the embeddings; on a document it changes nothing, `apply` does it to tensors.

    Args:
        sigma: see `add_embedding_noise`.
    """

    name = "p7"

    def __init__(self, sigma: float = 0.05) -> None:
        if sigma < 0:
            raise ValueError(f"sigma is {sigma}, expected 0 or more")
        self.sigma = sigma

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed:
        return Perturbed.unchanged(document, self.name)

    def apply(
        self,
        embeddings: torch.Tensor,
        mask: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """`add_embedding_noise` with this sigma."""
        return add_embedding_noise(embeddings, self.sigma, mask, generator)


class IndependentDropout(Perturbation):
    """P8: the same text under another dropout mask (R-Drop, Liang et al. 2021): a second pass in training mode."""

    name = "p8"

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed:
        return Perturbed.unchanged(document, self.name)
