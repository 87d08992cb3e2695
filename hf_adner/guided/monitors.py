"""Figures that a guided run logs about itself, so that each of its parts can be seen to act."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_adner.guided.perturbation import Perturbation
from hf_adner.guided.roles import Roles


class RunningFigures:
    """Sums and numbers of figures since they were last read, kept on the device until then."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, **figures: tuple[Tensor, Tensor]) -> None:
        """Add the (sum, number) of figures that are means."""
        for name, pair in figures.items():
            both = torch.stack([part.detach().float() for part in pair])
            self._sums[name] = self._sums.get(name, 0) + both

    def read(
        self, names: tuple[str, ...], reduce: Callable[[Tensor], Tensor], device: torch.device
    ) -> dict[str, float]:
        """Return the means since the last reading, which then begins anew.

        Args:
            names: figures to read, the same on all processes.
            reduce: sums a tensor over all processes.
            device: of the sums.

        Returns:
            Those of which there was something to average.
        """
        nothing = torch.zeros(2, device=device)
        sums, numbers = reduce(torch.stack([self._sums.get(name, nothing) for name in names])).T.tolist()
        self._sums = {}
        return {name: total / number for name, total, number in zip(names, sums, numbers) if number}


def perturbation_figures(perturbation: Perturbation, roles: Roles, mask: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (sum, number) of what a perturbation does.

    * ``perturbed_share``: share of the windows that are perturbed.
    * ``edge_norm_share``: share of the squared norm that is at edges of entities.
    * ``token_weight``: mean weight of the fusion.
    """
    squares = perturbation.offset.square().sum(2)
    chosen = perturbation.is_perturbed[:, None] & mask
    return {
        "perturbed_share": (perturbation.is_perturbed.sum(), torch.tensor(len(mask), device=mask.device)),
        "edge_norm_share": (squares[roles.edges].sum(), squares.sum()),
        "token_weight": (perturbation.token_weights[chosen].sum(), chosen.sum()),
    }
