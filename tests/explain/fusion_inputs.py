"""Random batches for fusions."""

import torch

from hf_adner.explain.fusion import FusionInputs


def random_inputs(batch: int, length: int, seed: int = 0) -> FusionInputs:
    """Entities of texts of different lengths, with everything but entropy and boundary sensitivity."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(2, length + 1, (batch, 1), generator=generator)
    return FusionInputs(
        local=torch.randn(batch, length, generator=generator) * mask,
        prior=torch.randn(batch, length, generator=generator) * mask,
        prior_variance=torch.rand(batch, length, generator=generator) * mask,
        local_variance=torch.rand(batch, generator=generator) + 0.1,
        roles=torch.randint(0, 5, (batch, length), generator=generator),
        mask=mask,
        counts=torch.rand(batch, length, generator=generator) * 9,
    )
